"""Folders that are made once, by training mostly, and found again by every later run of the tests.

A folder is known by all that could change what is in it: the code, the tests' own code that makes
it, the installed packages, the processor and the variables that choose its kernels. Tests get
copies, so that what one does to its copy is seen by no other.
"""

import fcntl
import hashlib
import importlib.metadata
import inspect
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from tests.server import ROOT, run_python

CACHE = ROOT / ".pytest_cache" / "d" / "trained"  # `pytest --cache-clear` and `make clean` empty it
_CODE = ("train.py", "serving/**/*.py", "training/**/*", "examples/**/*")
_MAKERS = ("tests/*.py", "tests/wire/[!t]*.py", "tests/system/[!t]*.py")
_KERNELS = ("OPENBLAS_", "NPY_", "MKL_")


@cache
def _ground() -> bytes:
    """Hash what all folders depend on."""
    files = sorted(
        {
            file
            for glob in _CODE + _MAKERS
            for file in ROOT.glob(glob)
            if "__pycache__" not in file.parts and file.is_file()  # which come and go meanwhile
        }
    )
    packages = sorted(f"{one.name}=={one.version}" for one in importlib.metadata.distributions())
    variables = sorted(f"{k}={v}" for k, v in os.environ.items() if k.startswith(_KERNELS))
    ground = hashlib.sha256(repr((packages, variables, platform.python_version())).encode())
    ground.update(_processor())
    for file in files:
        ground.update(str(file).encode() + file.read_bytes())
    return ground.digest()


def _processor() -> bytes:
    """Tell the processor, whose kind of arithmetic decides the last bits of a model."""
    known = Path("/proc/cpuinfo")
    lines = known.read_bytes().splitlines() if known.exists() else []
    return b"".join(sorted({one for one in lines if one.startswith((b"model name", b"flags"))}))


def copy_of(make: Callable[[Path], object], name: str, folder: Path, *parts: str) -> Path:
    """Give a copy, within a folder, of what `make` leaves in the folder that it is given.

    Parts are what it depends on beside the code: its arguments, that is.
    """
    made_by = make.func if isinstance(make, partial) else make
    source = Path(inspect.getfile(made_by)).read_bytes()
    key = hashlib.sha256(_ground() + source + repr((name, parts)).encode()).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    made = CACHE / f"{name}-{key}"
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            for old in CACHE.glob(f"{name}-{'[0-9a-f]' * 16}"):
                shutil.rmtree(old)
            half = Path(tempfile.mkdtemp(prefix="half-", dir=CACHE))
            try:
                make(half)
                half.rename(made)
            finally:
                shutil.rmtree(half, ignore_errors=True)
        return Path(shutil.copytree(made, folder / name, symlinks=True))


def train_iris(home: Path) -> None:
    """Leave the default model in a folder's store, trained as a user does, once for all tests."""
    with tempfile.TemporaryDirectory() as folder:
        trained = copy_of(_train, "iris", Path(folder))
        shutil.copytree(trained, home, symlinks=True, dirs_exist_ok=True)


def _train(home: Path) -> None:
    run_python(home, "train.py")

"""What surrounds this process: environment, folders, garbage collection.

Beside the settings, the only room that knows ``os.environ``, and the only one that writes it.
"""

import atexit
import fcntl
import gc
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_network
from pathlib import Path

from serving.settings import METRICS_FOLDER, Settings

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (Linux has it for such files, and others have not)
HELD = ".held"  # a file beside such a folder, which its server has locked
LETTERS = "MODEL_API_LETTERS"
LETTERS_PURPOSE = "letters"
MODELS = "MODEL_API_MODELS"
YOUNG_OBJECTS = 10_000  # looked at together: a millisecond's work, and many requests' objects


def prepare_environment(settings: Settings, bentoml_config: Path) -> None:
    """Pass on what libraries and worker processes read from the environment themselves.

    What the operator has set stays. Nothing here is read before BentoML starts its workers, except
    the thread limits, which reach the libraries in the workers alone.
    """
    os.environ.setdefault("BENTOML_CONFIG", str(bentoml_config.resolve()))
    limit_threads(settings)
    forbid_usage_reports()
    # uvicorn believes X-Forwarded-For from these alone; its own default is every local process.
    os.environ["FORWARDED_ALLOW_IPS"] = ",".join(map(_with_mapped, settings.trusted_proxies))


def limit_threads(settings: Settings) -> None:
    """Let libraries that are not loaded yet, here or in processes to come, use so many threads."""
    for library in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(library, str(settings.threads))
    os.environ.setdefault("LOKY_MAX_CPU_COUNT", str(settings.threads))


def _with_mapped(proxy: str) -> str:
    """Add how an IPv4 address looks to a socket of both families (RFC 4291, 2.5.5.2)."""
    network = ip_network(proxy, strict=False)
    if network.version == 6:
        return proxy
    return f"{proxy},::ffff:{network.network_address}/{96 + network.prefixlen}"


def forbid_usage_reports() -> None:
    """Keep BentoML from reporting its use to its makers, unless the operator has decided."""
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")


def pin_models(tags: Iterable[str]) -> None:
    """Fix the models' versions for the workers of this server, those started later among them."""
    os.environ[MODELS] = ",".join(tags)


def pinned_models() -> tuple[str, ...]:
    """Tell which versions this worker has to serve; none, in a process that is no worker."""
    return tuple(filter(None, os.environ.get(MODELS, "").split(",")))


def letters_folder() -> Path | None:
    """Tell where the workers of this server leave letters to their supervisor, if they do."""
    folder = os.environ.get(LETTERS)
    return Path(folder) if folder else None


def make_letters_folder() -> None:
    """Make that folder, for the workers that this process will start.

    Raises:
        SystemExit: it can't be made.
    """
    os.environ[LETTERS] = make_folder(LETTERS_PURPOSE)


def make_folder(purpose: str) -> str:
    """Make a folder of this process's own, which is gone when it ends.

    It is in memory where that can be: a disk may be full, or slow. There it would stay for ever if
    this process were killed, so those of servers that were are removed.

    Raises:
        SystemExit: with a line that says why that can't be done, and what to do.
    """
    prefix = f"model-api-{purpose}-"
    try:
        folder = tempfile.mkdtemp(prefix=prefix, dir=SHARED_MEMORY)
    except OSError:  # there is none, or none for us
        try:
            folder = tempfile.mkdtemp(prefix=prefix)
        except OSError as exc:
            reason = exc.strerror or str(exc)
            raise SystemExit(
                f"no folder for temporary files can be written to ({reason}): name one with TMPDIR"
            ) from None
    else:
        for held in SHARED_MEMORY.glob(f"{prefix}*{HELD}"):
            _remove_if_left(held)
        _hold(Path(folder))
    atexit.register(_remove, Path(folder))
    return folder


def _hold(folder: Path) -> None:
    """Lock a file beside a folder until this process and its workers, which may outlive it, end.

    A lock tells that across containers too, where process ids say nothing. It is taken before the
    file has its name: nobody finds one that is not locked yet.
    """
    with suppress(OSError):  # no more room: the folder is never seen as left
        unnamed = folder.with_suffix(".new")
        descriptor = os.open(unnamed, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.set_inheritable(descriptor, True)
        unnamed.rename(folder.with_suffix(HELD))


def _remove_if_left(held: Path) -> None:
    """Remove the folder beside such a file if all who held it have ended."""
    with suppress(OSError), _locked(held):  # another user's, held, or just gone
        _remove(held.with_suffix(""))


@contextmanager
def _locked(held: Path) -> Iterator[None]:
    descriptor = os.open(held, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def folders_in_use(purpose: str) -> Iterator[Path]:
    """Give such folders of this machine that `make_folder` has made, and whose makers live."""
    for parent in {SHARED_MEMORY, Path(tempfile.gettempdir())}:
        for folder in sorted(parent.glob(f"model-api-{purpose}-*/")):
            held = folder.with_suffix(HELD)
            try:
                with _locked(held):
                    continue
            except OSError:  # it is held, or nobody could hold it: then its content tells
                yield folder


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_suffix(HELD).unlink(missing_ok=True)


def run_own_program(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of this project, and wait for its end."""
    return subprocess.run(  # noqa: S603 (our own)
        [sys.executable, "-m", module, *arguments],
        env=program_environment(),
        capture_output=True,
        text=True,
    )


def program_environment() -> dict[str, str]:
    """Give what a program of ours needs that is no worker: to find all code that this process does.

    It has no metrics of its own, which would stay when it has ended.
    """
    code = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), *sys.path)))
    own = {name: value for name, value in os.environ.items() if name != METRICS_FOLDER}
    return own | {"PYTHONPATH": code}


def leave_out_of_collection() -> None:
    """Leave all that lives by now out of garbage collection, which was off until here.

    A full collection over all imported modules takes 100 to 200 ms, the worst case of a request
    that it falls on. None runs before either: they would be a sixth of the time that a start takes,
    for a megabyte of garbage, which stays. Those of young objects would come by the hundred; as
    many belong to requests under way, and are looked at in vain.
    """
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
    gc.enable()

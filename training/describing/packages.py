"""What a model needs to be loaded and asked, beside what the service installs anyway.

Found by loading it in a process of its own, as serving does, without what may not be needed.
"""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from serving.model.description import Description
from serving.model.estimator import Estimator
from serving.model.store import pickle_estimator
from serving.model.stored import CLOUDPICKLE, CODE
from training.errors import TrainingError

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Needed:
    """Packages with their versions, and files that are in no package."""

    packages: tuple[str, ...]
    files: tuple[str, ...]


def needed_by(estimator: Estimator, description: Description, code: Path | None = None) -> Needed:
    """Find what the service does not have by itself, by doing without all that it does not need.

    ``code`` is the folder of the modules that the description says travel with it.

    Raises:
        TrainingError: the estimator can't be loaded in another process.
    """
    of_module = packages_distributions()
    served = _served()
    needed: set[str] = set()
    with TemporaryDirectory() as folder:
        try:
            if pickle_estimator(estimator, Path(folder, "estimator")):
                needed.add(CLOUDPICKLE)
        except Exception as exc:  # what can't be pickled raises anything
            raise TrainingError(f"the estimator can't be pickled: {exc}") from None
        if code is not None:
            shutil.copytree(code, Path(folder, CODE))
        Path(folder, "description.json").write_text(description.model_dump_json(), "utf-8")
        while True:
            without = [
                module
                for module, packages in of_module.items()
                if (needed | served).isdisjoint(map(_canonical, packages))
            ]
            told = _load(folder, without)
            if "files" in told:
                break
            needed |= set(map(_canonical, of_module[told["missed"]]))
    files = [Path(file) for file in told["files"]]
    there = (sys.prefix, sys.base_prefix, ROOT / "serving")  # wherever a model is served
    return Needed(
        packages=tuple(sorted(f"{name}=={version(name)}" for name in needed)),
        files=tuple(
            str(file.relative_to(ROOT) if file.is_relative_to(ROOT) else file)
            for file in files
            if not any(file.is_relative_to(place) for place in there)
        ),
    )


def _load(folder: str, without: list[str]) -> dict[str, Any]:
    """Load the model of a folder in a process that has to do without some modules."""
    done = subprocess.run(  # noqa: S603 (our own module, in this Python)
        [sys.executable, "-m", "training.describing.loaded", folder],
        cwd=ROOT,
        input=json.dumps(without),
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
    )
    *_, last = done.stderr.strip().splitlines() or [""]
    if done.returncode:
        raise TrainingError(
            f"the estimator can't be loaded in another process, as serving does it: {last}"
        )
    *_, told = done.stdout.splitlines()  # after what the estimator may have printed
    return json.loads(told)  # type: ignore[no-any-return]


def _served() -> set[str]:
    """Name the packages that the service installs."""
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    return {_canonical(line.partition("==")[0]) for line in lines if "==" in line}


def _canonical(name: str) -> str:
    """Write a package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()

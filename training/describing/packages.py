"""What a model needs to be loaded and asked, beside what the service installs anyway.

Found by loading it in a process of its own, as serving does, without what may not be needed.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from serving.model.description import Description
from serving.model.domains import Lengths
from serving.model.estimator import Estimator
from serving.model.features import Category, Row
from serving.model.store import pickle_estimator
from serving.model.stored import CLOUDPICKLE, CODE, SMALLER
from training.describing.loaded import canonical
from training.errors import TrainingError

ROOT = Path(__file__).parents[2]
# What is installed, or of the service, is there without being brought.
THERE = (sys.prefix, sys.base_prefix, ROOT / "serving")
ROWS = 20  # of the table, to ask for


@dataclass(frozen=True, slots=True)
class Needed:
    """Packages with their versions, and files that are in no package."""

    packages: tuple[str, ...]
    files: tuple[str, ...]


def needed_by(
    estimator: Estimator,
    description: Description,
    rows: Sequence[Row] = (),
    code: Path | None = None,
) -> Needed:
    """Find what the service does not have by itself, by doing without all that it does not need.

    It is asked for the example, for some of the ``rows``, and for such as training may not have
    seen. ``code`` is the folder of the modules that the description says travel with it.

    Raises:
        TrainingError: the estimator can't be loaded in another process.
    """
    of_module = packages_distributions()
    served = _served()
    needed: set[str] = set()
    asked = [*rows[:: max(1, len(rows) // ROWS)][:ROWS], *_unusual(description)]
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
            told = _load(folder, {**_without(of_module, needed | served), "rows": asked})
            if "files" in told:
                break
            needed |= set(map(canonical, of_module.get(told["missed"], [told["missed"]])))
    files = [Path(file) for file in told["files"]]
    return Needed(
        packages=tuple(sorted({f"{SMALLER.get(one, one)}=={version(one)}" for one in needed})),
        files=tuple(
            str(file.relative_to(ROOT) if file.is_relative_to(ROOT) else file)
            for file in files
            if not any(file.is_relative_to(place) for place in THERE)
        ),
    )


def _without(of_module: Mapping[str, Sequence[str]], there: Set[str]) -> dict[str, list[str]]:
    """Name the modules and the packages that are not ``there``."""
    packages = {canonical(one) for those in of_module.values() for one in those}
    modules = [
        module for module, those in of_module.items() if there.isdisjoint(map(canonical, those))
    ]
    return {"modules": modules, "packages": sorted(packages - there)}


def _unusual(description: Description) -> Iterator[Row]:
    """Give the example with, in turn, each value missing that may be, and another category."""
    example = description.example
    for at, feature in enumerate(description.features):
        others: list[str | None] = [None] if feature.nullable else []
        if isinstance(feature, Category) and isinstance(feature.domain, Lengths):
            others.append("?" * max(1, feature.domain.min_length))
        for other in others:
            yield (*example[:at], other, *example[at + 1 :])


def _load(folder: str, given: dict[str, Any]) -> dict[str, Any]:
    """Load the model of a folder in a process that has to do without some modules."""
    done = subprocess.run(  # noqa: S603 (our own module, in this Python)
        [sys.executable, "-m", "training.describing.loaded", folder],
        cwd=ROOT,
        input=json.dumps(given),
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
    return {canonical(line.partition("==")[0]) for line in lines if "==" in line}

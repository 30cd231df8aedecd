"""The versions with which a model was saved, and those that are installed here."""

import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from serving.model.stored import SMALLER, installed_version
from training.console import tell
from training.errors import TrainingError

IGNORED = ("mlflow", "mlflow-skinny")  # which is not needed to read what it wrote
OF_PICKLES = b"cloudpickle"  # of which a pickle that has byte code names the reader


def pinned(folder: Path) -> dict[str, str]:
    """Read the exact versions of a model's requirements.txt, if it has one."""
    file = folder / "requirements.txt"
    lines = file.read_text("utf-8", errors="replace").splitlines() if file.is_file() else []
    found = {}
    for line in lines:
        try:
            requirement = Requirement(line.partition("#")[0].strip())
        except InvalidRequirement:  # options of pip, and addresses
            continue
        for specifier in requirement.specifier:
            if specifier.operator == "==" and requirement.name.lower() not in IGNORED:
                found[requirement.name.lower()] = specifier.version
    return found


def check_scikit_learn(whose: Path, theirs: object) -> None:
    """Refuse what another minor version of scikit-learn has fitted.

    Raises:
        TrainingError: it is of another.
    """
    ours = version("scikit-learn")
    try:
        same = Version(str(theirs)).release[:2] == Version(ours).release[:2]
    except InvalidVersion:
        return  # the file itself tells
    if not same:
        raise TrainingError(
            f"{whose} was fitted with scikit-learn {theirs}, but {ours} is installed, and "
            "scikit-learn promises nothing across versions: fit it again with this one"
        )


def check_python(file: Path, theirs: object) -> None:
    """Refuse functions as byte code of another Python, as cloudpickle writes them.

    Raises:
        TrainingError: there may be such.
    """
    ours = platform.python_version()
    told = re.match(r"(\d+)\.(\d+)", str(theirs))
    if told is None or told[0].split(".") == ours.split(".")[:2]:
        return
    if OF_PICKLES in file.read_bytes():
        raise TrainingError(
            f"{file} was saved by cloudpickle with Python {theirs}, and may hold its byte code, "
            f"which Python {ours} does not run: save it again with this one"
        )


def tell_of_others(pins: Mapping[str, str]) -> None:
    """Tell of packages that are installed in another version than the model names, or not."""
    if others := list(_others(pins)):
        tell(f"the model was saved with other packages than those here: {', '.join(others)}")


def missing(pins: Mapping[str, str]) -> Sequence[str]:
    """Give what the model names and is not installed, as pip takes it."""
    return [
        f"{SMALLER.get(name, name)}=={pin}"
        for name, pin in pins.items()
        if installed_version(name) is None
    ]


def _others(pins: Mapping[str, str]) -> Iterator[str]:
    for name, pin in pins.items():
        here = installed_version(name)
        if here is not None and here != pin:
            yield f"{name} {pin}, {here} here"
        elif here is None:
            yield f"{name} {pin}, not installed here"

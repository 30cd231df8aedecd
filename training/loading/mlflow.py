"""Models of MLflow, read without it: a folder with a file MLmodel, which says what the rest is.

What is loaded is the estimator inside, of a flavour that is a library of estimators. The flavour
python_function, which every model has beside it, is whatever code its maker wrote, and not read.
What the folder says of itself is believed where it does no harm: names of types that skops would
not trust are not.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.model.estimator import Estimator
from training.errors import TrainingError
from training.loading.code import Code
from training.loading.folders import MLMODEL, inside, model_folder, parsed
from training.loading.native import library, of_booster, read_native
from training.loading.pickles import load_pickle, load_skops
from training.loading.pins import (
    check_python,
    check_scikit_learn,
    missing,
    pinned,
    tell_of_others,
)
from training.loading.signature import Sample, sample_of

SKLEARN = "sklearn"
FILES: Mapping[str, str] = {  # by flavour: under which name it keeps its file
    SKLEARN: "pickled_model",
    "xgboost": "data",
    "lightgbm": "data",
    "catboost": "data",
}
FORMATS = ("pickle", "cloudpickle", "skops")
PYTHON_FUNCTION = "python_function"
BOOSTERS = ("lightgbm.basic.Booster",)  # which are saved as themselves; LightGBM's others are not


def load_mlflow(path: Path, *, trust: bool, code: Code) -> tuple[Estimator, Sample | str]:
    """Load the estimator of a folder, and what shows what it takes, or why there is no such thing.

    Modules that the model brings along are added to the ``code``.

    Raises:
        TrainingError: there is no such model, it may not be loaded, or can't be.
    """
    folder = model_folder(path)
    about = parsed(folder / MLMODEL)
    name, flavour = _flavour(folder, about)
    file = inside(folder, flavour.get(FILES[name]))
    if not file.is_file():
        raise TrainingError(f"{file} is no file, as {folder / MLMODEL} says")
    if name == SKLEARN:
        check_scikit_learn(file, flavour.get("sklearn_version"))
    else:
        library(name, file)
    pins = pinned(folder)
    tell_of_others(pins)
    if flavour.get("code") is not None:
        code.add(_modules(inside(folder, flavour["code"])), f"{folder / MLMODEL}")
    try:
        estimator = of_booster(_load(name, flavour, file, about, trust=trust))
    except TrainingError as exc:
        if isinstance(exc.__cause__, ImportError) and (wanted := missing(pins)):
            raise TrainingError(f"{exc}; it names {' '.join(wanted)}: pip install that") from exc
        raise
    try:
        return estimator, sample_of(folder, about)
    except TrainingError as exc:
        return estimator, f"{folder}: {exc}"


def _flavour(folder: Path, about: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Choose the flavour that is read.

    Raises:
        TrainingError: there is none.
    """
    flavours = about.get("flavors")
    if not isinstance(flavours, dict) or not flavours:
        raise TrainingError(f"{folder / MLMODEL} names no flavors")
    for name in FILES:
        if isinstance(flavours.get(name), dict):
            return name, flavours[name]
    taken = f"those that are read are {', '.join(FILES)}"
    others = [str(name) for name in flavours if name != PYTHON_FUNCTION]
    if not others:
        raise TrainingError(
            f"{folder} has the flavour {PYTHON_FUNCTION} alone, which is code and not an "
            f"estimator: save the estimator itself; {taken}"
        )
    raise TrainingError(f"{folder} has the flavour {', '.join(others)}: {taken}")


def _load(
    name: str, flavour: Mapping[str, Any], file: Path, about: Mapping[str, Any], *, trust: bool
) -> Estimator:
    """Load the file of a flavour."""
    is_pickled = name == SKLEARN or (
        name == "lightgbm" and flavour.get("model_class", BOOSTERS[0]) not in BOOSTERS
    )
    if not is_pickled:
        return read_native(file)
    written = flavour.get("serialization_format", "pickle" if name == SKLEARN else "cloudpickle")
    if written not in FORMATS:
        raise TrainingError(f"{file} is written by {written}; what is read is {', '.join(FORMATS)}")
    if written == "skops":
        return load_skops(file, trust=trust)
    function = about["flavors"].get(PYTHON_FUNCTION)
    if trust and isinstance(function, dict):
        check_python(file, function.get("python_version"))
    return load_pickle(file, trust=trust)


def _modules(folder: Path) -> list[Path]:
    """Give the modules of a model's folder of code; it may hold other files, too."""
    if not folder.is_dir():
        raise TrainingError(f"{folder} is no folder of code")
    inner = sorted(folder.iterdir())
    return [
        path
        for path in inner
        if path.suffix == ".py" or (path.is_dir() and any(path.rglob("*.py")))
    ]

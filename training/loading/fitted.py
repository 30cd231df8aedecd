"""A fitted estimator, in whatever kind of file it is brought."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from serving.model.description import Task
from serving.model.estimator import Estimator
from training.errors import TrainingError
from training.loading.bento import PREFIX, file_of
from training.loading.code import Code
from training.loading.folders import is_folder
from training.loading.mlflow import load_mlflow
from training.loading.native import ENDINGS, of_booster, read_native
from training.loading.onnx import read_onnx
from training.loading.pickles import load_pickle, load_skops
from training.loading.signature import Sample


@dataclass(frozen=True, slots=True)
class Brought:
    """A fitted estimator, and what came with it: rows that show what it takes, or why none did."""

    estimator: Estimator
    sample: Sample | str = "a file of an estimator does not tell what it takes"


ONNX = ".onnx"
ZIP = ".zip"
READERS: Mapping[str, Callable[..., Estimator]] = {
    ".joblib": load_pickle,
    ".pickle": load_pickle,
    ".pkl": load_pickle,
    ".skops": load_skops,
}


def load_fitted(source: str, *, trust: bool, code: Code, task: Task | None = None) -> Brought:
    """Load a fitted estimator from what ``--model`` names; ``task`` is what a person says it does.

    Modules that come with it are added to the ``code``, before it is unpickled.

    Raises:
        TrainingError: it may not be loaded, can't be, or is no fitted estimator of this
            scikit-learn.
    """
    if is_folder(source):
        estimator, sample = load_mlflow(Path(source), trust=trust, code=code)
        _check_fitted(estimator, source)
        return Brought(estimator, sample)
    if source.startswith(PREFIX):
        path, trust = file_of(source.removeprefix(PREFIX)), True
    else:
        path = Path(source)
    if not path.is_file():
        raise TrainingError(f"there is no file {path}")
    if path.suffix == ZIP:
        raise TrainingError(f"{path} is an archive: unpack it, and name the folder or file in it")
    if path.suffix in ENDINGS:
        estimator = read_native(path)
    elif path.suffix == ONNX:
        estimator = read_onnx(path, task)
    elif path.suffix in READERS:
        estimator = of_booster(READERS[path.suffix](path, trust=trust))
    else:
        known = ", ".join((*READERS, *ENDINGS, ONNX))
        raise TrainingError(f"{path} has none of the endings {known}")
    _check_fitted(estimator, source)
    return Brought(estimator)


def _check_fitted(estimator: Estimator, source: str) -> None:
    """Refuse what is no fitted estimator.

    Raises:
        TrainingError: it has no ``predict``, or is not fitted.
    """
    if isinstance(estimator, type) or not hasattr(estimator, "predict"):
        raise TrainingError(
            f"{source} holds a {type(estimator).__name__} without predict, not an estimator that "
            "can be served"
        )
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        # A library that does not mark it, as NGBoost does not, is asked anyhow, too.
        is_own = type(estimator).__module__.startswith("sklearn.")
        if not is_own and not hasattr(estimator, "__sklearn_is_fitted__"):
            return
        raise TrainingError(f"the {type(estimator).__name__} in {source} is not fitted") from None
    except (TypeError, AttributeError):  # of another library; `describe` asks it anyhow
        pass

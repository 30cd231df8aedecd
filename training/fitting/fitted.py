"""An estimator that was fitted elsewhere, read from its file.

A pickle runs code when it is loaded, so it is loaded only when the person says that it may be.
skops reads the same estimators without running what it does not know.
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import joblib
import sklearn
import skops.io
from packaging.version import Version
from sklearn.base import is_classifier, is_clusterer, is_outlier_detector, is_regressor
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError
from sklearn.utils.validation import check_is_fitted

from serving.model.description import Task
from serving.model.estimator import Estimator
from training.errors import TrainingError

HARMLESS = ("numpy.dtype",)  # which skops does not know yet; a pipeline of a frame has it
PICKLES = {".joblib", ".pkl", ".pickle"}


def load_fitted(path: Path, *, trust: bool) -> Estimator:
    """Load a fitted estimator from a ``.skops`` file or a pickle.

    Raises:
        TrainingError: it may not be loaded, can't be, or is no fitted estimator of this
            scikit-learn.
    """
    if not path.is_file():
        raise TrainingError(f"there is no file {path}")
    if path.suffix == ".skops":
        estimator = _checked(path, lambda: _load_skops(path, trust=trust))
    elif path.suffix in PICKLES:
        if not trust:
            raise TrainingError(
                f"{path} is a pickle, and loading a pickle runs whatever code is in it: "
                "add --trust if you know who made it, or save the estimator with skops"
            )
        estimator = _checked(path, lambda: joblib.load(path))
    else:
        endings = ", ".join(sorted({".skops", *PICKLES}))
        raise TrainingError(f"{path} has none of the endings {endings}")
    if isinstance(estimator, type) or not hasattr(estimator, "predict"):
        raise TrainingError(
            f"{path} holds a {type(estimator).__name__} without predict, not an estimator that "
            "can be served"
        )
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise TrainingError(f"the {type(estimator).__name__} in {path} is not fitted") from None
    except (TypeError, AttributeError):  # of another library; `describe` asks it anyhow
        pass
    return estimator


def _load_skops(path: Path, *, trust: bool) -> Estimator:
    unknown = [name for name in skops.io.get_untrusted_types(file=path) if name not in HARMLESS]
    if unknown and not trust:
        raise TrainingError(
            f"{path} has types that skops does not know to be harmless: {', '.join(unknown)}: "
            "add --trust if you know who made it"
        )
    return skops.io.load(path, trusted=[*unknown, *HARMLESS])


def _checked(path: Path, load: Callable[[], Estimator]) -> Estimator:
    """Load, and refuse what another minor version of scikit-learn has fitted."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InconsistentVersionWarning)
        try:
            estimator = load()
        except TrainingError:
            raise
        except Exception as exc:  # a file may hold anything, and fail in any way
            raise TrainingError(f"{path} can't be loaded: {type(exc).__name__}: {exc}") from exc
    ours = Version(sklearn.__version__)
    for warning in caught:
        if isinstance(warning.message, InconsistentVersionWarning):
            theirs = Version(warning.message.original_sklearn_version)
            if theirs.release[:2] != ours.release[:2]:
                raise TrainingError(
                    f"{path} was fitted with scikit-learn {theirs}, but {ours} is installed, and "
                    "scikit-learn promises nothing across versions: fit it again with this one"
                )
    return estimator


def task_of(estimator: Estimator) -> Task | None:
    """Tell what an estimator does, if it says so."""
    kinds: dict[Task, Callable[[Estimator], bool]] = {
        "classification": is_classifier,
        "regression": is_regressor,
        "clustering": is_clusterer,
        "outlier-detection": is_outlier_detector,
    }
    for task, check in kinds.items():
        try:
            if check(estimator):
                return task
        except AttributeError:  # an estimator of another library, without scikit-learn's tags
            pass
    return None

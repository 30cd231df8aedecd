"""Pickles, and what skops writes: estimators as scikit-learn's users save them.

A pickle runs code when it is loaded, so it is loaded only when the person says that it may be.
skops reads the same estimators without running what it does not know.
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import joblib
from sklearn.exceptions import InconsistentVersionWarning

from serving.model.estimator import Estimator
from training.errors import TrainingError
from training.fitting.families import FAMILIES, installed_by
from training.loading.pins import check_scikit_learn

HARMLESS = ("numpy.dtype",)  # which skops does not know yet; a pipeline of a frame has it


def load_pickle(path: Path, *, trust: bool) -> Estimator:
    """Load what a pickle holds, whoever wrote it: pickle, joblib or cloudpickle.

    Raises:
        TrainingError: it may not be loaded, or can't be.
    """
    if not trust:
        raise TrainingError(
            f"{path} is a pickle, and loading a pickle runs whatever code is in it: "
            "add --trust if you know who made it, or save the estimator with skops"
        )
    return _checked(path, lambda: joblib.load(path))


def load_skops(path: Path, *, trust: bool) -> Estimator:
    """Load what a file of skops holds.

    Raises:
        TrainingError: it has types that are not known to be harmless, or can't be loaded.
    """
    return _checked(path, lambda: _load_skops(path, trust=trust))


def _load_skops(path: Path, *, trust: bool) -> Estimator:
    import skops.io  # which looks up all estimators that there are, and takes long

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
            raise TrainingError(
                f"{path} can't be loaded: {type(exc).__name__}: {exc}{_advice(exc)}"
            ) from exc
    for warning in caught:
        if isinstance(warning.message, InconsistentVersionWarning):
            check_scikit_learn(path, warning.message.original_sklearn_version)
    return estimator


def _advice(exc: Exception) -> str:
    """Tell what helps where a class is not found."""
    if isinstance(exc, ModuleNotFoundError):
        family = (exc.name or "").partition(".")[0]
        if family in FAMILIES:
            return f": {installed_by([family])}"
        return ": bring it along with --code if it is yours, or install the package that has it"
    if isinstance(exc, AttributeError) and "__main__" in str(exc):  # pickle's own words
        return (
            ": it was defined in a notebook or a script. Save it with cloudpickle, or fit it with "
            "the class in a module of its own, and bring that along with --code"
        )
    return ""

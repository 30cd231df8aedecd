"""Classes of estimators by name, as a person asks for them at the terminal.

The name of a class is one of scikit-learn's; ``module.Class`` is any that fits and predicts.
Refuses what is not there or can't be imported, and says what to do.
"""

import difflib
import inspect
from collections.abc import Iterable
from importlib import import_module

from sklearn.base import ClassifierMixin, ClusterMixin, OutlierMixin, RegressorMixin
from sklearn.utils import all_estimators

from training.errors import TrainingError
from training.fitting.families import FAMILIES, installed_by

INHERITED = "get_params"  # from BaseEstimator
ABILITIES = ("fit", "predict", INHERITED)


def find_estimator(name: str) -> type:
    """Find the classifier, regressor, clusterer or outlier detector of that name.

    Raises:
        TrainingError: there is none, or it can't answer for rows it was not fitted on.
    """
    if "." in name:
        return _imported(name)
    kinds = (ClassifierMixin, RegressorMixin, ClusterMixin, OutlierMixin)
    known = {known: found for known, found in all_estimators() if issubclass(found, kinds)}
    able = {known: found for known, found in known.items() if hasattr(found, "predict")}
    if name not in known:
        others = {
            booster: f"{module}.{booster}"
            for module, family in FAMILIES.items()
            for booster in family.boosters.values()
        }
        close = suggestion(name, [*able, *others])
        for booster, full in others.items():
            close = close.replace(booster, full)
        raise TrainingError(
            "scikit-learn has no classifier, regressor, clusterer or outlier detector "
            f"{name}{close}"
        )
    if name not in able:
        raise TrainingError(f"{name} can't predict for new rows")
    return able[name]  # type: ignore[no-any-return]


def _imported(name: str) -> type:
    """Import a class that is named with its module.

    Raises:
        TrainingError: there is none that can be had, or it is no estimator.
    """
    module, _, kind = name.rpartition(".")
    if not all(part.isidentifier() for part in name.split(".")):
        raise TrainingError(f"an estimator is named as Class or module.Class, not as {name}")
    try:
        held = import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module}.".startswith(f"{exc.name}."):
            raise TrainingError(f"{module} can't be imported: {exc}") from exc
        raise TrainingError(_missing(module, exc.name)) from None
    except (Exception, SystemExit) as exc:  # a module does anything when it is imported
        told = f"{type(exc).__name__}: {exc}"
        raise TrainingError(f"{module} can't be imported: {told}") from exc
    found = getattr(held, kind, None)
    if found is None:
        able = [
            other
            for other, value in vars(held).items()
            if isinstance(value, type) and not _lacks(value)
        ]
        raise TrainingError(f"{module} has no class {kind}{suggestion(kind, able)}")
    if not isinstance(found, type):
        raise TrainingError(f"{name} is no class")
    if lacking := _lacks(found):
        advice = ": it could inherit from BaseEstimator" if INHERITED in lacking else ""
        raise TrainingError(f"{name} is no estimator, it lacks {', '.join(lacking)}{advice}")
    if inspect.isabstract(found):
        raise TrainingError(f"{name} is abstract: name a class that is made of it")
    return found


def _missing(module: str, lacking: str) -> str:
    """Tell what to do about a module that is not there."""
    if "." in lacking:
        parent, _, name = lacking.rpartition(".")
        return f"{parent} has no module {name}"
    if lacking in FAMILIES:
        return f"{lacking} is not installed: {installed_by([lacking])}"
    close = suggestion(lacking, FAMILIES)
    return f"there is no module {lacking}{close or ': install the package that has it'}"


def _lacks(found: type) -> list[str]:
    """Name what is lacking to a class of estimators."""
    return [ability for ability in ABILITIES if not hasattr(found, ability)]


def suggestion(name: str, known: Iterable[str]) -> str:
    """Ask whether one of those with a like name was meant, if there are such."""
    by_lower = {other.lower(): other for other in known}
    close = difflib.get_close_matches(name.lower(), by_lower)
    return f": did you mean {' or '.join(by_lower[match] for match in close)}?" if close else ""

"""Estimators of scikit-learn by name, as a person asks for them at the terminal."""

import ast
import difflib
import inspect
from collections.abc import Callable, Iterable, Sequence

from sklearn.base import (
    ClassifierMixin,
    ClusterMixin,
    OutlierMixin,
    RegressorMixin,
    is_classifier,
    is_clusterer,
    is_outlier_detector,
    is_regressor,
)
from sklearn.utils import all_estimators
from sklearn.utils._param_validation import InvalidParameterError

from serving.model.description import Task
from serving.model.estimator import Estimator
from training.errors import TrainingError


def find_estimator(name: str) -> type:
    """Find the classifier, regressor, clusterer or outlier detector of scikit-learn of that name.

    Raises:
        TrainingError: there is none, or it can't answer for rows it was not fitted on.
    """
    kinds = (ClassifierMixin, RegressorMixin, ClusterMixin, OutlierMixin)
    known = {known: found for known, found in all_estimators() if issubclass(found, kinds)}
    able = {known: found for known, found in known.items() if hasattr(found, "predict")}
    if name not in known:
        raise TrainingError(
            f"scikit-learn has no classifier, regressor, clusterer or outlier detector {name}"
            f"{_suggestion(name, able)}"
        )
    if name not in able:
        raise TrainingError(f"{name} can't predict for new rows")
    return able[name]  # type: ignore[no-any-return]


def make_estimator(name: str, params: Sequence[str], seed: int) -> Estimator:
    """Make an estimator with parameters such as ``C=0.1`` or ``kernel=rbf``.

    Raises:
        TrainingError: the estimator, a parameter or its value can't be.
    """
    found = find_estimator(name)
    accepted = inspect.signature(found).parameters
    if needed := [key for key, known in accepted.items() if known.default is known.empty]:
        raise TrainingError(
            f"{name} is made of other estimators ({', '.join(needed)}), which can't be given here"
        )
    defaults = {"random_state": seed, "novelty": True}  # the latter to predict for new rows
    values: dict[str, object] = {key: value for key, value in defaults.items() if key in accepted}
    for param in params:
        key, equals, text = param.partition("=")
        if not equals:
            raise TrainingError(f"a parameter is given as name=value, not as {param}")
        if key not in accepted:
            raise TrainingError(
                f"{name} has no parameter {key}{_suggestion(key, accepted)}\n"
                f"it has {', '.join(accepted) or 'none'}"
            )
        values[key] = _value(text)
    estimator = found(**values)
    try:
        estimator._validate_params()
    except InvalidParameterError as exc:
        raise TrainingError(str(exc)) from None
    if not hasattr(estimator, "predict"):
        raise TrainingError(f"{estimator} can't predict for new rows")
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


def _value(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _suggestion(name: str, known: Iterable[str]) -> str:
    by_lower = {other.lower(): other for other in known}
    close = difflib.get_close_matches(name.lower(), by_lower)
    return f": did you mean {' or '.join(by_lower[match] for match in close)}?" if close else ""

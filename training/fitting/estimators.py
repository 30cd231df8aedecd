"""Estimators made of names and parameters, as a person gives them at the terminal."""

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence

from sklearn.base import (
    is_classifier,
    is_clusterer,
    is_outlier_detector,
    is_regressor,
)
from sklearn.utils import Tags, TargetTags, get_tags
from sklearn.utils._param_validation import InvalidParameterError

from serving.model.description import Task
from serving.model.estimator import Estimator
from serving.model.wrapped import PlainEstimator
from training.errors import TrainingError
from training.fitting.classes import find_estimator, suggestion
from training.fitting.families import FAMILIES, NO_FAMILY

SEEDS = ("random_state", "random_seed", "seed")


def make_estimator(name: str, params: Sequence[str], seed: int) -> Estimator:
    """Make an estimator with parameters such as ``C=0.1`` or ``kernel=rbf``.

    Raises:
        TrainingError: the estimator, a parameter or its value can't be.
    """
    found, given = find_estimator(name), _given(params)
    _check_complete(found, given)
    try:
        estimator = _made(found, given, seed)
    except TrainingError:
        raise
    except InvalidParameterError as exc:
        raise TrainingError(str(exc)) from None
    except Exception as exc:  # what is not scikit-learn's raises anything
        raise TrainingError(f"{found.__name__} can't be made: {exc}") from exc
    if not hasattr(estimator, "predict"):
        raise TrainingError(f"{estimator} can't predict for new rows")
    return estimator if hasattr(found, "__sklearn_tags__") else PlainEstimator(estimator)


def _given(params: Sequence[str]) -> dict[str, object]:
    given = {}
    for param in params:
        key, equals, text = param.partition("=")
        if not equals:
            raise TrainingError(f"a parameter is given as name=value, not as {param}")
        given[key] = _value(text)
    return given


def _check_complete(found: type, given: Mapping[str, object]) -> None:
    """Refuse a class that can't be made of what is given."""
    needed = [key for key, known in _named(found).items() if known.default is known.empty]
    lacking = ", ".join(key for key in needed if key not in given)
    if lacking and found.__module__.startswith("sklearn."):
        raise TrainingError(
            f"{found.__name__} is made of other estimators ({lacking}), which can't be given here"
        )
    if lacking:
        raise TrainingError(
            f"{found.__name__} can't be made without {lacking}: give it with --param, or, where it "
            "can't be written there, fit it elsewhere, and bring it with --model"
        )


def _made(found: type, given: Mapping[str, object], seed: int) -> Estimator:
    """Make an estimator of parameters that it has, and of those that make it fit in here."""
    named = _named(found)
    needed = {key: given[key] for key, known in named.items() if known.default is known.empty}
    own: Mapping[str, object] = found(**needed).get_params(deep=False)
    accepted = [*dict.fromkeys([*named, *own])]
    if not takes_any(found) and (unknown := [key for key in given if key not in accepted]):
        raise TrainingError(
            f"{found.__name__} has no parameter {unknown[0]}{suggestion(unknown[0], accepted)}\n"
            f"it has {', '.join(accepted) or 'none'}"
        )
    estimator = found(**_defaults(found, accepted, given, seed), **given)
    if hasattr(estimator, "_parameter_constraints"):  # as scikit-learn's have
        estimator._validate_params()
    return estimator


def _named(found: type) -> dict[str, inspect.Parameter]:
    """Give the parameters that a class names."""
    named = inspect.signature(found).parameters
    others = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return {key: known for key, known in named.items() if known.kind not in others}


def takes_any(found: type) -> bool:
    """Tell whether a class takes parameters that it does not name; then fitting tells (`trial`)."""
    kinds = {known.kind for known in inspect.signature(found).parameters.values()}
    return inspect.Parameter.VAR_KEYWORD in kinds


def _defaults(
    found: type, accepted: Sequence[str], given: Mapping[str, object], seed: int
) -> dict[str, object]:
    """Give what is set unless a person sets it, by one of its names."""
    family = FAMILIES.get(found.__module__.partition(".")[0], NO_FAMILY)
    values = {}
    # The last is what lets it predict for new rows.
    for names, value in {**family.defaults, SEEDS: seed, ("novelty",): True}.items():
        known = [name for name in names if name in accepted]
        if names in family.defaults and takes_any(found):
            known = known or [names[0]]
        if known and given.keys().isdisjoint(names):
            values[known[0]] = value
    return values


def tags_of(estimator: Estimator) -> Tags:
    """Give scikit-learn's tags; what has none of its own takes little."""
    try:
        return get_tags(estimator)
    except Exception:  # an estimator of another library raises anything
        return Tags(estimator_type=None, target_tags=TargetTags(required=False))


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

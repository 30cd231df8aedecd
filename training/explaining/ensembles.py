"""Trees of an estimator, of whichever library, and what is made of several.

All of them are sums of what leaves hold, from where they start: the mean of a forest's
probabilities or numbers, or what boosting adds up, of which probabilities are made.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle

import numpy as np
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)

from serving.model.description import Description, ExplainedOutput
from serving.model.estimator import Estimator
from serving.model.outputs import Array
from training.compiling.boosters import library_of
from training.compiling.graph import CannotConvertError
from training.compiling.lightgbm import SAME, objective_of, read, sigmoid_of
from training.compiling.tree import CategoricalSplit, CategoricalSplits, Tree
from training.compiling.trees import FORESTS, LOGISTIC, of_histogram, start_of, steps_of, tree_of
from training.explaining.built import CannotExplainError

NOT_ITS_RAW = "what its trees add up is not what it answers"


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Trees, whose leaves add up, from the ``start``, to the numbers by which a model answers.

    A node holds ``value`` (nodes, n), which ``mix`` makes to outputs (n, outputs). Its ``feature``
    is a column of the matrix; if that has no more, one of the ``splits`` by categories. Trees
    compare what is ``rounded`` to floats, or doubles.
    """

    output: ExplainedOutput
    trees: Sequence[Tree]
    start: Array
    mix: Array
    rounded: bool = False
    splits: Sequence[CategoricalSplit] = ()


def ensemble_of(part: Estimator, description: Description) -> Ensemble:
    """Take an estimator's trees.

    Raises:
        CannotExplainError: it has none, or does more than adding up what they hold.
    """
    is_classifier = description.task == "classification"
    if description.task not in {"classification", "regression"}:
        raise CannotExplainError("what its trees tell is no number that it answers")
    if is_classifier and description.asked.scored_by != "predict_proba":
        raise CannotExplainError("it answers without probabilities")
    take = next((take for kinds, take in _KINDS if type(part) in kinds), None)
    if take is None and library_of(part) == "lightgbm":
        take = _lightgbm
    if take is None:
        raise CannotExplainError(f"{type(part).__name__} is no sum of trees")
    try:
        return take(part, is_classifier)
    except CannotConvertError as exc:
        raise CannotExplainError(str(exc)) from exc


def _forest(part: Estimator, is_classifier: bool) -> Ensemble:
    """Take a tree, or several, of which the mean counts; each target's numbers one by one."""
    estimators = getattr(part, "estimators_", [part])
    values = [_held(estimator, is_classifier) / len(estimators) for estimator in estimators]
    output: ExplainedOutput = "probability" if is_classifier else "value"
    width = values[0].shape[1]
    start, mix = np.zeros(width), np.eye(width)
    if is_classifier and part.n_outputs_ == 1 and width > 1 and _are_whole(values):
        # Of one class it is known from the others: where a leaf holds it alone, that is nothing.
        pure = sum(
            (np.abs(value).sum(axis=1, keepdims=True) == value).sum(axis=0) for value in values
        )
        most = int(np.argmax(pure))
        values = [np.delete(value, most, axis=1) for value in values]
        start, mix = mix[most], np.delete(mix, most, axis=0) - mix[most]
    trees = [tree_of(tree, value) for tree, value in zip(estimators, values, strict=True)]
    return Ensemble(output, trees, start, mix, rounded=True)


def _held(estimator: Estimator, is_classifier: bool) -> Array:
    value = estimator.tree_.value
    if not is_classifier:
        return np.asarray(value[:, :, 0])
    counts = np.atleast_1d(estimator.n_classes_)
    return np.hstack([value[:, at, :count] for at, count in enumerate(counts)])


def _are_whole(values: Sequence[Array]) -> bool:
    sums = np.concatenate([value.sum(axis=1) for value in values]) * len(values)
    return bool(np.abs(sums - 1).max() < 1e-12)


def _boosting(part: Estimator, is_classifier: bool) -> Ensemble:
    """Take gradient boosting."""
    raw = _raw(steps_of(part), start_of(part))
    if is_classifier:
        raw = _of_classes(raw, LOGISTIC.get(type(part._loss).__name__))
    return replace(raw, rounded=True)


def _histogram_boosting(part: Estimator, is_classifier: bool) -> Ensemble:
    """Take histogram-based gradient boosting."""
    splits = CategoricalSplits(part.n_features_in_)
    trees = [of_histogram(tree, splits) for step in part._predictors for tree in step]
    raw = replace(_raw(trees, part._baseline_prediction.ravel()), splits=splits.all)
    if is_classifier:
        return _of_classes(raw, LOGISTIC.get(type(part._loss).__name__))
    if type(part._loss.link).__name__ != "IdentityLink":
        raise CannotExplainError(NOT_ITS_RAW)
    return raw


def _lightgbm(part: Estimator, is_classifier: bool) -> Ensemble:
    """Take one of LightGBM's estimators, or what holds its booster."""
    head, columns, trees = read(part)
    name, told = objective_of(head)
    if columns.has_zeros:
        raise CannotExplainError("its trees take zeros for missing values")
    classes = int(head["num_tree_per_iteration"])
    if "average_output" in head:
        steps = len(trees) // classes
        trees = [replace(tree, value=tree.value / steps) for tree in trees]
    raw = replace(_raw(trees, np.zeros(classes)), splits=columns.splits.all)
    if is_classifier and name in {"binary", "multiclass"}:
        return _of_classes(raw, sigmoid_of(told))
    if is_classifier or name not in SAME or "sqrt" in told:
        raise CannotExplainError(NOT_ITS_RAW)
    return raw


def _raw(trees: Sequence[Tree], start: Array) -> Ensemble:
    """Put together what boosting adds up: step by step, a tree for each class."""
    classes = np.eye(len(start))
    held = [replace(t, value=t.value * c) for t, c in zip(trees, cycle(classes), strict=False)]
    return Ensemble("value", held, start, classes)


def _of_classes(raw: Ensemble, scale: float | None) -> Ensemble:
    """Make of raw numbers those of which probabilities are made, the ``scale`` for two classes."""
    count = len(raw.start)
    if count > 1:
        mix = np.eye(count) - 1 / count
        return replace(raw, output="log-ratio", start=raw.start @ mix, mix=mix)
    if scale is None:
        raise CannotExplainError(NOT_ITS_RAW)
    mix = np.array([[-scale, scale]])
    return replace(raw, output="log-odds", start=raw.start @ mix, mix=mix)


_KINDS: Sequence[tuple[Sequence[type], Callable[[Estimator, bool], Ensemble]]] = (
    (FORESTS, _forest),
    ((GradientBoostingClassifier, GradientBoostingRegressor), _boosting),
    ((HistGradientBoostingClassifier, HistGradientBoostingRegressor), _histogram_boosting),
)

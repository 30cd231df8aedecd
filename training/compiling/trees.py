"""Trees of scikit-learn in ONNX, and what is made of several: the mean, or what boosting adds up.

A row falls into the leaf that scikit-learn finds, by its own thresholds, on the floats that it
makes of the input.
"""

from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

from serving.model.estimator import Estimator
from serving.model.outputs import Array
from training.compiling.graph import CannotConvertError, Graph
from training.compiling.tree import (
    BETWEEN,
    CategoricalSplit,
    CategoricalSplits,
    Tree,
    boosted,
    leaves,
)

FORESTS = (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
)
# Of `sklearn._loss`: by what a raw prediction is multiplied before it goes into the logistic.
LOGISTIC = {"HalfBinomialLoss": 1.0, "ExponentialLoss": 2.0}


def forest(graph: Graph, estimator: Estimator) -> None:
    """Convert a tree, or the mean of several."""
    trees = [_single(part) for part in getattr(estimator, "estimators_", [estimator])]
    total = graph.sum(leaves(graph, graph.rounded(), trees))
    mean = graph.add("Div", total, graph.constant(float(len(trees))))
    if hasattr(estimator, "classes_"):
        graph.classes(mean)
    else:
        graph.add("Identity", mean, result=graph.results[0])


def boosting(graph: Graph, estimator: Estimator) -> None:
    """Convert gradient boosting."""
    raw = boosted(graph, graph.rounded(), start_of(estimator), steps_of(estimator))
    if hasattr(estimator, "classes_"):
        _logistic(graph, raw, estimator._loss)
    else:
        graph.add("Identity", raw, result=graph.results[0])


def histogram_boosting(graph: Graph, estimator: Estimator) -> None:
    """Convert histogram-based gradient boosting, whose trees compare doubles."""
    if estimator._preprocessor is not None:
        raise CannotConvertError("its trees split by categories")
    start = estimator._baseline_prediction.ravel()
    splits = CategoricalSplits(estimator.n_features_in_)
    steps = [of_histogram(tree, splits) for step in estimator._predictors for tree in step]
    raw = boosted(graph, graph.input, start, steps)
    if hasattr(estimator, "classes_"):
        _logistic(graph, raw, estimator._loss)
        return
    links = {"IdentityLink": "Identity", "LogLink": "Exp"}
    link = type(estimator._loss.link).__name__
    if link not in links:
        raise CannotConvertError(f"its link is {link}")
    graph.add(links[link], raw, result=graph.results[0])


def start_of(estimator: Estimator) -> Array:
    """Tell where gradient boosting starts: an array (classes,).

    Raises:
        CannotConvertError: it starts with another estimator.
    """
    if estimator.init_ != "zero" and not isinstance(
        estimator.init_, DummyClassifier | DummyRegressor
    ):
        raise CannotConvertError("its boosting starts with another estimator")
    start = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_)))
    return np.asarray(start).ravel()


def steps_of(estimator: Estimator) -> list[Tree]:
    """Take what gradient boosting adds to where it starts: a tree for each class, step by step."""
    return [_single(tree, estimator.learning_rate) for tree in estimator.estimators_.ravel()]


def tree_of(estimator: Estimator, value: Array) -> Tree:
    """Take the tree of a fitted `sklearn.tree` estimator, with what its nodes hold."""
    tree = estimator.tree_
    return Tree(
        tree.children_left,
        tree.children_right,
        tree.feature,
        tree.threshold,
        tree.missing_go_to_left,
        value,
    )


def _single(estimator: Estimator, scale: float = 1.0) -> Tree:
    """Take that of one with one target."""
    tree = estimator.tree_
    if tree.n_outputs > 1:
        raise CannotConvertError("its trees have several targets")
    return tree_of(estimator, tree.value[:, 0] * scale)


def of_histogram(predictor: Any, splits: CategoricalSplits) -> Tree:  # noqa: ANN401 (scikit-learn's own)
    """Take one of histogram-based gradient boosting."""
    nodes = predictor.nodes
    feature = nodes["feature_idx"].astype(np.int64)
    threshold = nodes["num_threshold"].copy()
    for node in np.flatnonzero(nodes["is_categorical"]):
        left = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]].astype("<u4")
        bits = np.unpackbits(left.view(np.uint8), bitorder="little")
        # What it has not seen in training goes where missing ones go.
        unknown = not nodes["missing_go_to_left"][node]
        split = CategoricalSplit(int(feature[node]), tuple((bits == 0).tolist()), unknown, unknown)
        feature[node], threshold[node] = splits.column(split), BETWEEN
    return Tree(
        np.where(nodes["is_leaf"], -1, nodes["left"].astype(np.int64)),
        nodes["right"].astype(np.int64),
        feature,
        threshold,
        nodes["missing_go_to_left"],
        nodes["value"][:, np.newaxis],
    )


def _logistic(graph: Graph, raw: str, loss: Any) -> None:  # noqa: ANN401 (scikit-learn's own)
    """Make probabilities of what boosting adds up, an array (rows, classes), or (rows, 1)."""
    kind = type(loss).__name__
    if kind == "HalfMultinomialLoss":
        graph.classes(graph.add("Softmax", raw, axis=1))
    elif kind in LOGISTIC:
        second = graph.add("Sigmoid", graph.add("Mul", raw, graph.constant(LOGISTIC[kind])))
        first = graph.add("Sub", graph.constant(1.0), second)
        graph.classes(graph.add("Concat", first, second, axis=1))
    else:
        raise CannotConvertError(f"its loss is {kind}")

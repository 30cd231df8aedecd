"""Trees of scikit-learn in ONNX, and what is made of several: the mean, or what boosting adds up.

skl2onnx's trees compute with floats, and labels can change with the last bit of a float. Here a
tree only tells which of its leaves a row falls into, decided alike for every double: with
scikit-learn's own thresholds, on the floats that it makes of the input. What the leaves hold is
looked up, and added in scikit-learn's order, so that sums are alike bit for bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper
from sklearn.dummy import DummyClassifier, DummyRegressor

from serving.model.estimator import Estimator
from serving.model.outputs import Array
from training.compiling.graph import CannotConvertError, Graph

MAX_LEAVES = 500_000  # in one graph: more take gigabytes while they are converted
# Of `sklearn._loss`: by what a raw prediction is multiplied before it goes into the logistic.
LOGISTIC = {"HalfBinomialLoss": 1.0, "ExponentialLoss": 2.0}


@dataclass(frozen=True, slots=True)
class Tree:
    """A binary tree; where ``left`` is negative is a leaf, of a row of ``value`` (nodes, n)."""

    left: Array
    right: Array
    feature: Array
    threshold: Array
    missing_left: Array
    value: Array

    @classmethod
    def of(cls, estimator: Estimator, scale: float = 1.0) -> "Tree":
        """Take that of a fitted `sklearn.tree` estimator with one target."""
        tree = estimator.tree_
        if tree.n_outputs > 1:
            raise CannotConvertError("its trees have several targets")
        return cls(
            tree.children_left,
            tree.children_right,
            tree.feature,
            tree.threshold,
            tree.missing_go_to_left,
            tree.value[:, 0] * scale,
        )

    @classmethod
    def of_histogram(cls, predictor: Any) -> "Tree":  # noqa: ANN401 (scikit-learn's own)
        """Take one of histogram-based gradient boosting."""
        nodes = predictor.nodes
        if nodes["is_categorical"].any():
            raise CannotConvertError("its trees split by categories")
        return cls(
            np.where(nodes["is_leaf"], -1, nodes["left"].astype(np.int64)),
            nodes["right"].astype(np.int64),
            nodes["feature_idx"].astype(np.int64),
            nodes["num_threshold"],
            nodes["missing_go_to_left"],
            nodes["value"][:, np.newaxis],
        )

    @classmethod
    def of_one_leaf(cls, value: float) -> "Tree":
        """Make one that gives the same for all rows: where boosting starts."""
        none = np.array([0])
        return cls(none - 1, none, none, none, none, np.array([[value]]))


def forest(graph: Graph, estimator: Estimator) -> None:
    """Convert a tree, or the mean of several."""
    trees = [Tree.of(part) for part in getattr(estimator, "estimators_", [estimator])]
    total = graph.sum(_leaves(graph, graph.rounded(), trees))
    mean = graph.add("Div", total, graph.constant(float(len(trees))))
    if hasattr(estimator, "classes_"):
        graph.classes(mean)
    else:
        graph.add("Identity", mean, result=graph.results[0])


def boosting(graph: Graph, estimator: Estimator) -> None:
    """Convert gradient boosting."""
    if estimator.init_ != "zero" and not isinstance(
        estimator.init_, DummyClassifier | DummyRegressor
    ):
        raise CannotConvertError("its boosting starts with another estimator")
    start = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_)))
    scale = estimator.learning_rate
    steps = [Tree.of(tree, scale) for tree in estimator.estimators_.ravel()]
    raw = _boosted(graph, graph.rounded(), start.ravel(), steps)
    if hasattr(estimator, "classes_"):
        _logistic(graph, raw, estimator._loss)
    else:
        graph.add("Identity", raw, result=graph.results[0])


def histogram_boosting(graph: Graph, estimator: Estimator) -> None:
    """Convert histogram-based gradient boosting, whose trees compare doubles."""
    if estimator._preprocessor is not None:
        raise CannotConvertError("its trees split by categories")
    start = estimator._baseline_prediction.ravel()
    steps = [Tree.of_histogram(tree) for step in estimator._predictors for tree in step]
    raw = _boosted(graph, graph.input, start, steps)
    if hasattr(estimator, "classes_"):
        _logistic(graph, raw, estimator._loss)
        return
    links = {"IdentityLink": "Identity", "LogLink": "Exp"}
    link = type(estimator._loss.link).__name__
    if link not in links:
        raise CannotConvertError(f"its link is {link}")
    graph.add(links[link], raw, result=graph.results[0])


def _leaves(graph: Graph, matrix: str, trees: Sequence[Tree]) -> str:
    """Give what each row's leaves hold: an array (rows, trees, n)."""
    starts = np.cumsum([0, *(np.count_nonzero(tree.left < 0) for tree in trees)])
    if starts[-1] > MAX_LEAVES:
        raise CannotConvertError(f"it has {starts[-1]} leaves, more than {MAX_LEAVES}")
    nodes: dict[str, Any] = {}
    thresholds, values = [], []
    for number, tree in enumerate(trees):
        is_leaf = tree.left < 0
        (leaves,) = np.nonzero(is_leaf)
        thresholds.append(np.where(is_leaf, 0.0, tree.threshold))
        values.append(tree.value[leaves])
        for name, column in {
            "nodes_treeids": np.full(len(is_leaf), number),
            "nodes_nodeids": np.arange(len(is_leaf)),
            "nodes_featureids": np.where(is_leaf, 0, tree.feature),
            "nodes_modes": np.where(is_leaf, "LEAF", "BRANCH_LEQ"),
            "nodes_truenodeids": np.where(is_leaf, 0, tree.left),
            "nodes_falsenodeids": np.where(is_leaf, 0, tree.right),
            "nodes_missing_value_tracks_true": tree.missing_left.astype(int),
            "target_treeids": np.full(len(leaves), number),
            "target_nodeids": leaves,
            "target_ids": np.full(len(leaves), number),
        }.items():
            nodes.setdefault(name, []).extend(column.tolist())
    leaf = graph.add(
        "TreeEnsembleRegressor",
        matrix,
        domain="ai.onnx.ml",
        op_version=3,
        n_targets=len(trees),
        nodes_values_as_tensor=numpy_helper.from_array(np.concatenate(thresholds)),
        target_weights_as_tensor=numpy_helper.from_array(np.arange(starts[-1], dtype=float)),
        **nodes,
    )
    index = graph.cast(leaf, TensorProto.INT64)
    return graph.add("Gather", graph.constant(np.concatenate(values)), index, axis=0)


def _boosted(graph: Graph, matrix: str, start: Array, steps: Sequence[Tree]) -> str:
    """Add to where boosting starts what each step's trees give: an array (rows, classes)."""
    trees = [*map(Tree.of_one_leaf, start.tolist()), *steps]
    shape = graph.constant([0, len(trees) // len(start), len(start)])
    return graph.sum(graph.add("Reshape", _leaves(graph, matrix, trees), shape))


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

"""LightGBM in ONNX: its trees as its own text of a model tells them, its sums and its objectives.

It compares and adds doubles, so what it adds up is alike bit for bit. The text has all digits of
them (``model_to_string``), and only the trees up to the best iteration, if one was found.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from serving.model.estimator import Estimator
from serving.model.outputs import Array
from training.compiling.graph import CannotConvertError, Graph
from training.compiling.preparation import Preparation
from training.compiling.tree import BETWEEN, CategoricalSplit, CategoricalSplits, Tree, boosted

# Of `decision_type` in LightGBM's tree.h: two bits, and then what counts as missing.
CATEGORICAL, DEFAULT_LEFT = 1, 2
NOTHING, ZERO = 0, 1
ZERO_THRESHOLD = float(np.float32(1e-35))  # what is no larger is zero to it, wherever it stands

SAME = (
    *("custom", "regression", "regression_l1", "huber", "fair", "quantile", "mape"),
    *("lambdarank", "rank_xendcg"),
)
EXPONENTIAL = ("poisson", "gamma", "tweedie")


def lightgbm(graph: Graph, estimator: Estimator, preparation: Preparation) -> None:
    """Convert one of LightGBM's estimators, or what holds a ``booster`` and asks it.

    Raises:
        CannotConvertError: it does what is not converted.
    """
    head, columns, trees = read(estimator)
    classes = int(head["num_tree_per_iteration"])
    codes = _booster(estimator).pandas_categorical or []
    matrix = columns.of(graph, preparation.coded(graph, codes))
    raw = boosted(graph, matrix, np.zeros(classes), trees)
    if "average_output" in head:
        raw = graph.add("Div", raw, graph.constant(float(len(trees) // classes)))
    answers = _answers(graph, raw, *objective_of(head))
    if not hasattr(estimator, "classes_"):
        graph.add("Identity", answers, result=graph.results[0])
    elif classes == 1:
        first = graph.add("Sub", graph.constant(1.0), answers)
        graph.classes(graph.add("Concat", first, answers, axis=1))
    else:
        graph.classes(answers)


def read(estimator: Estimator) -> tuple[Mapping[str, str], "Columns", list[Tree]]:
    """Read an estimator's trees, the columns by which they split, and what is said of all.

    Raises:
        CannotConvertError: it does what is not converted.
    """
    head, texts = _read(_booster(estimator).model_to_string())
    settings: dict[str, Any] = getattr(estimator, "get_params", dict)()
    if settings.get("pred_early_stop"):
        raise CannotConvertError("it stops early when it predicts")
    if callable(settings.get("objective")) and hasattr(estimator, "classes_"):
        raise CannotConvertError("its objective is a function of your own")
    columns = Columns(int(head["max_feature_idx"]) + 1, _has_zeros(texts))
    return head, columns, [columns.tree(text) for text in texts]


def _booster(estimator: Estimator) -> Any:  # noqa: ANN401 (LightGBM's own)
    return getattr(estimator, "booster_", None) or estimator.booster


def _read(text: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Read the text of a model: what it says of all, and of each tree."""
    head, *trees = text.partition("end of trees")[0].split("\nTree=")
    parts = [
        {key: value for key, _, value in (line.partition("=") for line in part.splitlines())}
        for part in (head, *trees)
    ]
    return parts[0], parts[1:]


def objective_of(head: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Name the objective, with what is told of it."""
    name, *words = head.get("objective", "custom").split()
    return name, dict(word.partition(":")[::2] for word in words)


def _answers(graph: Graph, raw: str, name: str, told: Mapping[str, str]) -> str:
    """Make of what trees add up what an objective makes of it."""
    if name in {"binary", "multiclassova", "cross_entropy"}:
        return graph.add("Sigmoid", graph.add("Mul", raw, graph.constant(sigmoid_of(told))))
    if name == "multiclass":
        return graph.add("Softmax", raw, axis=1)
    if name in EXPONENTIAL:
        return graph.add("Exp", raw)
    if name == "cross_entropy_lambda":
        return graph.add("Log", graph.add("Add", graph.add("Exp", raw), graph.constant(1.0)))
    if name == "regression" and "sqrt" in told:
        return graph.add("Mul", graph.add("Abs", raw), raw)
    if name in SAME:
        return raw
    raise CannotConvertError(f"its objective is {name}")


def sigmoid_of(told: Mapping[str, str]) -> float:
    """Give by what a raw score is multiplied before it goes into the logistic."""
    return float(told.get("sigmoid", 1.0))


class Columns:
    """The columns by which trees split: the features, and what is put beside them."""

    def __init__(self, width: int, has_zeros: bool) -> None:
        """Take the number of features, and whether zeros count as missing somewhere."""
        self._width = width
        self.has_zeros = has_zeros
        self.splits = CategoricalSplits(2 * width if has_zeros else width)

    def tree(self, told: Mapping[str, str]) -> Tree:
        """Take a tree; its leaves, from 0, stand behind its nodes here, and are below zero there.

        Raises:
            CannotConvertError: its leaves are linear models.
        """
        if told.get("is_linear", "0") != "0":
            raise CannotConvertError("its leaves are linear models")
        values = _numbers(told["leaf_value"])
        if len(values) == 1:
            return Tree.of_one_leaf(float(values[0]))
        kinds = _numbers(told["decision_type"], int)
        thresholds, features = _numbers(told["threshold"]), _numbers(told["split_feature"], int)
        count = len(kinds)
        left, right = (_numbers(told[side], int) for side in ("left_child", "right_child"))
        left, right = (np.where(side < 0, count + ~side, side) for side in (left, right))
        missing_left = (kinds & DEFAULT_LEFT) != 0
        missing = _missing(kinds)
        missing_left = np.where(missing == NOTHING, thresholds >= 0, missing_left)  # as zero
        thresholds = _beside_zero(thresholds)
        has_categories = (kinds & CATEGORICAL) != 0
        features = features + self._width * ((missing == ZERO) & ~has_categories)
        for node, codes in zip(np.flatnonzero(has_categories), _sets(told), strict=True):
            split = CategoricalSplit(int(features[node]), codes, beyond=True, missing=True)
            features[node], thresholds[node] = self.splits.column(split), BETWEEN
        none = np.zeros(len(values), dtype=int)
        return Tree(
            np.concatenate([left, none - 1]),
            np.concatenate([right, none]),
            np.concatenate([features, none]),
            np.concatenate([thresholds, none]),
            np.concatenate([missing_left, none]),
            np.concatenate([np.zeros(count), values])[:, np.newaxis],
        )

    def of(self, graph: Graph, matrix: str) -> str:
        """Give the columns, made of a matrix of the features."""
        both = matrix
        if self.has_zeros:
            size = graph.add("Abs", matrix)
            is_zero = graph.add("LessOrEqual", size, graph.constant(ZERO_THRESHOLD))
            others = graph.add("Where", is_zero, graph.constant(np.nan), matrix)
            both = graph.add("Concat", matrix, others, axis=1)
        return self.splits.beside(graph, both, matrix)


def _missing(kinds: Array) -> Array:
    return kinds >> 2 & 3


def _has_zeros(texts: Sequence[Mapping[str, str]]) -> bool:
    kinds = (_numbers(told.get("decision_type", ""), int) for told in texts)
    return any((_missing(found) == ZERO).any() for found in kinds)


def _numbers(text: str, kind: type = float) -> Array:
    return np.array(text.split(), dtype=kind)


def _beside_zero(thresholds: Array) -> Array:
    """Give thresholds that divide what is no larger than zero to LightGBM as they divide zero."""
    below = np.nextafter(-ZERO_THRESHOLD, -np.inf)
    beside = np.where(thresholds >= 0, ZERO_THRESHOLD, below)
    return np.where(np.abs(thresholds) <= ZERO_THRESHOLD, beside, thresholds)


def _sets(told: Mapping[str, str]) -> Iterator[tuple[bool, ...]]:
    """Give of each split by categories which codes go right: those that are not in its bits."""
    if told.get("num_cat", "0") == "0":
        return
    ends = _numbers(told["cat_boundaries"], int)
    words = _numbers(told["cat_threshold"], int).astype("<u4")
    for start, end in pairwise(ends):
        bits = np.unpackbits(words[start:end].view(np.uint8), bitorder="little")
        yield tuple((bits == 0).tolist())

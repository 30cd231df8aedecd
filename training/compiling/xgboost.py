"""XGBoost in ONNX: its trees, its sums of floats from the base margin on, and its objectives.

It rounds what it is given to floats, compares and adds floats, and rounds what objectives make of
that, so all is done with floats here, in its order. A model of its own tells all digits of numbers
(``save_raw``), and the base margin is what it answers with trees of zeros.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from onnx import TensorProto

from serving.model.description import Label
from serving.model.estimator import Estimator
from serving.model.outputs import Array
from training.compiling.floats import float32, logistic, power, softmax
from training.compiling.graph import CannotConvertError, Graph
from training.compiling.preparation import Preparation
from training.compiling.tree import BETWEEN, CategoricalSplit, CategoricalSplits, Tree, boosted
from training.describing.tellers import uncut

LINKS = {
    **dict.fromkeys(("binary:logistic", "reg:logistic"), logistic),
    **dict.fromkeys(("multi:softprob", "multi:softmax"), softmax),
    **dict.fromkeys(("count:poisson", "reg:gamma", "reg:tweedie"), power),
    **dict.fromkeys(("survival:cox", "survival:aft"), power),
}
SAME = (
    *("reg:squarederror", "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror"),
    *("reg:quantileerror", "rank:pairwise", "rank:ndcg", "rank:map", "binary:logitraw"),
)


def xgboost(graph: Graph, estimator: Estimator, preparation: Preparation) -> None:
    """Convert one of XGBoost's estimators.

    Raises:
        CannotConvertError: it does what is not converted.
    """
    booster = estimator.get_booster()
    learner = json.loads(booster.save_raw("json"))["learner"]
    told = learner["gradient_booster"]
    if told["name"] == "gblinear":
        raise CannotConvertError("its booster is gblinear, which has no trees")
    start = _base_margin(booster)
    columns = _Columns(int(learner["learner_model_param"]["num_feature"]))
    steps = list(_steps(told, start, columns, getattr(estimator, "best_iteration", None)))
    matrix = _rounded(
        graph, preparation.coded(graph, _categories(booster, preparation.given)), estimator.missing
    )
    raw = boosted(graph, columns.of(graph, matrix), start, steps, TensorProto.FLOAT)
    answers = _answers(graph, raw, learner["objective"]["name"])
    if not hasattr(estimator, "classes_"):
        graph.add("Cast", answers, to=TensorProto.DOUBLE, result=graph.results[0])
    elif len(start) == 1:
        first = graph.add("Sub", float32(graph, 1.0), answers)
        graph.classes(graph.cast(graph.add("Concat", first, answers, axis=1)))
    else:
        graph.classes(graph.cast(answers))


def _base_margin(booster: Any) -> Array:  # noqa: ANN401 (XGBoost's own)
    """Ask a model for what it starts with, of each class: its answer with trees of zeros."""
    told = json.loads(booster.save_raw("json"))
    learner = told["learner"]
    classes = max(1, int(learner["learner_model_param"]["num_class"]))
    learner.update(feature_names=[], feature_types=[])
    inner = learner["gradient_booster"]
    if "weight_drop" in inner:
        inner["weight_drop"] = [1.0] * classes
    model = inner.get("gbtree", inner)["model"]
    first = model["trees"][0]
    first["split_conditions"] = [0.0] * len(first["split_conditions"])  # leaves have theirs there
    model["trees"] = [{**first, "id": at} for at in range(classes)]
    model["tree_info"], model["iteration_indptr"] = list(range(classes)), [0, classes]
    model["gbtree_model_param"] = {"num_parallel_tree": "1", "num_trees": str(classes)}
    model["cats"] = {"enc": [], "feature_segments": [], "sorted_idx": []}
    bare = type(booster)()
    bare.load_model(bytearray(json.dumps(told).encode()))
    row = np.zeros((1, int(learner["learner_model_param"]["num_feature"])), dtype=np.float32)
    return np.ravel(bare.inplace_predict(row, predict_type="margin"))


def _steps(
    told: Mapping[str, Any], start: Array, columns: "_Columns", best: int | None
) -> Iterator[Tree]:
    """Give trees up to the best iteration, those of each class in turn."""
    model = told.get("gbtree", told)["model"]
    count = model["iteration_indptr"][-1 if best is None else best + 1]
    weights = told.get("weight_drop", [None] * count)
    by_class: list[list[Tree]] = [[] for _ in start]
    for tree, weight, own in zip(model["trees"][:count], weights, model["tree_info"], strict=False):
        by_class[own].append(columns.tree(tree, weight, start[own]))
    for step in zip(*by_class, strict=True):
        yield from step


def _categories(booster: Any, given: Sequence[Sequence[Label]]) -> list[Sequence[Label]]:  # noqa: ANN401 (XGBoost's own)
    """Give the categories that a model knows of each column of a frame that has some.

    Raises:
        CannotConvertError: it keeps them cut, and they are not those that it is ``given``.
    """
    if "c" not in (booster.feature_types or ()):
        return []
    kept = booster.get_categories(export_to_arrow=True).to_arrow()
    known = [values for _, values in kept if values is not None]
    found = [uncut(values, own) for values, own in zip_longest(known, given, fillvalue=())]
    if any(index is None for index in found):
        raise CannotConvertError("it has cut the letters of its categories that are no ASCII")
    return [index.tolist() for index in found if index is not None]


def _rounded(graph: Graph, matrix: str, missing: float) -> str:
    """Round to floats; NaN is what is missing, and what a model takes for it, too."""
    rounded = graph.cast(matrix, TensorProto.FLOAT)
    wide = graph.cast(rounded)
    if np.isnan(missing):
        return wide
    gaps = graph.add("Equal", wide, graph.constant(float(np.float32(missing))))
    return graph.add("Where", gaps, graph.constant(np.nan), wide)


def _answers(graph: Graph, raw: str, objective: str) -> str:
    """Make of what trees add up what an objective makes of it: floats too."""
    if objective in LINKS:
        return LINKS[objective](graph, raw)
    if objective == "binary:hinge":
        zero = float32(graph, 0.0)
        return graph.cast(graph.add("Greater", raw, zero), TensorProto.FLOAT)
    if objective in SAME:
        return raw
    raise CannotConvertError(f"its objective is {objective}")


class _Columns:
    """The columns by which trees split: the features, and those of splits by categories."""

    def __init__(self, width: int) -> None:
        """Take the number of features."""
        self._splits = CategoricalSplits(width)

    def tree(self, told: Mapping[str, Any], weight: float | None, start: float) -> Tree:
        """Take a tree, without the nodes that nothing leads to; ``weight`` is that of dropping."""
        if int(told["tree_param"]["size_leaf_vector"]) > 1:
            raise CannotConvertError("its trees have several targets")
        left, right = np.array(told["left_children"]), np.array(told["right_children"])
        kept = _reached(left, right)
        new = np.full(len(left), -1)
        new[kept] = np.arange(len(kept))
        is_leaf = left < 0
        conditions = np.array(told["split_conditions"], dtype=np.float32)
        features = np.where(is_leaf, 0, told["split_indices"])
        thresholds = np.nextafter(conditions, np.float32(-np.inf)).astype(float)  # < is <= of that
        for node, codes in _sets(told):
            missing = not told["default_left"][node]
            split = CategoricalSplit(int(features[node]), codes, beyond=False, missing=missing)
            features[node], thresholds[node] = self._splits.column(split), BETWEEN
        values = conditions
        if weight is not None:  # as `inplace_predict` does it, and `predict` of a matrix does not
            values = ((np.float32(start) + values) - np.float32(start)) * np.float32(weight)
        return Tree(
            np.where(is_leaf, -1, new[left])[kept],
            np.where(is_leaf, 0, new[right])[kept],
            features[kept],
            thresholds[kept],
            np.array(told["default_left"], dtype=bool)[kept],
            np.where(is_leaf, values, 0).astype(float)[kept, np.newaxis],
        )

    def of(self, graph: Graph, matrix: str) -> str:
        """Give the columns, made of a matrix of the features; what is below zero is no code."""
        return self._splits.beside(graph, matrix, graph.add("Floor", matrix))


def _reached(left: Array, right: Array) -> list[int]:
    """Give the nodes of a tree to which its root leads."""
    found = [0]
    for node in found:
        if left[node] >= 0:
            found += [left[node], right[node]]
    return found


def _sets(told: Mapping[str, Any]) -> Iterator[tuple[int, tuple[bool, ...]]]:
    """Give the nodes that split by categories, and which codes go right there."""
    ends: Sequence[int] = told["categories_segments"]
    for node, start, size in zip(
        told["categories_nodes"], ends, told["categories_sizes"], strict=True
    ):
        codes = told["categories"][start : start + size]
        right = np.zeros(max(codes) + 1, dtype=bool)
        right[codes] = True
        yield node, tuple(right.tolist())

"""A tree in ONNX, of whichever library: it tells by a table of numbers into which leaf a row falls.

Where libraries of trees compute with floats, labels can change with the last bit of one. Here trees
only compare doubles, and what their leaves hold is looked up and added in an order that is told, so
that sums are alike bit for bit. A split by categories is a lookup too, of 0 or 1 by a category's
code: a column beside the others (`CategoricalSplits`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

from serving.model.outputs import Array
from training.compiling.graph import CannotConvertError, Graph

MAX_LEAVES = 500_000  # in one graph: more take gigabytes while they are converted
MAX_TABLE = 4_000_000  # numbers in the table of a column's splits by categories
BETWEEN = 0.5  # 0, to the left, and 1, to the right


@dataclass(frozen=True, slots=True)
class Tree:
    """A binary tree; where ``left`` is negative is a leaf, of a row of ``value`` (nodes, n).

    A row goes to the left where its ``feature`` is at most the ``threshold``.
    """

    left: Array
    right: Array
    feature: Array
    threshold: Array
    missing_left: Array
    value: Array

    @classmethod
    def of_one_leaf(cls, value: float) -> "Tree":
        """Make one that gives the same for all rows: where boosting starts."""
        none = np.array([0])
        return cls(none - 1, none, none, none, none, np.array([[value]]))


def leaves(graph: Graph, matrix: str, trees: Sequence[Tree]) -> str:
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


def boosted(
    graph: Graph,
    matrix: str,
    start: Array,
    steps: Sequence[Tree],
    kind: int = TensorProto.DOUBLE,
) -> str:
    """Add to where boosting starts what each step's trees give: an array (rows, classes).

    ``kind`` is what the sums are rounded to, one after the other.
    """
    trees = [*map(Tree.of_one_leaf, start.tolist()), *steps]
    shape = graph.constant([0, len(trees) // len(start), len(start)])
    values = graph.cast(leaves(graph, matrix, trees), kind)
    return graph.sum(graph.add("Reshape", values, shape))


@dataclass(frozen=True, slots=True)
class CategoricalSplit:
    """Which codes of a feature, of 0 and up, go to one side of a node, and which way others go.

    ``right`` tells it of each code; ``beyond`` of larger and negative ones, and ``missing``.
    """

    feature: int
    right: tuple[bool, ...]
    beyond: bool
    missing: bool

    def goes_right(self, codes: Array) -> Array:
        """Tell it of codes; of a fraction, what stands before the point is the code."""
        whole = np.trunc(np.nan_to_num(codes, nan=-1.0))
        known = (whole >= 0) & (whole < len(self.right))
        right = np.array(self.right, dtype=bool)[np.where(known, whole, 0).astype(np.intp)]
        return np.where(np.isnan(codes), self.missing, np.where(known, right, self.beyond))


class CategoricalSplits:
    """Puts a column for each split by categories beside a matrix: 1 where a row goes right."""

    def __init__(self, width: int) -> None:
        """Take the number of columns that are there already."""
        self._width = width
        self._columns: dict[CategoricalSplit, int] = {}

    @property
    def all(self) -> Sequence[CategoricalSplit]:
        """Give them in the order of their columns."""
        return list(self._columns)

    def column(self, split: CategoricalSplit) -> int:
        """Tell which column a split will be."""
        return self._columns.setdefault(split, self._width + len(self._columns))

    def beside(self, graph: Graph, matrix: str, codes: str) -> str:
        """Give a matrix with the columns; ``codes`` has a feature's codes where it has its values.

        Of a fraction, what stands before the point is the code.
        """
        if not self._columns:
            return matrix
        splits = list(self._columns)
        count = max(len(split.right) for split in splits)
        if (count + 3) * len(splits) > MAX_TABLE:
            raise CannotConvertError("its trees split by too many categories")
        # A table has a column for each split, and a row for each code; the last ones are those of a
        # code that is too large, a missing one, and a negative one, as it counts from the end.
        table = np.array([_sides(split, count) for split in splits]).T
        near = graph.add("Clip", codes, graph.constant(-1.0), graph.constant(float(count)))
        gaps = graph.add("IsNaN", codes)
        rows = graph.add("Where", gaps, graph.constant(count + 1.0), near)
        features = graph.constant([split.feature for split in splits])
        places = graph.add("Gather", graph.cast(rows, TensorProto.INT64), features, axis=1)
        places = graph.add("Mul", places, graph.constant(len(splits)))
        places = graph.add("Add", places, graph.constant(np.arange(len(splits))))
        sides = graph.add("Gather", graph.constant(table.ravel()), places, axis=0)
        return graph.add("Concat", matrix, sides, axis=1)


def _sides(split: CategoricalSplit, count: int) -> list[float]:
    """Give a split's column of the table: of each code, a large, a missing and a negative one."""
    others = [split.beyond] * (count + 1 - len(split.right))
    return [float(side) for side in (*split.right, *others, split.missing, split.beyond)]

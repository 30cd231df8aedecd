"""How scikit-learn's parts become ONNX where skl2onnx has none that gives the same answers.

Its trees compute with floats, and labels can change with the last bit of a float. Here a tree only
tells which of its leaves a row falls into, decided alike for every double: with scikit-learn's own
thresholds, on the floats that it makes of the input. What the leaves hold is looked up, and added
in scikit-learn's order, so that sums are alike bit for bit.

No string reaches a graph. A category is a number there, its place in the vocabulary of all, and an
encoder is a table of what it makes of each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from onnx import TensorProto, numpy_helper
from scipy.sparse import issparse
from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import DoubleTensorType, Int64TensorType
from sklearn.base import ClassifierMixin
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)
from sklearn.utils._missing import is_scalar_nan

from serving.model.estimator import Estimator
from serving.model.outputs import Array
from training.describing.domain import UNSEEN
from training.fitting.pipeline import parts_of

OURS = "exact_"  # what the names of our nodes begin with
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
CLASSIFIER_OPTIONS = ("zipmap", "nocl", "output_class_labels", "raw_scores")  # that skl2onnx knows
MAX_LEAVES = 500_000  # in one graph: more take gigabytes while they are converted
MAX_TABLE = 4_000_000  # numbers in the table that stands for an encoder
# Of `sklearn._loss`: by what a raw prediction is multiplied before it goes into the logistic.
LOGISTIC = {"HalfBinomialLoss": 1.0, "ExponentialLoss": 2.0}

Operator: TypeAlias = Any  # skl2onnx has no types


class CannotConvertError(Exception):
    """A part has no counterpart that gives the same answers; the message says why."""


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


class Graph:
    """Adds nodes to the graph of an operator; what adds one gives the name of its result."""

    def __init__(self, scope: Any, operator: Operator, container: Any) -> None:  # noqa: ANN401
        """Take what skl2onnx hands to a converter."""
        self._scope = scope
        self._container = container
        self.results = [variable.full_name for variable in operator.outputs]
        names = [variable.full_name for variable in operator.inputs]
        self.input = names[0] if len(names) == 1 else self.add("Concat", *names, axis=1)

    def add(
        self,
        kind: str,
        *inputs: str,
        result: str | None = None,
        domain: str = "",
        **attributes: Any,  # noqa: ANN401 (ONNX's own)
    ) -> str:
        """Add a node with one result."""
        name: str = result or self._scope.get_unique_variable_name(kind)
        self._container.add_node(
            kind,
            list(inputs),
            [name],
            op_domain=domain,
            name=self._scope.get_unique_operator_name(OURS + kind),
            **attributes,
        )
        return name

    def constant(self, values: Any) -> str:  # noqa: ANN401 (whatever becomes an array)
        """Add an array of doubles or whole numbers."""
        array = np.asarray(values)
        kind = TensorProto.DOUBLE if array.dtype.kind == "f" else TensorProto.INT64
        name: str = self._scope.get_unique_variable_name("constant")
        self._container.add_initializer(name, kind, list(array.shape), array.ravel().tolist())
        return name

    def cast(self, values: str, kind: int = TensorProto.DOUBLE) -> str:
        """Convert an array."""
        return self.add("Cast", values, to=kind)

    def rounded(self) -> str:
        """Give the input as `sklearn.tree` compares it: rounded to floats."""
        return self.cast(self.cast(self.input, TensorProto.FLOAT))

    def leaves(self, matrix: str, trees: Sequence[Tree]) -> str:
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
        leaf = self.add(
            "TreeEnsembleRegressor",
            matrix,
            domain="ai.onnx.ml",
            op_version=3,
            n_targets=len(trees),
            nodes_values_as_tensor=numpy_helper.from_array(np.concatenate(thresholds)),
            target_weights_as_tensor=numpy_helper.from_array(np.arange(starts[-1], dtype=float)),
            **nodes,
        )
        index = self.cast(leaf, TensorProto.INT64)
        return self.add("Gather", self.constant(np.concatenate(values)), index, axis=0)

    def sum(self, values: str) -> str:
        """Add along the second axis, one after the other: ``ReduceSum`` takes any order."""
        sums = self.add("CumSum", values, self.constant(1))
        return self.add("Gather", sums, self.constant(-1), axis=1)

    def classes(self, probabilities: str) -> None:
        """Give probabilities (rows, classes) as a classifier does; its labels are their places."""
        label, scores = self.results
        self.add("Identity", probabilities, result=scores)
        self.add("ArgMax", scores, result=label, axis=1, keepdims=0)

    def logistic(self, raw: str, loss: Any) -> None:  # noqa: ANN401 (scikit-learn's own)
        """Make probabilities of what boosting adds up, an array (rows, classes), or (rows, 1)."""
        kind = type(loss).__name__
        if kind == "HalfMultinomialLoss":
            self.classes(self.add("Softmax", raw, axis=1))
        elif kind in LOGISTIC:
            second = self.add("Sigmoid", self.add("Mul", raw, self.constant(LOGISTIC[kind])))
            first = self.add("Sub", self.constant(1.0), second)
            self.classes(self.add("Concat", first, second, axis=1))
        else:
            raise CannotConvertError(f"its loss is {kind}")


def forest(graph: Graph, estimator: Estimator) -> None:
    """Convert a tree, or the mean of several."""
    trees = [Tree.of(part) for part in getattr(estimator, "estimators_", [estimator])]
    total = graph.sum(graph.leaves(graph.rounded(), trees))
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
        graph.logistic(raw, estimator._loss)
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
        graph.logistic(raw, estimator._loss)
        return
    links = {"IdentityLink": "Identity", "LogLink": "Exp"}
    link = type(estimator._loss.link).__name__
    if link not in links:
        raise CannotConvertError(f"its link is {link}")
    graph.add(links[link], raw, result=graph.results[0])


def _boosted(graph: Graph, matrix: str, start: Array, steps: Sequence[Tree]) -> str:
    """Add to where boosting starts what each step's trees give: an array (rows, classes)."""
    trees = [*map(Tree.of_one_leaf, start.tolist()), *steps]
    shape = graph.constant([0, len(trees) // len(start), len(start)])
    return graph.sum(graph.add("Reshape", graph.leaves(matrix, trees), shape))


class Preparation:
    """Converts what prepares columns; ``vocabulary`` has all categories, each at its place."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        """Take the vocabulary."""
        self._vocabulary = vocabulary
        self._places = {category: place for place, category in enumerate(vocabulary)}

    def impute(self, graph: Graph, imputer: Estimator) -> None:
        """Convert an imputer, with what it tells of gaps."""
        if not is_scalar_nan(imputer.missing_values):
            raise CannotConvertError(f"it takes {imputer.missing_values!r} for a missing value")
        fill = [self._places.get(value, value) for value in imputer.statistics_]
        if not all(isinstance(value, int | float) and value == value for value in fill):
            raise CannotConvertError("it has nothing to put for a missing value")
        gaps = graph.add("IsNaN", graph.input)
        parts = [graph.add("Where", gaps, graph.constant([[*map(float, fill)]]), graph.input)]
        if imputer.indicator_ is not None:
            columns = graph.constant(imputer.indicator_.features_)
            parts.append(graph.add("Gather", graph.cast(gaps), columns, axis=1))
        graph.add("Concat", *parts, axis=1, result=graph.results[0])

    def encode(self, graph: Graph, encoder: Estimator) -> None:
        """Convert an encoder of categories, which looks at each column by itself."""
        parts = []
        for column, table in enumerate(self._tables(encoder)):
            place = graph.add("Gather", graph.input, graph.constant(column), axis=1)
            missing = graph.constant(float(len(table) - 1))
            place = graph.add("Where", graph.add("IsNaN", place), missing, place)
            index = graph.cast(place, TensorProto.INT64)
            parts.append(graph.add("Gather", graph.constant(table), index, axis=0))
        graph.add("Concat", *parts, axis=1, result=graph.results[0])

    def _tables(self, encoder: Estimator) -> list[Array]:
        """Ask an encoder for what it makes of each category, of another, and of a missing one."""
        if any(categories.dtype.kind not in "OUS" for categories in encoder.categories_):
            raise CannotConvertError("it encodes what are no strings")
        ends = np.cumsum([0, *_widths(encoder)])
        if (len(self._vocabulary) + 2) * ends[-1] > MAX_TABLE:
            raise CannotConvertError("it has too many categories")
        typical = [categories[0] for categories in encoder.categories_]
        tables = []
        for column, categories in enumerate(encoder.categories_):
            own = [category for category in categories if isinstance(category, str)]
            rows = np.array([typical] * (len(own) + 2), dtype=object)
            rows[:, column] = [*own, UNSEEN, np.nan]
            encoded = _encoded(encoder, rows)[:, ends[column] : ends[column + 1]]
            *_, unseen, missing = encoded
            table = np.array([unseen] * len(self._vocabulary) + [unseen, missing])
            table[[self._places[category] for category in own]] = encoded[: len(own)]
            tables.append(table)
        return tables


def _encoded(encoder: Estimator, rows: Array) -> Array:
    """Encode rows; zeros for those that an encoder refuses, which are never asked."""
    try:
        encoded = encoder.transform(rows)
        return encoded.toarray() if issparse(encoded) else encoded  # type: ignore[no-any-return]
    except ValueError:
        if len(rows) == 1:
            return np.zeros((1, sum(_widths(encoder))))
        middle = len(rows) // 2
        return np.concatenate([_encoded(encoder, half) for half in (rows[:middle], rows[middle:])])


def _widths(encoder: Estimator) -> list[int]:
    """Tell how many columns an encoder makes of each."""
    return list(getattr(encoder, "_n_features_outs", [1] * len(encoder.categories_)))


def same(graph: Graph, transformer: Estimator) -> None:
    """Convert what changes nothing here, where all is a double."""
    if transformer.func not in {None, np.asarray}:
        raise CannotConvertError(f"it calls {getattr(transformer.func, '__name__', 'a function')}")
    graph.add("Identity", graph.input, result=graph.results[0])


def vocabulary_of(estimator: Estimator) -> set[str]:
    """Find all strings that an estimator's parts know as categories, or put for missing ones."""
    found: set[str] = set()
    for part in parts_of(estimator):
        for values in (*getattr(part, "categories_", ()), getattr(part, "statistics_", ())):
            found |= {value for value in np.ravel(values).tolist() if isinstance(value, str)}
    return found


def register(vocabulary: Sequence[str]) -> None:
    """Make skl2onnx use these converters, with a vocabulary."""
    preparation = Preparation(vocabulary)
    for estimators, convert in (
        (FORESTS, forest),
        ((GradientBoostingClassifier, GradientBoostingRegressor), boosting),
        ((HistGradientBoostingClassifier, HistGradientBoostingRegressor), histogram_boosting),
    ):
        for estimator in estimators:
            _register(estimator, convert, _shape_predictions)
    _register(SimpleImputer, preparation.impute, _shape_columns)
    for encoder in (OneHotEncoder, OrdinalEncoder):
        _register(encoder, preparation.encode, _shape_columns)
    _register(FunctionTransformer, same, _shape_columns)


def _register(
    kind: type, convert: Callable[[Graph, Estimator], None], shape: Callable[[Operator], None]
) -> None:
    def converter(scope: Any, operator: Operator, container: Any) -> None:  # noqa: ANN401
        convert(Graph(scope, operator, container), operator.raw_operator)

    options = {name: [True, False] for name in CLASSIFIER_OPTIONS}
    update_registered_converter(
        kind,
        f"Exact{kind.__name__}",
        shape,
        converter,
        options=options if issubclass(kind, ClassifierMixin) else None,
    )


def _shape_predictions(operator: Operator) -> None:
    if hasattr(operator.raw_operator, "classes_"):
        label, scores = operator.outputs
        label.type = Int64TensorType([None])
        scores.type = DoubleTensorType([None, len(operator.raw_operator.classes_)])
    else:
        operator.outputs[0].type = DoubleTensorType([None, 1])


def _shape_columns(operator: Operator) -> None:
    part = operator.raw_operator
    count = sum(variable.type.shape[1] for variable in operator.inputs)
    if hasattr(part, "categories_"):
        count = sum(_widths(part))
    elif getattr(part, "indicator_", None) is not None:
        count += len(part.indicator_.features_)
    operator.outputs[0].type = DoubleTensorType([None, count])

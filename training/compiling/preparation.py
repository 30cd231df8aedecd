"""What prepares columns, in ONNX: imputers, and encoders of categories.

No string reaches a graph. A category is a number there, its place in the vocabulary of all, and an
encoder is a table of what it makes of each.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import TensorProto
from scipy.sparse import issparse
from sklearn.utils._missing import is_scalar_nan

from serving.model.description import Label
from serving.model.estimator import Estimator
from serving.model.outputs import Array
from training.compiling.graph import CannotConvertError, Graph
from training.describing.asking import UNSEEN
from training.fitting.pipeline import parts_of

MAX_COMPARED = 1000  # numbers with which a category that is a number is compared
MAX_TABLE = 4_000_000  # numbers in the table that stands for an encoder


class Preparation:
    """Converts what prepares columns; ``vocabulary`` has all categories, each at its place.

    ``categorical`` has the places of those columns of a frame that are pandas' categories, and
    which these are, if they are the same for each request; None is for an array, in which
    categories are codes already.
    """

    def __init__(
        self, vocabulary: Sequence[str], categorical: Mapping[int, Sequence[Label]] | None = None
    ) -> None:
        """Take the vocabulary, and which columns are categories."""
        self._vocabulary = vocabulary
        self._places = {category: place for place, category in enumerate(vocabulary)}
        self._categorical = categorical

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

    @property
    def given(self) -> list[Sequence[Label]]:
        """The categories of each column that has some, as the estimator is given them."""
        return list((self._categorical or {}).values())

    def coded(self, graph: Graph, lists: Sequence[Sequence[Label]]) -> str:
        """Give the input with codes of categories, as those who take a frame make them.

        ``lists`` are the categories of each column that has some, each at its code; what is none of
        them is NaN, as what is missing is.
        """
        if self._categorical is None or not lists:
            return graph.input
        if len(lists) != len(self._categorical):
            raise CannotConvertError("it takes categories that are not those of the table")
        width = graph.width
        columns = [
            graph.add("Gather", graph.input, graph.constant([at]), axis=1) for at in range(width)
        ]
        for at, categories in zip(self._categorical, lists, strict=True):
            if all(isinstance(category, str) for category in categories):
                columns[at] = self._codes_of_strings(graph, columns[at], categories)
            else:
                columns[at] = _codes_of_numbers(graph, columns[at], categories)
        return graph.add("Concat", *columns, axis=1)

    def _codes_of_strings(self, graph: Graph, column: str, categories: Sequence[Label]) -> str:
        codes = {category: float(code) for code, category in enumerate(categories)}
        table = [codes.get(category, np.nan) for category in self._vocabulary]
        missing = graph.constant(float(len(table)))
        place = graph.add("Where", graph.add("IsNaN", column), missing, column)
        known = graph.constant([*table, np.nan])  # for what is missing, or not in the vocabulary
        return graph.add("Gather", known, graph.cast(place, TensorProto.INT64), axis=0)

    def _tables(self, encoder: Estimator) -> list[Array]:
        """Ask an encoder for what it makes of each category, of another, and of a missing one."""
        if any(categories.dtype.kind not in "OUS" for categories in encoder.categories_):
            raise CannotConvertError("it encodes what are no strings")
        ends = np.cumsum([0, *widths(encoder)])
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


def _codes_of_numbers(graph: Graph, column: str, categories: Sequence[Label]) -> str:
    if any(isinstance(category, str) for category in categories):
        raise CannotConvertError("its categories are strings and numbers")
    if len(categories) > MAX_COMPARED:
        raise CannotConvertError(f"it has categories that are more than {MAX_COMPARED} numbers")
    known = np.array(categories, dtype=float)
    equal = graph.cast(graph.add("Equal", column, graph.constant(known[np.newaxis])))
    code = graph.add("ArgMax", equal, axis=1, keepdims=1)  # the first, if none is equal
    same = graph.add("Equal", graph.add("Gather", graph.constant(known), code, axis=0), column)
    return graph.add("Where", same, graph.cast(code), graph.constant(np.nan))


def _encoded(encoder: Estimator, rows: Array) -> Array:
    """Encode rows; zeros for those that an encoder refuses, which are never asked."""
    try:
        encoded = encoder.transform(rows)
        return encoded.toarray() if issparse(encoded) else encoded  # type: ignore[no-any-return]
    except ValueError:
        if len(rows) == 1:
            return np.zeros((1, sum(widths(encoder))))
        middle = len(rows) // 2
        return np.concatenate([_encoded(encoder, half) for half in (rows[:middle], rows[middle:])])


def widths(encoder: Estimator) -> list[int]:
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

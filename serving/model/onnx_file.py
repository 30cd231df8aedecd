"""An ONNX file that somebody has brought, asked as scikit-learn's estimators are.

ONNX Runtime computes it as it is. Its inputs are one matrix, or several of them that stand side by
side, such as one for each column. What an input can't hold is refused, and not bent: a gap in whole
numbers or texts, a fraction in whole numbers, a number that is too large for single precision.

The graph is pickled as it was brought; its session is made where it is asked first.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.metaestimators import available_if

from serving.model.onnx_session import session_of
from serving.model.outputs import Array
from serving.model.wrapped import unwrapped

NUMBERS: Mapping[str, Any] = {
    "tensor(double)": np.float64,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(bool)": np.bool_,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
}
TEXTS = "tensor(string)"
ROUNDING = 1e-4  # by which probabilities in single precision may leave 0 to 1


class OnnxModel(BaseEstimator):
    """A graph; ``values`` names the output that has a row's answer, ``scores`` what tells more.

    Without ``values`` the label is that of the largest score. ``labels`` are those of the scores'
    columns, and ``are_probabilities`` says that the scores look like such.
    """

    def __init__(
        self,
        graph: bytes,
        values: str | None,
        scores: str | None = None,
        labels: Any = None,  # noqa: ANN401 (a sequence)
        *,
        are_probabilities: bool = False,
    ) -> None:
        """Take a graph with all that it needs in it."""
        self.graph = graph
        self.values = values
        self.scores = scores
        self.labels = labels
        self.are_probabilities = are_probabilities

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the session, which can't be pickled."""
        return {name: one for name, one in vars(self).items() if name != "_session"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what was pickled."""
        self.__dict__.update(state)

    def __sklearn_is_fitted__(self) -> bool:
        """Tell that there is nothing to be fitted."""
        return True

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 (scikit-learn's own)
        """Tell that values may be missing, where the graph has an answer then."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    @property
    def session(self) -> Any:  # noqa: ANN401 (ONNX Runtime's own)
        """What computes it."""
        if "_session" not in vars(self):
            self._session = session_of(self.graph)
        return self._session

    @property
    def classes_(self) -> Array:
        """The labels, if they are known."""
        if self.labels is None:
            raise AttributeError("classes_")
        return np.asarray(self.labels)

    @property
    def n_features_in_(self) -> int:
        """How many columns its inputs take, if they say so."""
        widths = [width_of(given) for given in self.session.get_inputs()]
        if None in widths:
            raise AttributeError("n_features_in_")
        return sum(width or 0 for width in widths)

    @property
    def feature_names_in_(self) -> Array:
        """The names of its inputs, if there is one for each column."""
        given = self.session.get_inputs()
        if len(given) == 1 or any(width_of(one) != 1 for one in given):
            raise AttributeError("feature_names_in_")
        return np.array([one.name for one in given], dtype=object)

    def predict(self, rows: Any) -> Array:  # noqa: ANN401 (an array or a frame)
        """Give each row's answer, of shape (rows,) or (rows, n)."""
        if self.values is not None:
            return _one_column_as_none(self._run(rows, self.values))
        scores = self.predict_proba(rows) if self.are_probabilities else self._scores(rows)
        if scores.shape[1] == 1:
            return np.asarray(self.classes_[(scores[:, 0] > 0).astype(np.int64)])
        return np.asarray(self.classes_[scores.argmax(axis=1)])

    @available_if(lambda self: self.are_probabilities)
    def predict_proba(self, rows: Any) -> Array:  # noqa: ANN401 (an array or a frame)
        """Give the probabilities, of shape (rows, classes).

        Raises:
            ValueError: they are none.
        """
        given = self._scores(rows)
        if given.min(initial=0) < -ROUNDING or given.max(initial=1) > 1 + ROUNDING:
            raise ValueError(f"the graph's {self.scores} are no probabilities")
        return given if given.shape[1] > 1 else np.column_stack([1 - given, given])

    @available_if(lambda self: self.scores is not None)
    def decision_function(self, rows: Any) -> Array:  # noqa: ANN401 (an array or a frame)
        """Give the scores, of shape (rows,) or (rows, n)."""
        return _one_column_as_none(self._scores(rows))

    def _scores(self, rows: Any) -> Array:  # noqa: ANN401 (an array or a frame)
        given = self._run(rows, str(self.scores))
        return given if given.ndim > 1 else given[:, np.newaxis]

    def _run(self, rows: Any, output: str) -> Array:  # noqa: ANN401 (an array or a frame)
        """Compute one output, row by row if the graph takes one alone."""
        inputs = self.session.get_inputs()
        feeds = dict(_feeds(rows, inputs))
        if inputs[0].shape[0] != 1:
            return self._array(self.session.run([output], feeds)[0])
        alone = (
            {name: array[at : at + 1] for name, array in feeds.items()} for at in range(len(rows))
        )
        return np.concatenate([self._array(self.session.run([output], row)[0]) for row in alone])

    def _array(self, given: Any) -> Array:  # noqa: ANN401 (an array, or a list of dicts)
        """Give an output as an array; dicts by label as columns in the order of the labels."""
        if isinstance(given, list) and given and isinstance(given[0], dict):
            return np.array([[row[label] for label in self.classes_.tolist()] for row in given])
        return np.asarray(given)


class OnnxClassifier(ClassifierMixin, OnnxModel):
    """A graph that gives labels."""


class OnnxRegressor(RegressorMixin, OnnxModel):
    """A graph that gives numbers."""


def is_graph(estimator: Any) -> bool:  # noqa: ANN401 (any estimator)
    """Tell whether an estimator is such a graph, or labels around one."""
    return isinstance(unwrapped(estimator), OnnxModel)


def width_of(given: Any) -> int | None:  # noqa: ANN401 (an input of ONNX Runtime's)
    """Tell how many columns an input takes, if it says so."""
    if len(given.shape) == 1:
        return 1
    return given.shape[1] if isinstance(given.shape[1], int) else None


def _feeds(rows: Any, inputs: Any) -> Iterator[tuple[str, Array]]:  # noqa: ANN401 (see above)
    """Part the columns among the inputs, in order."""
    table = rows.to_numpy(dtype=object) if hasattr(rows, "to_numpy") else np.asarray(rows)
    if table.ndim == 1:  # a list of texts
        table = table[:, np.newaxis]
    at = 0
    for given in inputs:
        width = width_of(given) or table.shape[1]
        part = table[:, at : at + width]
        at += width
        array = _typed(part, given.type)
        yield given.name, array[:, 0] if len(given.shape) == 1 else array
    if at != table.shape[1]:
        raise ValueError(f"the graph takes {at} columns, not {table.shape[1]}")


def _typed(part: Array, kind: str) -> Array:
    """Give columns the type of an input, if it can hold them.

    Raises:
        ValueError: it can't.
    """
    if kind == TEXTS:
        if not all(isinstance(value, str) for value in part.ravel()):
            raise ValueError("the graph takes texts in some columns that have others, or gaps")
        return part.astype(object)
    if part.dtype == object and any(isinstance(value, str) for value in part.ravel()):
        raise ValueError("the graph takes numbers in some columns that have texts")
    numbers = part.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        array = numbers.astype(NUMBERS[kind])
    if array.dtype.kind == "f":
        if (np.isinf(array) & np.isfinite(numbers)).any():
            raise ValueError("a number is too large for the graph")
    elif not (array == numbers).all():
        raise ValueError("the graph takes whole numbers in some columns that have others, or gaps")
    return array


def _one_column_as_none(array: Array) -> Array:
    return array.ravel() if array.ndim == 2 and array.shape[1] == 1 else array

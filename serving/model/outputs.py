"""What an estimator gives, checked, and as predictions.

Refuses what no estimator may give: another shape than one answer for each row, an unknown label,
numbers that are not finite.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from serving.model.description import INLIER, OUTLIER, Description, Label

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Given: TypeAlias = Any  # what an estimator gives, before it is checked

# Two classes whose scores lie closer than this, relative to them, may change places by rounding.
TIE_TOLERANCE = 1e-9

MANY_ROWS = 1000

NO_VALUES: Array = np.empty(0)  # where `predict` was not asked

NUMBERS = {float, np.float64, np.float32}  # not whole ones, which may be labels beyond 2**53


class WrongOutputError(Exception):
    """An estimator gave what no estimator may: no fault of its input, unlike a ``ValueError``."""


def dense(given: Given) -> Array:
    """Give what an estimator gave as an array: SciPy's sparse matrices too."""
    return np.asarray(given.toarray() if hasattr(given, "toarray") else given)


def answers_of(given: Given) -> Array:
    """Give what ``predict`` gave as an array of shape (rows,), or (rows, targets).

    CatBoost gives a column of labels, and some give numbers as objects.

    Raises:
        WrongOutputError: it is no such array.
    """
    try:
        values = dense(given)
    except ValueError:
        raise WrongOutputError("predict gave answers of different lengths") from None
    if values.ndim == 2 and values.shape[1] == 1:
        values = values.ravel()
    if values.dtype == object and all(type(value) in NUMBERS for value in values.flat):
        values = values.astype(np.float64)
    return values


@dataclass(slots=True)  # not frozen: that costs a tenth of answering a batch
class Prediction:
    """What the estimator says of one row.

    ``value`` is a label or a number, or a list of them if there are several targets.
    ``probabilities`` is in the order of ``classes_``, a list of such lists if there are several
    targets. ``scores`` is what ``decision_function`` gives instead: a number, or a list.
    """

    value: Label | list[Label]
    probabilities: list[Any] | None = None
    scores: float | list[float] | None = None


class ExplainedPrediction(NamedTuple):
    """A prediction, and its explanation as it stands in an answer; nothing, if it has none."""

    prediction: Prediction
    explanation: Any


@dataclass(frozen=True, slots=True)
class Outputs:
    """What an estimator gives for rows.

    ``values`` has the shape (rows,), or (rows, targets) if there are several. ``probabilities`` has
    an array of shape (rows, classes) for each target, ``scores`` the shape (rows,) or (rows, n);
    of these two there is one at most.
    """

    values: Array
    probabilities: tuple[Array, ...] = ()
    scores: Array | None = None

    @property
    def deciding(self) -> Array:
        """The scores of the one target: by these its label may have been chosen."""
        return self.probabilities[0] if self.scores is None else self.scores


class OutputChecks:
    """Checks what an estimator of a description gives."""

    def __init__(self, description: Description) -> None:
        """Take the number of targets, their labels, and how the estimator scores them."""
        self._targets = len(description.targets)
        self._scored_by = description.asked.scored_by
        self._scores_by_class = description.asked.scores_by_class
        if description.task == "outlier-detection":
            self._labels: list[dict[Any, Label]] = [{1: INLIER, -1: OUTLIER}]
        else:
            # Some estimators predict 1.0 for the class 1; the class is what counts.
            self._labels = [{label: label for label in c} for c in description.classes_by_target]

    def outputs(self, count: int, given: Given, scores: Given) -> Outputs:
        """Take what ``predict`` and the scoring method gave for so many rows; see their shapes.

        Raises:
            WrongOutputError: it is not one answer for each row.
        """
        several = self._targets > 1
        values = answers_of(given)
        if values.shape != ((count, self._targets) if several else (count,)):
            raise WrongOutputError(f"predict gave an array of shape {values.shape}")
        return self.scored(count, scores, values)

    def scored(self, count: int, scores: Given, values: Array = NO_VALUES) -> Outputs:
        """Take what the scoring method gave, if there is one, for so many rows; see its shape.

        Raises:
            WrongOutputError: it is not one answer for each row.
        """
        if self._scored_by is None:
            return Outputs(values)
        if self._scored_by == "predict_proba":
            return Outputs(values, self._by_target(scores, count))
        scores = dense(scores)
        if scores.ndim not in {1, 2} or len(scores) != count:
            raise WrongOutputError(f"decision_function gave an array of shape {scores.shape}")
        return Outputs(values, scores=scores)

    def _by_target(self, given: Given, count: int) -> tuple[Array, ...]:
        """Sort what ``predict_proba`` gave by targets.

        For several targets that is a list of arrays, or one array with the probability of the
        second of two classes for each.
        """
        arrays: tuple[Array, ...]
        if self._targets == 1:
            arrays = (dense(given),)
        elif isinstance(given, list):
            arrays = tuple(map(dense, given))
        else:
            arrays = tuple(np.column_stack([1 - column, column]) for column in dense(given).T)
        shapes = [array.shape for array in arrays]
        if shapes != [(count, len(labels)) for labels in self._labels]:
            raise WrongOutputError(f"predict_proba gave arrays of shapes {shapes}")
        return arrays

    def check_scores(self, outputs: Outputs) -> None:
        """See that all that tells more than ``predict`` is finite.

        Raises:
            WrongOutputError: it is not.
        """
        for array in (*outputs.probabilities, outputs.scores):
            if array is not None and not np.isfinite(array).all():
                raise WrongOutputError("the estimator gave scores that are not finite")

    def predictions(self, outputs: Outputs) -> list[Prediction]:
        """Make predictions of what the estimator gave.

        Raises:
            WrongOutputError: a number that is not finite, or a label that is none of the classes.
        """
        self.check_scores(outputs)
        count = len(outputs.values)
        values = self.values(outputs)
        probabilities: Sequence[list[Any] | None] = [None] * count
        scores: Sequence[Any] = probabilities
        if len(outputs.probabilities) == 1:
            probabilities = outputs.probabilities[0].tolist()
        elif outputs.probabilities:
            by_target = [array.tolist() for array in outputs.probabilities]
            probabilities = [list(row) for row in zip(*by_target, strict=True)]
        elif outputs.scores is not None:
            scores = outputs.scores.tolist()
            if self._scores_by_class and outputs.scores.ndim == 1:
                scores = [[-score, score] for score in scores]
        return list(map(Prediction, values, probabilities, scores))

    def values(self, outputs: Outputs) -> list[Any]:
        """Give the predicted values, as Python's own, and labels as they stand in ``classes``.

        Raises:
            WrongOutputError: a number that is not finite, or a label that is none of the classes.
        """
        values = outputs.values
        if not self._labels:
            if values.dtype.kind not in "iufb" or not np.isfinite(values).all():
                raise WrongOutputError("predict gave what is no finite number")
            return list(values.tolist())
        try:
            if self._targets > 1:
                return [
                    [labels[value] for labels, value in zip(self._labels, row, strict=True)]
                    for row in values.tolist()
                ]
            (labels,) = self._labels
            return [labels[value] for value in values.tolist()]
        except KeyError:
            raise WrongOutputError("predict gave a label that is none of the classes") from None


def tied(scores: Array, tolerance: float = TIE_TOLERANCE) -> Array:
    """Tell for each row whether its two best classes' scores lie within the tolerance.

    ``scores`` is what ``predict_proba`` gives, or ``decision_function``: then a vector for two
    classes, whose sign decides.
    """
    if scores.ndim == 1:
        gap, largest = np.abs(scores), np.abs(scores)
    elif scores.shape[1] < 2:
        return np.zeros(len(scores), dtype=bool)
    else:
        best, second = _best_two(scores)
        gap, largest = best - second, np.maximum(np.abs(best), np.abs(second))
    return gap < tolerance * np.maximum(largest, 1)


def _best_two(scores: Array) -> tuple[Array, Array]:
    """Give the two largest numbers of each row; of many rows a column at a time, which is quick."""
    if len(scores) < MANY_ROWS:
        ordered = np.partition(scores, -2, axis=1)
        return ordered[:, -1], ordered[:, -2]
    best = second = np.full(len(scores), -np.inf)
    for column in scores.T:
        second = np.maximum(second, np.minimum(best, column))
        best = np.maximum(best, column)
    return best, second

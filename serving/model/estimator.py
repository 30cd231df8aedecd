"""The model: a fitted estimator, asked as training has found that it has to be asked.

Validated rows become the array or the data frame that the estimator takes, and what it gives is
checked before it becomes predictions: an estimator that answers with the wrong shape, an unknown
label, or numbers that are not finite has failed. A compiled estimator computes in its place, but
for the rows about which its proof says nothing.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from serving.dialects.ours import Prediction
from serving.model.compiled import CompiledEstimator
from serving.model.description import (
    INLIER,
    OUTLIER,
    Categories,
    Category,
    Compiled,
    Description,
    Label,
    Number,
    Text,
)
from serving.model.values import Row, Value

Array = np.ndarray[Any, np.dtype[Any]]
Estimator: TypeAlias = Any  # scikit-learn has no type for it
TableLike: TypeAlias = Any  # an array or a pandas DataFrame, with one row for each instance
Given: TypeAlias = Any  # what an estimator gives, before it is checked

# Two classes whose scores lie closer than this, relative to them, may change places by rounding.
TIE_TOLERANCE = 1e-9


class WrongOutputError(Exception):
    """An estimator gave what no estimator may: no fault of its input, unlike a ``ValueError``."""


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


class Model:
    """A fitted estimator and what is known of it, ready to be asked."""

    def __init__(
        self,
        estimator: Estimator,
        description: Description,
        compiled: CompiledEstimator | None = None,
    ) -> None:
        """Take an estimator with ``predict`` and the methods that the description names.

        An exact ``compiled`` one needs no estimator beside it.
        """
        self.description = description
        self._estimator = estimator
        self._compiled = compiled
        proof = description.compiled
        self._is_exact = isinstance(proof, Compiled) and proof.exact
        self._tie = max(TIE_TOLERANCE, 4 * proof.tolerance if isinstance(proof, Compiled) else 0)
        self._targets = len(description.targets)
        if description.task == "outlier-detection":
            self._labels: list[dict[Any, Label]] = [{1: INLIER, -1: OUTLIER}]
        else:
            # Some estimators predict 1.0 for the class 1; the class is what counts.
            self._labels = [{label: label for label in c} for c in description.classes_by_target]
        features = description.features
        self._has_strings = any(isinstance(feature, Category | Text) for feature in features)
        ranges = {at: f.trained for at, f in enumerate(features) if isinstance(f, Number)}
        self._numbers = list(ranges)
        self._usual = description.asked.usual * np.array(
            [max(-r.minimum, r.maximum) for r in ranges.values()]
        )
        if description.asked.input == "array":  # but it may have been fitted on a data frame
            warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)

    @property
    def runtime(self) -> str:
        """What computes it: ``onnx`` if it is compiled, else ``sklearn``."""
        return "sklearn" if self._compiled is None else "onnx"

    @property
    def labels_are_few(self) -> bool:
        """Whether each prediction is one label of few, and no number and no list."""
        return self.description.task != "regression" and self._targets < 2

    def warm_up(self) -> Prediction:
        """Ask for the example's prediction, alone and in company: what is lazy happens now.

        Raises:
            Exception: what the estimator raises, on its own example.
        """
        example = tuple(feature.example for feature in self.description.features)
        if self._estimator is not None and self._compiled is not None:
            self._predict([example])
        self.predict([example, example])
        return self.predict([example])[0][0]

    def predict(self, rows: list[Row]) -> tuple[list[Prediction], list[int]]:
        """Predict rows of values in the order of the features; None where a value is missing.

        Labels are those of ``predict`` and not of the largest probability, which may differ.
        Linear algebra may round a row differently in batches of different size. So the indexes of
        the rows where that could be seen come too: those whose two best classes are all but tied,
        and those far outside of what was seen in training. Asked for alone, they get the answers
        that the estimator gives in process. If that is true of all rows, none is predicted yet.

        Raises:
            Exception: what the estimator raises.
            WrongOutputError: it gave numbers that are not finite, a label that is none of the
                classes, or not one answer for each row.
        """
        if self._compiled is None:
            return self._predict(rows)
        table = self._compiled.table(rows)
        scores = self._compiled(table)
        sensitive = np.flatnonzero(self.sensitive(table, scores)).tolist()
        if sensitive and len(rows) == 1:
            return self._predict(rows)
        return self._compiled_predictions(scores), sensitive

    def _predict(self, rows: list[Row]) -> tuple[list[Prediction], list[int]]:
        """Predict rows by the estimator itself."""
        asked = self.description.asked
        if len(rows) > 1 and asked.batching == "alone":
            return [], list(range(len(rows)))
        table = self.table(rows)
        outputs = self.ask(table)
        predictions = self.predictions(outputs)
        if len(rows) == 1 or asked.batching == "invariant":
            return predictions, []
        if len(self._numbers) < len(rows[0]):
            numbers = np.array([[row[at] for at in self._numbers] for row in rows], dtype=float)
        else:
            numbers = np.asarray(table)
        sensitive = self._far(numbers)
        if asked.label_by is not None:
            sensitive |= tied(self._deciding_scores(table, outputs))
        return predictions, np.flatnonzero(sensitive).tolist()

    def sensitive(self, table: Array, scores: Array) -> Array:
        """Tell for each row whether it is for the estimator itself to answer.

        ``table`` is what the compiled one was given, and ``scores`` what it gave.
        """
        finite = np.asarray(np.isfinite(scores).all(axis=1))
        if self._is_exact:
            if not finite.all():
                raise WrongOutputError("the estimator gave scores that are not finite")
            return ~finite
        numbers = table if len(self._numbers) == table.shape[1] else table[:, self._numbers]
        far = self._far(numbers) | ~finite
        return far | tied(scores, self._tie) if self._labels else far

    def _compiled_predictions(self, scores: Array) -> list[Prediction]:
        """Make predictions of what the compiled estimator gave."""
        if not self._labels:
            return [Prediction(value) for value in scores[:, 0].tolist()]
        (labels,) = self.description.classes_by_target
        best = scores.argmax(axis=1).tolist()
        return [
            Prediction(labels[index], probabilities)
            for index, probabilities in zip(best, scores.tolist(), strict=True)
        ]

    def ask(self, table: TableLike) -> Outputs:
        """Put rows to the estimator, and check the shapes of what it gives.

        Raises:
            Exception: what the estimator raises.
            WrongOutputError: it gave not one answer for each row.
        """
        import sklearn  # which what is compiled may do without

        # The parameters were checked when the estimator was fitted.
        with sklearn.config_context(skip_parameter_validation=True):
            values = np.asarray(self._estimator.predict(table))
            method = self.description.asked.scored_by
            given = None if method is None else getattr(self._estimator, method)(table)
        count, several = len(table), self._targets > 1
        if not several and values.shape == (count, 1):
            values = values.ravel()
        if values.shape != ((count, self._targets) if several else (count,)):
            raise WrongOutputError(f"predict gave an array of shape {values.shape}")
        if method == "predict_proba":
            return Outputs(values, self._by_target(given, count))
        if method is None:
            return Outputs(values)
        scores = np.asarray(given)
        if scores.ndim not in {1, 2} or len(scores) != count:
            raise WrongOutputError(f"decision_function gave an array of shape {scores.shape}")
        return Outputs(values, scores=scores)

    def table(self, rows: Sequence[Row]) -> TableLike:
        """Give rows in the form that the estimator takes; NaN where a value is missing."""
        match self.description.asked.input:
            case "array":
                return to_array(rows, has_strings=self._has_strings)
            case "texts":
                return [np.nan if text is None else text for (text,) in rows]
            case "dicts":
                names = [feature.name for feature in self.description.features]
                filled = ([np.nan if value is None else value for value in row] for row in rows)
                return [dict(zip(names, row, strict=True)) for row in filled]
            case "gapped-dicts":
                names = [feature.name for feature in self.description.features]
                pairs = (zip(names, row, strict=True) for row in rows)
                return [{name: value for name, value in row if value is not None} for row in pairs]
            case "categorical-frame":
                return self._frame(rows, "category")
        return self._frame(rows, object)

    def _frame(self, rows: Sequence[Row], string_dtype: type | str) -> TableLike:
        """Give rows as a data frame with the types that training has given its own."""
        import pandas as pd  # only there with a model that needs it

        series = {}
        dtypes = self.description.asked.dtypes
        for feature, column in zip(self.description.features, zip(*rows, strict=True), strict=True):
            told = dtypes.get(feature.name)
            if isinstance(told, Categories):
                series[feature.name] = pd.Series(_categorical(column, told))
            elif told is not None:
                series[feature.name] = pd.Series(list(column), dtype=told)
            elif feature.type in {"category", "text"}:
                values = [np.nan if value is None else value for value in column]
                series[feature.name] = pd.Series(values, dtype=object).astype(string_dtype)
            else:
                dtype = {"integer": "int64", "boolean": "bool"}.get(feature.type, "float64")
                dtype = "float64" if feature.nullable else dtype
                series[feature.name] = pd.Series(column, dtype=dtype)
        return pd.DataFrame(series)

    def _by_target(self, given: Given, count: int) -> tuple[Array, ...]:
        """Sort what ``predict_proba`` gave by targets.

        For several targets that is a list of arrays, or one array with the probability of the
        second of two classes for each.
        """
        arrays: tuple[Array, ...]
        if self._targets == 1:
            arrays = (np.asarray(given),)
        elif isinstance(given, list):
            arrays = tuple(map(np.asarray, given))
        else:
            arrays = tuple(np.column_stack([1 - column, column]) for column in np.asarray(given).T)
        shapes = [array.shape for array in arrays]
        if shapes != [(count, len(labels)) for labels in self._labels]:
            raise WrongOutputError(f"predict_proba gave arrays of shapes {shapes}")
        return arrays

    def predictions(self, outputs: Outputs) -> list[Prediction]:
        """Make predictions of what the estimator gave.

        Raises:
            WrongOutputError: a number that is not finite, or a label that is none of the classes.
        """
        for array in (*outputs.probabilities, outputs.scores):
            if array is not None and not np.isfinite(array).all():
                raise WrongOutputError("the estimator gave scores that are not finite")
        count = len(outputs.values)
        values = self._checked(outputs.values)
        probabilities: Sequence[list[Any] | None] = [None] * count
        scores: Sequence[Any] = probabilities
        if len(outputs.probabilities) == 1:
            probabilities = outputs.probabilities[0].tolist()
        elif outputs.probabilities:
            by_target = [array.tolist() for array in outputs.probabilities]
            probabilities = [list(row) for row in zip(*by_target, strict=True)]
        elif outputs.scores is not None:
            scores = outputs.scores.tolist()
            if self.description.asked.scores_by_class and outputs.scores.ndim == 1:
                scores = [[-score, score] for score in scores]
        return list(map(Prediction, values, probabilities, scores))

    def _checked(self, values: Array) -> list[Any]:
        """Give the predicted values, as Python's own, and labels as they stand in ``classes``."""
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

    def _far(self, numbers: Array) -> Array:
        """Tell for each row, given its numbers, whether one is far outside of training's."""
        return np.asarray((np.abs(numbers) > self._usual).any(axis=1))

    def _deciding_scores(self, table: TableLike, outputs: Outputs) -> Array:
        """Give the scores of which the largest is the label's."""
        asked = self.description.asked
        if asked.label_by != asked.scored_by:  # as with SVC: its probabilities may say otherwise
            return np.asarray(getattr(self._estimator, str(asked.label_by))(table))
        return outputs.deciding


def to_array(rows: Sequence[Row], *, has_strings: bool) -> Array:
    """Give rows as an array: of doubles if they are, else of objects; NaN for what is missing."""
    if not has_strings:
        return np.array(rows, dtype=np.float64)  # None becomes NaN
    array = np.array(rows, dtype=object)
    array[array == None] = np.nan  # noqa: E711 (by element)
    return array


def _categorical(column: Sequence[Value], told: Categories) -> Any:  # noqa: ANN401 (pandas' own)
    """Give values as pandas' categories: those of training first, so that their codes are its.

    Another value is a category too, and not taken for a missing one: what an estimator does with
    it, refuse it perhaps, is the estimator's own affair.
    """
    import pandas as pd

    known = pd.Index(list(told.values), dtype=told.dtype)
    present = [value for value in dict.fromkeys(column) if value is not None]
    others = [value for value in present if value not in told.values]
    categories = known.append(pd.Index(others)) if others else known
    return pd.Categorical(list(column), categories=categories, ordered=told.ordered)


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
        best = np.partition(scores, -2, axis=1)[:, -2:]
        gap, largest = best[:, 1] - best[:, 0], np.abs(best).max(axis=1)
    return gap < tolerance * np.maximum(largest, 1)

"""A fitted estimator, asked as training has found that it has to be asked.

Validated rows become the array, the data frame or the list that the estimator takes, and what it
gives is checked before it becomes predictions.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import numpy as np

from serving.model.answers import AnswerColumns, Answers, joined
from serving.model.columns import Column
from serving.model.description import Categories, Description
from serving.model.features import Category, Number, Row, Text, Value
from serving.model.outputs import (
    Array,
    Given,
    OutputChecks,
    Outputs,
    Prediction,
    dense,
    tied,
)

Estimator: TypeAlias = Any  # scikit-learn has no type for it
TableLike: TypeAlias = Any  # an array or a pandas DataFrame, with one row for each instance
# Asked for at a time, by columns: kernels and the like need memory for each row.
TOLERANT_ROWS = 4096

Predict: TypeAlias = Callable[[Sequence[Row]], Sequence[Prediction | None]]


class Reach:
    """Tells the rows that have numbers far outside of those that training saw, or tried."""

    def __init__(self, description: Description) -> None:
        """Take the ranges of the numbers, and how many times as far is still near."""
        features = description.features
        asked = description.asked
        sizes = {
            at: f.trained.size if f.trained else asked.tried.get(f.name, 0.0)
            for at, f in enumerate(features)
            if isinstance(f, Number)
        }
        self.columns = list(sizes)  # of numbers
        self.all_are_numbers = len(sizes) == len(features)
        self._usual = asked.usual * np.array(list(sizes.values()))

    def far(self, numbers: Array) -> Array:
        """Tell for each row, given the columns of numbers alone, whether it is one."""
        is_far = np.abs(numbers) > self._usual
        if not is_far.any():  # nearly always, and to look at each row takes longer
            return np.zeros(len(numbers), dtype=bool)
        return np.asarray(is_far.any(axis=1))


class FittedEstimator:
    """A fitted estimator and what is known of it, ready to be asked."""

    max_at_once = 0  # an estimator may take its time, and may hang

    def __init__(self, estimator: Estimator, description: Description) -> None:
        """Take an estimator with ``predict`` and the methods that the description names."""
        self.description = description
        self.runtime = "onnx" if description.is_graph else "sklearn"
        self._estimator = estimator
        self._checks = OutputChecks(description)
        self.predictions = self._checks.predictions
        self._answer_columns = AnswerColumns(description)
        self._reach = Reach(description)
        features = description.features
        self._has_strings = any(isinstance(feature, Category | Text) for feature in features)
        self._asks: Callable[[TableLike], tuple[Given, Given]] = self._by_its_methods
        if description.asked.shortcut:
            from serving.model.shortcut import shortcut  # scikit-learn too, so not before

            self._asks = shortcut(estimator, description) or self._by_its_methods
        if description.asked.input == "array":  # but it may have been fitted on a data frame
            warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)

    def warm_up(self) -> Prediction:
        """See that it answers, as `try_example` does."""
        return try_example(self.description, self.predict)

    def predict(self, rows: Sequence[Row]) -> list[Prediction | None]:
        """Predict rows of values in the order of the features; None where a value is missing.

        Labels are those of ``predict`` and not of the largest probability, which may differ.
        Linear algebra may round a row differently in batches of different size. None stands for
        the prediction of a row where that could be seen, which has to be asked for alone: its two
        best classes are all but tied, or it is far outside of what training saw. Alone, each row
        gets the answer that the estimator gives in process.

        Raises:
            Exception: what the estimator raises.
            WrongOutputError: it gave numbers that are not finite, a label that is none of the
                classes, or not one answer for each row.
        """
        asked = self.description.asked
        if len(rows) > 1 and asked.batching == "alone":
            return [None] * len(rows)
        table = self.table(rows)
        outputs = self.ask(table)
        predictions: list[Prediction | None] = [*self.predictions(outputs)]
        if len(rows) > 1 and asked.batching == "tolerant":
            numbers = self._numbers(rows, table)
            for index in np.flatnonzero(self._sensitive(numbers, table, outputs)):
                predictions[index] = None
        return predictions

    at_once = predict

    def answers(self, columns: Sequence[Column]) -> Answers:
        """Answer rows by columns, each as `predict` answers it; alone, where that is needed.

        Raises:
            Exception: what `predict` raises.
        """
        return joined([self._together(part) for part in self._parts(columns)])

    def numbers(self, columns: Sequence[Column]) -> Array:
        """Give the numbers by which rows are answered: an array of shape (rows, outputs).

        They are each class's, of all targets, or the one of each target. Labels are not asked for,
        nor is a row asked for alone for the sake of last bits.

        Raises:
            Exception: what the estimator raises.
            WrongOutputError: it gave numbers that are not finite, or not one answer for each row.
        """
        return np.concatenate([self._numbers_of(part) for part in self._parts(columns)])

    def _parts(self, columns: Sequence[Column]) -> Iterator[Sequence[Column]]:
        """Give as many rows as may be asked for at a time."""
        rows = len(columns[0])
        most = {"alone": 1, "tolerant": TOLERANT_ROWS}.get(self.description.asked.batching, rows)
        return ([column.part(at, at + most) for column in columns] for at in range(0, rows, most))

    def _numbers_of(self, columns: Sequence[Column]) -> Array:
        table = self.table_of(columns)
        method = self.description.asked.scored_by
        if method is None or self._asks != self._by_its_methods:  # a shortcut gives both at once
            answers = self._answer_columns.of_outputs(self.ask(table), self._checks)
            found = np.column_stack(answers.numbers or answers.values)
            return found.astype(np.float64, copy=False)
        with _unchecked():
            scores = getattr(self._estimator, method)(table)
        outputs = self._checks.scored(len(table), scores)
        return np.column_stack(self._answer_columns.numbers(outputs, self._checks))

    def _together(self, columns: Sequence[Column]) -> Answers:
        table = self.table_of(columns)
        outputs = self.ask(table)
        answers = self._answer_columns.of_outputs(outputs, self._checks)
        if len(answers) > 1 and self.description.asked.batching == "tolerant":
            numbers = [columns[at].doubles() for at in self._reach.columns]
            sensitive = self._sensitive(by_column(numbers, len(answers)), table, outputs)
            for row in np.flatnonzero(sensitive).tolist():
                answers.put([row], self._together([c.part(row, row + 1) for c in columns]))
        return answers

    def _sensitive(self, numbers: Array, table: TableLike, outputs: Outputs) -> Array:
        """Tell for each row whether its answer may depend on its company."""
        sensitive = self._reach.far(numbers)
        if self.description.asked.label_by is not None:
            sensitive |= tied(self._deciding_scores(table, outputs))
        return sensitive

    def ask(self, table: TableLike) -> Outputs:
        """Put rows to the estimator, and check the shapes of what it gives.

        Raises:
            Exception: what the estimator raises.
            WrongOutputError: it gave not one answer for each row.
        """
        with _unchecked():
            return self._checks.outputs(len(table), *self._asks(table))

    def scores(self, table: TableLike) -> Array:
        """Give each class's probability, or one number, for each row, as a graph does.

        Raises:
            Exception: what the estimator raises.
        """
        ask = getattr(self._estimator, self.description.asked.scored_by or "predict")
        with _unchecked():
            return dense(ask(table)).astype(np.float64).reshape(len(table), -1)

    def _by_its_methods(self, table: TableLike) -> tuple[Given, Given]:
        """Give what ``predict`` and the scoring method give, if there is one."""
        values = self._estimator.predict(table)
        method = self.description.asked.scored_by
        return values, None if method is None else getattr(self._estimator, method)(table)

    def table(self, rows: Sequence[Row]) -> TableLike:
        """Give rows in the form that the estimator takes; NaN where a value is missing."""
        match self.description.asked.input:
            case "array":
                return to_array(rows, has_strings=self._has_strings)
            case "frame" | "categorical-frame":
                return self._frame(list(zip(*rows, strict=True)))
            case "texts":
                return [np.nan if text is None else text for (text,) in rows]
            case "dicts":
                names = [feature.name for feature in self.description.features]
                filled = ([np.nan if value is None else value for value in row] for row in rows)
                return [dict(zip(names, row, strict=True)) for row in filled]
        names = [feature.name for feature in self.description.features]  # of gapped dicts
        pairs = (zip(names, row, strict=True) for row in rows)
        return [{name: value for name, value in row if value is not None} for row in pairs]

    def table_of(self, columns: Sequence[Column]) -> TableLike:
        """Give columns in the form that the estimator takes, as `table` gives the same rows."""
        form = self.description.asked.input
        if form == "array" and not self._has_strings:
            return by_column([column.doubles() for column in columns], len(columns[0]))
        objects = [column.objects() for column in columns]
        if form in {"frame", "categorical-frame"}:
            return self._frame(objects)
        return self.table(list(zip(*objects, strict=True)))

    def _frame(self, columns: Sequence[Sequence[Value]]) -> TableLike:
        """Give columns as a data frame with the types that training has given its own."""
        import pandas as pd  # only there with a model that needs it

        series = {}
        dtypes = self.description.asked.dtypes
        is_categorical = self.description.asked.input == "categorical-frame"
        string_dtype: type | str = "category" if is_categorical else object
        for feature, column in zip(self.description.features, columns, strict=True):
            told = dtypes.get(feature.name)
            if isinstance(told, Categories):
                series[feature.name] = pd.Series(_categorical(column, told))
            elif told is not None:
                series[feature.name] = pd.Series(list(column), dtype=told)
            elif isinstance(feature, Category | Text):
                values = [np.nan if value is None else value for value in column]
                series[feature.name] = pd.Series(values, dtype=object).astype(string_dtype)
            else:
                dtype = {"integer": "int64", "boolean": "bool"}.get(feature.type, "float64")
                dtype = "float64" if feature.nullable else dtype
                series[feature.name] = pd.Series(column, dtype=dtype)
        return pd.DataFrame(series)

    def _numbers(self, rows: Sequence[Row], table: TableLike) -> Array:
        """Give the columns of numbers."""
        if self._reach.all_are_numbers:
            return np.asarray(table)
        return np.array([[row[at] for at in self._reach.columns] for row in rows], dtype=float)

    def _deciding_scores(self, table: TableLike, outputs: Outputs) -> Array:
        """Give the scores of which the largest is the label's."""
        asked = self.description.asked
        if asked.label_by != asked.scored_by:  # as with SVC: its probabilities may say otherwise
            return np.asarray(getattr(self._estimator, str(asked.label_by))(table))
        return outputs.deciding


def try_example(description: Description, predict: Predict) -> Prediction:
    """Give the example's prediction, asked for in company and alone: what is lazy happens now.

    Raises:
        Exception: what the estimator raises, on its own example.
    """
    example = description.example
    predict([example, example])
    (prediction,) = predict([example])
    assert prediction is not None  # noqa: S101 (a row alone is always answered)
    return prediction


def _unchecked() -> AbstractContextManager[None]:
    """Have scikit-learn not check parameters: they were, when the estimator was fitted."""
    import sklearn  # which what is compiled may do without

    return sklearn.config_context(skip_parameter_validation=True)  # type: ignore[no-any-return]


def to_array(rows: Sequence[Row], *, has_strings: bool) -> Array:
    """Give rows as an array: of doubles if they are, else of objects; NaN for what is missing."""
    if not has_strings:
        return np.array(rows, dtype=np.float64)  # None becomes NaN
    array = np.array(rows, dtype=object)
    array[array == None] = np.nan  # noqa: E711 (by element)
    return array


def by_column(columns: Sequence[Array], rows: int) -> Array:
    """Give columns of doubles as a matrix, row by row in memory, as `to_array` gives rows."""
    matrix = np.empty((rows, len(columns)))
    for at, column in enumerate(columns):
        matrix[:, at] = column
    return matrix


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

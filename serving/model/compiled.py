"""The compiled estimator: a fitted one as an ONNX graph, which training has proven to be alike.

It computes in the estimator's place, but for the rows about which its proof says nothing.

A graph takes one matrix of doubles, a column for each feature: NaN where a value is missing, and
for a category its place among all that the table or an encoder knows, or how many these are if
none does. It gives one matrix too: each class's probability, or one number, for each row.
"""

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from serving.model.answers import Answers
from serving.model.columns import Column
from serving.model.description import Compiled, Description
from serving.model.estimator import FittedEstimator, Reach, by_column, try_example
from serving.model.features import Row
from serving.model.onnx_session import session_of
from serving.model.outputs import TIE_TOLERANCE, Array, Prediction, WrongOutputError, tied

Doubles: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

AT_ONCE_ROWS = (1, 2, 4, 8, 16, 32, 64)  # tried, to find out how many are quick
AT_ONCE_S = 100e-6  # what is quick: handing over to a thread and back takes about as long
TIMED_RUNS = 20  # of which the shortest counts
CATEGORIES = "categories"  # under which a graph names them, in JSON


class CompiledGraph:
    """Computes rows with ONNX Runtime."""

    rows_together = 1000  # of many, for which a batch of a server has room too

    def __init__(self, graph: bytes) -> None:
        """Take a graph that training has made.

        Raises:
            Exception: ONNX Runtime can't compute with it.
        """
        self._session = session_of(graph)
        (given,), (found,) = self._session.get_inputs(), self._session.get_outputs()
        self._input, self._output = given.name, found.name
        named = self._session.get_modelmeta().custom_metadata_map.get(CATEGORIES, "[]")
        self._places = {category: place for place, category in enumerate(json.loads(named))}

    def table(self, rows: Sequence[Row]) -> Doubles:
        """Give rows as a matrix, a column for each feature."""
        numbers: Sequence[Sequence[Any]] = rows
        if self._places:
            places, unseen = self._places, len(self._places)
            numbers = [
                [places.get(value, unseen) if isinstance(value, str) else value for value in row]
                for row in rows
            ]
        return np.array(numbers, dtype=np.float64)  # None becomes NaN

    def table_of(self, columns: Sequence[Column]) -> Doubles:
        """Give columns as `table` gives the same rows."""
        return by_column([self._numbers(column) for column in columns], len(columns[0]))

    def _numbers(self, column: Column) -> Array:
        if column.words is None:
            return column.doubles()
        unseen = len(self._places)
        places = np.array([self._places.get(word, unseen) for word in column.words] or [0])
        return Column(places[column.values], column.missing).doubles()

    def __call__(self, table: Doubles) -> Doubles:
        """Give each class's probability, or one number, for each row of such a matrix."""
        (scores,) = self._session.run([self._output], {self._input: table})
        return scores  # type: ignore[no-any-return]


class ScoringEstimator(CompiledGraph):
    """An estimator in the place of its graph, if that is exact: for many rows it may be quicker."""

    rows_together = 1 << 16  # as calling it costs much

    def __init__(self, estimator: FittedEstimator) -> None:
        """Take the estimator that was compiled."""
        self.table, self.table_of = estimator.table, estimator.table_of  # type: ignore[method-assign]
        self._scores = estimator.scores

    def __call__(self, table: Doubles) -> Doubles:
        """Give what the graph gives, bit for bit."""
        return self._scores(table)


class CompiledEstimator:
    """A graph, and the estimator to which it hands what it may not answer."""

    runtime = "onnx"

    def __init__(
        self,
        graph: CompiledGraph,
        description: Description,
        estimator: FittedEstimator | Callable[[], FittedEstimator] | None,
    ) -> None:
        """Take a graph with its proof; an exact one needs no estimator beside it.

        What gives an estimator is called when the first row needs it.
        """
        self.description = description
        self.graph = graph
        self._estimator = estimator
        proof = description.compiled
        assert isinstance(proof, Compiled)  # noqa: S101 (or there were no graph)
        self.is_exact = proof.exact
        self._tie = max(TIE_TOLERANCE, 4 * proof.tolerance)
        self._labels = next(iter(description.classes_by_target), None)
        self._reach = Reach(description)
        self.max_at_once = 0

    def warm_up(self) -> Prediction:
        """See that it answers, as `try_example` does, and how many rows are quick."""
        if isinstance(self._estimator, FittedEstimator):
            self._estimator.warm_up()
        prediction = try_example(self.description, self.predict)
        self.max_at_once = self._quick_rows()
        return prediction

    def _itself(self) -> FittedEstimator:
        """Give the estimator beside the graph."""
        assert self._estimator is not None  # noqa: S101 (only an exact graph is without)
        if not isinstance(self._estimator, FittedEstimator):
            self._estimator = self._estimator()
        return self._estimator

    def _quick_rows(self) -> int:
        """Find out how many rows take no longer than handing them to a thread would."""
        quick = 0
        for count in AT_ONCE_ROWS:
            rows = [self.description.example] * count
            if shortest_s(partial(self.at_once, rows), TIMED_RUNS) > AT_ONCE_S:
                break
            quick = count
        return quick

    def predict(self, rows: Sequence[Row]) -> list[Prediction | None]:
        """Predict rows as `FittedEstimator.predict` does.

        Raises:
            Exception: what the estimator raises.
            WrongOutputError: it gave what no estimator may.
        """
        predictions = self.at_once(rows)
        if len(rows) == 1 and predictions[0] is None and self._estimator is not None:
            return self._itself().predict(rows)
        return predictions

    def at_once(self, rows: Sequence[Row]) -> list[Prediction | None]:
        """Predict rows by the graph alone, which can't hang: None for those it may not answer.

        Raises:
            WrongOutputError: it gave what no estimator may.
        """
        table = self.graph.table(rows)
        scores = self.graph(table)
        predictions = self._predictions(scores)
        if self.is_exact:
            if not np.isfinite(scores).all():
                raise WrongOutputError("the estimator gave scores that are not finite")
            return predictions
        for index in np.flatnonzero(self.sensitive(table, scores)):
            predictions[index] = None
        return predictions

    def answers(self, columns: Sequence[Column]) -> Answers:
        """Answer rows by columns, each as `predict` answers it.

        Raises:
            Exception: what `predict` raises.
        """
        table, scores = self._computed(columns)
        by_class = [np.ascontiguousarray(column) for column in scores.T]
        values = by_class if self._labels is None else [scores.argmax(axis=1)]
        answers = Answers(values, [] if self._labels is None else by_class)
        if self.is_exact:
            if not np.isfinite(scores).all():
                raise WrongOutputError("the estimator gave scores that are not finite")
        else:
            for row in np.flatnonzero(self.sensitive(table, scores)).tolist():
                alone = self._itself().answers([c.part(row, row + 1) for c in columns])
                answers.put([row], alone)
        return answers

    def numbers(self, columns: Sequence[Column]) -> Array:
        """Give the numbers by which rows are answered, as `FittedEstimator.numbers` does.

        Raises:
            Exception: what the estimator raises.
            WrongOutputError: it gave numbers that are not finite.
        """
        table, scores = self._computed(columns)
        if self.is_exact:
            if not np.isfinite(scores).all():
                raise WrongOutputError("the estimator gave scores that are not finite")
        elif (beyond := self._beyond(table, scores)).any():
            scores[beyond] = self._itself().numbers([column.take(beyond) for column in columns])
        return scores

    def _computed(self, columns: Sequence[Column]) -> tuple[Doubles, Doubles]:
        """Give columns as a matrix, and what the graph gives for it."""
        table = self.graph.table_of(columns)
        most = self.graph.rows_together
        starts = range(0, len(table), most)
        return table, np.concatenate([self.graph(table[at : at + most]) for at in starts])

    def sensitive(self, table: Array, scores: Array) -> Array:
        """Tell for each row whether it is for the estimator itself to answer.

        ``table`` is what the graph was given, and ``scores`` what it gave.
        """
        others = self._beyond(table, scores)
        return others if self._labels is None else others | tied(scores, self._tie)

    def _beyond(self, table: Array, scores: Array) -> Array:
        """Tell for each row whether it is far from training's, or has scores not finite."""
        numbers = table if self._reach.all_are_numbers else table[:, self._reach.columns]
        others = self._reach.far(numbers)
        finite = np.isfinite(scores)
        if not finite.all():
            others |= ~finite.all(axis=1)
        return others

    def _predictions(self, scores: Array) -> list[Prediction | None]:
        """Make predictions of what the graph gave."""
        if self._labels is None:
            return [Prediction(value) for value in scores[:, 0].tolist()]
        labels = self._labels
        best = scores.argmax(axis=1).tolist()
        return [
            Prediction(labels[index], probabilities)
            for index, probabilities in zip(best, scores.tolist(), strict=True)
        ]


def shortest_s(run: Callable[[], object], runs: int) -> float:
    """Take the shortest time of some runs, which nothing else on the machine has lengthened."""
    times_s = []
    for _ in range(runs):
        started_s = time.perf_counter()
        run()
        times_s.append(time.perf_counter() - started_s)
    return min(times_s)

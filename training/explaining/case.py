"""A model that is to be explained: its rows, those to compare with, and how quickly it is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from serving.explaining.numbers import Outputs
from serving.model.columns import Column, by_columns, judge
from serving.model.compiled import CompiledEstimator, CompiledGraph, shortest_s
from serving.model.description import Description, ExplainedOutput
from serving.model.estimator import Estimator, FittedEstimator
from serving.model.features import Row
from serving.model.outputs import Array
from training.describing.asking import answers, some
from training.explaining.background import published_rows, rows_of_training
from training.explaining.built import CannotExplainError

MAX_ROWS = 2000  # of the table, that are looked at
MAX_ALONE = 200  # where each has to be asked by itself
MAX_BACKGROUND = 100  # rows to compare with
BUDGET_S = 0.25  # for asking about one row
PART_S = 1.5e-3  # for which a prediction may have to wait
MAX_SLOWER = 1.5  # a part than one row, where that takes longer
FAR_SLOWER = 3  # than what is wanted: those of more rows are so, too
ROWS_AT_ONCE = tuple(2**power for power in range(1, 13))
WARMING_RUNS = 2
TIMED_RUNS = 5  # of which the shortest counts


class Pace(NamedTuple):
    """How many rows are asked about at a time, and how long that takes."""

    rows: int
    part_s: float

    def seconds(self, rows: int) -> float:
        """Tell how long it takes to ask about so many."""
        return -(-rows // self.rows) * self.part_s


def served(fitted: FittedEstimator, graph: bytes | None) -> FittedEstimator | CompiledEstimator:
    """Give what will answer, as `serving.model.store.load` makes it of what is saved."""
    if graph is None or isinstance(fitted.description.compiled, str):
        return fitted
    return CompiledEstimator(CompiledGraph(graph), fitted.description, fitted)


@dataclass(frozen=True)
class Case:
    """A model that is to be explained, and the rows by which that is found out."""

    estimator: Estimator
    description: Description
    table: Sequence[Row]
    seed: int
    graph: bytes | None
    keeps_background: bool

    @cached_property
    def fitted(self) -> FittedEstimator:
        """The estimator itself."""
        return FittedEstimator(self.estimator, self.description)

    @cached_property
    def model(self) -> FittedEstimator | CompiledEstimator:
        """The model as it will be served."""
        return served(self.fitted, self.graph)

    @cached_property
    def outputs(self) -> Outputs:
        """The numbers that are explained, if they are asked for."""
        return Outputs(self.description)

    @property
    def output(self) -> ExplainedOutput:
        """What they are."""
        if self.outputs.is_of_probabilities:
            return "probability"
        return "value" if self.description.task == "regression" else "score"

    @property
    def rng(self) -> np.random.Generator:
        """Randomness, each time the same."""
        return np.random.default_rng(self.seed)

    @cached_property
    def rows(self) -> list[Row]:
        """Rows of the table that requests could have, with an answer.

        Raises:
            CannotExplainError: there is none.
        """
        is_alone = self.description.asked.batching == "alone"
        most = MAX_ALONE if is_alone else MAX_ROWS
        rows = self.answered(some(self.table, most, self.rng))
        if not rows:
            raise CannotExplainError("no row of the table is one that a request may have")
        return rows

    @cached_property
    def _pool(self) -> tuple[list[Row], Array]:
        """Rows to choose a background from, and by which numbers they are answered."""
        rows = self.rows
        if not self.keeps_background:
            rows = self.answered(published_rows(self.description, MAX_BACKGROUND, self.rng))
            if not rows:
                raise CannotExplainError("rows made of what is published are none that it answers")
        return rows, self.model.numbers(self.columns(rows))

    def background(self, count: int) -> list[Row]:
        """Give as many rows to compare with, if there are as many."""
        return rows_of_training(*self._pool, count, self.rng)

    def columns(self, rows: Sequence[Row]) -> list[Column]:
        """Give rows by columns."""
        return by_columns(self.description.features, rows)

    def answered(self, rows: Sequence[Row]) -> list[Row]:
        """Leave out the rows that no request may have, and those without an answer."""
        good = judge(self.description.features, self.columns(rows), {}).good
        asked = [row for row, is_good in zip(rows, good.tolist(), strict=True) if is_good]
        if not asked or answers(self.fitted, asked):
            return asked
        return [row for row in asked if answers(self.fitted, [row])]

    @cached_property
    def pace(self) -> Pace:
        """How quickly the model is asked about hybrids."""
        columns = self.columns(self.background(MAX_BACKGROUND))
        found = Pace(1, self._asked_s(columns, 1, WARMING_RUNS))
        if found.part_s > BUDGET_S:
            return found
        found = Pace(1, self._asked_s(columns, 1, TIMED_RUNS))
        most_s = max(PART_S, MAX_SLOWER * found.part_s)
        for count in ROWS_AT_ONCE:
            took_s = self._asked_s(columns, count, TIMED_RUNS)
            if took_s <= most_s:
                found = Pace(count, took_s)
            elif took_s > FAR_SLOWER * most_s:  # something else may have slowed one down a little
                break
        return found

    def _asked_s(self, columns: Sequence[Column], count: int, runs: int) -> float:
        places = self.rng.integers(len(columns[0]), size=(len(columns), count))

        def ask() -> Array:
            hybrids = [column.take(at) for column, at in zip(columns, places, strict=True)]
            return self.model.numbers(hybrids)

        return shortest_s(ask, runs)

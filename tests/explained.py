"""Models that explain themselves, as training keeps it and serving tells it."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from serving.explaining.attribution import Attribution
from serving.explaining.explanation import Explanation
from serving.explaining.kept import read
from serving.model.description import Explained
from serving.model.estimator import Estimator, FittedEstimator
from serving.model.features import Row
from serving.model.outputs import Array, Prediction
from tests.explained_tables import (
    Numbers,
    explained_numbers,
    fitted,
    fitted_alike,
    fitted_on_some,
    odd_rows,
    tables,
)
from training.describing.describe import rows_of
from training.explaining.case import Pace
from training.explaining.explain import explain

TABLES = tables()
AT_ONCE = 4096  # rows that a model is asked about
SAMPLED_ROWS = 10_240  # of these, along permutations
PROVEN_ROWS, PROVEN_BY_ASKING = 20, 2
FITTED = {"ignored columns": fitted_on_some, "symmetric columns": fitted_alike}


@contextmanager
def whatever_the_machine() -> Iterator[None]:
    """Let no clock decide how models are explained, start no threads for a few rows, prove less.

    Estimators may warn of odd rows.
    """
    with (
        threadpool_limits(limits=1),
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(),
    ):
        patch.setattr("training.explaining.case.Case.pace", Pace(AT_ONCE, 0.0))
        patch.setattr("training.explaining.explain.ASKED_ROWS", (SAMPLED_ROWS,))
        patch.setattr("training.explaining.proof.PROVEN_ROWS", PROVEN_ROWS)
        patch.setattr("training.explaining.proof.PROVEN_BY_ASKING", PROVEN_BY_ASKING)
        warnings.simplefilter("ignore")
        yield


@dataclass(frozen=True)
class Case:
    """A model of a table, and how it explains itself."""

    table: str
    estimator: str
    fitted: Estimator
    model: FittedEstimator
    explained: Explained
    explanation: Explanation
    numbers: Numbers
    rows: Sequence[Row]
    background: Sequence[Row]

    def answered(self, rows: Sequence[Row]) -> list[Prediction]:
        """Answer rows together, but for those that have to be asked alone."""
        told = zip(self.model.predict(rows), rows, strict=True)
        return [found or self.model.predict([row])[0] for found, row in told]  # type: ignore[misc]

    def of(self, row: Row) -> Attribution:
        """Explain the answer to a row that is asked for alone."""
        results = [part() for part in self.explanation.parts(row)]
        return self.explanation.attribution(row, self.answered([row])[0], results)

    @cached_property
    def asked(self) -> list[Row]:
        """Rows of the table, and such as it has none."""
        return [*self.rows[:2], *odd_rows(self.model.description, self.rows[2])]

    @cached_property
    def results(self) -> list[list[Array]]:
        """What is computed to explain these, whatever is answered."""
        return [[part() for part in self.explanation.parts(row)] for row in self.asked]

    @cached_property
    def found(self) -> list[Attribution]:
        """Explanations of these, each asked for alone; what does not add up is refused."""
        return [
            self.explanation.attribution(row, self.answered([row])[0], results)
            for row, results in zip(self.asked, self.results, strict=True)
        ]


def case_of(table: str, estimator: str, folder: Path) -> Case:
    """Fit an estimator on a table, and have it explained as training does."""
    rows = rows_of(TABLES[table])
    model, description = FITTED.get(table, fitted)(estimator, TABLES[table])
    explained, packed = explain(model, description, rows, keeps_background=True, seed=0)
    assert isinstance(explained, Explained), explained
    assert packed is not None
    file = folder / "explanation.npz"
    file.write_bytes(packed)
    asked = FittedEstimator(model, description)
    kept = read(file)
    explanation = Explanation(kept, explained, description, asked)
    numbers = explained_numbers(model, description, explained.output)
    background = kept.told.get("rows", rows)  # those that there was time for
    assert len(background) == explained.background_rows
    return Case(table, estimator, model, asked, explained, explanation, numbers, rows, background)

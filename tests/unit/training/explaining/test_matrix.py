"""Ten tables and eight estimators: what each answers is explained, and by brute force alike."""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from serving.explaining.attribution import Attribution
from serving.explaining.explanation import Explanation
from serving.explaining.kept import read
from serving.model.description import Explained, ExplainingMethod
from serving.model.estimator import FittedEstimator
from serving.model.features import Row
from serving.model.outputs import Array, Prediction
from tests.explained import (
    CLASSIFIERS,
    Numbers,
    explained_numbers,
    fitted,
    fitted_alike,
    fitted_on_some,
    odd_rows,
    tables,
)
from tests.shapley import shapley
from training.describing.describe import rows_of
from training.explaining.explain import explain

pytestmark = pytest.mark.slow

TABLES = tables()
FITTED = {"ignored columns": fitted_on_some, "symmetric columns": fitted_alike}
EXACT = 1e-9
SAMPLED_ROWS = 2560  # asked along permutations
PROVEN_ROWS = 20
MAX_COLUMNS = 8  # of all coalitions of which brute force asks
ALIKE = (0.4, 0.4, -0.7)  # a row that is symmetric in its first two columns
SUMS = ("linear", "ridge")
SOFTMAX = ("linear", "boosting", "histogram boosting")
ASKED = ("support vectors", "neighbours")


@dataclass(frozen=True)
class Case:
    """A model of a table, and how it explains itself."""

    table: str
    estimator: str
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
    return Case(table, estimator, asked, explained, explanation, numbers, rows, background)


@pytest.fixture(scope="module", autouse=True)
def _whatever_the_machine() -> Iterator[None]:
    """Let no clock decide how models are explained, and start no threads for so few rows.

    Estimators may warn of odd rows.
    """
    with (
        threadpool_limits(limits=1),
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(),
    ):
        patch.setattr("training.explaining.explain.BUDGET_S", math.inf)
        patch.setattr("training.explaining.explain.ASKED_ROWS", (SAMPLED_ROWS,))
        patch.setattr("training.explaining.proof.PROVEN_ROWS", PROVEN_ROWS)
        patch.setattr("training.explaining.proof.PROVEN_BY_ASKING", 2)
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(
    scope="module",
    params=[(table, estimator) for table in TABLES for estimator in CLASSIFIERS],
    ids=lambda pair: "-".join(pair).replace(" ", "_"),
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Give each estimator on each table."""
    table, estimator = request.param
    return case_of(table, estimator, tmp_path_factory.mktemp("case"))


def test_it_is_explained_in_the_first_way_that_is_for_it(case: Case) -> None:
    few = len(case.rows[0]) <= MAX_COLUMNS
    asked: ExplainingMethod = "enumeration" if few else "sampled"
    ways: dict[str, ExplainingMethod] = dict.fromkeys(CLASSIFIERS, "trees")
    ways.update(dict.fromkeys(SUMS, "linear"))
    ways.update(dict.fromkeys(ASKED, asked))
    if few and len(case.model.description.classes or ()) > 2:
        ways |= dict.fromkeys(SOFTMAX, "enumeration")  # of probabilities, rather than of scores
    assert case.explained.method == ways[case.estimator]
    assert case.explained.exact == (case.explained.method != "sampled")


def test_contributions_add_up_to_what_is_answered(case: Case) -> None:
    for attribution, numbers in zip(case.found, case.numbers(case.asked), strict=True):
        sizes = 1 + np.abs(numbers) + np.abs(attribution.contributions).sum(axis=0)
        assert (np.abs(attribution.totals - numbers) <= EXACT * sizes).all()


def test_a_row_in_a_batch_is_explained_as_alone(case: Case) -> None:
    names = {feature.name for feature in case.model.description.features}
    predictions = case.answered(case.asked)
    for at, (row, prediction) in enumerate(zip(case.asked, predictions, strict=True)):
        together = case.explanation.attribution(row, prediction, case.results[at])
        np.testing.assert_allclose(together.totals, case.found[at].totals, EXACT, EXACT)
        alone = case.found[at].contributions
        np.testing.assert_allclose(together.contributions, alone, EXACT, EXACT)
        told = case.explanation.told(together, prediction, of_all=True)
        assert isinstance(told, list)
        assert [set(each["contributions"]) for each in told] == [names] * len(together.base)


def test_brute_force_finds_the_same(case: Case) -> None:
    if len(case.rows[0]) > MAX_COLUMNS:
        assert all((each.errors is None) == case.explained.exact for each in case.found)
        return
    for row, attribution in list(zip(case.asked, case.found, strict=True))[::2]:
        base, contributions = shapley(case.numbers, row, case.background)
        within = EXACT * (1 + np.abs(contributions).max())
        np.testing.assert_allclose(attribution.base, base, atol=within)
        np.testing.assert_allclose(attribution.contributions, contributions, atol=within)


@pytest.mark.parametrize("estimator", CLASSIFIERS)
def test_a_column_that_is_ignored_gets_nothing(estimator: str, tmp_path: Path) -> None:
    case = case_of("ignored columns", estimator, tmp_path)
    for row in case.rows[:3]:
        contributions = case.of(row).contributions
        ignored, always = contributions[1], contributions[-1]
        assert (ignored == 0).all()
        assert (always == 0).all()
        assert (contributions[[0, 2, 3]] != 0).any()


@pytest.mark.parametrize("estimator", CLASSIFIERS)
def test_columns_that_count_alike_get_alike(estimator: str, tmp_path: Path) -> None:
    case = case_of("symmetric columns", estimator, tmp_path)
    one, other, third = case.of(ALIKE).contributions
    np.testing.assert_allclose(one, other, rtol=EXACT, atol=EXACT)
    assert not np.allclose(one, third)

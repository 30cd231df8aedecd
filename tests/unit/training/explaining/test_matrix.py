"""Ten tables and eight estimators: what each answers is explained, and by brute force alike."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from serving.model.outputs import Prediction
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

    def of(self, row: Row, prediction: Prediction | None = None) -> Attribution:
        """Explain the answer to a row."""
        results = [part() for part in self.explanation.parts(row)]
        prediction = prediction or self.answered([row])[0]
        return self.explanation.attribution(row, prediction, results)

    @property
    def asked(self) -> list[Row]:
        """Rows of the table, and such as it has none."""
        return [*self.rows[:2], *odd_rows(self.model.description, self.rows[2])]


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
def _one_thread() -> Iterator[None]:
    """Start no threads, which so few rows are not worth; estimators may warn of odd ones."""
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(
    scope="module",
    params=[(table, estimator) for table in TABLES for estimator in CLASSIFIERS],
    ids=lambda pair: "-".join(pair).replace(" ", "_"),
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Give each estimator on each table."""
    return case_of(*request.param, tmp_path_factory.mktemp("case"))


def test_it_is_explained_in_the_first_way_that_is_for_it(case: Case) -> None:
    few = len(case.rows[0]) <= MAX_COLUMNS
    asked: ExplainingMethod = "enumeration" if few else "sampled"
    ways: dict[str, ExplainingMethod] = dict.fromkeys(CLASSIFIERS, "trees")
    ways |= dict.fromkeys(SUMS, "linear") | dict.fromkeys(ASKED, asked)
    if few and len(case.model.description.classes or ()) > 2:
        ways |= dict.fromkeys(SOFTMAX, "enumeration")  # of probabilities, rather than of scores
    assert case.explained.method == ways[case.estimator]
    assert case.explained.exact == (case.explained.method != "sampled")


def test_contributions_add_up_to_what_is_answered(case: Case) -> None:
    for row, numbers in zip(case.asked, case.numbers(case.asked), strict=True):
        attribution = case.of(row)  # which refuses what does not add up to the answer itself
        sizes = 1 + np.abs(numbers) + np.abs(attribution.contributions).sum(axis=0)
        assert (np.abs(attribution.totals - numbers) <= EXACT * sizes).all()


def test_a_row_in_a_batch_is_explained_as_alone(case: Case) -> None:
    for row, prediction in zip(case.asked, case.answered(case.asked), strict=True):
        alone, together = case.of(row), case.of(row, prediction)
        np.testing.assert_allclose(together.contributions, alone.contributions, EXACT, EXACT)
        np.testing.assert_array_equal(together.base, alone.base)
        told = case.explanation.told(together, prediction, of_all=True)
        assert [set(each["contributions"]) for each in told] == [
            {feature.name for feature in case.model.description.features}
        ] * len(together.base)


def test_brute_force_finds_the_same(case: Case) -> None:
    if len(case.rows[0]) > MAX_COLUMNS:
        errors = case.of(case.rows[0]).errors
        assert (errors is None) == case.explained.exact
        return
    for row in case.asked[::2]:
        base, contributions = shapley(case.numbers, row, case.background)
        attribution = case.of(row)
        size = 1 + np.abs(contributions).max()
        np.testing.assert_allclose(attribution.base, base, atol=EXACT * size)
        np.testing.assert_allclose(attribution.contributions, contributions, atol=EXACT * size)


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

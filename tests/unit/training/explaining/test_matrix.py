"""Ten tables and eight estimators: what each answers is explained, and by brute force alike."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serving.model.description import ExplainingMethod
from tests.explained import TABLES, Case, case_of, whatever_the_machine
from tests.explained_tables import CLASSIFIERS
from tests.shapley import shapley

pytestmark = pytest.mark.slow

EXACT = 1e-9
MAX_COLUMNS = 8  # of all coalitions of which brute force asks
ALIKE = (0.4, 0.4, -0.7)  # a row that is symmetric in its first two columns
SUMS = ("linear", "ridge")
SOFTMAX = ("linear", "boosting", "histogram boosting")
ASKED = ("support vectors", "neighbours")


@pytest.fixture(scope="module", autouse=True)
def _whatever_the_machine() -> Iterator[None]:
    """Explain alike everywhere."""
    with whatever_the_machine():
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
    way: ExplainingMethod = "linear" if case.estimator in SUMS else "trees"
    has_many_classes = len(case.model.description.classes or ()) > 2
    if case.estimator in ASKED or (case.estimator in SOFTMAX and few and has_many_classes):
        way = asked  # for probabilities, rather than for what is behind them
    assert case.explained.method == way
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

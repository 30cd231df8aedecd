"""The graph answers in the estimator's place, but for the rows of which its proof says nothing."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from serving.model.columns import by_columns
from serving.model.compiled import AT_ONCE_ROWS, CompiledEstimator, CompiledGraph, Doubles
from serving.model.description import Description
from serving.model.estimator import FittedEstimator
from serving.model.features import Row
from serving.model.outputs import Prediction, WrongOutputError
from tests.unit.fakes import FixedEstimator, ProbaEstimator, StillClock
from tests.unit.model.saved import BY_ESTIMATOR, echo, proof_of
from tests.unit.samples import PROBABILITIES, asked, category, description, number, regression

NAN = float("nan")
SURE: Row = (0.25, 0.75)
FAR: Row = (0.25, 901.0)  # training saw 9 at most, and a hundred times that is still near
TIED: Row = (0.5, 0.5 + 3e-9)  # within four times the proof's tolerance
MISSING: Row = (None, 1.0)
LEFT = [FAR, TIED, MISSING]


def compiled(
    estimator: object | None = None,
    described: Description | None = None,
    **proven: Any,  # noqa: ANN401 (any field of a proof)
) -> CompiledEstimator:
    """Compile an estimator, by default one that contradicts the graph, which echoes its rows."""
    described = described or description(asked=PROBABILITIES)
    graph = echo(len(described.features))
    described = described.model_copy(update={"compiled": proof_of(graph, **proven)})
    fitted = FittedEstimator(estimator or ProbaEstimator(BY_ESTIMATOR), described)
    return CompiledEstimator(CompiledGraph(graph), described, fitted)


# The graph


def test_a_graph_is_given_nan_for_what_is_missing_and_places_for_categories() -> None:
    rows: list[Row] = [(1.5, "red"), (None, "blue"), (-2.0, "green")]
    table = CompiledGraph(echo(categories=("red", "blue"))).table(rows)
    assert table.dtype == np.float64
    np.testing.assert_array_equal(table, [[1.5, 0], [NAN, 1], [-2, 2]])


def test_a_graph_gives_scores_for_each_row_of_any_number() -> None:
    graph = CompiledGraph(echo())
    for count in (1, 2, 50):
        table = np.arange(2.0 * count).reshape(count, 2)
        np.testing.assert_array_equal(graph(table), table)


def test_what_is_no_graph_can_not_be_computed() -> None:
    with pytest.raises(Exception, match=r"(?i)protobuf"):
        CompiledGraph(b"no graph")


# What it answers


def test_the_label_is_that_of_the_largest_probability() -> None:
    assert compiled().predict([SURE, (0.75, 0.25)]) == [
        Prediction("spam", [0.25, 0.75]),
        Prediction("ham", [0.75, 0.25]),
    ]


def test_a_number_is_the_graph_s() -> None:
    described = regression("price", features=(number("x"),))
    model = compiled(FixedEstimator([0.0]), described)
    assert model.predict([(1.5,), (901.0,), (0.0,)]) == [Prediction(1.5), None, Prediction(0.0)]


# What it leaves to the estimator


def test_rows_of_which_the_proof_says_nothing_are_left_in_company() -> None:
    predictions = compiled().predict([SURE, *LEFT, (0.5, 0.5 + 5e-9)])
    assert [prediction is None for prediction in predictions] == [False, True, True, True, False]


@pytest.mark.parametrize("row", LEFT, ids=["far", "tied", "missing"])
def test_such_a_row_alone_is_answered_by_the_estimator(row: Row) -> None:
    model = compiled()
    assert model.predict([row]) == [Prediction("spam", BY_ESTIMATOR)]
    assert model.at_once([row]) == [None]  # the estimator could hang


def test_for_numbers_alone_the_estimator_is_asked_once_and_not_for_ties() -> None:
    class Counting(ProbaEstimator):
        counts: list[int] = []  # noqa: RUF012 (of this class alone)

        def predict_proba(self, features: np.ndarray) -> np.ndarray:
            self.counts.append(len(features))
            return super().predict_proba(features)

    model = compiled(Counting(BY_ESTIMATOR))
    rows = [SURE, FAR, TIED, MISSING]
    numbers = model.numbers(by_columns(model.description.features, rows))
    assert numbers.tolist() == [list(SURE), BY_ESTIMATOR, list(TIED), BY_ESTIMATOR]
    assert Counting.counts == [2]


def test_only_numbers_can_be_far() -> None:
    described = description(
        features=(category("c", known=("red",)), number("x")), asked=PROBABILITIES
    )
    model = compiled(described=described)
    table = np.array([[1e6, 0.0], [0.0, 1e6]])
    assert model.sensitive(table, table).tolist() == [False, True]


def test_an_exact_graph_answers_all_rows_and_needs_no_estimator() -> None:
    graph = echo()
    described = description(asked=PROBABILITIES, compiled=proof_of(graph, exact=True))
    model = CompiledEstimator(CompiledGraph(graph), described, None)
    assert model.warm_up() == Prediction("ham", [4.5, 4.5])
    assert model.predict([FAR, TIED]) == [
        Prediction("spam", [0.25, 901.0]),
        Prediction("spam", [0.5, 0.5 + 3e-9]),
    ]
    for rows in ([MISSING], [SURE, MISSING]):
        with pytest.raises(WrongOutputError, match="not finite"):
            model.predict(rows)
        with pytest.raises(WrongOutputError, match="not finite"):
            model.numbers(by_columns(described.features, rows))


# What it takes


def test_warming_up_asks_the_estimator_too() -> None:
    estimator = FixedEstimator(np.array([0.0]))
    described = regression("price", features=(number("x"),), asked=asked(batching="alone"))
    assert compiled(estimator, described).warm_up() == Prediction(4.5)
    assert len(estimator.tables) == 1


@pytest.mark.parametrize(
    ("row_s", "expected"), [(1e-7, AT_ONCE_ROWS[-1]), (11e-6, 8), (60e-6, 1), (1e-3, 0)]
)
def test_as_many_rows_are_quick_as_take_no_longer_than_a_thread_s_turn(
    row_s: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = StillClock(0.0)
    monkeypatch.setattr("serving.model.compiled.time", SimpleNamespace(perf_counter=clock))

    class PacedGraph(CompiledGraph):
        def __call__(self, table: Doubles) -> Doubles:
            clock.now_s += row_s * len(table)
            return super().__call__(table)

    model = compiled()
    model.graph = PacedGraph(echo())
    assert model.max_at_once == 0  # it has not been measured
    model.warm_up()
    assert model.max_at_once == expected

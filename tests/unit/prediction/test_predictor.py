"""The predictor: the cache, the batcher, the model and the listeners, in the story of a request."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import numpy as np
import pytest

from serving.explaining.attribution import Attribution, Part
from serving.explaining.explanation import Explanation
from serving.model.about import About
from serving.model.features import Row
from serving.model.outputs import ExplainedPrediction, Prediction
from serving.model.rows import Explain, Question
from serving.prediction.batching import Batcher
from serving.prediction.cache import Lookup, PredictionCache
from serving.prediction.explaining import Explaining
from serving.prediction.predictor import EstimatorError, Outcome, Predictor, compute
from serving.problems import BATCH_TOO_LARGE, NOT_EXPLAINED, OVERLOADED, Problem
from serving.telemetry import Listeners, RequestRecord, open_record
from tests.unit.fakes import Heard, StillClock
from tests.unit.prediction.stories import PATIENCE_S, story, turns
from tests.unit.samples import description

ABOUT = About(description(), "v1")
MAX_ROWS = 10
HAM: Row = (-1.0, 0.0)
SPAM: Row = (1.0, 0.0)
FAILING: Row = (7.0, 0)  # to be explained


def predictions_of(*rows: Row) -> list[Prediction]:
    """Give the right answers."""
    return [Prediction("ham" if row[0] == -1.0 else "spam") for row in rows]


class FakeExplanation:
    """Explains a row, in two parts, by itself; some fail."""

    method = "trees"

    def parts(self, row: Row) -> list[Part]:
        """Give what takes its time."""
        return [lambda: np.array(row), lambda: np.array([1 / row[1] if row == FAILING else 0])]  # type: ignore[operator]

    def attribution(self, row: Row, prediction: Prediction, results: Any) -> Attribution:  # noqa: ANN401 (arrays)
        """Give the row itself."""
        assert [prediction] == predictions_of(row)
        return Attribution(np.zeros(1), results[0][:, None])

    def told(self, attribution: Attribution, prediction: Prediction, *, of_all: bool) -> Any:  # noqa: ANN401 (any JSON)
        """Tell it."""
        return [*attribution.contributions[:, 0].tolist(), of_all]


class Model:
    """Notes the rows that it is asked about, and waits at its gate; it may be made to fail."""

    def __init__(self) -> None:
        """Open the gate."""
        self.asked: list[list[Row]] = []
        self.failure: BaseException | None = None
        self.gate = threading.Event()
        self.gate.set()
        self._arrived = threading.Semaphore(0)

    def predict(self, rows: list[Row]) -> list[Prediction | None]:
        """Answer."""
        self.asked.append(rows)
        self._arrived.release()
        assert self.gate.wait(PATIENCE_S)
        if self.failure is not None:
            raise self.failure
        return [*predictions_of(*rows)]

    async def busy(self) -> None:
        """Wait until it is asked once more."""
        assert await asyncio.to_thread(self._arrived.acquire, timeout=PATIENCE_S)


class Request:
    """A request under way, with its record."""

    def __init__(self, request_id: str, ask: Coroutine[Any, Any, Outcome]) -> None:
        """Begin it."""
        self.record = RequestRecord(id=request_id, method="POST", route="/predict", client=None)
        self.task = asyncio.create_task(self._run(ask))

    async def _run(self, ask: Coroutine[Any, Any, Outcome]) -> Outcome:
        open_record(self.record)
        return await ask

    async def outcome(self) -> Outcome:
        """Wait for what it is answered."""
        return await asyncio.wait_for(asyncio.shield(self.task), PATIENCE_S)


class Service:
    """A predictor with all its parts, and what it told others."""

    def __init__(self, *, cached: bool, max_waiting_items: int, explains: bool) -> None:
        """Put them together, within a story."""
        self.model = Model()
        self.heard = Heard()
        self.lookups: list[Lookup] = []
        self.batcher: Batcher[Row, Prediction] = Batcher(
            partial(compute, self.model.predict),
            lambda started, waiting: None,
            max_items=MAX_ROWS,
            max_waiting_items=max_waiting_items,
            patience_s=600.0,
        )
        self.predictor = Predictor(
            ABOUT,
            self.batcher,
            MAX_ROWS,
            PredictionCache(10, 60.0, StillClock()) if cached else None,
            self.lookups.append,
            Listeners([self.heard]),
            Explaining(
                cast("Explanation", FakeExplanation()),
                self.batcher.work,
                lambda method, duration_s: None,
                max_rows=4,
                patience_s=600.0,
            )
            if explains
            else "a cluster is no number",
        )

    def one(self, row: Row, request_id: str = "id", *, explain: Explain | None = None) -> Request:
        """Ask about one row, in a request of its own."""
        question = Question([row], is_one=True, explain=explain)
        return Request(request_id, self.predictor.ask(question))

    def many(self, *rows: Row, request_id: str = "id", explain: Explain | None = None) -> Request:
        """Ask about many rows, in a request of its own."""
        question = Question([*rows], is_one=False, explain=explain)
        return Request(request_id, self.predictor.ask(question))


@contextmanager
def served(
    *, cached: bool = True, max_waiting_items: int = 100, explains: bool = True
) -> Iterator[Service]:
    """Give a predictor, and end its thread."""
    service = Service(cached=cached, max_waiting_items=max_waiting_items, explains=explains)
    yield service
    service.model.gate.set()
    service.batcher.close()


# What the model says


def test_what_a_model_answers_is_given_as_it_is() -> None:
    assert compute(lambda rows: [None, *predictions_of(*rows[1:])], [HAM, SPAM]) == [
        None,
        Prediction("spam"),
    ]


@pytest.mark.parametrize(
    "failure",
    [
        ArithmeticError(),
        StopIteration(),
        SystemExit(),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_whatever_a_model_raises_is_a_failure_of_the_estimator(failure: BaseException) -> None:
    model = Model()
    model.failure = failure
    with pytest.raises(EstimatorError) as caught:
        compute(model.predict, [HAM])
    assert caught.value.__cause__ is failure


# How predictions are come by


@story
async def test_a_row_is_computed_joined_or_kept_and_metrics_and_record_tell_which() -> None:
    with served() as service:
        service.model.gate.clear()
        requests = [service.one(HAM), service.one(HAM)]
        await service.model.busy()
        service.model.gate.set()
        await requests[0].outcome()
        requests += [service.one(HAM), service.one(SPAM)]
        lookups = [Lookup.MISS, Lookup.COLLAPSED, Lookup.HIT, Lookup.MISS]
        for request, row, lookup in zip(requests, (HAM, HAM, HAM, SPAM), lookups, strict=True):
            assert await request.outcome() == (predictions_of(row), lookup)
            assert request.record.cache is lookup
        assert service.lookups == lookups
        assert service.model.asked == [[HAM], [SPAM]]


@story
async def test_without_a_cache_each_row_is_asked_of_the_model_and_nothing_is_told_of_one() -> None:
    with served(cached=False) as service:
        for _ in range(2):
            request = service.one(HAM)
            assert await request.outcome() == (predictions_of(HAM), None)
            assert request.record.cache is None
        assert service.model.asked == [[HAM], [HAM]]
        assert service.lookups == []


@story
async def test_many_rows_go_past_the_cache_both_ways() -> None:
    with served() as service:
        await service.one(HAM).outcome()
        for rows in ([HAM, SPAM], [SPAM], [HAM]):
            request = service.many(*rows)
            assert await request.outcome() == (predictions_of(*rows), None)
            assert request.record.cache is None
        assert (await service.one(SPAM).outcome()).lookup is Lookup.MISS
        assert service.model.asked == [[HAM], [HAM, SPAM], [SPAM], [HAM], [SPAM]]
        assert service.lookups == [Lookup.MISS, Lookup.MISS]


@pytest.mark.parametrize("cached", [True, False])
@story
async def test_every_answer_is_told_whether_it_was_computed_or_not(*, cached: bool) -> None:
    with served(cached=cached) as service:
        service.model.gate.clear()
        together = [service.one(HAM, "a"), service.one(HAM, "b")]
        await service.model.busy()
        service.model.gate.set()
        for request in together:
            await request.outcome()
        await service.one(HAM, "c").outcome()
        await service.many(SPAM, HAM, request_id="d").outcome()
        asked = {"a": [HAM], "b": [HAM], "c": [HAM], "d": [SPAM, HAM]}
        assert sorted(service.heard.predictions) == [
            (request_id, ABOUT, rows, predictions_of(*rows), ())
            for request_id, rows in asked.items()
        ]


@story
async def test_more_rows_than_fit_are_asked_in_parts_and_told_as_one() -> None:
    rows = [HAM, SPAM] * 12
    with served() as service:
        request = service.many(*rows)
        assert (await request.outcome()).predictions == predictions_of(*rows)
        assert list(map(len, service.model.asked)) == [10, 10, 4]
        assert [row for asked in service.model.asked for row in asked] == rows
        assert service.heard.predictions == [("id", ABOUT, rows, predictions_of(*rows), ())]


@story
async def test_neighbours_get_their_turn_between_the_parts() -> None:
    with served() as service:
        service.model.gate.clear()
        request = service.many(*[HAM] * (3 * MAX_ROWS))
        await service.model.busy()
        neighbour = service.one(SPAM)  # no part but the one that runs is in its way
        await turns()
        service.model.gate.set()
        await asyncio.gather(request.outcome(), neighbour.outcome())
        assert SPAM in service.model.asked[1] + service.model.asked[2]
        assert sum(map(len, service.model.asked)) == 3 * MAX_ROWS + 1


@story
async def test_who_leaves_between_the_parts_is_asked_for_no_further() -> None:
    with served() as service:
        service.model.gate.clear()
        leaving = service.many(*[HAM] * (3 * MAX_ROWS))
        await service.model.busy()
        leaving.task.cancel()
        await turns()
        service.model.gate.set()
        await service.one(SPAM).outcome()
        assert list(map(len, service.model.asked)) == [MAX_ROWS, 1]


# Explanations


@pytest.mark.parametrize("cached", [True, False])
@story
async def test_an_explained_prediction_is_told_as_any_and_kept_apart(*, cached: bool) -> None:
    (prediction,) = predictions_of(SPAM)
    explained = ExplainedPrediction(prediction, [1.0, 0.0, False])
    with served(cached=cached) as service:
        requests = []
        for explain in (Explain.PREDICTED, Explain.PREDICTED, Explain.ALL, None):
            requests.append(service.one(SPAM, explain=explain))
            await requests[-1].outcome()
        lookups = [Lookup.MISS, Lookup.HIT, Lookup.HIT, Lookup.HIT] if cached else [None] * 4
        of_all = ExplainedPrediction(prediction, [1.0, 0.0, True])
        answers = [explained, explained, of_all, prediction]
        for request, answer, lookup in zip(requests, answers, lookups, strict=True):
            assert await request.outcome() == ([answer], lookup)
            assert request.record.cache == lookup
        assert [request.record.explained for request in requests] == [1, 1, 1, None]
        assert service.lookups == lookups * cached
        assert service.model.asked == [[SPAM]] * (1 if cached else 4)
        told = ("id", ABOUT, [SPAM], predictions_of(SPAM), ())
        assert service.heard.predictions == [told] * 4


@story
async def test_what_was_predicted_before_is_not_predicted_again_to_be_explained() -> None:
    with served() as service:
        await service.one(HAM).outcome()
        request = service.one(HAM, explain=Explain.PREDICTED)
        assert (await request.outcome()).lookup is Lookup.MISS
        assert service.model.asked == [[HAM]]


@story
async def test_who_asks_for_the_same_explanation_meanwhile_waits_for_one() -> None:
    with served() as service:
        service.model.gate.clear()
        leaving, *staying = (service.one(HAM, explain=Explain.PREDICTED) for _ in range(3))
        await service.model.busy()
        leaving.task.cancel()
        await turns()
        service.model.gate.set()
        for request in staying:
            assert (await request.outcome()).lookup is Lookup.COLLAPSED
        gone = service.one(SPAM, explain=Explain.PREDICTED)
        service.model.gate.clear()
        await service.model.busy()
        gone.task.cancel()
        await turns()
        service.model.gate.set()
        again = service.one(SPAM, explain=Explain.PREDICTED)
        assert (await again.outcome()).lookup is Lookup.MISS


@story
async def test_many_rows_are_explained_past_the_cache_up_to_a_limit() -> None:
    with served() as service:
        request = service.many(HAM, SPAM, explain=Explain.ALL)
        told = [(*predictions_of(row), [*row, True]) for row in (HAM, SPAM)]
        assert await request.outcome() == (told, None)
        assert request.record.explained == 2
        with pytest.raises(Problem) as caught:
            await service.many(*[HAM] * 5, explain=Explain.ALL).outcome()
        assert caught.value.kind is BATCH_TOO_LARGE
        assert service.model.asked == [[HAM, SPAM]]


@story
async def test_what_can_t_be_explained_is_refused_with_the_reason_and_not_predicted() -> None:
    with served(explains=False) as service:
        for ask in (service.one, service.many):
            with pytest.raises(Problem, match="not explained: a cluster is no number") as caught:
                await ask(HAM, explain=Explain.PREDICTED).outcome()
            assert caught.value.kind is NOT_EXPLAINED
        assert service.model.asked == []


@pytest.mark.parametrize("cached", [True, False])
@story
async def test_a_prediction_is_not_lost_to_an_explanation_that_fails(*, cached: bool) -> None:
    with served(cached=cached) as service:
        outcome = await service.one(FAILING, explain=Explain.PREDICTED).outcome()
        (prediction,) = predictions_of(FAILING)
        assert outcome.predictions == [ExplainedPrediction(prediction, None)]
        assert service.heard.predictions == [("id", ABOUT, [FAILING], [prediction], ())]
        await service.one(FAILING, explain=Explain.PREDICTED).outcome()
        assert service.lookups == [Lookup.MISS] * (2 if cached else 0)  # it is not kept


# Failures, refusals, leaving


@pytest.mark.parametrize("cached", [True, False])
@story
async def test_a_failure_reaches_all_who_wait_for_it_and_is_neither_kept_nor_told(
    *, cached: bool
) -> None:
    with served(cached=cached) as service:
        service.model.failure = ArithmeticError()
        requests = [service.one(HAM) for _ in range(3)]
        for request in requests:
            with pytest.raises(EstimatorError) as caught:
                await request.outcome()
            assert caught.value.__cause__ is service.model.failure
        assert [request.record.cache for request in requests] == (
            ["miss", "collapsed", "collapsed"] if cached else [None] * 3
        )
        assert service.heard.predictions == []
        service.model.failure = None
        assert (await service.one(HAM).outcome()).predictions == predictions_of(HAM)
        assert service.model.asked[-1] == [HAM]


@story
async def test_a_row_is_answered_from_the_cache_while_others_are_refused() -> None:
    with served(max_waiting_items=1) as service:
        await service.one(HAM).outcome()
        await service.model.busy()
        service.model.gate.clear()
        running = service.one((5.0, 0.0))
        await service.model.busy()
        waiting = service.one((6.0, 0.0))
        await turns()
        with pytest.raises(Problem) as caught:
            await service.one((7.0, 0.0)).outcome()
        assert caught.value.kind is OVERLOADED
        assert await service.one(HAM).outcome() == (predictions_of(HAM), Lookup.HIT)
        joined = service.one((6.0, 0.0))  # needs no room
        await turns()
        service.model.gate.set()
        for request in (running, waiting, joined):
            assert (await request.outcome()).predictions == predictions_of(SPAM)
        assert joined.record.cache is Lookup.COLLAPSED


@story
async def test_who_waits_with_another_keeps_its_place_when_that_one_leaves() -> None:
    with served(max_waiting_items=2) as service:
        service.model.gate.clear()
        running = service.one((5.0, 0.0))
        await service.model.busy()
        leaving, staying, other = service.one(HAM), service.one(HAM), service.one((6.0, 0.0))
        await turns()
        leaving.task.cancel()
        await turns()
        with pytest.raises(Problem):
            await service.one((7.0, 0.0)).outcome()  # there is no room for it
        service.model.gate.set()
        await asyncio.gather(running.outcome(), staying.outcome(), other.outcome())
        assert service.model.asked == [[(5.0, 0.0)], [HAM, (6.0, 0.0)]]


@pytest.mark.parametrize("cached", [True, False])
@story
async def test_who_leaves_alone_is_not_asked_for(*, cached: bool) -> None:
    with served(cached=cached) as service:
        service.model.gate.clear()
        running, leaving = service.one((5.0, 0.0)), None
        await service.model.busy()
        leaving = service.one(HAM)
        await turns()
        leaving.task.cancel()
        await turns()
        assert service.batcher.waiting_items == 0
        service.model.gate.set()
        await running.outcome()
        assert [heard.rows for heard in service.heard.predictions] == [[(5.0, 0.0)]]
        assert service.model.asked == [[(5.0, 0.0)]]


@story
async def test_rows_that_are_asked_each_by_itself_fail_alone_and_the_others_are_told() -> None:
    def predict(rows: list[Row]) -> list[Prediction | None]:
        if SPAM in rows:
            raise ZeroDivisionError
        return [*predictions_of(*rows)]

    with served() as service:
        service.batcher._run = partial(compute, predict)
        open_record(RequestRecord(id="id", method="POST", route="/predict", client=None))
        question = Question([HAM, SPAM, HAM], is_one=False, numbers=[4, 5, 7])
        first, failure, last = await service.predictor.ask_each(question)
        assert [first, last] == predictions_of(HAM, HAM)
        assert isinstance(failure, EstimatorError)
        rows = [HAM, HAM]
        assert service.heard.predictions == [("id", ABOUT, rows, predictions_of(*rows), [4, 7])]

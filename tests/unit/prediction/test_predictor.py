"""The predictor: what the estimator says, what it must be asked again, and how it fails."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from serving.model.description import Description, Label
from serving.model.estimator import Estimator, FittedEstimator
from serving.model.features import Row
from serving.model.outputs import Prediction
from serving.prediction.batching import Batcher
from serving.prediction.cache import CACHE_STATUS, Lookup, PredictionCache
from serving.prediction.lanes import Again
from serving.prediction.predictor import EstimatorError, Predictor
from serving.problems import OVERLOADED, Problem
from serving.telemetry import RequestRecord, open_record
from tests.unit.fakes import (
    Counts,
    FixedEstimator,
    ListedPredictions,
    ProbaEstimator,
    SignEstimator,
    StillClock,
    computing,
)
from tests.unit.samples import EACH_TASK, PROBABILITIES, asked, description


class FailingEstimator(SignEstimator):
    """Raises something."""

    def __init__(self, failure: BaseException) -> None:
        """Take what to raise."""
        self.failure = failure

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Raise it."""
        raise self.failure


class Fixture:
    """A predictor and what it observed."""

    def __init__(self, estimator: Estimator, described: Description | None = None) -> None:
        """Put them together."""
        counts = Counts()
        self.observed = counts.observed
        self.predictor = computing(FittedEstimator(estimator, described or description()), counts)

    def predict(self, *first_features: float) -> list[Prediction | Again]:
        """Predict rows of which only the first feature counts."""
        rows: list[Row] = [(value, 0.0) for value in first_features]
        return self.predictor.compute(rows)


def test_each_row_gets_its_prediction_in_order() -> None:
    assert Fixture(SignEstimator()).predict(-1, 2, 3) == [
        Prediction("ham"),
        Prediction("spam"),
        Prediction("spam"),
    ]


def test_predictions_are_counted_by_label() -> None:
    fixture = Fixture(SignEstimator())
    fixture.predict(-1, 3, 4)
    assert fixture.observed == [{"ham": 1, "spam": 2}]


def test_a_row_far_from_what_was_seen_in_training_is_asked_for_again_alone() -> None:
    fixture = Fixture(SignEstimator())
    assert fixture.predict(-1, 1e6) == [Prediction("ham"), Again.ALONE]
    assert fixture.predict(1e6) == [Prediction("spam")]
    assert fixture.observed == [{"ham": 1}, {"spam": 1}]


def test_a_row_whose_best_classes_are_tied_is_asked_for_again_alone() -> None:
    fixture = Fixture(ProbaEstimator([0.5, 0.5]), description(asked=PROBABILITIES))
    assert fixture.predict(1, 2) == [Again.ALONE] * 2
    assert fixture.predict(1) == [Prediction("spam", [0.5, 0.5])]
    assert fixture.observed == [{}, {"spam": 1}]


def test_a_label_is_counted_as_it_stands_in_the_classes() -> None:
    fixture = Fixture(FixedEstimator([1.0, 0.0, 1.0]), description((False, True)))
    fixture.predict(1, 2, 3)
    assert repr(fixture.observed) == "[Counter({True: 2, False: 1})]"


@pytest.mark.parametrize(
    ("task", "values", "expected"),
    [
        ("clusters", [3, 3, 0], {3: 2, 0: 1}),
        ("outliers", [1, -1, 1], {"inlier": 2, "outlier": 1}),
        ("one number", [1.5, 1.5, 2.5], {"": 3}),
        ("several numbers", [[1.5, 2.5]] * 3, {"": 3}),
        ("several labels", np.array([[0, "a"]] * 3, dtype=object), {"": 3}),
    ],
)
def test_predictions_are_counted_by_label_where_each_is_one_of_few(
    task: str, values: object, expected: Mapping[Label, int]
) -> None:
    described = EACH_TASK[task].model_copy(update={"asked": asked(batching="invariant")})
    fixture = Fixture(FixedEstimator(values), described)
    fixture.predict(1, 2, 3)
    assert fixture.observed == [expected]


def test_predictions_that_have_to_be_made_again_are_not_counted_yet() -> None:
    fixture = Fixture(FixedEstimator([1.5, 2.5]), EACH_TASK["one number"])
    assert fixture.predict(1, 1e6) == [Prediction(1.5), Again.ALONE]
    assert fixture.observed == [{"": 1}]


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
def test_whatever_the_estimator_raises_is_a_failure_of_the_estimator(
    failure: BaseException,
) -> None:
    fixture = Fixture(FailingEstimator(failure))
    with pytest.raises(EstimatorError) as caught:
        fixture.predict(1)
    assert caught.value.__cause__ is failure
    assert fixture.observed == []


# The whole story: the cache, the batcher, the model, the prediction log

HAM: Row = (-1.0, 0.0)
SPAM: Row = (1.0, 0.0)
PATIENCE_S = 30  # for what another thread does; only a failing test waits so long


class GatedEstimator(SignEstimator):
    """Notes the rows that it is asked about, and waits at its gate; it may be made to fail."""

    def __init__(self) -> None:
        """Open the gate."""
        self.asked: list[list[float]] = []
        self.failure: BaseException | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.arrived = threading.Event()

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Give the labels."""
        self.asked.append(features[:, 0].tolist())
        self.arrived.set()
        assert self.gate.wait(PATIENCE_S)
        if self.failure is not None:
            raise self.failure
        return super().predict(features)

    async def busy(self) -> None:
        """Wait until it is asked."""
        assert await asyncio.to_thread(self.arrived.wait, PATIENCE_S)
        self.arrived.clear()


class Service:
    """A predictor with all its parts, and what it told others."""

    def __init__(self, *, cached: bool, max_waiting_items: int = 100) -> None:
        """Put them together, within a story."""
        self.estimator = GatedEstimator()
        self.counts = Counts()
        self.log = ListedPredictions()
        self.cache = PredictionCache(10, 60.0, StillClock()) if cached else None
        self.batcher: Batcher[Row, Prediction] = Batcher(
            lambda rows: self.predictor.compute(rows),
            lambda rows, waiting: None,
            max_items=10,
            max_waiting_items=max_waiting_items,
            patience_s=600.0,
        )
        metrics: Any = self.counts
        log: Any = self.log
        model = FittedEstimator(self.estimator, description())
        self.predictor = Predictor(model, self.batcher, metrics, self.cache, log)

    def one(self, row: Row, request_id: str = "id") -> "Asked":
        """Ask for one prediction, as a request of its own."""
        return Asked(request_id, lambda: self.predictor.one(row))

    def many(self, rows: list[Row], request_id: str = "id") -> "Asked":
        """Ask for many predictions, as a request of its own."""
        return Asked(request_id, lambda: self.predictor.many(rows))


class Asked:
    """A request under way, with its record."""

    def __init__(self, request_id: str, ask: Any) -> None:  # noqa: ANN401 (gives a coroutine)
        """Begin it."""
        self.record = RequestRecord(id=request_id, method="POST", route="/predict", client=None)
        self.task = asyncio.create_task(self._run(ask))

    async def _run(self, ask: Any) -> Any:  # noqa: ANN401
        open_record(self.record)
        return await ask()

    async def answer(self) -> Any:  # noqa: ANN401 (one prediction, or many)
        """Wait for what it is answered."""
        return await asyncio.wait_for(asyncio.shield(self.task), PATIENCE_S)


@asynccontextmanager
async def served(*, cached: bool = True, max_waiting_items: int = 100) -> AsyncIterator[Service]:
    """Give a predictor, and end its thread."""
    service = Service(cached=cached, max_waiting_items=max_waiting_items)
    yield service
    service.estimator.gate.set()
    service.batcher.close()


async def turns(count: int = 10) -> None:
    """Let the event loop run what is due."""
    for _ in range(count):
        await asyncio.sleep(0)


def run(story: Coroutine[Any, Any, None]) -> None:
    """Run a test's story; one that hangs fails."""

    async def bounded() -> None:
        await asyncio.wait_for(story, PATIENCE_S)

    asyncio.run(bounded())


def test_a_row_that_was_asked_for_of_late_is_not_asked_of_the_model_again() -> None:
    async def story() -> None:
        async with served() as service:
            answers = [await service.one(row).answer() for row in (HAM, SPAM, HAM, HAM)]
            assert answers == [Prediction(kind) for kind in ("ham", "spam", "ham", "ham")]
            assert service.estimator.asked == [[-1.0], [1.0]]

    run(story())


def test_the_record_and_the_metrics_tell_how_a_prediction_was_come_by() -> None:
    async def story() -> None:
        async with served() as service:
            service.estimator.gate.clear()
            requests = [service.one(HAM), service.one(HAM)]
            await service.estimator.busy()
            service.estimator.gate.set()
            await requests[0].answer()
            requests.append(service.one(HAM))
            for request in requests:
                assert await request.answer() == Prediction("ham")
            lookups = [Lookup.MISS, Lookup.COLLAPSED, Lookup.HIT]
            assert [request.record.cache for request in requests] == lookups
            assert [request.record.headers for request in requests] == [
                [(b"cache-status", CACHE_STATUS[lookup])] for lookup in lookups
            ]
            assert service.counts.lookups == lookups

    run(story())


def test_every_answer_is_counted_by_its_label_whether_it_was_computed_or_not() -> None:
    async def story() -> None:
        async with served() as service:
            service.estimator.gate.clear()
            together = [service.one(HAM) for _ in range(3)]
            await service.estimator.busy()
            service.estimator.gate.set()
            for request in together:
                await request.answer()
            await service.one(HAM).answer()
            await service.one(SPAM).answer()
            total: dict[Label, int] = {}
            for labels in service.counts.observed:
                for label, count in labels.items():
                    total[label] = total.get(label, 0) + count
            assert total == {"ham": 4, "spam": 1}

    run(story())


@pytest.mark.parametrize("cached", [True, False])
def test_every_answer_is_noted_in_the_prediction_log(*, cached: bool) -> None:
    async def story() -> None:
        async with served(cached=cached) as service:
            service.estimator.gate.clear()
            together = [service.one(HAM, "a"), service.one(HAM, "b")]
            await service.estimator.busy()
            service.estimator.gate.set()
            for request in together:
                await request.answer()
            await service.one(HAM, "c").answer()
            await service.many([SPAM, HAM], "d").answer()
            ham, spam = Prediction("ham"), Prediction("spam")
            assert sorted(service.log.notes) == [
                ("a", [HAM], [ham]),
                ("b", [HAM], [ham]),
                ("c", [HAM], [ham]),
                ("d", [SPAM, HAM], [spam, ham]),
            ]

    run(story())


def test_without_a_cache_each_row_is_asked_of_the_model_and_nothing_is_told_of_one() -> None:
    async def story() -> None:
        async with served(cached=False) as service:
            requests = []
            for _ in range(2):
                requests.append(service.one(HAM))
                await requests[-1].answer()
            assert service.estimator.asked == [[-1.0], [-1.0]]
            assert service.counts.lookups == []
            assert [(r.record.cache, r.record.headers) for r in requests] == [(None, [])] * 2

    run(story())


def test_many_rows_go_past_the_cache_both_ways() -> None:
    async def story() -> None:
        async with served() as service:
            await service.one(HAM).answer()
            request = service.many([HAM, SPAM])
            assert await request.answer() == [Prediction("ham"), Prediction("spam")]
            assert service.estimator.asked == [[-1.0], [-1.0, 1.0]]
            assert (request.record.cache, request.record.headers) == (None, [])
            spam = service.one(SPAM)
            await spam.answer()
            assert spam.record.cache is Lookup.MISS
            assert service.counts.observed == [{"ham": 1}, {"ham": 1, "spam": 1}, {"spam": 1}]

    run(story())


def test_a_failure_reaches_all_who_wait_for_it_and_is_neither_kept_nor_noted() -> None:
    async def story() -> None:
        async with served() as service:
            service.estimator.failure = ArithmeticError()
            service.estimator.gate.clear()
            together = [service.one(HAM) for _ in range(3)]
            await service.estimator.busy()
            service.estimator.gate.set()
            for request in together:
                with pytest.raises(EstimatorError):
                    await request.answer()
                assert request.record.headers == []
            assert service.log.notes == []
            service.estimator.failure = None
            assert await service.one(HAM).answer() == Prediction("ham")
            assert service.estimator.asked == [[-1.0], [-1.0]]

    run(story())


def test_a_lookup_whose_row_then_fails_was_a_miss() -> None:
    async def story() -> None:
        async with served() as service:
            service.estimator.failure = ArithmeticError()
            request = service.one(HAM)
            with pytest.raises(EstimatorError):
                await request.answer()
            assert service.counts.lookups == ["miss"]
            assert request.record.cache == "miss"

    run(story())


def test_a_row_is_answered_from_the_cache_while_others_are_refused() -> None:
    async def story() -> None:
        async with served(max_waiting_items=1) as service:
            await service.one(HAM).answer()
            service.estimator.gate.clear()
            service.estimator.arrived.clear()
            running = service.one((5.0, 0.0))
            await service.estimator.busy()
            waiting = service.one((6.0, 0.0))
            await turns()
            refused = service.one((7.0, 0.0))
            with pytest.raises(Problem) as caught:
                await refused.answer()
            assert caught.value.kind is OVERLOADED
            assert await service.one(HAM).answer() == Prediction("ham")
            joined = service.one((6.0, 0.0))  # needs no room
            await turns()
            service.estimator.gate.set()
            for request in (running, waiting, joined):
                assert await request.answer() == Prediction("spam")
            assert joined.record.cache is Lookup.COLLAPSED

    run(story())


def test_who_waits_with_another_keeps_its_place_when_that_one_leaves() -> None:
    async def story() -> None:
        async with served(max_waiting_items=2) as service:
            service.estimator.gate.clear()
            running = service.one((5.0, 0.0))
            await service.estimator.busy()
            leaving = service.one(HAM)
            staying = service.one(HAM)
            others: Sequence[Asked] = [service.one((6.0, 0.0))]
            await turns()
            leaving.task.cancel()
            others = [*others, service.one((7.0, 0.0))]  # there is room for it
            await turns()
            service.estimator.gate.set()
            for request in (running, staying):
                await request.answer()  # not 503
            assert service.estimator.asked[1][0] == -1.0
            await asyncio.gather(*(other.task for other in others), return_exceptions=True)

    run(story())

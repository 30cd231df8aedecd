"""The cache: what was predicted of late is given again, and what is under way is computed once."""

import asyncio
import gc
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.model.features import Row
from serving.model.outputs import Prediction
from serving.prediction.cache import Begun, Lookup, PredictionCache
from serving.problems import OVERLOADED, Problem
from tests.unit.fakes import StillClock
from tests.unit.prediction.stories import story, turns

ROW: Row = (1.0, "a")
OTHER: Row = (2.0, "a")
TTL_S = 60.0


class Fixture:
    """A cache, its clock, and a model behind it that computes at once, or when it is told to."""

    def __init__(self, max_entries: int = 10, *, waits: bool = False) -> None:
        """Put them together, within a story."""
        self.clock = StillClock()
        self.cache = PredictionCache(max_entries, TTL_S, self.clock)
        self.waits = waits
        self.failure: Exception | None = None
        self.refusal: Exception | None = None
        self.asked: list[Row] = []
        self._begun: list[tuple[str, asyncio.Future[list[Prediction]]]] = []

    @property
    def under_way(self) -> dict[str, asyncio.Future[list[Prediction]]]:
        """What is being computed."""
        return {row: future for row, future in self._begun if not future.done()}

    def begin(self, row: Row) -> Begun[Prediction]:
        """Begin to compute a row, as a batcher does."""
        if self.refusal is not None:
            raise self.refusal
        self.asked.append(row)
        future: asyncio.Future[list[Prediction]] = asyncio.get_running_loop().create_future()
        assert repr(row) not in self.under_way, "computed twice at a time"
        self._begun.append((repr(row), future))
        if not self.waits:
            self.let_through()
        return future, lambda: void(future.cancel())

    def let_through(self) -> None:
        """Answer all that is asked, or let it fail."""
        for row, future in self.under_way.items():
            if self.failure is not None:
                future.set_exception(self.failure)
            else:  # it tells rows apart that compare equal
                future.set_result([Prediction(row)])

    async def get(self, row: Row = ROW) -> Lookup:
        """Look a row up; whatever way the prediction was come by, it is the right one."""
        told: list[Lookup] = []
        prediction = await self.cache.get(row, self.begin, told.append)
        assert prediction == Prediction(repr(row))
        (lookup,) = told
        return lookup

    async def ask(self, row: Row = ROW) -> "asyncio.Task[Lookup]":
        """Look a row up without waiting for the outcome."""
        task = asyncio.create_task(self.get(row))
        await turns()
        return task

    async def is_forgotten(self, row: Row = ROW) -> bool:
        """Tell whether of a row nothing is kept, and nobody may join what was under way."""
        self.failure, self.waits = None, False
        return await self.get(row) == "miss"


def void(_: object) -> None:
    """Return nothing."""


# What is kept


@story
async def test_what_was_predicted_is_given_again_without_the_model() -> None:
    fixture = Fixture()
    assert [await fixture.get() for _ in range(3)] == ["miss", "hit", "hit"]
    assert await fixture.get(OTHER) == "miss"
    assert fixture.asked == [ROW, OTHER]


@story
async def test_a_prediction_is_kept_for_its_time_from_when_it_was_computed() -> None:
    fixture = Fixture(waits=True)
    first = await fixture.ask()
    fixture.clock.now_s += 10 * TTL_S
    fixture.let_through()
    assert await first == "miss"
    for wait_s in (0, TTL_S / 2, TTL_S / 2 - 0.001):
        fixture.clock.now_s += wait_s
        assert await fixture.get() == "hit"
    fixture.clock.now_s += 0.001  # no hit has made it any younger
    assert await fixture.is_forgotten()


@story
async def test_what_is_too_old_takes_no_room() -> None:
    fixture = Fixture(max_entries=2)
    await fixture.get((1.0,))
    fixture.clock.now_s += TTL_S / 2
    await fixture.get((2.0,))
    await fixture.get((1.0,))  # was asked for last, but is the older one
    fixture.clock.now_s += TTL_S / 2
    assert await fixture.get((3.0,)) == "miss"
    assert await fixture.get((2.0,)) == "hit"


@story
async def test_what_was_asked_for_longest_ago_makes_room() -> None:
    fixture = Fixture(max_entries=2)
    lookups = [await fixture.get((value,)) for value in (1.0, 2.0, 1.0, 3.0, 1.0, 2.0)]
    assert lookups == ["miss", "miss", "hit", "miss", "hit", "miss"]


ALMOST_EQUAL: list[Row] = [
    (0.0,),
    (-0.0,),
    (0,),
    (False,),
    ("0",),
    ("0.0",),
    ("",),
    (None,),
    ("null",),
    (1.0,),
    (1,),
    (True,),
    ("1",),
    ("true",),
    (5e-324,),
    (1.0000000000000002,),
    (2**53,),
    (2**53 + 1,),
    (float(2**53),),
    (),
    (1.0, None),
    (None, 1.0),
    ("1.0,null",),
    ("a", "b"),
    ("a,b",),
    ('a","b',),
    ("ab", ""),
    ("é",),
    ("e\u0301",),
    ("\x00",),
    ("\\u0000",),
    ("x" * 100_000 + "a",),
    ("x" * 100_000 + "b",),
]


@story
async def test_rows_that_are_almost_equal_are_not_the_same() -> None:
    fixture = Fixture(max_entries=100)
    assert {await fixture.get(row) for row in ALMOST_EQUAL} == {"miss"}
    assert {await fixture.get(row) for row in ALMOST_EQUAL} == {"hit"}


@story
async def test_long_rows_take_no_more_memory_than_short_ones() -> None:
    cache = PredictionCache(1000, TTL_S)

    def begin(_: Row) -> Begun[Prediction]:
        future: asyncio.Future[list[Prediction]] = asyncio.get_running_loop().create_future()
        future.set_result([Prediction("same")])
        return future, lambda: None

    await cache.get(ROW, begin, void)
    tracemalloc.start()
    for number in range(100):
        await cache.get((f"{number:0100000}",), begin, void)
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept_bytes < 1_000_000


# What is under way


@story
async def test_who_asks_for_the_same_meanwhile_gets_the_same() -> None:
    fixture = Fixture(waits=True)
    tasks = [await fixture.ask() for _ in range(4)]
    other = await fixture.ask(OTHER)
    assert not any(task.done() for task in tasks)
    fixture.let_through()
    assert await asyncio.gather(*tasks) == ["miss", "collapsed", "collapsed", "collapsed"]
    assert await other == "miss"
    assert fixture.asked == [ROW, OTHER]


@story
async def test_a_failure_is_that_of_all_who_wait_and_is_not_kept() -> None:
    fixture = Fixture()
    await fixture.get(OTHER)
    fixture.failure, fixture.waits = ArithmeticError("no luck"), True
    tasks = [await fixture.ask() for _ in range(3)]
    fixture.let_through()
    assert await asyncio.gather(*tasks, return_exceptions=True) == [fixture.failure] * 3
    assert await fixture.is_forgotten()
    assert await fixture.get(OTHER) == "hit"


@story
async def test_what_is_refused_is_not_under_way() -> None:
    fixture = Fixture()
    fixture.refusal = Problem(OVERLOADED, "full")
    with pytest.raises(Problem, match="full"):
        await fixture.get()
    fixture.refusal = None
    assert await fixture.is_forgotten()


@story
async def test_what_is_given_up_is_given_up_for_all_who_wait() -> None:
    fixture = Fixture(waits=True)
    tasks = [await fixture.ask() for _ in range(2)]
    for future in fixture.under_way.values():
        future.cancel()
    await turns()
    assert all(task.cancelled() for task in tasks)
    assert await fixture.is_forgotten()


@story
async def test_a_failure_that_nobody_else_waits_for_is_not_reported_twice() -> None:
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: reports.append(what))
    fixture = Fixture()
    fixture.failure = ArithmeticError()
    with pytest.raises(ArithmeticError):
        await fixture.get()
    gc.collect()  # when asyncio finds out what nobody has looked at
    assert reports == []


@pytest.mark.parametrize("staying", [0, 2, 5])
@story
async def test_one_after_the_other_may_leave_as_long_as_one_stays(staying: int) -> None:
    fixture = Fixture(waits=True)
    tasks = [await fixture.ask() for _ in range(6)]
    last = tasks.pop(staying)
    for leaving in tasks:
        leaving.cancel()
        await turns()
        assert leaving.cancelled()
    fixture.let_through()
    assert await last == ("collapsed" if staying else "miss")
    assert fixture.asked == [ROW]


@story
async def test_when_all_leave_at_once_nothing_is_left_under_way() -> None:
    fixture = Fixture(waits=True)
    tasks = [await fixture.ask() for _ in range(4)]
    for task in tasks:
        task.cancel()
    await turns()
    assert all(task.cancelled() for task in tasks)
    assert fixture.under_way == {}  # nobody is left to compute for
    assert fixture.asked == [ROW]
    assert await fixture.is_forgotten()


@story
async def test_who_asks_when_all_leave_joins_nothing_that_ends() -> None:
    fixture = Fixture(waits=True)
    leaving = await fixture.ask()
    leaving.cancel()
    late = await fixture.ask()  # in the same turn
    joining = await fixture.ask()
    fixture.let_through()
    assert [await late, await joining] == ["miss", "collapsed"]
    assert fixture.asked == [ROW, ROW]


@story
async def test_who_leaves_when_the_answer_is_there_takes_it_from_nobody() -> None:
    fixture = Fixture(waits=True)
    leaving, staying = await fixture.ask(), await fixture.ask()
    fixture.let_through()
    leaving.cancel()
    assert await staying == "collapsed"
    assert await fixture.get() == "hit"


@pytest.mark.parametrize("is_first", [True, False])
@story
async def test_a_deadline_is_its_own_alone(*, is_first: bool) -> None:
    fixture = Fixture(waits=True)
    others = [] if is_first else [await fixture.ask()]
    deadline = asyncio.timeout(None)

    async def ask_by_then() -> None:
        async with deadline:
            await fixture.get()

    hasty = asyncio.create_task(ask_by_then())
    await turns()
    others.append(await fixture.ask())
    deadline.reschedule(asyncio.get_running_loop().time())
    with pytest.raises(TimeoutError):
        await hasty
    fixture.let_through()
    assert (await asyncio.gather(*others))[-1] == "collapsed"
    assert fixture.asked == [ROW]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["asks", "asks", "leaves", "answers", "fails", "waits"]),
            st.sampled_from([(0.0,), (-0.0,), (0,), (None,)]),
            st.integers(0, 5),
        ),
        max_size=40,
    )
)
@story
async def test_whoever_asks_and_leaves_each_row_is_computed_once_at_a_time_and_rightly(
    steps: list[tuple[str, Row, int]],
) -> None:
    """`Fixture` watches that nothing is computed twice at a time, and what is given."""
    fixture = Fixture(max_entries=3, waits=True)
    tasks: list[asyncio.Task[Lookup]] = []
    for kind, row, number in steps:
        if kind == "asks":
            tasks.append(asyncio.create_task(fixture.get(row)))
        elif kind == "leaves" and tasks:
            tasks[number % len(tasks)].cancel()
        elif kind in ("answers", "fails"):
            fixture.failure = ArithmeticError() if kind == "fails" else None
            fixture.let_through()
        else:
            fixture.clock.now_s += number * TTL_S / 3
        await turns(number % 3)
    await turns()
    fixture.failure, fixture.waits = None, False
    fixture.let_through()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        assert isinstance(outcome, Lookup | ArithmeticError | asyncio.CancelledError), outcome
    await turns()
    assert fixture.under_way == {}
    for row in ((0.0,), (-0.0,), (0,), (None,)):
        assert await fixture.get(row) != "collapsed"

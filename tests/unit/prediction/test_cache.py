"""The cache: what was predicted of late is given again, and what is under way is computed once."""

import asyncio
import gc
import tracemalloc
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.model.features import Row
from serving.model.outputs import Prediction
from serving.prediction.cache import CACHE_STATUS, Begun, Lookup, PredictionCache
from serving.problems import OVERLOADED, Problem
from tests.unit.fakes import StillClock

ROW: Row = (1.0, "a")
OTHER: Row = (2.0, "a")
TTL_S = 60.0


def prediction_of(row: Row) -> Prediction:
    """Give the one prediction for a row; it tells rows apart that compare equal."""
    return Prediction(repr(row))


class Model:
    """Computes what it is asked when it is told to, or at once."""

    def __init__(self, *, waits: bool = False) -> None:
        """Wait at each row, or not."""
        self.asked: list[Row] = []
        self.failure: Exception | None = None
        self.under_way: Counter[str] = Counter()
        self._gate = asyncio.Event()
        if not waits:
            self._gate.set()

    async def __call__(self, row: Row) -> Prediction:
        """Note the row, wait, and predict or fail."""
        self.asked.append(row)
        self.under_way[repr(row)] += 1
        assert self.under_way[repr(row)] == 1, "computed twice at a time"
        try:
            await self._gate.wait()
            if self.failure is not None:
                raise self.failure
            return prediction_of(row)
        finally:
            self.under_way[repr(row)] -= 1

    def let_through(self) -> None:
        """Answer all that is asked, from now on."""
        self._gate.set()


def begins(compute: Callable[[Row], Coroutine[Any, Any, Prediction]]) -> Callable[[Row], Begun]:
    """Begin computations as a batcher does."""

    async def listed(row: Row) -> list[Prediction]:
        return [await compute(row)]

    def begin(row: Row) -> Begun:
        task = asyncio.create_task(listed(row))
        return task, lambda: void(task.cancel())

    return begin


def void(_: object) -> None:
    """Return nothing."""


class Fixture:
    """A cache, its clock, and a model behind it."""

    def __init__(self, max_entries: int = 10, *, waits: bool = False) -> None:
        """Put them together, within a story."""
        self.clock = StillClock()
        self.model = Model(waits=waits)
        self.cache = PredictionCache(max_entries, TTL_S, self.clock)

    async def get(self, row: Row = ROW) -> Lookup:
        """Look a row up; whatever way the prediction was come by, it is the right one."""
        told: list[Lookup] = []
        prediction = await self.cache.get(row, begins(self.model), told.append)
        assert prediction == prediction_of(row)
        (lookup,) = told
        return lookup

    async def ask(self, row: Row = ROW) -> "asyncio.Task[Lookup]":
        """Look a row up without waiting for the outcome."""
        task = asyncio.create_task(self.get(row))
        await turns()
        return task

    @property
    def forgotten(self) -> bool:
        """Whether nothing is under way any more."""
        return not self.cache._under_way


async def turns(count: int = 5) -> None:
    """Let the event loop run what is due."""
    for _ in range(count):
        await asyncio.sleep(0)


def run(story: Coroutine[Any, Any, None]) -> None:
    """Run a test's story; one that hangs fails."""

    async def bounded() -> None:
        await asyncio.wait_for(story, 30)

    asyncio.run(bounded())


# What is kept


def test_what_was_predicted_is_given_again_without_the_model() -> None:
    async def story() -> None:
        fixture = Fixture()
        assert [await fixture.get() for _ in range(3)] == ["miss", "hit", "hit"]
        assert await fixture.get(OTHER) == "miss"
        assert fixture.model.asked == [ROW, OTHER]

    run(story())


@pytest.mark.parametrize("lookup", Lookup)
def test_each_way_has_its_header(lookup: Lookup) -> None:
    """RFC 9211, 2: the cache's name, then either hit or why it was asked on."""
    expected = {
        "hit": b"model-api; hit",
        "miss": b"model-api; fwd=miss; stored",
        "collapsed": b"model-api; fwd=miss; collapsed",
    }
    assert CACHE_STATUS[lookup] == expected[lookup]


def test_a_prediction_is_kept_for_its_time_from_when_it_was_computed() -> None:
    async def story() -> None:
        fixture = Fixture()
        await fixture.get()
        fixture.clock.now_s += TTL_S / 2
        assert await fixture.get() == "hit"
        fixture.clock.now_s += TTL_S / 2 - 0.001
        assert await fixture.get() == "hit"
        fixture.clock.now_s += 0.001  # no hit has made it any younger
        assert await fixture.get() == "miss"
        assert await fixture.get() == "hit"

    run(story())


def test_the_time_counts_from_the_end_of_the_computation() -> None:
    async def story() -> None:
        fixture = Fixture(waits=True)
        first = await fixture.ask()
        fixture.clock.now_s += 10 * TTL_S
        fixture.model.let_through()
        assert await first == "miss"
        assert await fixture.get() == "hit"

    run(story())


def test_what_is_too_old_takes_no_room() -> None:
    async def story() -> None:
        fixture = Fixture(max_entries=2)
        await fixture.get((1.0,))
        fixture.clock.now_s += TTL_S / 2
        await fixture.get((2.0,))
        await fixture.get((1.0,))  # was asked for last, but is the older one
        fixture.clock.now_s += TTL_S / 2
        assert await fixture.get((3.0,)) == "miss"
        assert await fixture.get((2.0,)) == "hit"

    run(story())


def test_what_was_asked_for_longest_ago_makes_room() -> None:
    async def story() -> None:
        fixture = Fixture(max_entries=2)
        await fixture.get((1.0,))
        await fixture.get((2.0,))
        assert await fixture.get((1.0,)) == "hit"
        assert await fixture.get((3.0,)) == "miss"
        assert await fixture.get((1.0,)) == "hit"
        assert await fixture.get((2.0,)) == "miss"

    run(story())


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
]


def test_rows_that_are_almost_equal_are_not_the_same() -> None:
    async def story() -> None:
        fixture = Fixture(max_entries=100)
        assert {await fixture.get(row) for row in ALMOST_EQUAL} == {"miss"}
        assert {await fixture.get(row) for row in ALMOST_EQUAL} == {"hit"}

    run(story())


def test_a_row_may_have_long_strings() -> None:
    async def story() -> None:
        fixture = Fixture()
        for end in "ab":
            assert await fixture.get(("x" * 100_000 + end,)) == "miss"
        for end in "ab":
            assert await fixture.get(("x" * 100_000 + end,)) == "hit"

    run(story())


def test_long_rows_take_no_more_memory_than_short_ones() -> None:
    async def story() -> None:
        cache = PredictionCache(1000, TTL_S)

        async def compute(_: Row) -> Prediction:
            return Prediction("same")

        for number in range(100):
            await cache.get((f"{number:0100000}",), begins(compute), void)

        tracemalloc.start()
        for number in range(100, 200):
            await cache.get((f"{number:0100000}",), begins(compute), void)
        kept_bytes, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert kept_bytes < 1_000_000

    run(story())


# What is under way


def test_who_asks_for_the_same_meanwhile_gets_the_same() -> None:
    async def story() -> None:
        fixture = Fixture(waits=True)
        tasks = [await fixture.ask() for _ in range(4)]
        other = await fixture.ask(OTHER)
        assert not any(task.done() for task in tasks)
        fixture.model.let_through()
        assert await asyncio.gather(*tasks) == ["miss", "collapsed", "collapsed", "collapsed"]
        assert await other == "miss"
        assert fixture.model.asked == [ROW, OTHER]
        assert fixture.forgotten

    run(story())


@pytest.mark.parametrize(
    "failure", [ArithmeticError("no luck"), Problem(OVERLOADED, "full")], ids=repr
)
def test_a_failure_is_that_of_all_who_wait_and_is_not_kept(failure: Exception) -> None:
    async def story() -> None:
        fixture = Fixture(waits=True)
        fixture.model.failure = failure
        tasks = [await fixture.ask() for _ in range(3)]
        fixture.model.let_through()
        assert await asyncio.gather(*tasks, return_exceptions=True) == [failure] * 3
        assert fixture.forgotten
        fixture.model.failure = None
        assert await fixture.get() == "miss"
        assert fixture.model.asked == [ROW, ROW]

    run(story())


def test_a_failure_that_nobody_else_waits_for_is_not_reported_twice() -> None:
    async def story() -> None:
        reports: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: reports.append(what))
        cache = PredictionCache(10, TTL_S)

        async def fails(_: Row) -> Prediction:
            raise ArithmeticError

        with suppress(ArithmeticError):
            await cache.get(ROW, begins(fails), void)
        gc.collect()  # when asyncio finds out what nobody has looked at
        assert reports == []

    run(story())


def test_a_failure_does_not_replace_what_is_kept_of_other_rows() -> None:
    async def story() -> None:
        fixture = Fixture()
        await fixture.get()
        fixture.model.failure = ArithmeticError()
        with pytest.raises(ArithmeticError):
            await fixture.get(OTHER)
        assert await fixture.get() == "hit"

    run(story())


def test_one_after_the_other_may_leave_as_long_as_one_stays() -> None:
    async def story() -> None:
        fixture = Fixture(waits=True)
        tasks = [await fixture.ask() for _ in range(6)]
        for leaving in tasks[:-1]:
            leaving.cancel()
            await turns()
            assert leaving.cancelled()
        fixture.model.let_through()
        assert await tasks[-1] == "collapsed"
        assert fixture.model.asked == [ROW]
        assert fixture.forgotten

    run(story())


def test_when_all_leave_at_once_nothing_is_left_under_way() -> None:
    async def story() -> None:
        fixture = Fixture(waits=True)
        tasks = [await fixture.ask() for _ in range(4)]
        for task in tasks:
            task.cancel()
        await turns()
        assert all(task.cancelled() for task in tasks)
        assert fixture.forgotten
        assert fixture.model.asked == [ROW]  # nobody was left to compute for
        assert sum(fixture.model.under_way.values()) == 0
        fixture.model.let_through()
        assert await fixture.get() == "miss"

    run(story())


def test_who_waits_and_leaves_does_so_alone() -> None:
    async def story() -> None:
        fixture = Fixture(waits=True)
        first, leaving, staying = [await fixture.ask() for _ in range(3)]
        leaving.cancel()
        await turns()
        assert leaving.cancelled()
        fixture.model.let_through()
        assert [await first, await staying] == ["miss", "collapsed"]
        assert fixture.model.asked == [ROW]

    run(story())


def test_a_deadline_of_one_who_waits_is_its_own_alone() -> None:
    async def story() -> None:
        fixture = Fixture(waits=True)
        first, staying = await fixture.ask(), await fixture.ask()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await fixture.get()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(fixture.get(), 0.001)
        fixture.model.let_through()
        assert [await first, await staying] == ["miss", "collapsed"]

    run(story())


def test_a_deadline_of_the_first_one_takes_nothing_from_the_next() -> None:
    async def story() -> None:
        fixture = Fixture(waits=True)

        async def hasty() -> None:
            async with asyncio.timeout(0.001):
                await fixture.get()

        first = asyncio.create_task(hasty())
        await turns()
        staying = await fixture.ask()
        with pytest.raises(TimeoutError):
            await first
        fixture.model.let_through()
        assert await staying == "collapsed"
        assert fixture.model.asked == [ROW]

    run(story())


@settings(max_examples=200)
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
def test_whoever_asks_and_leaves_each_row_is_computed_once_at_a_time_and_rightly(
    steps: list[tuple[str, Row, int]],
) -> None:
    """`Model` watches that nothing is computed twice at a time, `Fixture` what it gives."""

    async def story() -> None:
        fixture = Fixture(max_entries=3, waits=True)
        tasks: list[asyncio.Task[Lookup]] = []
        for kind, row, number in steps:
            if kind == "asks":
                tasks.append(asyncio.create_task(fixture.get(row)))
            elif kind == "leaves" and tasks:
                tasks[number % len(tasks)].cancel()
            elif kind in ("answers", "fails"):
                fixture.model.failure = ArithmeticError() if kind == "fails" else None
                fixture.model.let_through()
                await turns()
                fixture.model._gate.clear()
            else:
                fixture.clock.now_s += number * TTL_S / 3
            await turns(number % 3)
        fixture.model.failure = None
        fixture.model.let_through()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        await turns()
        assert fixture.forgotten
        assert len(fixture.cache._kept) <= 3
        for outcome in outcomes:
            assert isinstance(outcome, Lookup | ArithmeticError | asyncio.CancelledError), outcome

    run(story())

"""The batcher: at once when idle, together when busy, each with its own outcome."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count, islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.batching import Again, Batcher

PATIENCE_S = 30  # for what another thread does; only a failing test waits so long


Run = Callable[[list[int]], Sequence[int | Again]]


def double(items: list[int]) -> list[int]:
    """Double numbers; a negative one is an error of the whole batch."""
    if min(items) < 0:
        raise ArithmeticError("negative")
    return [2 * item for item in items]


class GatedModel:
    """Runs batches, each of which waits at the gate until it is let through."""

    def __init__(self, run: Run = double, *, is_open: bool = False) -> None:
        """Close the gate, or leave it open for good."""
        self._run = run
        self.batches: list[list[int]] = []
        self.arrived = threading.Semaphore(0)
        self._gate = threading.Semaphore(0)
        self._is_open = is_open

    def run(self, items: list[int]) -> Sequence[int | Again]:
        """Note the batch, wait, and run it."""
        self.batches.append(items)
        self.arrived.release()
        if not self._is_open:
            assert self._gate.acquire(timeout=PATIENCE_S)
        return self._run(items)

    async def busy(self) -> None:
        """Wait until a batch stands at the gate."""
        assert await asyncio.to_thread(self.arrived.acquire, timeout=PATIENCE_S)

    def let_through(self, count: int = 1) -> None:
        """Let so many batches pass."""
        self._gate.release(count)


Submit = Callable[..., "asyncio.Task[list[int]]"]


@contextmanager
def batcher(
    run: Run, max_items: int = 10, max_waiting_items: int = 10_000, patience_s: float = 600.0
) -> Iterator[tuple[Submit, list[tuple[int, int]]]]:
    """Give a way to submit without waiting, and what the batcher observes."""
    observed: list[tuple[int, int]] = []
    subject: Batcher[int, int] = Batcher(
        run,
        lambda rows, waiting: observed.append((rows, waiting)),
        max_items=max_items,
        max_waiting_items=max_waiting_items,
        patience_s=patience_s,
    )

    def submit(*items: int) -> "asyncio.Task[list[int]]":
        return asyncio.create_task(subject.submit(list(items)))

    try:
        yield submit, observed
    finally:
        subject.close()


async def turns(count: int = 5) -> None:
    """Let the event loop run what is due."""
    for _ in range(count):
        await asyncio.sleep(0)


def within_patience(story: Awaitable[Any]) -> None:
    """Run a test's story; one that hangs fails."""

    async def bounded() -> None:
        await asyncio.wait_for(story, PATIENCE_S)

    asyncio.run(bounded())


def test_an_idle_model_starts_at_once() -> None:
    async def story() -> None:
        model = GatedModel(is_open=True)
        with batcher(model.run) as (submit, observed):
            assert await submit(3) == [6]
            assert await submit(4) == [8]
        assert model.batches == [[3], [4]]
        assert [rows for rows, _ in observed if rows] == [1, 1]

    within_patience(story())


def test_what_arrives_in_the_same_turn_starts_together() -> None:
    async def story() -> None:
        model = GatedModel(is_open=True)
        with batcher(model.run) as (submit, _):
            jobs = [submit(1), submit(2), submit(3)]
            assert await asyncio.gather(*jobs) == [[2], [4], [6]]
        assert model.batches == [[1, 2, 3]]

    within_patience(story())


def test_the_batch_grows_while_the_model_is_busy() -> None:
    async def story() -> None:
        model = GatedModel()
        with batcher(model.run) as (submit, observed):
            first = submit(0)
            await model.busy()
            later = []
            for number in range(1, 6):
                later.append(submit(number))
                await turns()
            assert model.batches == [[0]]
            model.let_through(2)
            assert await asyncio.gather(first, *later) == [[0], [2], [4], [6], [8], [10]]
        assert model.batches == [[0], [1, 2, 3, 4, 5]]
        assert observed[:7] == [(1, 0), *((0, waiting) for waiting in range(1, 6)), (5, 0)]

    within_patience(story())


def test_a_batch_takes_no_more_than_fits_and_the_rest_goes_next_in_order() -> None:
    async def story() -> None:
        model = GatedModel()
        with batcher(model.run, max_items=4) as (submit, observed):
            jobs = [submit(0)]
            await model.busy()
            jobs += [submit(1, 2, 3), submit(4, 5), submit(6, 7)]
            await turns()
            model.let_through(3)
            await asyncio.gather(*jobs)
        assert model.batches == [[0], [1, 2, 3], [4, 5, 6, 7]]
        assert observed[:6] == [(1, 0), (0, 3), (0, 5), (0, 7), (3, 4), (4, 0)]

    within_patience(story())


def test_a_job_larger_than_the_limit_runs_alone() -> None:
    async def story() -> None:
        model = GatedModel()
        with batcher(model.run, max_items=2) as (submit, _):
            jobs = [submit(0)]
            await model.busy()
            jobs += [submit(1, 2, 3), submit(4)]
            await turns()
            model.let_through(3)
            assert await asyncio.gather(*jobs) == [[0], [2, 4, 6], [8]]
        assert model.batches == [[0], [1, 2, 3], [4]]

    within_patience(story())


def test_nothing_asked_is_nothing_answered_without_the_model() -> None:
    async def story() -> None:
        model = GatedModel()
        with batcher(model.run) as (submit, _):
            assert await submit() == []
        assert model.batches == []

    within_patience(story())


def test_a_cancelled_job_never_reaches_the_model() -> None:
    async def story() -> None:
        model = GatedModel()
        with batcher(model.run) as (submit, observed):
            first, leaving, last = submit(0), None, None
            await model.busy()
            leaving, last = submit(1), submit(2)
            await turns()
            leaving.cancel()
            model.let_through(2)
            assert await last == [4]
            assert await first == [0]
            assert leaving.cancelled()
        assert model.batches == [[0], [2]]
        assert observed[:5] == [(1, 0), (0, 1), (0, 2), (0, 1), (1, 0)]

    within_patience(story())


def test_a_batcher_whose_waiting_jobs_were_all_cancelled_is_idle_again() -> None:
    async def story() -> None:
        model = GatedModel()
        with batcher(model.run) as (submit, observed):
            first = submit(0)
            await model.busy()
            leaving = submit(1)
            await turns()
            leaving.cancel()
            model.let_through(2)
            await first
            await turns()
            assert observed[-1] == (0, 0)
            assert await submit(2) == [4]
        assert model.batches == [[0], [2]]

    within_patience(story())


def test_a_caller_that_leaves_while_its_batch_runs_harms_nobody() -> None:
    async def story() -> None:
        model = GatedModel()
        with batcher(model.run) as (submit, _):
            leaving, staying = submit(1), submit(2)
            await model.busy()
            leaving.cancel()
            await turns()
            model.let_through()
            assert await staying == [4]

    within_patience(story())


def test_an_error_fails_its_own_batch_alone() -> None:
    async def story() -> None:
        model = GatedModel()
        with batcher(model.run) as (submit, _):
            failing = submit(-1, 1)
            await model.busy()
            later = submit(2)
            await turns()
            model.let_through(2)
            with pytest.raises(ArithmeticError):
                await failing
            assert await later == [4]

    within_patience(story())


@pytest.mark.parametrize(
    "raised", [StopIteration(), SystemExit(1), KeyboardInterrupt(), GeneratorExit()], ids=repr
)
def test_nothing_that_a_model_raises_stops_the_batcher(raised: BaseException) -> None:
    def run(items: list[int]) -> list[int]:
        if items == [0]:
            raise raised
        return items

    async def story() -> None:
        with batcher(run) as (submit, _):
            with pytest.raises(Exception):  # noqa: B017, PT011 (whatever it is turned into)
                await asyncio.wait_for(submit(0), 5)
            assert await asyncio.wait_for(submit(1), 5) == [1]

    within_patience(story())


@pytest.mark.parametrize("surplus", [-1, 1])
def test_a_wrong_number_of_results_is_an_error_and_never_misaligned(surplus: int) -> None:
    async def story() -> None:
        with batcher(lambda items: [0] * (len(items) + surplus)) as (submit, _):
            jobs = submit(1, 2), submit(3)
            answers = await asyncio.gather(*jobs, return_exceptions=True)
            assert all(isinstance(answer, Exception) for answer in answers)

    within_patience(story())


def test_the_model_runs_in_one_thread_and_never_in_that_of_the_event_loop() -> None:
    threads: set[threading.Thread] = set()

    def run(items: list[int]) -> list[int]:
        threads.add(threading.current_thread())
        return items

    async def story() -> None:
        with batcher(run) as (submit, _):
            await submit(1)
            await submit(2)
        assert len(threads) == 1
        assert threading.current_thread() not in threads

    within_patience(story())


def test_closing_ends_the_thread_after_the_batch_that_runs() -> None:
    async def story() -> None:
        before = set(threading.enumerate())
        model = GatedModel()
        with batcher(model.run) as (submit, _):
            (thread,) = {t for t in set(threading.enumerate()) - before if t.name == "model"}
            job = submit(1)
            await model.busy()
        model.let_through()
        assert await job == [2]
        await asyncio.to_thread(thread.join, PATIENCE_S)
        assert not thread.is_alive()

    within_patience(story())


def test_how_long_a_batch_runs_is_known_while_it_runs() -> None:
    async def story() -> None:
        model = GatedModel()
        subject: Batcher[int, int] = Batcher(
            model.run,
            lambda rows, waiting: None,
            max_items=10,
            max_waiting_items=10,
            patience_s=600.0,
        )
        assert subject.running_s == 0
        job = asyncio.create_task(subject.submit([1]))
        await model.busy()
        first_look = subject.running_s
        assert 0 < first_look < subject.running_s
        model.let_through()
        await job
        assert subject.running_s == 0
        subject.close()

    within_patience(story())


@settings(max_examples=50)
@given(
    st.lists(st.integers(0, 4), max_size=25),
    st.integers(1, 6),
    st.lists(st.booleans(), min_size=25, max_size=25),
)
def test_every_caller_gets_the_outcomes_of_its_own_items(
    sizes: list[int], max_items: int, pauses: list[bool]
) -> None:
    numbers = count()
    jobs = [list(islice(numbers, size)) for size in sizes]

    async def story() -> None:
        model = GatedModel(is_open=True)
        with batcher(model.run, max_items) as (submit, observed):
            tasks = []
            for items, pause in zip(jobs, pauses, strict=False):
                tasks.append(submit(*items))
                if pause:
                    await turns(2)
            answers = await asyncio.gather(*tasks)
            assert answers == [[2 * item for item in items] for items in jobs]
        ran = [item for batch in model.batches for item in batch]
        for lane in ([job for job in jobs if len(job) == 1], [job for job in jobs if len(job) > 1]):
            in_order = [item for items in lane for item in items]
            assert [item for item in ran if item in in_order] == in_order
        assert [rows for rows, _ in observed if rows] == list(map(len, model.batches))
        assert all(len(batch) <= max(max_items, 4) for batch in model.batches)

    within_patience(story())


POISON = 13


def fussy(items: list[int]) -> list[int]:
    """Double the items, or raise when the poisonous one is among them."""
    if POISON in items:
        raise ArithmeticError("poison")
    return [2 * item for item in items]


@settings(max_examples=50)
@given(
    st.lists(st.lists(st.integers(10, 16), min_size=1, max_size=3), min_size=1, max_size=20),
    st.integers(1, 60),
)
def test_exactly_the_failing_jobs_fail_wherever_they_stand(
    jobs: list[list[int]], max_items: int
) -> None:
    async def story() -> None:
        with batcher(fussy, max_items) as (submit, observed):
            tasks = [submit(*items) for items in jobs]
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            assert observed[-1] == (0, 0)
        for items, answer in zip(jobs, answers, strict=True):
            if POISON in items:
                assert isinstance(answer, ArithmeticError)
            else:
                assert answer == [2 * item for item in items]

    within_patience(story())


def test_one_failing_job_among_many_costs_few_runs() -> None:
    async def story() -> None:
        batches = []

        def run(items: list[int]) -> list[int]:
            batches.append(items)
            return fussy(items)

        with batcher(run, 1000) as (submit, _):
            jobs = [submit(0) for _ in range(511)]
            with pytest.raises(ArithmeticError):
                await submit(POISON)
            await asyncio.gather(*jobs)
        assert len(batches) <= 2 * 9 + 1  # 512 jobs, halved nine times

    within_patience(story())


def shy(items: list[int]) -> list[int | Again]:
    """Double the items; of several, the odd ones want to be alone."""
    return [Again.ALONE if item % 2 and len(items) > 1 else 2 * item for item in items]


def test_items_that_want_to_be_alone_are_asked_for_again_alone() -> None:
    async def story() -> None:
        batches = []

        def run(items: list[int]) -> list[int | Again]:
            batches.append(items)
            return shy(items)

        with batcher(run, 10) as (submit, _):
            one, other = submit(0, 1, 2, 3), submit(5, 6)
            assert (await one, await other) == ([0, 2, 4, 6], [10, 12])
        assert batches[0] == [0, 1, 2, 3, 5, 6]
        assert sorted(batches[1:]) == [[1], [3], [5]]

    within_patience(story())


def test_work_apart_takes_turns_with_what_arrives() -> None:
    async def story() -> None:
        model = GatedModel(shy)
        with batcher(model.run, 1000) as (submit, _):
            flood = submit(*range(1, 201, 2))
            await model.busy()
            model.let_through()
            await model.busy()
            late = submit(2)
            model.let_through(2)
            assert await late == [4]
            assert len(model.batches) <= 4
            flood.cancel()
            model.let_through(2)

    within_patience(story())


def test_nothing_more_is_asked_for_a_caller_that_has_left() -> None:
    async def story() -> None:
        model = GatedModel(shy)
        with batcher(model.run, 1000) as (submit, observed):
            flood = submit(1, 3, 5, 7, 9)
            await model.busy()
            model.let_through()
            await model.busy()
            flood.cancel()
            model.let_through(2)
            await turns(5)
            assert await submit(2) == [4]
            assert observed[-1] == (0, 0)
        assert model.batches == [[1, 3, 5, 7, 9], [1], [2]]

    within_patience(story())


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=30))
def test_what_waits_is_counted_whoever_leaves(jobs: list[tuple[int, bool]]) -> None:
    async def story() -> None:
        model = GatedModel(shy)
        with batcher(model.run, 7) as (submit, observed):
            first = submit(0)
            await model.busy()
            tasks = [(submit(*range(size)), leaves) for size, leaves in jobs]
            await turns()
            for task, leaves in tasks:
                if leaves:
                    task.cancel()
            await turns()
            assert observed[-1] == (0, sum(size for size, leaves in jobs if not leaves))
            model.let_through(1000)
            await asyncio.gather(first, *(task for task, leaves in tasks if not leaves))
            await turns()
            assert observed[-1][1] == 0

    within_patience(story())

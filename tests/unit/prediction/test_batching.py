"""The batcher: at once when idle, together when busy, each with its own outcome."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from itertools import count, islice
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.prediction.batching import Batcher
from serving.prediction.lanes import Again
from serving.problems import OVERLOADED, Problem

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


class StillLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock moves only when it is moved."""

    now_s = 1000.0

    def time(self) -> float:
        """Tell the time in seconds."""
        return self.now_s


class PacedModel(GatedModel):
    """Takes so long for each batch and for each item, by the clock of a `StillLoop`."""

    def __init__(
        self, run: Run = double, *, batch_s: float = 0.0, item_s: float = 0.0, is_open: bool = False
    ) -> None:
        """Set the pace; to be called in the loop."""
        super().__init__(run, is_open=is_open)
        self.batch_s = batch_s
        self.item_s = item_s
        self._loop = asyncio.get_running_loop()

    def run(self, items: list[int]) -> Sequence[int | Again]:
        """Run a batch, and move the clock by what it takes."""
        results = super().run(items)
        assert isinstance(self._loop, StillLoop)
        self._loop.now_s += self.batch_s + self.item_s * len(items)
        return results

    async def hold(self, submit: Submit) -> "asyncio.Task[list[int]]":
        """Keep the model busy with one item, 0, until it is let through."""
        task = submit(0)
        await self.busy()
        return task


async def become_known(model: PacedModel, submit: Submit) -> None:
    """Run a batch of one item and one of two, so that it is known what an item takes."""
    jobs = [await model.hold(submit), submit(0), submit(0)]
    await turns()
    model.let_through(2)
    await asyncio.gather(*jobs)


async def refused(submit: Submit, *items: int) -> Problem:
    """Submit what must be refused at once."""
    task = submit(*items)
    await turns(1)
    assert task.done(), "it waits"
    problem = task.exception()
    assert isinstance(problem, Problem), problem
    assert problem.kind is OVERLOADED
    return problem


async def accepted(submit: Submit, *items: int) -> "asyncio.Task[list[int]]":
    """Submit what must wait."""
    task = submit(*items)
    await turns(1)
    assert not task.done(), task.exception()
    return task


async def all_are_answered(jobs: "list[asyncio.Task[list[int]]]") -> None:
    """Wait for all jobs; none may be refused."""
    outcomes = await asyncio.gather(*jobs, return_exceptions=True)
    assert [outcome for outcome in outcomes if isinstance(outcome, BaseException)] == []


def in_still_time(story: Coroutine[Any, Any, None]) -> None:
    """Run a story whose clock stands still."""
    with asyncio.Runner(loop_factory=StillLoop) as runner:
        runner.run(story)


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


# Lanes


def test_jobs_of_few_items_and_of_many_take_turns() -> None:
    async def story() -> None:
        model = GatedModel()
        with batcher(model.run, max_items=10) as (submit, _):
            jobs = [submit(0)]
            await model.busy()
            jobs += [submit(10 * number, 10 * number + 1) for number in range(1, 11)]
            jobs += [submit(number) for number in range(200, 215)]
            await turns()
            model.let_through(6)
            await asyncio.gather(*jobs)
        assert [len(batch) for batch in model.batches] == [1, 10, 10, 10, 5]
        assert [max(batch) < 200 for batch in model.batches] == [True, True, False, True, False]

    within_patience(story())


@settings(max_examples=30)
@given(st.lists(st.integers(2, 12), min_size=1, max_size=40), st.integers(0, 8), st.integers(0, 3))
def test_a_job_of_few_items_waits_for_one_batch_of_each_other_lane_at_most(
    flood: list[int], ran_before: int, crashes: int
) -> None:
    late = 1000

    def run(items: list[int]) -> list[int | Again]:
        if late not in items and len(items) > 5 and len(items) % 4 < crashes:
            raise ArithmeticError
        return shy(items)

    async def story() -> None:
        model = GatedModel(run)
        with batcher(model.run, max_items=10) as (submit, _):
            many = [submit(*range(size)) for size in flood]
            await model.busy()
            for _ in range(min(ran_before, len(flood) - 1)):  # each takes a batch, or more
                model.let_through()
                await model.busy()
            ran = len(model.batches)
            job = submit(late)
            await turns()
            model.let_through(10_000)
            assert await job == [2 * late]
            place = next(index for index, batch in enumerate(model.batches) if late in batch)
            assert place - ran <= 2
            await asyncio.gather(*many, return_exceptions=True)

    within_patience(story())


def test_a_flood_of_single_items_leaves_every_second_turn_to_many() -> None:
    async def story() -> None:
        model = GatedModel()
        with batcher(model.run, max_items=10) as (submit, _):
            jobs = [submit(0)]
            await model.busy()
            jobs += [submit(1) for _ in range(50)]
            jobs += [submit(*range(2, 12)) for _ in range(2)]
            await turns()
            model.let_through(100)
            await asyncio.gather(*jobs)
        assert [batch[0] for batch in model.batches[:6]] == [0, 2, 1, 2, 1, 1]

    within_patience(story())


def test_a_batch_takes_no_more_than_runs_in_a_tenth_of_the_patience() -> None:
    async def story() -> None:
        model = PacedModel(item_s=1.0)
        with batcher(model.run, max_items=1000, patience_s=100.0) as (submit, _):
            await become_known(model, submit)
            jobs = [await model.hold(submit)]
            jobs += [submit(1) for _ in range(25)]
            await turns()
            model.let_through(4)
            await asyncio.gather(*jobs)
        assert [len(batch) for batch in model.batches] == [1, 2, 1, 10, 10, 5]

    in_still_time(story())


def test_what_an_item_takes_stays_known_while_all_batches_are_of_one_size() -> None:
    async def story() -> None:
        model = PacedModel(item_s=1.0)
        with batcher(model.run, max_items=1000, patience_s=100.0) as (submit, _):
            await become_known(model, submit)
            for _ in range(60):
                jobs = [submit(1) for _ in range(20)]
                await turns()
                model.let_through(2)
                await asyncio.gather(*jobs)
        assert max(len(batch) for batch in model.batches) == 10

    in_still_time(story())


def test_batches_grow_by_little_while_it_is_not_known_what_an_item_takes() -> None:
    async def story() -> None:
        model = PacedModel(item_s=1.0)
        with batcher(model.run, max_items=1000, patience_s=100.0) as (submit, _):
            first = submit(0)
            model.let_through()
            await first
            jobs = [await model.hold(submit)]
            jobs += [submit(1) for _ in range(45)]
            await turns()
            model.let_through(10)
            await asyncio.gather(*jobs)
        assert [len(batch) for batch in model.batches] == [1, 1, 16, 10, 10, 9]

    in_still_time(story())


def test_each_lane_goes_by_its_own_pace() -> None:
    """Rows of many may take less each: what is learned of singles does not hold for them."""

    async def story() -> None:
        model = PacedModel(batch_s=10.0)
        with batcher(model.run, max_items=1000, patience_s=100.0) as (submit, _):
            for items in ([0], range(500)):
                job = submit(*items)
                model.let_through()
                await job
            held = await model.hold(submit)
            jobs = [submit(*range(200)), submit(*range(300)), submit(1), submit(2)]
            await turns()
            model.let_through(10)
            await asyncio.gather(held, *jobs)
        assert [len(batch) for batch in model.batches[3:]] == [500, 2]

    in_still_time(story())


# What is refused


def test_a_job_for_which_there_is_no_room_is_refused_at_once() -> None:
    async def story() -> None:
        model = GatedModel()
        with batcher(model.run, max_waiting_items=5) as (submit, observed):
            jobs = [submit(0)]
            await model.busy()
            jobs += [await accepted(submit, number) for number in range(1, 6)]
            problem = await refused(submit, 6)
            assert str(problem) == "5 rows wait for the model"
            assert problem.headers == {"Retry-After": "1"}
            assert observed[-1] == (0, 5)
            model.let_through(2)
            assert await asyncio.gather(*jobs) == [[0], [2], [4], [6], [8], [10]]
            model.let_through()
            assert await submit(7) == [14]
        assert model.batches == [[0], [1, 2, 3, 4, 5], [7]]

    within_patience(story())


def test_whoever_leaves_makes_room() -> None:
    async def story() -> None:
        model = GatedModel()
        with batcher(model.run, max_waiting_items=2) as (submit, _):
            jobs = [submit(0)]
            await model.busy()
            jobs += [await accepted(submit, 1)]
            leaving = await accepted(submit, 2)
            await refused(submit, 3)
            leaving.cancel()
            await turns()
            jobs += [await accepted(submit, 4)]
            await refused(submit, 5)
            model.let_through(2)
            assert await asyncio.gather(*jobs) == [[0], [2], [8]]

    within_patience(story())


def test_jobs_of_many_items_leave_a_tenth_of_the_room_to_those_of_few() -> None:
    async def story() -> None:
        model = GatedModel()
        with batcher(model.run, max_items=10, max_waiting_items=20) as (submit, _):
            jobs = [submit(0)]
            await model.busy()
            jobs += [await accepted(submit, 1, 2) for _ in range(9)]
            await refused(submit, 3, 4)
            jobs += [await accepted(submit, number) for number in (5, 6)]
            await refused(submit, 7)
            model.let_through(10)
            await asyncio.gather(*jobs)

    within_patience(story())


def test_a_job_larger_than_all_the_room_is_taken_when_nothing_waits() -> None:
    async def story() -> None:
        model = GatedModel()
        with batcher(model.run, max_waiting_items=2) as (submit, _):
            jobs = [submit(0)]
            await model.busy()
            jobs += [await accepted(submit, 1, 2, 3)]
            await refused(submit, 4)
            model.let_through(2)
            assert await asyncio.gather(*jobs) == [[0], [2, 4, 6]]

    within_patience(story())


def test_a_job_that_would_wait_for_half_of_the_patience_is_refused_at_once() -> None:
    async def story() -> None:
        model = PacedModel(item_s=1.0)
        with batcher(model.run, patience_s=100.0) as (submit, _):
            await become_known(model, submit)
            jobs = [await model.hold(submit)]
            jobs += [await accepted(submit, 1) for _ in range(51)]  # 50 s for those before
            problem = await refused(submit, 2)
            assert problem.headers == {"Retry-After": "51"}
            model.let_through(10)
            await asyncio.gather(*jobs)
            assert [len(batch) for batch in model.batches] == [1, 2, 1, *[10] * 5, 1]

    in_still_time(story())


def test_how_long_to_wait_is_told_as_it_is_with_the_turns_of_the_other_lanes() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        model = PacedModel(item_s=1.0)
        with batcher(model.run, max_items=10, patience_s=200.0) as (submit, _):
            await become_known(model, submit)
            job = submit(*range(7))
            model.let_through()
            await job
            jobs = [await model.hold(submit)]
            jobs += [await accepted(submit, *range(7)) for _ in range(6)]
            jobs += [await accepted(submit, 1) for _ in range(59)]
            problem = await refused(submit, 2)
            assert problem.headers == {"Retry-After": str(59 + 6 * 7)}
            started_s = loop.time()
            model.let_through(100)
            await asyncio.gather(*jobs)
            assert loop.time() - started_s == 1 + 59 + 6 * 7

    in_still_time(story())


def test_the_wait_of_what_runs_apart_counts_for_jobs_that_will_have_to() -> None:
    async def story() -> None:
        model = PacedModel(shy, batch_s=1.0)
        with batcher(model.run, max_items=1000, patience_s=10.0) as (submit, _):
            first = [submit(number) for number in (1, 3, 5, 7, 9, 11, 13, 15)]
            for _ in range(2):  # all together, and the first of them alone
                await model.busy()
                model.let_through()
            await model.busy()
            problem = await refused(submit, 17)  # behind 6 others, and apart itself
            assert problem.headers == {"Retry-After": "7"}
            for _ in range(2):
                model.let_through()
                await model.busy()
            last = await accepted(submit, 17)
            model.let_through(100)
            assert await asyncio.gather(*first, last) == [
                [2 * number] for number in (1, 3, 5, 7, 9, 11, 13, 15, 17)
            ]

    in_still_time(story())


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_nothing_is_refused_while_the_model_is_idle(size: int) -> None:
    async def story() -> None:
        model = PacedModel(item_s=1000.0, is_open=True)
        with batcher(model.run, max_waiting_items=1, patience_s=1.0) as (submit, _):
            for _ in range(5):
                assert len(await submit(*range(size))) == size

    in_still_time(story())


def test_after_a_slow_phase_as_much_is_taken_as_before() -> None:
    async def story() -> None:
        model = PacedModel(item_s=10.0, is_open=True)
        with batcher(model.run, max_items=100, patience_s=10.0) as (submit, _):
            for _ in range(30):
                await submit(1)
            model.item_s = 0.001
            for _ in range(80):
                await submit(1)
            answers = await asyncio.gather(*(submit(number) for number in range(100)))
            assert answers == [[2 * number] for number in range(100)]
        assert len(model.batches[-1]) > 80

    in_still_time(story())


def test_a_lone_stall_refuses_no_handful_of_jobs() -> None:
    async def story() -> None:
        model = PacedModel(item_s=0.001, is_open=True)
        with batcher(model.run, max_items=100, patience_s=10.0) as (submit, _):
            for _ in range(100):
                await submit(1)
            model.batch_s = 5.0
            await submit(1)
            model.batch_s = 0.0
            answers = await asyncio.gather(*(submit(number) for number in range(8)))
            assert answers == [[2 * number] for number in range(8)]

    in_still_time(story())


def test_a_burst_that_fits_into_a_batch_is_taken_by_a_model_that_takes_a_while_for_each() -> None:
    """A forest takes 100 ms for one row, and hardly more for a hundred."""

    async def story() -> None:
        model = PacedModel(batch_s=0.1, item_s=1e-6, is_open=True)
        with batcher(model.run, max_items=1000, patience_s=10.0) as (submit, _):
            for _ in range(20):
                await submit(1)
            await all_are_answered([submit(number) for number in range(100)])

    in_still_time(story())


def test_batches_go_on_growing_when_each_takes_its_share_whatever_its_size() -> None:
    async def story() -> None:
        model = PacedModel(batch_s=0.12, item_s=1e-6, is_open=True)
        with batcher(model.run, max_items=1000, patience_s=1.0) as (submit, _):
            for _ in range(100):  # as long as it may take to learn
                jobs = [submit(number) for number in range(20)]
                await asyncio.gather(*jobs, return_exceptions=True)
            await all_are_answered([submit(number) for number in range(20)])

    in_still_time(story())


def test_nobody_is_told_to_wait_for_longer_than_all_who_wait_have_patience() -> None:
    async def story() -> None:
        model = PacedModel(item_s=1.0)
        with batcher(model.run, max_items=1000, patience_s=10.0) as (submit, _):
            await become_known(model, submit)
            held = await model.hold(submit)
            jobs = [await accepted(submit, *range(50)), *(submit(1) for _ in range(50))]
            await turns()
            for problem in (job.exception() for job in jobs if job.done()):
                assert isinstance(problem, Problem)
                assert int(problem.headers["Retry-After"]) <= 10
            problem = await refused(submit, *range(60))
            assert problem.headers == {"Retry-After": "10"}
            model.let_through(100)
            await asyncio.gather(held, *jobs, return_exceptions=True)

    in_still_time(story())


def test_the_turns_of_others_count_once_for_each_job_that_waits_at_most() -> None:
    async def story() -> None:
        model = PacedModel(item_s=0.01)
        with batcher(model.run, max_items=1000, patience_s=10.0) as (submit, _):
            for items in range(100), range(300):
                job = submit(*items)
                model.let_through()
                await job
            jobs = [await model.hold(submit), submit(*range(300)), submit(*range(100))]
            jobs += [submit(*range(300))]  # behind 3 s of many, and 1 s of few
            model.let_through(10)
            await all_are_answered(jobs)

    in_still_time(story())


def test_a_stall_of_the_first_batch_refuses_no_handful_of_jobs() -> None:
    async def story() -> None:
        model = PacedModel(batch_s=2.0, item_s=0.001, is_open=True)
        with batcher(model.run, max_items=1000, patience_s=10.0) as (submit, _):
            await submit(1)
            model.batch_s = 0.0
            await all_are_answered([submit(number) for number in range(8)])

    in_still_time(story())


def test_what_is_asked_for_again_is_never_refused() -> None:
    async def story() -> None:
        model = GatedModel(shy)
        with batcher(model.run, max_waiting_items=1) as (submit, _):
            first = submit(1, 3, 5)
            await model.busy()
            waiting = await accepted(submit, 2)
            await refused(submit, 4)
            model.let_through(10)
            assert await first == [2, 6, 10]
            assert await waiting == [4]

    within_patience(story())


def test_what_failed_together_is_never_refused_when_it_is_halved() -> None:
    async def story() -> None:
        model = GatedModel(fussy)
        with batcher(model.run, max_waiting_items=4) as (submit, observed):
            together = [submit(number) for number in (1, 2, POISON, 4)]
            await model.busy()
            waiting = [await accepted(submit, number) for number in (5, 6, 7, 8)]
            await refused(submit, 9)
            model.let_through()
            await model.busy()
            assert max(count for _, count in observed) > 4
            await refused(submit, 9)
            model.let_through(20)
            answers = await asyncio.gather(*together, *waiting, return_exceptions=True)
            assert isinstance(answers.pop(2), ArithmeticError)
            assert answers == [[2], [4], [8], [10], [12], [14], [16]]

    within_patience(story())


class Step(NamedTuple):
    """Something that happens to a batcher: a job comes, one leaves, or a batch is let through."""

    kind: str
    number: int


STEPS = st.lists(
    st.builds(
        Step, st.sampled_from(["comes", "comes", "comes", "leaves", "ends"]), st.integers(1, 7)
    ),
    max_size=40,
)


@settings(max_examples=100)
@given(STEPS, st.integers(1, 12))
def test_no_more_waits_than_there_is_room_for_and_who_has_left_is_never_asked_for(
    steps: list[Step], room: int
) -> None:
    async def story() -> None:
        model = GatedModel()
        numbers = count(1)
        with batcher(model.run, max_items=10, max_waiting_items=room) as (submit, observed):
            jobs: dict[int, list[int]] = {}
            tasks: dict[int, asyncio.Task[list[int]]] = {}
            left: set[int] = set()
            tasks[0], jobs[0] = submit(0), [0]
            await model.busy()
            for index, (kind, number) in enumerate(steps, 1):
                waiting = [
                    key
                    for key, task in tasks.items()
                    if not task.done() and not any(jobs[key][0] in b for b in model.batches)
                ]
                if kind == "comes":
                    jobs[index] = list(islice(numbers, number))
                    tasks[index] = submit(*jobs[index])
                    await turns(1)
                    size = sum(len(jobs[key]) for key in waiting)
                    fits = size + number <= (room if number == 1 else 0.9 * room)
                    assert tasks[index].done() == bool(size and not fits)
                elif kind == "leaves" and waiting:
                    key = waiting[number % len(waiting)]
                    tasks[key].cancel()
                    left.update(jobs[key])
                elif kind == "ends" and waiting:
                    model.let_through()
                    await model.busy()
                await turns(3)
            model.let_through(1000)
            await asyncio.gather(*tasks.values(), return_exceptions=True)
            await turns(5)
            assert max(waiting for _, waiting in observed) <= max(room, 7)
            assert observed[-1] == (0, 0)
        ran = [item for batch in model.batches for item in batch]
        assert not left & set(ran)
        assert len(ran) == len(set(ran))
        for key, task in tasks.items():
            if not task.cancelled():
                problem = task.exception()
                if problem is None:
                    assert task.result() == [2 * item for item in jobs[key]]
                else:
                    assert isinstance(problem, Problem)
                    assert not set(jobs[key]) & set(ran)

    within_patience(story())


def test_items_that_have_to_run_apart_are_counted_until_they_have() -> None:
    async def story() -> None:
        model = PacedModel(shy, item_s=0.001)
        with batcher(model.run, max_items=1000, max_waiting_items=100) as (submit, observed):
            job = submit(*range(1, 121, 2))
            await model.busy()
            for waiting in (59, 58, 57):
                model.let_through()
                await model.busy()
                assert observed[-1][1] == waiting  # and one runs
            problem = await refused(submit, *range(200, 260))
            assert problem.kind is OVERLOADED
            job.cancel()
            await turns()
            assert observed[-1] == (0, 0)
            model.let_through(100)

    in_still_time(story())


class AloneModel(PacedModel):
    """Answers items alone, and several in no time at all: not."""

    def run(self, items: list[int]) -> Sequence[int | Again]:
        """Run one item."""
        return super().run(items) if len(items) == 1 else [Again.ALONE] * len(items)


@pytest.mark.parametrize("between", [0, 20], ids=["at once", "while it works"])
def test_a_model_that_answers_rows_alone_is_not_asked_for_more_than_it_can_in_time(
    between: int,
) -> None:
    """Four times as much as it can: nobody who is taken waits in vain."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        model = AloneModel(item_s=0.002, is_open=True)
        with batcher(model.run, max_items=1000, patience_s=2.0) as (submit, _):
            await submit(*range(1, 401, 2))

            async def ask() -> float:
                started_s = loop.time()
                await submit(*range(1, 401, 2))
                return loop.time() - started_s

            tasks = []
            for _ in range(40):
                tasks.append(asyncio.create_task(ask()))
                await turns(between)
            waits = await asyncio.gather(*tasks, return_exceptions=True)
        taken = [wait for wait in waits if not isinstance(wait, BaseException)]
        assert len(taken) > 1
        assert max(taken) < 2.0
        for problem in waits:
            assert isinstance(problem, float | Problem)

    in_still_time(story())


def test_while_a_model_hangs_nobody_is_let_wait_for_it() -> None:
    async def story() -> None:
        model = PacedModel(item_s=0.001)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, StillLoop)
        with batcher(model.run, patience_s=10.0) as (submit, _):
            held = await model.hold(submit)
            loop.now_s += 10.0
            waiting = await accepted(submit, 1)
            loop.now_s += 0.1
            await refused(submit, 2)
            model.let_through(2)
            await asyncio.gather(held, waiting)
            model.let_through()
            assert await submit(3) == [6]

    in_still_time(story())

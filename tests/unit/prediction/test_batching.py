"""The batcher: at once when idle, together when busy, each with its own outcome."""

import asyncio
from collections.abc import Sequence
from itertools import count, islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.problems import Problem
from tests.unit.prediction.stories import (
    POISON,
    Desk,
    StillLoop,
    double,
    fussy,
    shy,
    still_story,
    story,
    turns,
)

SIZES_AT_ONCE = st.integers(0, 6)  # how many items may run on the event loop


# Together


@story
async def test_an_idle_model_starts_at_once() -> None:
    with Desk(is_open=True) as desk:
        assert await desk.submit(3) == [6]
        assert await desk.submit(4) == [8]
    assert desk.batches == [[3], [4]]
    assert desk.observed == [(1, 0), (1, 0)]


@pytest.mark.parametrize("later", [0, 1], ids=["in the same turn", "one turn later"])
@story
async def test_what_arrives_with_the_first_starts_with_it(later: int) -> None:
    with Desk(is_open=True) as desk:
        first = desk.submit(1)
        await turns(later)
        assert await desk.answered(first, desk.submit(2), desk.submit(3)) == [[2], [4], [6]]
    assert desk.batches == [[1, 2, 3]]


@story
async def test_the_batch_grows_while_the_model_is_busy() -> None:
    with Desk() as desk:
        first = await desk.hold()
        later = []
        for number in range(1, 6):
            later.append(await desk.accepted(number))
            assert desk.batcher.waiting_items == number
        assert desk.batches == [[0]]
        assert await desk.answered(first, *later) == [[0], [2], [4], [6], [8], [10]]
        assert desk.batcher.waiting_items == 0
    assert desk.batches == [[0], [1, 2, 3, 4, 5]]
    assert desk.observed == [(1, 0), *((0, waiting) for waiting in range(1, 6)), (5, 0)]


@story
async def test_nothing_asked_is_nothing_answered_without_the_model() -> None:
    with Desk() as desk:
        assert await desk.submit() == []
    assert desk.batches == []


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=25),
    st.integers(1, 6),
    SIZES_AT_ONCE,
)
@story
async def test_every_caller_gets_the_outcomes_of_its_own_items(
    sizes: list[tuple[int, bool]], max_items: int, max_at_once: int
) -> None:
    numbers = count()
    jobs = [list(islice(numbers, size)) for size, _ in sizes]
    with Desk(is_open=True, max_items=max_items, max_at_once=max_at_once, at_once=double) as desk:
        tasks = []
        for items, (_, pause) in zip(jobs, sizes, strict=True):
            tasks.append(desk.submit(*items))
            await turns(2 * pause)
        answers = await asyncio.gather(*tasks)
        assert answers == [[2 * item for item in items] for items in jobs]
        assert desk.batcher.waiting_items == 0
    ran = [item for batch in desk.batches for item in batch]
    for lane in ([job for job in jobs if len(job) == 1], [job for job in jobs if len(job) > 1]):
        in_order = [item for items in lane for item in items if item in ran]
        assert [item for item in ran if item in in_order] == in_order
    assert sum(started for started, _ in desk.observed) == sum(map(len, jobs))
    assert all(len(batch) <= max(max_items, 4) for batch in desk.batches)


@story
async def test_jobs_of_few_items_and_of_many_take_turns() -> None:
    with Desk() as desk:
        jobs = [await desk.hold()]
        jobs += [desk.submit(10 * number, 10 * number + 1) for number in range(1, 11)]
        jobs += [desk.submit(number) for number in range(200, 215)]
        await turns()
        await desk.answered(*jobs)
    assert sorted(len(batch) for batch in desk.batches) == [1, 5, 10, 10, 10]
    are_of_few = [batch[0] >= 200 for batch in desk.batches[1:]]
    assert are_of_few in ([True, False, True, False], [False, True, False, True])


@settings(max_examples=30)
@given(st.lists(st.integers(2, 12), min_size=1, max_size=40), st.integers(0, 8), st.integers(0, 3))
@story
async def test_a_job_of_few_items_waits_for_one_batch_of_each_other_lane_at_most(
    flood: list[int], ran_before: int, crashes: int
) -> None:
    late = 1000

    def run(items: list[int]) -> Sequence[int | None]:
        if late not in items and len(items) > 5 and len(items) % 4 < crashes:
            raise ArithmeticError
        return shy(items)

    with Desk(run) as desk:
        many = [desk.submit(*range(size)) for size in flood]
        await desk.busy()
        for _ in range(min(ran_before, len(flood) - 1)):  # each takes a batch, or more
            await desk.pass_on()
        ran = len(desk.batches)
        job = await desk.accepted(late)
        assert await desk.answered(job) == [[2 * late]]
        place = next(index for index, batch in enumerate(desk.batches) if late in batch)
        assert place - ran <= 2
        await asyncio.gather(*many, return_exceptions=True)


# Callers that leave


@story
async def test_a_cancelled_job_never_reaches_the_model() -> None:
    with Desk() as desk:
        first = await desk.hold()
        leaving, last = desk.submit(1), desk.submit(2)
        await turns()
        leaving.cancel()
        assert await desk.answered(first, last) == [[0], [4]]
        assert leaving.cancelled()
    assert desk.batches == [[0], [2]]
    assert desk.observed == [(1, 0), (0, 1), (0, 2), (0, 1), (1, 0)]


@story
async def test_a_batcher_whose_waiting_jobs_were_all_cancelled_is_idle_again() -> None:
    with Desk() as desk:
        first, leaving = await desk.hold(), await desk.accepted(1)
        leaving.cancel()
        await turns()
        assert desk.observed[-1] == (0, 0)
        assert await desk.answered(first) == [[0]]
        assert await desk.submit(2) == [4]
    assert desk.batches == [[0], [2]]


@pytest.mark.parametrize("pause", [0, 1, 5])
@story
async def test_a_first_job_that_leaves_before_it_starts_was_never_there(pause: int) -> None:
    with Desk(is_open=True) as desk:
        desk.batcher.leave(desk.batcher.ask([1, 2]))
        await turns(pause)
        assert await desk.submit(3) == [6]
        assert await desk.submit(4) == [8]
        assert desk.batcher.waiting_items == 0
        assert {waiting for started, waiting in desk.observed if started} == {0}
    assert desk.batches == [[3], [4]]


@story
async def test_a_caller_that_leaves_while_its_batch_runs_harms_nobody() -> None:
    with Desk() as desk:
        leaving, staying = desk.submit(1), desk.submit(2)
        await desk.busy()
        leaving.cancel()
        await turns()
        assert await desk.answered(staying) == [[4]]


STEPS = st.tuples(st.sampled_from(["comes", "comes", "comes", "leaves", "ends"]), st.integers(1, 7))


@settings(max_examples=30)
@given(st.lists(STEPS, max_size=40), st.integers(1, 12))
@story
async def test_no_more_waits_than_there_is_room_for_and_who_has_left_is_never_asked_for(
    steps: list[tuple[str, int]], room: int
) -> None:
    numbers = count(1)
    with Desk(max_waiting_items=room) as desk:
        jobs, tasks = {0: [0]}, {0: await desk.hold()}
        left: set[int] = set()
        for index, (kind, number) in enumerate(steps, 1):
            waiting = [
                key
                for key, task in tasks.items()
                if not task.done() and not any(jobs[key][0] in batch for batch in desk.batches)
            ]
            size = sum(len(jobs[key]) for key in waiting)
            assert desk.batcher.waiting_items == size
            if kind == "comes":
                jobs[index] = list(islice(numbers, number))
                tasks[index] = desk.submit(*jobs[index])
                await turns(1)
                fits = size + number <= (room if number == 1 else 0.9 * room)
                assert tasks[index].done() == bool(size and not fits)
            elif kind == "leaves" and waiting:
                key = waiting[number % len(waiting)]
                tasks[key].cancel()
                left.update(jobs[key])
            elif kind == "ends" and waiting:
                await desk.pass_on()
            await turns(3)
        desk.let_through(1000)
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        assert max(waits for _, waits in desk.observed) <= max(room, 7)
        assert desk.observed[-1][1] == desk.batcher.waiting_items == 0
    ran = [item for batch in desk.batches for item in batch]
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


# Failures


@story
async def test_an_error_fails_its_own_batch_alone() -> None:
    with Desk(fussy) as desk:
        failing, later = await desk.hold(POISON, 1), await desk.accepted(2)
        assert await desk.answered(later) == [[4]]
        with pytest.raises(ArithmeticError):
            await failing


@pytest.mark.parametrize("max_at_once", [0, 1], ids=["in the thread", "at once"])
@pytest.mark.parametrize(
    "raised", [StopIteration(), SystemExit(1), KeyboardInterrupt(), GeneratorExit()], ids=repr
)
@story
async def test_nothing_that_a_model_raises_stops_the_batcher(
    raised: BaseException, max_at_once: int
) -> None:
    def run(items: list[int]) -> list[int | None]:
        if items == [0]:
            raise raised
        return double(items)

    with Desk(run, is_open=True, at_once=run, max_at_once=max_at_once) as desk:
        with pytest.raises(RuntimeError, match="the batch failed") as caught:
            await desk.submit(0)
        assert caught.value.__cause__ is raised
        assert await desk.submit(1) == [2]


@pytest.mark.parametrize("surplus", [-1, 1])
@story
async def test_a_wrong_number_of_results_is_an_error_and_never_misaligned(surplus: int) -> None:
    with Desk(lambda items: [0] * (len(items) + surplus), is_open=True) as desk:
        jobs = desk.submit(1, 2), desk.submit(3)
        answers = await asyncio.gather(*jobs, return_exceptions=True)
        assert [type(answer) for answer in answers] == [ValueError] * 2


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.integers(10, 16), min_size=1, max_size=3), min_size=1, max_size=20),
    st.integers(1, 60),
    SIZES_AT_ONCE,
)
@story
async def test_exactly_the_failing_jobs_fail_wherever_they_stand(
    jobs: list[list[int]], max_items: int, max_at_once: int
) -> None:
    with Desk(
        fussy, is_open=True, max_items=max_items, max_at_once=max_at_once, at_once=fussy
    ) as desk:
        tasks = [desk.submit(*items) for items in jobs]
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert desk.batcher.waiting_items == 0
    for items, answer in zip(jobs, answers, strict=True):
        if POISON in items:
            assert isinstance(answer, ArithmeticError)
        else:
            assert answer == [2 * item for item in items]


@story
async def test_one_failing_job_among_many_costs_few_runs() -> None:
    with Desk(fussy, is_open=True, max_items=1000) as desk:
        jobs = [desk.submit(0) for _ in range(511)]
        with pytest.raises(ArithmeticError):
            await desk.submit(POISON)
        await asyncio.gather(*jobs)
    assert len(desk.batches) <= 2 * 9 + 1  # 512 jobs, halved nine times


@story
async def test_who_leaves_a_batch_that_fails_is_not_asked_for_again() -> None:
    with Desk(fussy) as desk:
        failing, leaving, staying = desk.submit(POISON), desk.submit(1), desk.submit(2)
        await desk.busy()
        leaving.cancel()
        assert await desk.answered(staying) == [[4]]
        with pytest.raises(ArithmeticError):
            await failing
        assert desk.batcher.waiting_items == 0
    assert sorted(desk.batches) == [[2], [POISON], [POISON, 1, 2]]


# What runs apart


@story
async def test_items_that_want_to_be_alone_are_asked_for_again_alone() -> None:
    with Desk(shy, is_open=True) as desk:
        one, other = desk.submit(0, 1, 2, 3), desk.submit(5, 6)
        assert (await one, await other) == ([0, 2, 4, 6], [10, 12])
    assert desk.batches[0] == [0, 1, 2, 3, 5, 6]
    assert sorted(desk.batches[1:]) == [[1], [3], [5]]


@story
async def test_work_apart_takes_turns_with_what_arrives() -> None:
    with Desk(shy, max_items=1000) as desk:
        flood = await desk.hold(*range(1, 201, 2))
        await desk.pass_on()
        late = desk.submit(2)
        desk.let_through(2)
        assert await late == [4]
        assert len(desk.batches) <= 4
        flood.cancel()


@story
async def test_items_that_run_apart_are_counted_until_they_have_or_their_caller_leaves() -> None:
    with Desk(shy) as desk:
        flood = await desk.hold(1, 3, 5, 7, 9)
        for waiting in (4, 3):
            await desk.pass_on()
            assert desk.batcher.waiting_items == desk.observed[-1][1] == waiting  # and one runs
        flood.cancel()
        await turns()
        assert desk.observed[-1] == (0, 0)
        assert await desk.answered(desk.submit(2)) == [[4]]
    assert desk.batches == [[1, 3, 5, 7, 9], [1], [3], [2]]


@story
async def test_a_job_of_which_an_item_fails_alone_has_failed_and_is_asked_for_no_more() -> None:
    with Desk(lambda items: shy(items) if len(items) > 1 else fussy(items)) as desk:
        failing = await desk.hold(1, POISON, 3)
        desk.let_through(3)
        with pytest.raises(ArithmeticError):
            await failing
        assert desk.batcher.waiting_items == 0
        await turns()
        assert desk.observed[-1] == (0, 0)
        assert await desk.answered(desk.submit(2)) == [[4]]
    assert desk.batches == [[1, POISON, 3], [1], [POISON], [2]]


@pytest.mark.parametrize("between", [0, 20], ids=["at once", "while it works"])
@still_story
async def test_a_model_that_answers_rows_alone_is_not_asked_for_more_than_it_can_in_time(
    between: int,
) -> None:
    """Four times as much as it can: nobody who is taken waits in vain."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StillLoop)

    def alone(items: list[int]) -> list[int | None]:
        if len(items) > 1:
            return [None] * len(items)
        loop.now_s += 0.002
        return double(items)

    with Desk(alone, is_open=True, max_items=1000, patience_s=2.0) as desk:
        rows = range(200)
        await desk.submit(*rows)

        async def ask() -> float:
            started_s = loop.time()
            await desk.submit(*rows)
            return loop.time() - started_s

        tasks = []
        for _ in range(40):
            tasks.append(asyncio.create_task(ask()))
            await turns(between)
        waits = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(wait, float | Problem) for wait in waits)
    taken = [wait for wait in waits if isinstance(wait, float)]
    assert len(taken) > 1
    assert max(taken) < 2.0

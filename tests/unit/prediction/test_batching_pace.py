"""What the batcher makes of the model's pace: how large batches are, and who is refused."""

import asyncio

import pytest

from serving.problems import Problem
from tests.unit.prediction.stories import (
    POISON,
    Desk,
    StillLoop,
    Task,
    double,
    fussy,
    shy,
    still_story,
    story,
    turns,
)


async def all_are_answered(tasks: list[Task]) -> None:
    """Wait for all; none may be refused."""
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [outcome for outcome in outcomes if isinstance(outcome, BaseException)] == []


# How large batches are


@still_story
async def test_a_batch_takes_no_more_than_runs_in_a_tenth_of_the_patience() -> None:
    with Desk(item_s=1.0, max_items=1000, patience_s=100.0) as desk:
        await desk.become_known()
        jobs = [await desk.hold()]
        jobs += [desk.submit(1) for _ in range(25)]
        await turns()
        await desk.answered(*jobs)
    assert [len(batch) for batch in desk.batches] == [1, 2, 1, 10, 10, 5]


@still_story
async def test_each_lane_goes_by_its_own_pace() -> None:
    """Rows of many may take less each: what is learned of singles does not hold for them."""
    with Desk(batch_s=10.0, max_items=1000, patience_s=100.0) as desk:
        for items in ([0], range(500)):
            job = await desk.hold(*items)
            desk.let_through()
            await job
        jobs = [await desk.hold()]
        jobs += [desk.submit(*range(200)), desk.submit(*range(300)), desk.submit(1), desk.submit(2)]
        await turns()
        await desk.answered(*jobs)
    assert sorted(len(batch) for batch in desk.batches[3:]) == [2, 500]


@still_story
async def test_batches_go_on_growing_when_each_takes_its_share_whatever_its_size() -> None:
    with Desk(batch_s=0.12, item_s=1e-6, is_open=True, max_items=1000, patience_s=1.0) as desk:
        for _ in range(100):  # as long as it may take to learn
            jobs = [desk.submit(number) for number in range(20)]
            await asyncio.gather(*jobs, return_exceptions=True)
        await all_are_answered([desk.submit(number) for number in range(20)])


# For whom there is no room


@story
async def test_a_job_for_which_there_is_no_room_is_refused_at_once() -> None:
    with Desk(max_waiting_items=5) as desk:
        jobs = [await desk.hold()]
        jobs += [await desk.accepted(number) for number in range(1, 6)]
        problem = await desk.refused(6)
        assert str(problem) == "5 rows wait for the model"
        assert problem.headers == {"Retry-After": "1"}
        assert desk.observed[-1] == (0, 5)
        assert await desk.answered(*jobs) == [[0], [2], [4], [6], [8], [10]]
        assert await desk.submit(7) == [14]
    assert desk.batches == [[0], [1, 2, 3, 4, 5], [7]]


@story
async def test_whoever_leaves_makes_room() -> None:
    with Desk(max_waiting_items=2) as desk:
        jobs = [await desk.hold(), await desk.accepted(1)]
        leaving = await desk.accepted(2)
        await desk.refused(3)
        leaving.cancel()
        await turns()
        jobs += [await desk.accepted(4)]
        await desk.refused(5)
        assert await desk.answered(*jobs) == [[0], [2], [8]]


@story
async def test_jobs_of_many_items_leave_a_tenth_of_the_room_to_those_of_few() -> None:
    with Desk(max_items=10, max_waiting_items=20) as desk:
        jobs = [await desk.hold()]
        jobs += [await desk.accepted(1, 2) for _ in range(9)]
        await desk.refused(3, 4)
        jobs += [await desk.accepted(number) for number in (5, 6)]
        await desk.refused(7)
        await desk.answered(*jobs)


@story
async def test_a_job_larger_than_all_the_room_is_taken_when_nothing_waits() -> None:
    with Desk(max_waiting_items=2) as desk:
        jobs = [await desk.hold(), await desk.accepted(1, 2, 3)]
        await desk.refused(4)
        assert await desk.answered(*jobs) == [[0], [2, 4, 6]]


@story
async def test_what_is_asked_for_again_is_never_refused() -> None:
    with Desk(shy, max_waiting_items=1) as desk:
        first, waiting = await desk.hold(1, 3, 5), await desk.accepted(2)
        await desk.refused(4)
        assert await desk.answered(first, waiting) == [[2, 6, 10], [4]]


@story
async def test_what_failed_together_is_never_refused_when_it_is_halved() -> None:
    with Desk(fussy, max_waiting_items=4) as desk:
        together = [desk.submit(number) for number in (1, 2, POISON, 4)]
        await desk.busy()
        waiting = [await desk.accepted(number) for number in (5, 6, 7, 8)]
        await desk.pass_on()
        assert desk.batcher.waiting_items > 4
        await desk.refused(9)
        desk.let_through(20)
        answers = await asyncio.gather(*together, *waiting, return_exceptions=True)
        assert isinstance(answers.pop(2), ArithmeticError)
        assert answers == [[2], [4], [8], [10], [12], [14], [16]]


# For whom there is no time


@still_story
async def test_a_job_that_would_wait_for_half_of_the_patience_is_refused_at_once() -> None:
    with Desk(item_s=1.0, patience_s=100.0) as desk:
        await desk.become_known()
        jobs = [await desk.hold()]
        jobs += [await desk.accepted(1) for _ in range(51)]  # 50 s for those before
        problem = await desk.refused(2)
        assert problem.headers == {"Retry-After": "51"}
        await desk.answered(*jobs)
        assert [len(batch) for batch in desk.batches] == [1, 2, 1, *[10] * 5, 1]


@still_story
async def test_how_long_to_wait_is_told_as_it_is_with_the_turns_of_the_other_lanes() -> None:
    loop = asyncio.get_running_loop()
    with Desk(item_s=1.0, patience_s=200.0) as desk:
        await desk.become_known()
        many = await desk.hold(*range(7))
        desk.let_through()
        await many
        jobs = [await desk.hold()]
        jobs += [await desk.accepted(*range(7)) for _ in range(6)]
        jobs += [await desk.accepted(1) for _ in range(59)]
        problem = await desk.refused(2)
        assert problem.headers == {"Retry-After": str(59 + 6 * 7)}
        started_s = loop.time()
        await desk.answered(*jobs)
        assert loop.time() - started_s == 1 + 59 + 6 * 7


@still_story
async def test_the_turns_of_others_count_once_for_each_job_that_waits_at_most() -> None:
    with Desk(item_s=0.01, max_items=1000, patience_s=10.0) as desk:
        for items in range(100), range(300):
            job = await desk.hold(*items)
            desk.let_through()
            await job
        jobs = [await desk.hold(), desk.submit(*range(300)), desk.submit(*range(100))]
        jobs += [desk.submit(*range(300))]  # behind 3 s of many, and 1 s of few
        desk.let_through(10)
        await all_are_answered(jobs)


@still_story
async def test_the_wait_of_what_runs_apart_counts_for_jobs_that_will_have_to() -> None:
    with Desk(shy, batch_s=1.0, max_items=1000, patience_s=10.0) as desk:
        first = [desk.submit(number) for number in (1, 3, 5, 7, 9, 11, 13, 15)]
        await desk.busy()
        for _ in range(2):  # all together, and the first of them alone
            await desk.pass_on()
        problem = await desk.refused(17)  # behind 6 others, and apart itself
        assert problem.headers == {"Retry-After": "7"}
        for _ in range(2):
            await desk.pass_on()
        last = await desk.accepted(17)
        answers = await desk.answered(*first, last)
        assert answers == [[2 * number] for number in (1, 3, 5, 7, 9, 11, 13, 15, 17)]


@still_story
async def test_what_would_run_apart_for_too_long_is_refused_even_by_an_idle_model() -> None:
    with Desk(shy, batch_s=1.0, is_open=True, max_items=1000, patience_s=10.0) as desk:
        await desk.submit(1, 3)
        problem = await desk.refused(*range(1, 21, 2))
        assert problem.headers == {"Retry-After": "10"}
        assert await desk.submit(5) == [10]


@still_story
async def test_nobody_is_told_to_wait_for_longer_than_all_who_wait_have_patience() -> None:
    with Desk(item_s=1.0, max_items=1000, patience_s=10.0) as desk:
        await desk.become_known()
        held = await desk.hold()
        jobs = [await desk.accepted(*range(50)), *(desk.submit(1) for _ in range(50))]
        await turns()
        for problem in (job.exception() for job in jobs if job.done()):
            assert isinstance(problem, Problem)
            assert int(problem.headers["Retry-After"]) <= 10
        problem = await desk.refused(*range(60))
        assert problem.headers == {"Retry-After": "10"}
        desk.let_through(100)
        await asyncio.gather(held, *jobs, return_exceptions=True)


@still_story
async def test_while_a_model_hangs_nobody_is_let_wait_for_it() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StillLoop)
    with Desk(item_s=0.001, patience_s=10.0) as desk:
        held = await desk.hold()
        loop.now_s += 10.0
        waiting = await desk.accepted(1)
        loop.now_s += 0.1
        await desk.refused(2)
        assert await desk.answered(held, waiting) == [[0], [2]]
        assert await desk.submit(3) == [6]


# Who is not refused


@pytest.mark.parametrize("max_at_once", [0, 2], ids=["in the thread", "at once"])
@pytest.mark.parametrize("size", [1, 2, 1000])
@still_story
async def test_nothing_is_refused_while_the_model_is_idle(size: int, max_at_once: int) -> None:
    with Desk(
        item_s=1000.0,
        is_open=True,
        max_waiting_items=1,
        patience_s=1.0,
        at_once=double,
        max_at_once=max_at_once,
    ) as desk:
        for _ in range(5):
            assert len(await desk.submit(*range(size))) == size


@still_story
async def test_after_a_slow_phase_as_much_is_taken_as_before() -> None:
    with Desk(item_s=10.0, is_open=True, max_items=100, patience_s=10.0) as desk:
        for _ in range(30):
            await desk.submit(1)
        desk.item_s = 0.001
        for _ in range(80):
            await desk.submit(1)
        await all_are_answered([desk.submit(number) for number in range(100)])
    assert len(desk.batches[-1]) > 80


@pytest.mark.parametrize("before", [0, 100])
@still_story
async def test_a_lone_stall_refuses_no_handful_of_jobs(before: int) -> None:
    with Desk(item_s=0.001, is_open=True, max_items=100, patience_s=10.0) as desk:
        for _ in range(before):
            await desk.submit(1)
        desk.batch_s = 5.0 if before else 2.0
        await desk.submit(1)
        desk.batch_s = 0.0
        await all_are_answered([desk.submit(number) for number in range(8)])


@still_story
async def test_a_burst_that_fits_into_a_batch_is_taken_by_a_model_that_is_slow_with_each() -> None:
    """A forest takes 100 ms for one row, and hardly more for a hundred."""
    with Desk(batch_s=0.1, item_s=1e-6, is_open=True, max_items=1000, patience_s=10.0) as desk:
        for _ in range(20):
            await desk.submit(1)
        await all_are_answered([desk.submit(number) for number in range(100)])

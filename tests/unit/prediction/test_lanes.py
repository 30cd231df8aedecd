"""Lanes: who is taken together, who is counted, and what batches are expected to take."""

import asyncio
from math import inf

import pytest

from serving.prediction.lanes import FIRST_ROOM, GROWTH, Job, Lane, Pace
from tests.unit.prediction.stories import story

AnyJob = Job[int, int]


def job(*items: int) -> AnyJob:
    """Give a job of these items."""
    return Job(list(items), asyncio.get_running_loop().create_future())


def lane_of(*jobs: AnyJob, max_items: int = 4, max_batch_s: float = 10.0) -> Lane[int, int]:
    """Give a lane in which these wait, each for itself."""
    lane: Lane[int, int] = Lane(max_items, max_batch_s)
    for each in jobs:
        lane.add([each])
    return lane


def paced(*batches: tuple[int, float]) -> Pace:
    """Give what is learned of batches: how many items, how many seconds."""
    pace = Pace()
    for items, seconds in batches:
        pace.learn(items, 0, seconds)
    return pace


# Who is taken


@story
async def test_a_batch_takes_no_more_than_fits_and_the_rest_goes_next_in_order() -> None:
    three, two, other = job(1, 2, 3), job(4, 5), job(6, 7)
    lane = lane_of(three, two, other)
    assert lane.waiting_items == 7
    assert lane.take() == [three]
    assert lane.waiting_items == 4
    assert lane.take() == [two, other]
    assert lane.waiting_items == 0
    assert lane.take() == []


@story
async def test_a_job_larger_than_the_limit_is_taken_alone() -> None:
    large, small = job(*range(9)), job(1)
    lane = lane_of(large, small)
    assert [lane.take(), lane.take()] == [[large], [small]]


@story
async def test_a_group_is_taken_together_whatever_its_size() -> None:
    group = [job(1, 2, 3), job(4, 5, 6)]
    lane = lane_of(job(0))
    lane.add(group)
    assert len(lane.take()) == 1
    assert lane.take() == group


@story
async def test_a_lane_without_room_gives_one_group_at_a_time() -> None:
    one, other = job(1), job(2)
    lane = lane_of(one, other, max_items=0)
    assert lane.waiting_batches == 2
    assert [lane.take(), lane.take()] == [[one], [other]]


@story
async def test_who_leaves_is_no_longer_counted_nor_taken_and_its_items_are_let_go() -> None:
    leaving, staying = job(1, 2), job(3)
    lane = lane_of(leaving, staying)
    leaving.future.cancel()
    lane.leave(leaving)
    assert lane.waiting_items == 1
    assert leaving.items == []
    assert lane.take() == [staying]
    assert lane.waiting_items == 0


@story
async def test_what_of_a_job_has_to_run_again_is_counted_but_for_what_is_taken() -> None:
    shy = job(1)
    shy.again.extend([(0, 1), (3, 4), (5, 6)])
    lane = lane_of(shy, max_items=0)
    assert lane.waiting_items == 3
    assert lane.take() == [shy]
    assert lane.waiting_items == 2
    shy.future.cancel()
    lane.leave(shy)
    assert lane.waiting_items == 0


@story
async def test_a_lane_expects_as_much_work_as_its_pace_says_for_what_waits() -> None:
    lane = lane_of(*(job(number) for number in range(25)), max_items=1000)
    assert (lane.waiting_batches, lane.work_s(1)) == (1, 0)
    for items in (1, 2):
        lane.learn(items, 0, 0.5 + items)
    assert lane.waiting_batches == 3  # of ten seconds each, at most
    assert lane.work_s(3) == pytest.approx(3 * 0.5 + 25)
    assert [len(lane.take()) for _ in range(3)] == [9, 9, 7]
    assert (lane.waiting_batches, lane.work_s(0)) == (0, 0)


# What batches take


def test_before_a_batch_has_run_it_is_taken_to_cost_nothing() -> None:
    pace = Pace()
    assert (pace.batch_s, pace.fixed_s, pace.item_s, pace.share_apart) == (0, 0, None, 0)
    assert pace.items_within(1) == inf


@pytest.mark.parametrize(("fixed_s", "item_s"), [(0.5, 0.01), (0.1, 1e-6), (0.0, 1.0), (2.0, 0.0)])
def test_batches_of_two_sizes_tell_what_a_batch_and_what_an_item_takes(
    fixed_s: float, item_s: float
) -> None:
    pace = paced(*((items, fixed_s + items * item_s) for items in (1, 20, 1, 300)))
    assert pace.fixed_s == pytest.approx(fixed_s, abs=1e-9)
    assert pace.item_s == pytest.approx(item_s, abs=1e-9)


@pytest.mark.parametrize(("items", "room"), [(1, FIRST_ROOM), (100, GROWTH * 100)])
def test_batches_grow_by_little_while_it_is_not_known_what_an_item_takes(
    items: int, room: int
) -> None:
    pace = paced((items, 1.0), (items, 1.0))
    assert pace.item_s is None
    assert pace.items_within(10) == pace.items_within(0.001) == pytest.approx(room)


def test_what_an_item_takes_stays_known_while_all_batches_are_of_one_size() -> None:
    pace = paced((1, 1.0), (2, 2.0), *[(10, 10.0)] * 60)
    assert pace.item_s == pytest.approx(1)
    assert pace.items_within(10) == pytest.approx(10)


def test_an_item_takes_no_more_than_its_share_of_a_batch() -> None:
    pace = paced((10, 10.0), (20, 20.0), *[(15, 15.0)] * 60, *[(15, 0.15)] * 100)
    assert pace.item_s is not None
    assert 0 <= pace.item_s <= 0.0101
    assert pace.fixed_s >= 0


def test_a_batch_may_grow_until_it_takes_twice_as_long_as_the_least() -> None:
    pace = paced((1, 0.12), (20, 0.1202))
    assert pace.items_within(0.1) > 1000


def test_the_last_batches_weigh_most_and_one_of_them_a_tenth() -> None:
    assert paced(*[(1, 10.0)] * 30, *[(1, 0.001)] * 80).batch_s < 0.01
    assert paced(*[(1, 0.0)] * 100, (1, 5.0)).batch_s == pytest.approx(0.5, rel=0.01)


def test_how_many_have_to_run_apart_is_learned_and_forgotten() -> None:
    pace = Pace()
    pace.learn(10, 5, 1.0)
    assert pace.share_apart == 0.5
    for _ in range(100):
        pace.learn(10, 0, 1.0)
    assert pace.share_apart == 0

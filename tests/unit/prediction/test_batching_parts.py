"""Other work with the model, in parts: last in turn, in nobody's way, and no rows."""

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from tests.unit.prediction.stories import (
    PATIENCE_S,
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


class Parts:
    """Parts that note when they run, between batches, each of which may wait at a gate."""

    def __init__(self, desk: Desk, *, is_open: bool = True) -> None:
        """Close the gate, or leave it open."""
        self.desk = desk
        self.threads: set[str] = set()
        self._arrived = threading.Semaphore(0)
        self.gate = threading.Event()
        if is_open:
            self.gate.set()

    def submit(self, number: int) -> "asyncio.Task[int]":
        """Bring a part without waiting; it is noted as a batch of this number, below zero."""
        return asyncio.create_task(self.desk.batcher.work(self._part(number)))

    def _part(self, number: int) -> Callable[[], int]:
        def run() -> int:
            self.threads.add(threading.current_thread().name)
            self.desk.batches.append([-number])
            self._arrived.release()
            assert self.gate.wait(PATIENCE_S)
            return number

        return run

    async def busy(self) -> None:
        """Wait until one more runs."""
        assert await asyncio.to_thread(self._arrived.acquire, timeout=PATIENCE_S)


@story
async def test_a_part_runs_in_the_model_s_thread_and_gives_what_it_gives() -> None:
    with Desk(is_open=True, at_once=double, max_at_once=9) as desk:
        parts = Parts(desk)
        assert await parts.submit(3) == 3
        assert await desk.batcher.work(lambda: {1: 2}.get(3)) is None
        with pytest.raises(ArithmeticError):
            await desk.batcher.work(lambda: 1 // 0)
        assert await desk.submit(4) == [8]
        assert parts.threads == {"model"}


@story
async def test_parts_are_no_rows() -> None:
    with Desk(max_waiting_items=1) as desk:
        parts = Parts(desk)
        running = await desk.hold()
        waiting = [parts.submit(number) for number in (1, 2, 3)]
        await turns()
        assert desk.batcher.waiting_items == 0
        job = await desk.accepted(1)  # there is room for it
        await desk.refused(2)
        await desk.answered(running, job)
        assert await asyncio.gather(*waiting) == [1, 2, 3]
        assert desk.observed == [(1, 0), (0, 1), (1, 0)]


@story
async def test_a_prediction_waits_for_one_part_at_most() -> None:
    with Desk(is_open=True) as desk:
        parts = Parts(desk, is_open=False)
        waiting = [parts.submit(number) for number in (1, 2, 3)]
        await parts.busy()
        job = await desk.accepted(7)
        parts.gate.set()
        assert await job == [14]
        await asyncio.gather(*waiting)
    assert desk.batches == [[-1], [7], [-2], [-3]]


@story
async def test_a_part_waits_while_each_other_lane_has_its_turn_and_no_longer() -> None:
    with Desk() as desk:
        parts = Parts(desk)
        jobs = [await desk.hold()]
        part = parts.submit(1)
        jobs += [desk.submit(10 * number, 10 * number + 1) for number in range(1, 21)]  # many
        jobs += [desk.submit(number) for number in range(300, 325)]
        await turns()
        await desk.answered(*jobs)
        assert await part == 1
    place = desk.batches.index([-1])
    assert sorted(len(batch) for batch in desk.batches[1:place]) == [10, 10]


@story
async def test_rows_that_are_quick_run_at_once_beside_a_part() -> None:
    with Desk(at_once=shy, max_at_once=2) as desk:
        parts = Parts(desk, is_open=False)
        waiting = [parts.submit(1), parts.submit(2)]
        await parts.busy()
        for _ in range(2):
            assert await asyncio.gather(*(desk.submit(each) for each in (4, 6))) == [[8], [12]]
        assert await desk.submit(3) == [6]
        assert desk.batcher.running_s > 0
        assert not any(part.done() for part in waiting)
        parts.gate.set()
        assert await asyncio.gather(*waiting) == [1, 2]
    assert desk.batches == [[-1], [-2]]
    assert [count for count, _ in desk.observed if count] == [2, 2, 1]


@pytest.mark.parametrize("items", [(4, 5), (1, 2, 3), (POISON,)], ids=["shy", "many", "failing"])
@story
async def test_what_is_not_quick_waits_for_the_part(items: tuple[int, ...]) -> None:
    def run(items: list[int]) -> Sequence[int | None]:
        fussy(items)
        return shy(items)

    with Desk(run, is_open=True, at_once=run, max_at_once=2) as desk:
        parts = Parts(desk, is_open=False)
        part = parts.submit(1)
        await parts.busy()
        jobs = [await desk.accepted(item) for item in items]
        await turns()
        assert desk.batcher.waiting_items == len(items)
        parts.gate.set()
        told = await asyncio.gather(*jobs, return_exceptions=True)
        assert await part == 1
        if POISON in items:
            assert isinstance(told[0], ArithmeticError)
        else:
            assert told == [[2 * item] for item in items]
        assert desk.batcher.waiting_items == 0


@story
async def test_a_part_that_nobody_waits_for_is_dropped() -> None:
    with Desk() as desk:
        parts = Parts(desk)
        running = await desk.hold()
        leaving, staying = parts.submit(1), parts.submit(2)
        await turns()
        leaving.cancel()
        await desk.answered(running)
        assert await staying == 2
        assert desk.batches == [[0], [-2]]
        gone = parts.submit(3)
        await turns(1)
        gone.cancel()
        await turns()
        assert desk.batcher.is_idle()
        assert await desk.submit(4) == [8]


@still_story
async def test_a_part_that_hangs_is_seen_to_and_what_it_took_is_not_taken_for_a_batch() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StillLoop)
    with Desk(patience_s=10) as desk:
        parts = Parts(desk, is_open=False)
        part = parts.submit(1)
        await parts.busy()
        loop.now_s += 11
        assert desk.batcher.running_s == 11
        assert "in run" in desk.batcher.stack()
        await desk.refused(1)
        parts.gate.set()
        await part
        assert desk.batcher.running_s == 0
        held = await desk.hold()
        jobs = [await desk.accepted(number) for number in range(9)]
        await desk.answered(held, *jobs)

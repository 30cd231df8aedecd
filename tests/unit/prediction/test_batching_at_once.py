"""Where the batcher runs what: in its thread, or what is quick on the event loop."""

import asyncio
import threading
from collections.abc import Sequence

from tests.unit.prediction.stories import (
    PATIENCE_S,
    POISON,
    Desk,
    Run,
    StillLoop,
    double,
    fussy,
    still_story,
    story,
)

# The thread


@story
async def test_the_model_runs_in_one_thread_and_never_in_that_of_the_event_loop() -> None:
    with Desk(is_open=True, at_once=double) as desk:  # which takes no item
        await desk.submit(1)
        await desk.submit(2)
    assert len(desk.threads) == 1
    assert threading.current_thread() not in desk.threads


@story
async def test_closing_ends_the_thread_after_the_batch_that_runs() -> None:
    with Desk() as desk:
        job = await desk.hold(1)
        desk.batcher.close()
        desk.let_through()
        assert await job == [2]
        (thread,) = desk.threads
        await asyncio.to_thread(thread.join, PATIENCE_S)
        assert not thread.is_alive()
        assert desk.batcher.stack() == ""


@still_story
async def test_how_long_a_batch_runs_and_where_it_stands_is_known_while_it_runs() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StillLoop)
    with Desk() as desk:
        assert desk.batcher.running_s == 0
        job = await desk.hold(31415926)
        loop.now_s += 3
        assert desk.batcher.running_s == 3
        assert "in _at_the_gate" in desk.batcher.stack()
        assert "31415926" not in desk.batcher.stack()
        await desk.answered(job)
        assert desk.batcher.running_s == 0


# What runs at once, on the event loop


class AtOnce:
    """What is known to be quick: it runs here, and notes what."""

    def __init__(self, run: Run = double) -> None:
        """Take what it does."""
        self.batches: list[list[int]] = []
        self._run = run

    def __call__(self, items: list[int]) -> Sequence[int | None]:
        """Run."""
        self.batches.append(items)
        return self._run(items)


@story
async def test_few_items_run_on_the_event_loop_and_more_in_the_thread() -> None:
    at_once = AtOnce()
    with Desk(is_open=True, at_once=at_once, max_at_once=2) as desk:
        assert await desk.submit(1) == [2]
        assert await desk.submit(2, 3) == [4, 6]
        assert await desk.submit(4, 5, 6) == [8, 10, 12]
        assert await asyncio.gather(*map(desk.submit, (7, 8, 9))) == [[14], [16], [18]]
    assert at_once.batches == [[1], [2, 3]]
    assert desk.batches == [[4, 5, 6], [7, 8, 9]]
    assert [started for started, _ in desk.observed if started] == [1, 2, 3, 3]


@story
async def test_nothing_runs_at_once_while_a_batch_is_in_the_thread() -> None:
    at_once = AtOnce()
    with Desk(at_once=at_once, max_at_once=2) as desk:
        held, waiting = await desk.hold(1, 2, 3), await desk.accepted(4)
        assert at_once.batches == []
        assert await desk.answered(held, waiting) == [[2, 4, 6], [8]]
    assert at_once.batches == [[4]]


@story
async def test_what_is_not_answered_at_once_is_asked_for_again_in_the_thread() -> None:
    at_once = AtOnce(lambda items: [None if item % 2 else 2 * item for item in items])
    with Desk(is_open=True, at_once=at_once, max_at_once=4) as desk:
        assert await desk.submit(1) == [2]
        assert desk.observed == [(1, 0)]  # a lone item is one batch, wherever it is answered
        assert await desk.submit(2, 3, 4, 5) == [4, 6, 8, 10]
        assert desk.batcher.waiting_items == 0
    assert at_once.batches == [[1], [2, 3, 4, 5]]
    assert desk.batches == [[1], [3], [5]]


@story
async def test_a_batch_that_fails_at_once_is_halved_in_the_thread() -> None:
    at_once = AtOnce(fussy)
    with Desk(fussy, is_open=True, at_once=at_once, max_at_once=4) as desk:
        jobs = [desk.submit(number) for number in (1, POISON, 2, 3)]
        answers = await asyncio.gather(*jobs, return_exceptions=True)
        assert isinstance(answers.pop(1), ArithmeticError)
        assert answers == [[2], [4], [6]]
    assert at_once.batches == [[1, POISON, 2, 3]]
    assert sorted(desk.batches) == [[1], [1, POISON], [2, 3], [POISON]]


@story
async def test_of_a_long_line_no_more_than_the_end_runs_on_the_event_loop() -> None:
    at_once = AtOnce()
    with Desk(is_open=True, max_items=1, at_once=at_once, max_at_once=1) as desk:
        jobs = [desk.submit(number) for number in range(1000)]
        assert await asyncio.gather(*jobs) == [[2 * number] for number in range(1000)]
        assert await desk.submit(1000) == [2000]
    assert at_once.batches == [[999], [1000]]
    assert len(desk.batches) == 999

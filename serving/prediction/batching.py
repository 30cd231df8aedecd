"""The batcher between the event loop and the model: it never waits, polls, or learns to wait.

While the model is idle, rows start as soon as the event loop has read what has arrived with them;
while it is busy, rows collect, and the next batch takes all that fit. So the batch grows with the
load and shrinks with it, and a lone client never waits for company. One thread runs the model, so
that the event loop goes on answering probes and reading requests meanwhile.

No job can harm another. Jobs wait in lanes that take turns at the model: few items, many items, and
what has to run apart; so nobody waits for more than a batch of each other kind. A batch that fails
is halved until the failing job stands alone, and items whose answer might depend on their
neighbours are asked for again, alone. Jobs that nobody waits for any more, because their deadline
has passed or their client has gone, are dropped before the model sees them.

No job waits in vain. One that would wait for longer than callers have patience, or for more items
than there is room for, is refused at once with 503.
"""

import asyncio
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import ceil
from queue import SimpleQueue
from typing import Generic, TypeVar

from serving.prediction.lanes import Job, Lane
from serving.problems import OVERLOADED, Problem

# Of what a caller's patience is spent: waiting in line, and in one batch. What is left is for the
# batches of other lanes, and for errors of the estimate.
WAIT_SHARE = 0.5
BATCH_SHARE = 0.1
FEW_SHARE = 0.1  # a job has few items if it fills no more of a batch
MANY_SHARE = 0.9  # jobs of many items leave the rest of the room to those of few

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Runs a function over many items at a time, for callers that bring a few each.

    ``run`` is called in the batcher's own thread with at most ``max_items`` items (never less than
    one caller's) and returns one result for each, in order, or None for those of several that it
    wants to be asked for again, alone. ``observe`` is told, on the event loop, how many items
    start now and how many wait. Callers are expected to leave after ``patience_s``.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result | None]],
        observe: Callable[[int, int], None],
        *,
        max_items: int,
        max_waiting_items: int,
        patience_s: float,
    ) -> None:
        """Start the thread; submit from one event loop only."""
        self._run = run
        self._observe = observe
        self._max_few = max(1, int(max_items * FEW_SHARE))
        self._max_waiting_items = max_waiting_items
        self._patience_s = patience_s
        max_batch_s = patience_s * BATCH_SHARE
        self._few: Lane[Item, Result] = Lane(max_items, max_batch_s)
        self._many: Lane[Item, Result] = Lane(max_items, max_batch_s)
        self._apart: Lane[Item, Result] = Lane(0, max_batch_s)
        self._turns = deque([self._few, self._apart, self._many])
        # True from the moment a batch is due until the model is found idle with nothing waiting.
        self._active = False
        self._started_s: float | None = None
        self._batches: SimpleQueue[list[Job[Item, Result]] | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    async def submit(self, items: list[Item]) -> list[Result]:
        """Wait for the results of these items, in order.

        Raises:
            Problem: 503, they would wait for too long.
            Exception: what ``run`` raised for them.
        """
        job = self.ask(items)
        try:
            return await job.future
        except asyncio.CancelledError:
            self.leave(job)
            raise

    def ask(self, items: list[Item]) -> Job[Item, Result]:
        """Put items in line, for a caller that waits for the job's future, or says that it leaves.

        Raises:
            Problem: 503, they would wait for too long.
        """
        job: Job[Item, Result] = Job(items, self._loop.create_future())
        if not items:
            job.future.set_result([])
            return job
        lane = self._few if len(items) <= self._max_few else self._many
        self._refuse_beyond(lane, len(items))
        lane.add([job])
        if self._active:
            self._observe(0, self.waiting_items)
        else:
            self._active = True
            # One turn later: what the sockets hold by now is read in between, and joins.
            self._loop.call_soon(self._loop.call_soon, self._start_next)
        return job

    def leave(self, job: Job[Item, Result]) -> None:
        """Take a job out of line that nobody waits for any more."""
        job.future.cancel()
        if job.lane is not None:
            job.lane.leave(job)
            self._observe(0, self.waiting_items)

    @property
    def waiting_items(self) -> int:
        """How many items wait for the model."""
        return sum(lane.waiting_items for lane in self._turns)

    @property
    def running_s(self) -> float:
        """For how many seconds the batch that is running has run; 0 when there is none."""
        return 0.0 if self._started_s is None else self._loop.time() - self._started_s

    def stack(self) -> str:
        """Tell where the thread is, without the values that it works on."""
        frame = sys._current_frames().get(self._thread.ident or 0)
        return "".join(traceback.format_stack(frame)) if frame else ""

    def close(self) -> None:
        """Let the thread end after the batch that it is running; nothing may be submitted later."""
        self._batches.put(None)

    def _refuse_beyond(self, lane: Lane[Item, Result], count: int) -> None:
        """Refuse a job for which there is no room, or no time."""
        waiting = self.waiting_items
        wait_s = self._wait_s(lane)
        if share_apart := lane.pace.share_apart:
            coming = lane.waiting_items + count
            apart_s = self._wait_s(self._apart) + coming * self._apart.pace.batch_s
            wait_s += share_apart * apart_s
        room = self._max_waiting_items * (MANY_SHARE if lane is self._many else 1)
        hangs = self.running_s > self._patience_s
        if hangs or wait_s > self._patience_s * WAIT_SHARE or (waiting and waiting + count > room):
            raise Problem(
                OVERLOADED,
                f"{waiting} rows wait for the model",
                headers={"Retry-After": str(max(1, ceil(min(wait_s, self._patience_s))))},
            )

    def _wait_s(self, lane: Lane[Item, Result]) -> float:
        """How long what waits in a lane is expected to take, while others take their turns."""
        turns = lane.waiting_batches
        return lane.work_s + sum(
            min(turns, other.waiting_batches) * other.pace.batch_s
            for other in self._turns
            if other is not lane
        )

    def _start_next(self) -> None:
        """Hand the thread a batch of the next lane that has one."""
        batch: list[Job[Item, Result]] = []
        for _ in range(len(self._turns)):
            batch = self._turns[0].take()
            self._turns.rotate(-1)
            if batch:
                break
        self._active = bool(batch)
        self._started_s = self._loop.time() if batch else None
        if batch:
            self._batches.put(batch)
        self._observe(sum(len(job.items) for job in batch), self.waiting_items)

    def _work(self) -> None:
        """Run batches until told to end; this is the thread."""
        while (batch := self._batches.get()) is not None:
            items = [item for job in batch for item in job.items]
            results: Sequence[Result | None] | Exception
            try:
                results = self._run(items)
                if len(results) != len(items):
                    raise ValueError(f"{len(results)} results for {len(items)} items")
            except BaseException as exc:
                if isinstance(exc, Exception) and not isinstance(exc, StopIteration):
                    results = exc
                else:  # a future takes no StopIteration, and SystemExit would end the event loop
                    results = RuntimeError("the batch failed")
                    results.__cause__ = exc
            with suppress(RuntimeError):  # the loop has ended, and nobody waits
                self._loop.call_soon_threadsafe(self._finish, batch, results)

    def _finish(
        self, batch: list[Job[Item, Result]], results: Sequence[Result | None] | Exception
    ) -> None:
        """Give each caller its own results, and start what has collected meanwhile."""
        lane = self._turns[-1]  # its turn was the last
        apart = 0 if isinstance(results, Exception) else results.count(None)
        lane.pace.learn(sum(len(job.items) for job in batch), apart, self.running_s)
        if isinstance(results, Exception) and len(batch) > 1:
            batch = [job for job in batch if not job.future.done()]
            middle = len(batch) // 2
            for half in (batch[:middle], batch[middle:]):
                self._apart.add(half)
        else:
            start = 0
            for job in batch:
                end = start + len(job.items)
                if job.future.done():
                    pass  # its caller has left
                elif isinstance(results, Exception):
                    job.future.set_exception(results)
                else:
                    self._take_in(job, results[start:end])
                start = end
        self._start_next()

    def _take_in(self, job: Job[Item, Result], results: Sequence[Result | None]) -> None:
        """Give a caller its results, or have what has to run again run apart, item by item."""
        if job.results:
            index, _ = job.again.popleft()
            (job.results[index],) = results
        else:
            job.results = list(results)
            job.again.extend(
                (index, item)
                for index, (item, result) in enumerate(zip(job.items, results, strict=True))
                if result is None
            )
        if job.again:
            job.items = [job.again[0][1]]
            self._apart.add([job])
        else:
            job.future.set_result(job.results)  # type: ignore[arg-type]

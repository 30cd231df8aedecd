"""The batcher between the event loop and the model: it never waits, polls, or learns to wait.

While the model is idle, rows start as soon as the event loop has read what has arrived with them;
while it is busy, rows collect, and the next batch takes all that fit. So the batch grows with the
load and shrinks with it, and a lone client never waits for company. One thread runs the model, so
that the event loop goes on answering probes and reading requests meanwhile. What is known to be
quicker than handing it to a thread, and can't hang, runs at once.

No job can harm another. Jobs wait in lanes that take turns at the model: few items, many items, and
what has to run apart; so nobody waits for more than a batch of each other kind. A batch that fails
is halved until the failing job stands alone, and items whose answer might depend on their
neighbours are asked for again, alone. Jobs that nobody waits for any more, because their deadline
has passed or their client has gone, are dropped before the model sees them.

Other work with the model, such as explaining, is brought in short parts. They wait in a lane of
their own, which runs one of them when each other lane has had its turn. What is quick does not even
wait for that one.

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
from typing import Any, Generic, TypeAlias, TypeVar

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
Done = TypeVar("Done")
Run: TypeAlias = Callable[[list[Item]], Sequence[Result | None]]


class Batcher(Generic[Item, Result]):
    """Runs a function over many items at a time, for callers that bring a few each.

    ``run`` is called in the batcher's own thread with at most ``max_items`` items (never less than
    one caller's) and returns one result for each, in order, or None for those of several that it
    wants to be asked for again, alone. ``observe`` is told, on the event loop, how many items
    start now and how many wait. Callers are expected to leave after ``patience_s``.

    ``run_at_once``, if there is one, does the same for at most ``max_at_once`` items, on the event
    loop: it has to be quick, and may ask for any item again.
    """

    def __init__(
        self,
        run: Run[Item, Result],
        observe: Callable[[int, int], None],
        *,
        max_items: int,
        max_waiting_items: int,
        patience_s: float,
        run_at_once: Run[Item, Result] | None = None,
        max_at_once: int = 0,
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
        self._parts: Lane[Callable[[], Any], Any] = Lane(0, max_batch_s)
        self._turns: deque[Lane[Any, Any]] = deque(
            [self._few, self._apart, self._many, self._parts]
        )
        self._run_at_once = run_at_once
        self._max_at_once = max_at_once
        # What found all idle, and starts unless others join it first.
        self._first: Job[Item, Result] | None = None
        self._told_waiting = 0
        self._looks = False  # soon, whether something is quick while a part keeps the thread busy
        # True from the moment a batch is due until the model is found idle with nothing waiting.
        self._active = False
        self._started_s: float | None = None
        self._running: Lane[Any, Any] = self._few
        self._running_items = 0
        self._batches: SimpleQueue[tuple[Run[Any, Any], list[Job[Any, Any]]] | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    async def submit(self, items: list[Item]) -> list[Result]:
        """Wait for the results of these items, in order.

        Raises:
            Problem: 503, they would wait for too long.
            Exception: what ``run`` raised for them.
        """
        return await self._given(self.ask(items))

    def ask(self, items: list[Item]) -> Job[Item, Result]:
        """Put items in line, for a caller that waits for the job's future, or says that it leaves.

        Raises:
            Problem: 503, they would wait for too long.
        """
        job: Job[Item, Result] = Job(items, self._loop.create_future())
        if not items:
            job.future.set_result([])
            return job
        lane = self._lane_for(job)
        if not self._active and not lane.pace.share_apart:  # it waits for nothing
            self._begin()
            self._first = job
            return job
        if self._first is not None:  # it has company, and waits in line as all do
            if not self._first.future.done():  # or its caller has left
                self._lane_for(self._first).add([self._first])
            self._first = None
        self._refuse_beyond(lane, len(items))
        lane.add([job])
        if not self._active:
            self._begin()
        elif self._runs_a_part:
            self._look_beside()
        self._tell(0)
        return job

    async def work(self, part: Callable[[], Done]) -> Done:
        """Wait for what a short part of other work gives, in the model's thread.

        Raises:
            Exception: what it raised.
        """
        job: Job[Callable[[], Any], Any] = Job([part], self._loop.create_future())
        self._parts.add([job])
        if not self._active:
            self._begin()
        ((done,),) = await self._given(job)
        return done  # type: ignore[no-any-return]

    async def _given(self, job: Job[Any, Done]) -> list[Done]:
        """Wait for what a job gives; who is cancelled leaves it."""
        try:
            return await job.future
        except asyncio.CancelledError:
            self.leave(job)
            raise

    def _begin(self) -> None:
        """Start one turn later: what the sockets hold by now is read in between, and joins."""
        self._active = True
        self._loop.call_soon(self._loop.call_soon, self._start_first)

    def _lane_for(self, job: Job[Item, Result]) -> Lane[Item, Result]:
        return self._few if len(job.items) <= self._max_few else self._many

    def leave(self, job: Job[Any, Any]) -> None:
        """Take a job out of line that nobody waits for any more."""
        job.future.cancel()
        if job.lane is not None:
            job.lane.leave(job)
            self._tell(0)

    @property
    def waiting_items(self) -> int:
        """How many items wait for the model."""
        return self._few.waiting_items + self._many.waiting_items + self._apart.waiting_items

    def is_idle(self) -> bool:
        """Tell whether nothing runs and nothing waits, as far as other threads may know."""
        return not self._active

    @property
    def running_s(self) -> float:
        """For how many seconds the batch that is running has run; 0 when there is none."""
        return 0.0 if self._started_s is None else self._loop.time() - self._started_s

    def stack(self) -> str:
        """Tell where the thread is, without the values that it works on."""
        if not self._thread.is_alive():  # another may have its number by now
            return ""
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
            raise overloaded(f"{waiting} rows wait for the model", wait_s, self._patience_s)

    def _wait_s(self, lane: Lane[Item, Result]) -> float:
        """How long what waits in a lane is expected to take, while others take their turns."""
        batches = lane.waiting_batches
        wait_s = lane.work_s(batches)
        for other in self._turns:
            if other is not lane and other.waiting_items:
                wait_s += min(batches, other.waiting_batches) * other.pace.batch_s
        return wait_s

    def _tell(self, started: int) -> None:
        """Tell how many items start, and how many wait if that is another number than before."""
        waiting = self.waiting_items
        if started or waiting != self._told_waiting:
            self._told_waiting = waiting
            self._observe(started, waiting)

    def _start_first(self) -> None:
        """Start what found all idle, or with its company what that has made a line."""
        job, self._first = self._first, None
        if job is None:
            self._start_next()
        elif job.future.done():  # its caller has left
            self._active = False
        else:
            self._start([job], self._lane_for(job))

    @property
    def _runs_a_part(self) -> bool:
        return self._running is self._parts and self._started_s is not None

    def _look_beside(self) -> None:
        """Look one turn later, as `_begin` does, for what is quick while a part runs."""
        if self._max_at_once and not self._looks:
            self._looks = True
            self._loop.call_soon(self._loop.call_soon, self._run_beside)

    def _run_beside(self) -> None:
        """Run what waits, if it is quick, while the thread is busy with a part."""
        self._looks = False
        is_quick = 0 < self._few.waiting_items <= self._max_at_once
        if not (is_quick and self._runs_a_part and self._run_at_once):
            return
        began_s = self._loop.time()
        batch = self._few.take()
        count = sum([len(job.items) for job in batch])
        results = _results(self._run_at_once, batch)
        if isinstance(results, Exception) or None in results:
            self._few.add(batch)  # it is for the thread, or to be halved there
            return
        self._few.learn(count, 0, self._loop.time() - began_s)
        self._tell(count)
        for job in batch:
            job.future.set_result(results[: len(job.items)])  # type: ignore[arg-type]
            results = results[len(job.items) :]

    def _start_next(self) -> None:
        """Start a batch of the next lane that has one."""
        waiting = self.waiting_items
        for _ in range(len(self._turns) if waiting or self._parts.waiting_items else 0):
            lane = self._turns[0]
            self._turns.rotate(-1)
            if batch := lane.take():
                self._start(batch, lane)
                return
        self._active = False
        if self._told_waiting != waiting:
            self._tell(0)

    def _start(self, batch: list[Job[Any, Any]], lane: Lane[Any, Any]) -> None:
        """Run a batch at once, if it is quick and the last, or hand it to the thread."""
        self._running = lane
        self._started_s = self._loop.time()
        count = sum([len(job.items) for job in batch])
        self._running_items = count
        if lane is self._parts:
            self._batches.put((_done, batch))
            if self._few.waiting_items:
                self._look_beside()
            return
        self._tell(count)
        is_quick = count <= self._max_at_once and lane is not self._apart
        if is_quick and self._run_at_once is not None and not self.waiting_items:
            results = _results(self._run_at_once, batch)
            if count > 1 or results != [None]:  # what it leaves alone is for the thread
                self._finish(batch, results)
                return
        self._batches.put((self._run, batch))

    def _work(self) -> None:
        """Run batches until told to end; this is the thread."""
        while (due := self._batches.get()) is not None:
            run, batch = due
            results = _results(run, batch)
            with suppress(RuntimeError):  # the loop has ended, and nobody waits
                self._loop.call_soon_threadsafe(self._finish, batch, results)

    def _finish(
        self, batch: list[Job[Item, Result]], results: Sequence[Result | None] | Exception
    ) -> None:
        """Give each caller its own results, and start what has collected meanwhile."""
        apart = 0 if isinstance(results, Exception) else results.count(None)
        self._running.learn(self._running_items, apart, self.running_s)
        self._started_s = None
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
                    if job.lane is not None:  # what of it had to run again
                        job.lane.leave(job)
                elif apart or job.results:
                    self._take_in(job, results[start:end])
                else:
                    job.future.set_result(results[start:end])  # type: ignore[arg-type]
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


def overloaded(detail: str, wait_s: float, patience_s: float) -> Problem:
    """Give the problem of who would wait for too long, with when to come again."""
    after_s = max(1, ceil(min(wait_s, patience_s)))
    return Problem(OVERLOADED, detail, headers={"Retry-After": str(after_s)})


def _done(parts: list[Callable[[], Any]]) -> list[tuple[Any]]:
    """Run parts; what each gives, which may be None, is in a tuple."""
    return [(part(),) for part in parts]


def _results(
    run: Run[Item, Result], batch: Sequence[Job[Item, Any]]
) -> Sequence[Result | None] | Exception:
    """Run a batch; what it raises is its result."""
    items = [item for job in batch for item in job.items]
    try:
        results = run(items)
        if len(results) != len(items):
            raise ValueError(f"{len(results)} results for {len(items)} items")
    except BaseException as exc:
        if isinstance(exc, Exception) and not isinstance(exc, StopIteration):
            return exc
        # A future takes no StopIteration, and SystemExit would end the event loop.
        failed = RuntimeError("the batch failed")
        failed.__cause__ = exc
        return failed
    return results

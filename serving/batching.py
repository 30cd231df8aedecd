"""The batcher between the event loop and the model: it never waits, polls, or learns.

While the model is idle, rows start as soon as the event loop has read what has arrived with them;
while it is busy, rows collect, and the next batch takes all that fit. So the batch grows with the
load and shrinks with it, and a lone client never waits for company. One thread runs the model, so
that the event loop goes on answering probes and reading requests meanwhile.

No job can harm another. A batch that fails is halved until the failing job stands alone, and items
whose answer might depend on their neighbours are asked for again, alone. Such work takes turns with
what arrives, so that much of it delays others by little. Jobs that nobody waits for any more,
because their deadline has passed, are dropped before the model sees them.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from queue import SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Again(Enum):
    """What stands for a result when the item has to be asked for again."""

    ALONE = "alone"


@dataclass(slots=True)
class _Job(Generic[Item, Result]):
    items: list[Item]
    future: asyncio.Future[Sequence[Result | Again]]
    waits: bool = False  # in one of the lines, and counted as waiting


class Batcher(Generic[Item, Result]):
    """Runs a function over many items at a time, for callers that bring a few each.

    ``run`` is called in the batcher's own thread with at most ``max_items`` items (never less than
    one caller's) and returns one result for each, in order, or `Again.ALONE` for those of several
    that it wants to be asked for again. ``observe`` is told, on the event loop, how many items
    start now and how many wait.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result | Again]],
        max_items: int,
        observe: Callable[[int, int], None],
    ) -> None:
        """Start the thread; submit from one event loop only."""
        self._run = run
        self._max_items = max_items
        self._observe = observe
        self._together: deque[_Job[Item, Result]] = deque()
        self._apart: deque[list[_Job[Item, Result]]] = deque()
        self._apart_is_next = False
        self._waiting_items = 0
        # True from the moment a batch is due until the model is found idle with nothing waiting.
        self._active = False
        self._started_s: float | None = None
        self._batches: SimpleQueue[list[_Job[Item, Result]] | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    async def submit(self, items: list[Item]) -> list[Result]:
        """Wait for the results of these items, in order.

        Raises:
            Exception: what ``run`` raised for them.
        """
        results: list[Result] = []
        if items:
            for item, result in zip(items, await self._ask(items), strict=True):
                if isinstance(result, Again):
                    (result,) = await self._ask([item], apart=True)
                results.append(result)  # type: ignore[arg-type]
        return results

    @property
    def running_s(self) -> float:
        """For how many seconds the batch that is running has run; 0 when there is none."""
        return 0.0 if self._started_s is None else self._loop.time() - self._started_s

    def close(self) -> None:
        """Let the thread end after the batch that it is running; nothing may be submitted later."""
        self._batches.put(None)

    async def _ask(self, items: list[Item], *, apart: bool = False) -> Sequence[Result | Again]:
        """Put a job in line, to run in company or apart from others, and wait for its results."""
        job: _Job[Item, Result] = _Job(items, self._loop.create_future())
        if apart:
            self._apart.append([job])
        else:
            self._together.append(job)
        self._enters(job)
        if self._active:
            self._observe(0, self._waiting_items)
        else:
            self._active = True
            # One turn later: what the sockets hold by now is read in between, and joins.
            self._loop.call_soon(self._loop.call_soon, self._start_next)
        try:
            return await job.future
        except asyncio.CancelledError:
            if job.waits:
                self._leaves(job)
                job.items = []  # its place in line is found empty later; its rows go now
                self._observe(0, self._waiting_items)
            raise

    def _enters(self, job: _Job[Item, Result]) -> None:
        """Count a job as waiting."""
        job.waits = True
        self._waiting_items += len(job.items)

    def _leaves(self, job: _Job[Item, Result]) -> None:
        """Count a job as waiting no longer, if it was."""
        if job.waits:
            job.waits = False
            self._waiting_items -= len(job.items)

    def _start_next(self) -> None:
        """Hand the thread the next batch: in turns one from apart and what fits together."""
        takes = [self._take_together, self._take_apart]
        if self._apart_is_next:
            takes.reverse()
        batch = takes[0]() or takes[1]()
        self._apart_is_next = not self._apart_is_next
        self._active = bool(batch)
        self._started_s = self._loop.time() if batch else None
        if batch:
            self._batches.put(batch)
        self._observe(sum(len(job.items) for job in batch), self._waiting_items)

    def _take_together(self) -> list[_Job[Item, Result]]:
        """Take what fits of what waits, in order."""
        batch: list[_Job[Item, Result]] = []
        size = 0
        while self._together:
            job = self._together[0]
            gone = job.future.done()
            if batch and not gone and size + len(job.items) > self._max_items:
                break
            self._together.popleft()
            self._leaves(job)
            if not gone:
                batch.append(job)
                size += len(job.items)
        return batch

    def _take_apart(self) -> list[_Job[Item, Result]]:
        """Take the next batch that is to run by itself."""
        while self._apart:
            batch = self._apart.popleft()
            for job in batch:
                self._leaves(job)
            if batch := [job for job in batch if not job.future.done()]:
                return batch
        return []

    def _work(self) -> None:
        """Run batches until told to end; this is the thread."""
        while (batch := self._batches.get()) is not None:
            items = [item for job in batch for item in job.items]
            results: Sequence[Result | Again] | Exception
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
            self._loop.call_soon_threadsafe(self._finish, batch, results)

    def _finish(
        self, batch: list[_Job[Item, Result]], results: Sequence[Result | Again] | Exception
    ) -> None:
        """Give each caller its own results, and start what has collected meanwhile."""
        if isinstance(results, Exception) and len(batch) > 1:
            batch = [job for job in batch if not job.future.done()]
            middle = len(batch) // 2
            self._apart += (batch[:middle], batch[middle:])
            for job in batch:
                self._enters(job)
        else:
            start = 0
            for job in batch:
                end = start + len(job.items)
                if job.future.done():
                    pass  # its caller has left
                elif isinstance(results, Exception):
                    job.future.set_exception(results)
                else:
                    job.future.set_result(results[start:end])
                start = end
        self._start_next()

"""The batcher between the event loop and the model: it never waits, polls, or learns.

While the model is idle, rows that arrive in the same turn of the event loop start at once; while it
is busy, rows collect, and the next batch takes all that fit. So the batch grows with the load and
shrinks with it, and a lone client never waits for company. One thread runs the model, so that
the event loop goes on answering probes and reading requests meanwhile.

Jobs whose future is done (the deadline passed, the client's task was cancelled) are dropped
before the model sees them.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


@dataclass(slots=True)
class _Job(Generic[Item, Outcome]):
    items: list[Item]
    future: asyncio.Future[list[Outcome]]


class Batcher(Generic[Item, Outcome]):
    """Runs a function over many items at a time, for callers that bring a few each.

    ``run`` is called in the batcher's own thread with at most ``max_items`` items (never less than
    one caller's) and returns one outcome for each, in order. ``observe`` is told, on the event
    loop, how many items start now and how many still wait.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], list[Outcome]],
        max_items: int,
        observe: Callable[[int, int], None],
    ) -> None:
        """Start the thread; submit from one event loop only."""
        self._run = run
        self._max_items = max_items
        self._observe = observe
        self._waiting: deque[_Job[Item, Outcome]] = deque()
        # True from the moment a batch is due until the model is found idle with nothing waiting.
        self._active = False
        self._batches: SimpleQueue[list[_Job[Item, Outcome]] | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    async def submit(self, items: list[Item]) -> list[Outcome]:
        """Wait for the outcomes of these items, in order.

        Raises:
            Exception: what ``run`` raised, for all that were in the batch.
        """
        if not items:
            return []
        job: _Job[Item, Outcome] = _Job(items, self._loop.create_future())
        self._waiting.append(job)
        if not self._active:
            self._active = True
            self._loop.call_soon(self._start_next)
        return await job.future

    def close(self) -> None:
        """Let the thread end after the batch that it is running; nothing may be submitted later."""
        self._batches.put(None)

    def _start_next(self) -> None:
        """Hand the thread what fits of what waits."""
        batch: list[_Job[Item, Outcome]] = []
        size = 0
        while self._waiting:
            job = self._waiting[0]
            if job.future.done():
                self._waiting.popleft()
                continue
            if batch and size + len(job.items) > self._max_items:
                break
            batch.append(self._waiting.popleft())
            size += len(job.items)
        self._active = bool(batch)
        if batch:
            self._batches.put(batch)
        self._observe(size, sum(len(job.items) for job in self._waiting))

    def _work(self) -> None:
        """Run batches until told to end; this is the thread."""
        while (batch := self._batches.get()) is not None:
            items = [item for job in batch for item in job.items]
            outcomes: list[Outcome] | Exception
            try:
                outcomes = self._run(items)
                if len(outcomes) != len(items):
                    raise ValueError(f"{len(outcomes)} outcomes for {len(items)} items")
            except BaseException as exc:
                if isinstance(exc, Exception) and not isinstance(exc, StopIteration):
                    outcomes = exc
                else:  # a future takes no StopIteration, and SystemExit would end the event loop
                    outcomes = RuntimeError("the batch failed")
                    outcomes.__cause__ = exc
            self._loop.call_soon_threadsafe(self._finish, batch, outcomes)

    def _finish(
        self, batch: list[_Job[Item, Outcome]], outcomes: list[Outcome] | Exception
    ) -> None:
        """Give each caller its own outcomes, and start what has collected meanwhile."""
        start = 0
        for job in batch:
            end = start + len(job.items)
            if job.future.done():
                pass  # its caller has left
            elif isinstance(outcomes, Exception):
                job.future.set_exception(outcomes)
            else:
                job.future.set_result(outcomes[start:end])
            start = end
        self._start_next()

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
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import ceil, inf
from queue import SimpleQueue
from typing import Generic, TypeVar

from serving.errors import OVERLOADED, Problem

# Of what a caller's patience is spent: waiting in line, and in one batch. What is left is for the
# batches of other lanes, and for errors of the estimate.
WAIT_SHARE = 0.5
BATCH_SHARE = 0.1
FEW_SHARE = 0.1  # a job has few items if it fills no more of a batch
MANY_SHARE = 0.9  # jobs of many items leave the rest of the room to those of few
MEMORY = 0.9  # weight of a lane's past at each of its batches, when its pace is estimated
LEAST_SPREAD = 0.01  # of the sizes of batches, squared and relative, to tell what items cost
FIRST_ROOM = 16  # items in a batch while that is not known; more, if batches were larger already
GROWTH = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


class Again(Enum):
    """What stands for a result when the item has to be asked for again."""

    ALONE = "alone"


@dataclass(slots=True, eq=False)
class Job(Generic[Item, Result]):
    """What one caller asks for: its items, and a future of one result for each, in order."""

    items: list[Item] = field(repr=False)  # that run next; input values are never logged
    future: asyncio.Future[list[Result]] = field(repr=False)
    lane: "_Lane[Item, Result] | None" = None  # in which it waits, and is counted
    # Once it has run: its results so far, and what of it has to run again, by its place there.
    results: list[Result | Again] = field(default_factory=list, repr=False)
    again: deque[tuple[int, Item]] = field(default_factory=deque, repr=False)


class _Pace:
    """What batches cost, by least squares: so much each, and so much for each item.

    The last batches weigh most. Before there were batches of different sizes nothing can be told of
    the items, and they are taken to cost nothing; batches grow by a few times only, to find out.
    """

    def __init__(self) -> None:
        """Know nothing."""
        self._batches = self._items = self._seconds = self._squares = self._products = 0.0
        self._items_apart = 0.0
        self.fixed_s = 0.0
        self.item_s: float | None = None

    def learn(self, items: int, items_apart: int, seconds: float) -> None:
        """Take in what a batch took, and how many of its items have to run again, apart."""
        self._batches = MEMORY * self._batches + 1
        self._items = MEMORY * self._items + items
        self._seconds = MEMORY * self._seconds + seconds
        self._squares = MEMORY * self._squares + items * items
        self._products = MEMORY * self._products + items * seconds
        self._items_apart = MEMORY * self._items_apart + items_apart
        spread = self._batches * self._squares - self._items**2
        mean = self._seconds / self._items
        if spread > LEAST_SPREAD * self._items**2:
            slope = (self._batches * self._products - self._items * self._seconds) / spread
            self.item_s = max(slope, 0.0)
        if self.item_s is not None:  # what is known stays known while all batches are of one size
            self.item_s = min(self.item_s, mean)
        self.fixed_s = (self._seconds - (self.item_s or 0.0) * self._items) / self._batches

    @property
    def batch_s(self) -> float:
        """How long a batch takes; 0 as long as none has run."""
        return self._seconds / self._batches if self._batches else 0.0

    @property
    def share_apart(self) -> float:
        """How likely it is that an item has to run again, apart."""
        return self._items_apart / self._items if self._items else 0.0

    def items_within(self, seconds: float) -> float:
        """How many items may run together for this long, or twice as long as the least batch."""
        if not self._batches:
            return inf
        if self.item_s is None:
            return max(FIRST_ROOM, GROWTH * self._items / self._batches)
        return max(seconds - self.fixed_s, self.fixed_s) / self.item_s if self.item_s else inf


class _Lane(Generic[Item, Result]):
    """Groups of jobs in line; those of a group run together, whatever their size."""

    def __init__(self, max_items: int, max_batch_s: float) -> None:
        """Take how many items, and for how long, may run together if they are of several groups."""
        self._max_items = max_items
        self._max_batch_s = max_batch_s
        self._groups: deque[list[Job[Item, Result]]] = deque()
        self.waiting_items = 0
        self.pace = _Pace()

    def add(self, group: list[Job[Item, Result]]) -> None:
        """Let a group wait."""
        for job in group:
            job.lane = self
            self.waiting_items += len(job.items)
        self._groups.append(group)

    def leave(self, job: Job[Item, Result]) -> None:
        """Count a job as waiting no longer, if it was."""
        if job.lane is not None:
            job.lane = None
            self.waiting_items -= len(job.items)

    def take(self) -> list[Job[Item, Result]]:
        """Take a group, and those behind it that fit into the same batch."""
        batch: list[Job[Item, Result]] = []
        size = 0
        room = self._room
        while self._groups:
            group = [job for job in self._groups[0] if not job.future.done()]
            count = sum(len(job.items) for job in group)
            if batch and group and size + count > room:
                break
            for job in self._groups.popleft():
                self.leave(job)
            batch += group
            size += count
        return batch

    @property
    def waiting_batches(self) -> int:
        """How many batches will be made of what waits, if its groups are all of one size."""
        if not self.waiting_items:
            return 0
        room = self._room if self.pace.item_s is not None else self._max_items
        groups = len(self._groups)
        return ceil(groups / max(1, room * groups // self.waiting_items))

    @property
    def work_s(self) -> float:
        """How long what waits is expected to take, without the turns of others."""
        return self.waiting_batches * self.pace.fixed_s + self.waiting_items * (
            self.pace.item_s or 0.0
        )

    @property
    def _room(self) -> int:
        return int(min(self._max_items, self.pace.items_within(self._max_batch_s)))


class Batcher(Generic[Item, Result]):
    """Runs a function over many items at a time, for callers that bring a few each.

    ``run`` is called in the batcher's own thread with at most ``max_items`` items (never less than
    one caller's) and returns one result for each, in order, or `Again.ALONE` for those of several
    that it wants to be asked for again. ``observe`` is told, on the event loop, how many items
    start now and how many wait. Callers are expected to leave after ``patience_s``.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result | Again]],
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
        self._few: _Lane[Item, Result] = _Lane(max_items, max_batch_s)
        self._many: _Lane[Item, Result] = _Lane(max_items, max_batch_s)
        self._apart: _Lane[Item, Result] = _Lane(0, max_batch_s)
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
            job.items = []  # its place in line is found empty later; its rows go now
            self._observe(0, self.waiting_items)

    @property
    def waiting_items(self) -> int:
        """How many items wait for the model."""
        return sum(lane.waiting_items for lane in self._turns)

    @property
    def running_s(self) -> float:
        """For how many seconds the batch that is running has run; 0 when there is none."""
        return 0.0 if self._started_s is None else self._loop.time() - self._started_s

    def close(self) -> None:
        """Let the thread end after the batch that it is running; nothing may be submitted later."""
        self._batches.put(None)

    def _refuse_beyond(self, lane: _Lane[Item, Result], count: int) -> None:
        """Refuse a job for which there is no room, or no time."""
        waiting = self.waiting_items
        wait_s = self._wait_s(lane) + lane.pace.share_apart * self._wait_s(self._apart)
        room = self._max_waiting_items * (MANY_SHARE if lane is self._many else 1)
        if wait_s > self._patience_s * WAIT_SHARE or (waiting and waiting + count > room):
            raise Problem(
                OVERLOADED,
                f"{waiting} rows wait for the model",
                headers={"Retry-After": str(max(1, ceil(min(wait_s, self._patience_s))))},
            )

    def _wait_s(self, lane: _Lane[Item, Result]) -> float:
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
        self, batch: list[Job[Item, Result]], results: Sequence[Result | Again] | Exception
    ) -> None:
        """Give each caller its own results, and start what has collected meanwhile."""
        lane = self._turns[-1]  # its turn was the last
        apart = 0 if isinstance(results, Exception) else results.count(Again.ALONE)
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

    def _take_in(self, job: Job[Item, Result], results: Sequence[Result | Again]) -> None:
        """Give a caller its results, or have what has to run again run apart, item by item."""
        if job.results:
            index, _ = job.again.popleft()
            (job.results[index],) = results
        else:
            job.results = list(results)
            job.again.extend(
                (index, item)
                for index, (item, result) in enumerate(zip(job.items, results, strict=True))
                if isinstance(result, Again)
            )
        if job.again:
            job.items = [job.again[0][1]]
            self._apart.add([job])
        else:
            job.future.set_result(job.results)  # type: ignore[arg-type]

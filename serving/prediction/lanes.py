"""The lanes in which jobs wait for the model, and what their batches are expected to take.

A lane knows no clock and no thread: the batcher adds jobs to it, takes batches from it, and tells
it what they took.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from math import ceil, inf
from typing import Generic, TypeVar

DECAY = 0.9  # weight of a lane's past at each of its batches, when its pace is estimated
LEAST_SPREAD = 0.01  # of the sizes of batches, squared and relative, to tell what items cost
LEAST_SHARE = 1e-3  # of items that run again, apart; what decays would never be none
FIRST_ROOM = 16  # items in a batch while that is not known; more, if batches were larger already
GROWTH = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class Job(Generic[Item, Result]):
    """What one caller asks for: its items, and a future of one result for each, in order."""

    items: list[Item] = field(repr=False)  # that run next; input values are never logged
    future: asyncio.Future[list[Result]] = field(repr=False)
    lane: "Lane[Item, Result] | None" = None  # in which it waits, or will again
    counted: int = 0  # of its items, as waiting there
    is_in_line: bool = False
    # Once it has run: its results so far, and what of it has to run again, by its place there.
    results: list[Result | None] = field(default_factory=list, repr=False)
    again: deque[tuple[int, Item]] = field(default_factory=deque, repr=False)


class Pace:
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
        self.batch_s = 0.0  # how long a batch takes
        self.share_apart = 0.0  # how likely it is that an item has to run again, apart

    def learn(self, items: int, items_apart: int, seconds: float) -> None:
        """Take in what a batch took, and how many of its items have to run again, apart."""
        self._batches = DECAY * self._batches + 1
        self._items = DECAY * self._items + items
        self._seconds = DECAY * self._seconds + seconds
        self._squares = DECAY * self._squares + items * items
        self._products = DECAY * self._products + items * seconds
        self._items_apart = DECAY * self._items_apart + items_apart
        spread = self._batches * self._squares - self._items**2
        mean = self._seconds / self._items
        if spread > LEAST_SPREAD * self._items**2:
            slope = (self._batches * self._products - self._items * self._seconds) / spread
            self.item_s = max(slope, 0.0)
        if self.item_s is not None:  # what is known stays known while all batches are of one size
            self.item_s = min(self.item_s, mean)
        self.fixed_s = (self._seconds - (self.item_s or 0.0) * self._items) / self._batches
        self.batch_s = self._seconds / self._batches
        share = self._items_apart / self._items
        self.share_apart = share if share > LEAST_SHARE else 0.0

    def items_within(self, seconds: float) -> float:
        """How many items may run together for this long, or twice as long as the least batch."""
        if not self._batches:
            return inf
        if self.item_s is None:
            return max(FIRST_ROOM, GROWTH * self._items / self._batches)
        return max(seconds - self.fixed_s, self.fixed_s) / self.item_s if self.item_s else inf


class Lane(Generic[Item, Result]):
    """Groups of jobs in line; those of a group run together, whatever their size."""

    def __init__(self, max_items: int, max_batch_s: float) -> None:
        """Take how many items, and for how long, may run together if they are of several groups."""
        self._max_items = max_items
        self._max_batch_s = max_batch_s
        self._groups: deque[list[Job[Item, Result]]] = deque()
        self._room = max_items
        self.waiting_items = 0
        self.pace = Pace()

    def learn(self, items: int, items_apart: int, seconds: float) -> None:
        """Take in what a batch of this lane took, as `Pace.learn` does."""
        self.pace.learn(items, items_apart, seconds)
        self._room = int(min(self._max_items, self.pace.items_within(self._max_batch_s)))

    def add(self, group: list[Job[Item, Result]]) -> None:
        """Let a group wait: what of it runs next, and what has to run again after that."""
        for job in group:
            job.is_in_line = True
            self._count(job, max(len(job.items), len(job.again)))
        self._groups.append(group)

    def leave(self, job: Job[Item, Result]) -> None:
        """Count a job no longer; its place in line is found empty later, its items go now."""
        self._count(job, 0)
        job.again.clear()
        if job.is_in_line:  # otherwise they run
            job.items = []
        if not self.waiting_items:  # all who are in line have left
            self._groups.clear()

    def _count(self, job: Job[Item, Result], items: int) -> None:
        self.waiting_items += items - job.counted
        job.counted = items
        job.lane = self if items else None

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
                job.is_in_line = False
                if not job.future.done():
                    self._count(job, max(0, len(job.again) - 1))  # one of which runs now
            batch += group
            size += count
        return batch

    @property
    def waiting_batches(self) -> int:
        """How many batches will be made of what waits, if its groups are all of one size."""
        if not (self.waiting_items and self._max_items):  # nothing, or each by itself
            return self.waiting_items
        room = self._room if self.pace.item_s is not None else self._max_items
        groups = len(self._groups)
        return ceil(groups / max(1, room * groups // self.waiting_items))

    def work_s(self, batches: int) -> float:
        """How long what waits is expected to take in so many batches, without others' turns."""
        return batches * self.pace.fixed_s + self.waiting_items * (self.pace.item_s or 0.0)

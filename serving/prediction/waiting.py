"""Rows that wait for a shadow: of a share of requests, and no more than there is room for.

Of each ``100 / share`` requests one is taken, at a random place among them: so as many are taken as
the share says, and no rhythm in which clients ask is met.
"""

import threading
from collections import deque
from collections.abc import Sequence
from random import random
from typing import NamedTuple

from serving.model.features import Row
from serving.model.outputs import Prediction
from serving.prediction.frames import Part
from serving.telemetry import Predicted

MAX_WAITING_ROWS = 1000


class _Entry(NamedTuple):
    request_id: str
    first: int  # of its rows, in the request
    rows: Sequence[Row]
    predictions: Sequence[Prediction]


class Waiting:
    """Takes rows on the event loop, and gives them in frames to another thread.

    Invariant, under ``_lock``: ``rows`` counts those in ``_entries``.
    """

    def __init__(self, share: float) -> None:
        """Take the share of requests, in percent."""
        self.rows = 0
        self._entries: deque[_Entry] = deque()
        self._dropped = 0
        self._is_open = True
        self._lock = threading.Lock()  # held for a moment only
        self.choose(share)

    def choose(self, share: float) -> None:
        """Take another share of the requests from now on."""
        with self._lock:
            self._stride = 100 / share
            self._asked = self._chosen = 0
            self._next = random() * self._stride - 1  # noqa: S311 (nobody gains by a guess)

    def take(self, event: Predicted) -> None:
        """Take the rows of a request, if it is chosen; those that find no room are dropped."""
        count = len(event.rows)
        with self._lock:
            if not (count and self._is_open and self._is_chosen()):
                return
            taken = min(count, MAX_WAITING_ROWS - self.rows)
            if taken:
                rows, predictions = event.rows[:taken], event.predictions[:taken]
                self._entries.append(_Entry(event.request_id, 0, rows, predictions))
            self.rows += taken
            self._dropped += count - taken

    def _is_chosen(self) -> bool:
        is_chosen = self._asked >= self._next
        self._asked += 1
        if is_chosen:
            self._chosen += 1
            self._next = (self._chosen + random()) * self._stride - 1  # noqa: S311
        return is_chosen

    def frame(self, room: int) -> list[Part]:
        """Give the first rows that wait, so many at most."""
        parts = []
        while room and (entry := self._first(room)) is not None:
            told = [(each.value, each.probabilities, each.scores) for each in entry.predictions]
            parts.append((entry.request_id, entry.first, list(entry.rows), told))
            room -= len(entry.rows)
        return parts

    def _first(self, room: int) -> _Entry | None:
        """Take what waits first out of line, or so much of it as there is room for."""
        with self._lock:
            if not self._entries:
                return None
            request_id, first, rows, predictions = self._entries.popleft()
            if len(rows) > room:
                rest = _Entry(request_id, first + room, rows[room:], predictions[room:])
                self._entries.appendleft(rest)
                rows, predictions = rows[:room], predictions[:room]
            self.rows -= len(rows)
        return _Entry(request_id, first, rows, predictions)

    def dropped(self) -> int:
        """Tell how many rows were dropped since this was asked last."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        return dropped

    def close(self) -> None:
        """Take no more, and drop what waits."""
        with self._lock:
            self._is_open = False
            self._dropped += self.rows
            self._entries.clear()
            self.rows = 0

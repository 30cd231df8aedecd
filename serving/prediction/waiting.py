"""Rows that wait for a shadow: of a share of requests, and no more than there is room for.

Of each ``100 / share`` requests one is taken, at a random place among them: so as many are taken as
the share says, and no rhythm in which clients ask is met.
"""

import threading
from collections import deque
from collections.abc import Sequence
from random import random
from typing import TypeAlias

from serving.model.features import Row
from serving.model.outputs import Prediction
from serving.prediction.frames import Part
from serving.telemetry import Predicted

MAX_WAITING_ROWS = 1000


# Rows of a request: its id, their numbers there, the rows, and their predictions.
_Entry: TypeAlias = tuple[str, Sequence[int], Sequence[Row], Sequence[Prediction]]


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
        request_id, _, rows, predictions, numbers = event
        count = len(rows)
        with self._lock:
            if not (count and self._is_open and (self._stride == 1 or self._is_chosen())):
                return
            room = MAX_WAITING_ROWS - self.rows
            if count > room:
                self._dropped += count - room
                rows, predictions = rows[:room], predictions[:room]
                count = room
            if count:
                places = numbers[:count] or range(count)
                self._entries.append((request_id, places, rows, predictions))
                self.rows += count

    def _is_chosen(self) -> bool:
        is_chosen = self._asked >= self._next
        self._asked += 1
        if is_chosen:
            self._chosen += 1
            self._next = (self._chosen + random()) * self._stride - 1  # noqa: S311
        return is_chosen

    def frame(self, room: int) -> list[Part]:
        """Give the first rows that wait, so many at most."""
        return [
            (request_id, [*places], [*rows], [(p.value, p.probabilities, p.scores) for p in told])
            for request_id, places, rows, told in self._first(room)
        ]

    def _first(self, room: int) -> list[_Entry]:
        """Take what waits first out of line, and of the last of it as much as there is room for."""
        entries: list[_Entry] = []
        with self._lock:
            while room and self._entries:
                entry = self._entries.popleft()
                count = len(entry[2])
                if count > room:
                    request_id, places, rows, told = entry
                    self._entries.appendleft((request_id, places[room:], rows[room:], told[room:]))
                    entry = request_id, places[:room], rows[:room], told[:room]
                    count = room
                entries.append(entry)
                self.rows -= count
                room -= count
        return entries

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

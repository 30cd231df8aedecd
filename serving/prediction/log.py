"""The prediction log: what was asked and what was answered, a JSON line for each prediction.

Off by default: it alone of all rooms writes input values down, for audit and later labelling. A
request hands its rows over and goes on; a thread writes them. What finds no room, or no disk, is
counted as lost, and no request waits for it or fails by it.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import orjson

from serving.metrics import PREDICTIONS_LOGGED
from serving.model.about import About
from serving.model.features import Row
from serving.model.outputs import Prediction
from serving.prediction.sinks import Sink
from serving.telemetry import Listener, Predicted, log, stack_trace, timestamp

MAX_WAITING_ROWS = 10_000
_GATHER_S = 0.05  # a thread that woke for each request would take its time from answering them
_RETRY_S = 0.5
_CLOSE_S = 3.0  # less than the margin after which a worker that drains is killed
_ROWS_AT_ONCE = 1000


class _Entry(NamedTuple):
    time_s: float
    request_id: str
    about: About
    numbers: Sequence[int]  # of its rows, in the request
    rows: Sequence[Row]
    predictions: Sequence[Prediction]


class PredictionLog(Listener):
    """Writes predictions down, in a thread of its own; as many rows wait for it as are allowed.

    While none waits, a request finds room for all of its rows, however many they are.

    Invariant, under ``_changed``: ``_waiting_rows`` counts the rows in ``_queue``. An entry leaves
    the queue when it is written or lost, so that rows being written count as waiting.
    """

    def __init__(self, sink: Sink, max_waiting_rows: int = MAX_WAITING_ROWS) -> None:
        """Take where the lines go, and start the thread."""
        self._sink = sink
        self._max_rows = max_waiting_rows
        self._enough = min(max_waiting_rows, _ROWS_AT_ONCE)  # not to wait for more of them
        self._queue: deque[_Entry] = deque()
        self._waiting_rows = 0
        self._changed = threading.Condition()
        self._is_full = self._fails = self._closing = False
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def predicted(self, event: Predicted) -> None:
        """Take what a request was answered; rows that find no room are lost. Waits for nothing."""
        if not event.rows:
            return
        with self._changed:
            room = self._room_for(event)
            if room > 0:
                was_empty = not self._queue
                self._queue.extend(_parts(event, room))
                self._waiting_rows += room
                if was_empty or self._waiting_rows >= self._enough:
                    self._changed.notify()
            lost = len(event.rows) - room
            begins = lost > 0 and not self._is_full
            self._is_full |= begins
        if lost > 0:
            PREDICTIONS_LOGGED.labels("lost").inc(lost)
        if begins:
            log.error("prediction_log.full", max_rows=self._max_rows)

    def _room_for(self, event: Predicted) -> int:
        """Tell how many of the first rows of a request are taken."""
        if self._closing:
            return 0
        if not self._waiting_rows:
            return len(event.rows)
        return max(0, min(len(event.rows), self._max_rows - self._waiting_rows))

    def close(self) -> None:
        """Write what waits, unless that takes too long; count the rest as lost."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(_CLOSE_S)
        with self._changed:
            if self._waiting_rows:
                PREDICTIONS_LOGGED.labels("lost").inc(self._waiting_rows)
                log.error("prediction_log.unwritten", rows=self._waiting_rows)

    def _run(self) -> None:
        while entries := self._gather():
            try:
                lines = list(chain.from_iterable(map(self._lines, entries)))
                self._sink.write(lines)
            except Exception as exc:  # whatever it is, it is no reason to end
                self._failed(exc)
                if isinstance(exc, OSError) and self._sink.keeps_nothing_of_a_failure:
                    if self._closing:
                        break
                    self._wait_to_retry()
                else:
                    self._remove(entries, "lost")
            else:
                self._fails = False
                self._remove(entries, "written")
        self._sink.close()

    def _gather(self) -> list[_Entry]:
        """Wait for entries; give the first ones, or none when all is written and no more come."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            self._changed.wait_for(
                lambda: self._waiting_rows >= self._enough or self._closing, _GATHER_S
            )
            entries: list[_Entry] = []
            rows = 0
            for entry in self._queue:
                if rows >= _ROWS_AT_ONCE:
                    break
                entries.append(entry)
                rows += len(entry.rows)
            return entries

    def _lines(self, entry: _Entry) -> list[bytes]:
        about = entry.about
        head: dict[str, Any] = {
            "timestamp": timestamp(entry.time_s),
            "level": "info",
            "event": "prediction",
            "request_id": entry.request_id,
        }
        return [
            orjson.dumps(
                head
                | {"row": index, "model": about.named}
                | {"features": dict(zip(about.features, row, strict=True))}
                | about.document(prediction),
                option=orjson.OPT_APPEND_NEWLINE,
            )
            for index, row, prediction in zip(
                entry.numbers, entry.rows, entry.predictions, strict=True
            )
        ]

    def _failed(self, exc: Exception) -> None:
        """Log the first of failures that follow each other; an OSError tells no values."""
        if not self._fails:
            self._fails = True
            if isinstance(exc, OSError):
                log.error("prediction_log.failed", reason=exc.strerror or str(exc))
            else:
                log.error("prediction_log.failed", exception=stack_trace(exc))

    def _wait_to_retry(self) -> None:
        """Wait until it is time to try again: at once, for the last time, when it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing, _RETRY_S)

    def _remove(self, entries: list[_Entry], result: str) -> None:
        """Take entries that are done with from the queue, and count their rows."""
        rows = sum(len(entry.rows) for entry in entries)
        PREDICTIONS_LOGGED.labels(result).inc(rows)
        with self._changed:
            for _ in entries:
                self._queue.popleft()
            self._waiting_rows -= rows
            if self._waiting_rows * 2 <= self._max_rows:  # or there would be a line each time
                self._is_full = False


def _parts(event: Predicted, count: int) -> Iterator[_Entry]:
    """Give the first rows of a request, in parts that are written one after the other."""
    now_s = time.time()
    numbers = event.numbers or range(count)
    for first in range(0, count, _ROWS_AT_ONCE):
        part = slice(first, min(first + _ROWS_AT_ONCE, count))
        taken = numbers[part], event.rows[part], event.predictions[part]
        yield _Entry(now_s, event.request_id, event.about, *taken)

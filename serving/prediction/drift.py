"""Drift: what requests hold and are answered, counted in the bins of training.

A listener. A request hands its rows over and goes on; a thread counts them a moment later, and then
they are gone.
"""

import threading
import time

from serving.drift.watch import TURNED_OFF, watch_of
from serving.model.about import About
from serving.prediction.tally import Tally
from serving.problems import NOT_FOUND, Problem
from serving.settings import metrics_folder
from serving.telemetry import Listener, Predicted, log, stack_trace

LATEST_S = 1.0  # after which rows are counted, or
ENOUGH_ROWS = 250  # wait: to count so many delays nobody by much, and they are still at hand
_CLOSE_S = 3.0


class Drift(Listener):
    """Counts what models are asked and answer, in a thread that starts with the first model."""

    def __init__(self, max_features: int) -> None:
        """Watch so many features of each model at most; none at all with 0."""
        self._max_features = max_features
        self._counting: dict[About, Tally] = {}
        self._reasons: dict[About, str] = {}  # not to
        self._enough = threading.Event()
        self._closing = False
        self._failures: set[type[Exception]] = set()  # each kind is told once
        self._thread = threading.Thread(target=self._run, name="drift", daemon=True)

    def watch(self, about: About) -> None:
        """Watch a model from now on, if training kept what it can be compared with."""
        if not self._max_features:
            self._reasons[about] = TURNED_OFF
            return
        try:
            watch = watch_of(about.description, self._max_features)
        except ValueError as exc:
            self._off(about, str(exc))
            return
        if watch.left_out:
            log.info("drift.features_left_out", model=about.named, count=watch.left_out)
        try:
            self._counting[about] = Tally(about, watch, metrics_folder())
        except OSError as exc:
            self._off(about, f"no history can be kept: {exc.strerror or exc}")
            return
        if not self._thread.is_alive():
            self._thread.start()

    def _off(self, about: About, reason: str) -> None:
        self._reasons[about] = reason
        log.warning("drift.off", model=about.named, reason=reason)

    def of(self, about: About) -> Tally:
        """Give what is counted of a model.

        Raises:
            Problem: 404, it is not watched.
        """
        if about in self._reasons:
            raise Problem(NOT_FOUND, f"drift is not watched: {self._reasons[about]}")
        return self._counting[about]

    def predicted(self, event: Predicted) -> None:
        """Take what was asked and answered."""
        tally = self._counting.get(event.about)
        if tally is not None and tally.take(event.rows, event.predictions) >= ENOUGH_ROWS:
            self._enough.set()

    def close(self) -> None:
        """Count what waits, unless that takes too long."""
        self._closing = True
        self._enough.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)
        if not self._thread.is_alive():
            for tally in self._counting.values():
                tally.close()

    def _run(self) -> None:
        closing = False
        while not closing:
            self._enough.wait(LATEST_S)
            self._enough.clear()
            closing = self._closing  # what comes before that is counted below
            for tally in list(self._counting.values()):
                self._catch_up(tally)

    def _catch_up(self, tally: Tally) -> None:
        """Count all rows that wait, and note the minute."""
        try:
            tally.count()
            tally.note(time.time())
        except Exception as exc:  # whatever it is, it is no reason to end
            if type(exc) not in self._failures:
                log.error("drift.failed", exception=stack_trace(exc))
            self._failures.add(type(exc))

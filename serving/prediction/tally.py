"""The counts of one version of a model in the bins of training, now and in the last day.

They are metrics, summed over workers by Prometheus, or here: a report compares those of the last
minutes or hours with training.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving import metrics
from serving.drift.comparison import Noise, compare
from serving.drift.report import document
from serving.drift.watch import Kind, Watch, Watched
from serving.exposition import series_key, totals
from serving.model.about import About
from serving.model.features import Row
from serving.model.outputs import Array, Prediction
from serving.prediction.history import History
from serving.telemetry import timestamp

ROWS_AT_ONCE = 1000  # are counted in one call, which holds up all other threads
_COUNTERS = {
    Kind.FEATURE: metrics.FEATURE_VALUES,
    Kind.PREDICTION: metrics.PREDICTION_VALUES,
    Kind.CONFIDENCE: metrics.CONFIDENCE,
}
_REFERENCES = {  # the share in each bin, the rows of all, and what chance does to them
    Kind.FEATURE: (
        metrics.FEATURE_REFERENCE_RATIO,
        metrics.FEATURE_REFERENCE_ROWS,
        metrics.FEATURE_REFERENCE_CHI2,
    ),
    Kind.PREDICTION: (
        metrics.PREDICTION_REFERENCE_RATIO,
        metrics.PREDICTION_REFERENCE_ROWS,
        metrics.PREDICTION_REFERENCE_CHI2,
    ),
    Kind.CONFIDENCE: (
        metrics.CONFIDENCE_REFERENCE_RATIO,
        metrics.CONFIDENCE_REFERENCE_ROWS,
        metrics.CONFIDENCE_REFERENCE_CHI2,
    ),
}


class Tally:
    """Counts in bins, in series that begin at zero."""

    def __init__(self, about: About, watch: Watch, folder: Path | None) -> None:
        """Make the series; the history is that of all workers with this folder.

        Raises:
            OSError: there is no room for it.
        """
        self._about = about
        self._watch = watch
        self._rows: list[Row] = []
        self._predictions: list[Prediction] = []
        owner = {"model_name": about.name, "version": about.version}
        series = [
            (_COUNTERS[each.kind], owner | _named(each) | {"bin": name})
            for each in watch.all
            for name in each.bins.names
        ]
        self._counters = [counter.labels(**labels) for counter, labels in series]
        self._keys = [series_key(counter, labels) for counter, labels in series]
        _tell_references(owner, watch)
        # After a reload with another number of features, the totals before it are of other bins.
        name = f"drift_{about.name}_{about.version}_{watch.width}.totals"
        self._history = History(folder and folder / name, watch.width)
        self.note(time.time())

    def take(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> int:
        """Take rows and their predictions, to be counted later; tell how many wait."""
        self._rows += rows
        self._predictions += predictions  # last, so that each of them has its row
        return len(self._rows)

    def count(self) -> None:
        """Count what waits, in another thread."""
        while count := min(len(self._predictions), ROWS_AT_ONCE):
            rows, predictions = self._rows[:count], self._predictions[:count]
            del self._predictions[:count], self._rows[:count]
            counts = self._watch.count(rows, predictions)
            for at in np.flatnonzero(counts):
                self._counters[at].inc(int(counts[at]))

    def note(self, now_s: float) -> None:
        """Note what has been counted, if no worker has done so in this minute.

        Raises:
            OSError: there is no room for it.
        """
        if self._history.wants(now_s):
            self._history.note(now_s, self._totals())

    def report(self, window_s: int) -> dict[str, Any]:
        """Compare what all workers have counted in so many seconds with training.

        The window begins with a minute that was noted, the first of all if the server is younger.
        """
        now_s = time.time()
        before = self._history.before(now_s - window_s, now_s)
        # Less than before there is only if somebody has removed files of workers.
        counts = np.maximum(self._totals() - before.counts, 0)
        comparisons = compare(self._watch, counts)
        return {
            "model": self._about.named,
            "since": timestamp(before.time_s, "seconds"),
            "until": timestamp(now_s, "seconds"),
            "features_left_out": self._watch.left_out,
            **document(comparisons),
        }

    def close(self) -> None:
        """Close the history."""
        self._history.close()

    def _totals(self) -> Array:
        found = totals(_COUNTERS.values())
        return np.array([found.get(key, 0) for key in self._keys], dtype=np.int64)


def _named(each: Watched) -> dict[str, str]:
    return {"feature" if each.kind is Kind.FEATURE else "target": each.name}


def _tell_references(owner: dict[str, str], watch: Watch) -> None:
    """Tell beside the metrics what they are compared with."""
    noise = Noise(watch.features)
    for each in watch.all:
        ratio, rows, chi2 = _REFERENCES[each.kind]
        labels, count = owner | _named(each), int(each.seen.sum())
        rows.tell(count, **labels)
        chi2.tell(noise.chi2(len(each.seen)), **labels)
        for name, seen in zip(each.bins.names, each.seen.tolist(), strict=True):
            ratio.tell(seen / count, **labels, bin=name)
    metrics.DRIFT_SHARE_CHI2.tell(noise.share_chi2, **owner)

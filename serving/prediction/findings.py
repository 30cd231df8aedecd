"""What is counted of a shadow, in the worker: each row that it was to answer once, as it ended.

The worker counts, and not the shadow's process: one that is killed has told what it found of a
frame, or has not.
"""

from bisect import bisect_left

from serving.exposition import observe_all
from serving.metrics import (
    MAX_NAMED_SERIES,
    OTHERS,
    PREDICTIONS_LOGGED,
    ROW_SECONDS,
    SHADOW_DIFFERENCE,
    SHADOW_DURATION,
    SHADOW_LABELS,
    SHADOW_RESULTS,
    SHADOW_ROWS,
)
from serving.prediction.frames import Findings


class Counts:
    """The counts of one shadow, in series that begin at zero."""

    def __init__(self, model: str, version: str, shadow: str) -> None:
        """Take the model, the version that answers, and the one that does not."""
        self._owner = owner = {"model_name": model, "version": version, "shadow": shadow}
        self._rows = {name: SHADOW_ROWS.labels(**owner, result=name) for name in SHADOW_RESULTS}
        self._difference = SHADOW_DIFFERENCE.labels(**owner)
        self._duration = SHADOW_DURATION.labels(**owner)
        self._pairs = {(OTHERS, OTHERS)}

    def ended(self, result: str, rows: int) -> None:
        """Count rows that have ended so."""
        if rows:
            self._rows[result].inc(rows)

    def found(self, findings: Findings, rows: int) -> None:
        """Count the rows of a frame."""
        compared = findings.same + findings.different
        self.ended("same", findings.same)
        self.ended("different", findings.different)
        self.ended("failed", rows - compared)
        observe_all(self._difference, findings.differences, findings.differences_sum)
        if compared:
            by_bucket = [0] * (len(ROW_SECONDS) + 1)
            by_bucket[bisect_left(ROW_SECONDS, findings.seconds / compared)] = compared
            observe_all(self._duration, by_bucket, findings.seconds)
        for served, shadowed, count in findings.labels:
            self._count_pair((served, shadowed), count)
        for result, lines in (("written", findings.written), ("lost", findings.lost)):
            if lines:
                PREDICTIONS_LOGGED.labels(result).inc(lines)

    def _count_pair(self, pair: tuple[str, str], count: int) -> None:
        if pair not in self._pairs:
            if len(self._pairs) > MAX_NAMED_SERIES:  # the others are one of them
                pair = (OTHERS, OTHERS)
            self._pairs.add(pair)
        served, shadowed = pair
        SHADOW_LABELS.labels(**self._owner, served=served, shadowed=shadowed).inc(count)

"""A shadow: it answers rows that were answered, and tells how that differs.

Rows that its version does not take, or on which it fails, it leaves out. Where both say something
else, a line of the prediction log tells what, if there is one.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from serving.metrics import DIFFERENCES
from serving.model.about import About
from serving.model.changes import why_no_shadow
from serving.model.features import Row
from serving.model.outputs import Prediction
from serving.model.rows import Rows
from serving.model.store import ServedModel, load
from serving.model.stored import ModelError, described, verify
from serving.prediction.frames import FRAME_ROWS, Findings, Part
from serving.prediction.predictor import EstimatorError, compute
from serving.prediction.sinks import sink_to
from serving.problems import Problem
from serving.settings import Settings
from serving.shadowing.comparison import Compared, Comparison
from serving.telemetry import log, stack_trace, timestamp


class _Asked(NamedTuple):
    request_id: str
    place: int  # in the request
    row: Row
    served: Prediction


class Shadow:
    """A version, loaded as a worker loads it."""

    def __init__(self, settings: Settings, served: str, shadow: str) -> None:
        """Load it, to be compared with the version that is served.

        Raises:
            ModelError: it can't be loaded, or can't be compared.
        """
        about = described(served)
        described(shadow)  # of this very version
        verified = verify(ServedModel(shadow).resolve())
        if reason := why_no_shadow(about, verified.description):
            raise ModelError(f"model {shadow} can't be its shadow: {reason}")
        model, _ = load(verified, settings.runtime)
        self._predict = model.predict
        self._served = About(about, served.partition(":")[2])
        self._about = About(verified.description, str(verified.tag.version))
        self._comparison = Comparison(self._served, self._about)
        self._order = [self._served.features.index(name) for name in self._about.features]
        self._rows = Rows(verified.description.features, FRAME_ROWS)
        self._sink = sink_to(settings.prediction_log)
        self._failures: set[type] = set()  # each kind is told once

    def find(self, frame: Sequence[Part]) -> Findings:
        """Answer the rows of a frame, and compare."""
        asked = [
            _Asked(request_id, place, row, Prediction(*told))
            for request_id, places, rows, predictions in frame
            for place, row, told in zip(places, rows, predictions, strict=True)
        ]
        taken = self._taken([each.row for each in asked])
        began_s = time.perf_counter()
        answers = self._answers([row for row in taken if row is not None])
        seconds = time.perf_counter() - began_s
        left = iter(answers)
        compared = [
            (each, self._comparison.of(each.served, answer))
            for each, row in zip(asked, taken, strict=True)
            if row is not None and (answer := next(left)) is not None
        ]
        written, lost = self._log([pair for pair in compared if not pair[1].is_same])
        return _findings([each for _, each in compared], seconds, written, lost)

    def _taken(self, rows: list[Row]) -> list[Row | None]:
        """Read rows as this version does: None for those that it does not take."""
        items = [[row[at] for at in self._order] for row in rows]
        try:
            return [*self._rows.many(items, ()).rows]
        except Problem:
            return list(map(self._one, items))

    def _one(self, item: list[Any]) -> Row | None:
        try:
            return self._rows.one(item, ()).rows[0]
        except Problem:
            return None

    def _answers(self, rows: list[Row]) -> list[Prediction | None]:
        """Answer rows, each as if it were alone: None for those on which it fails."""
        try:
            answers = compute(self._predict, rows) if rows else []
        except EstimatorError as exc:
            if len(rows) == 1:
                self._failed(exc)
                return [None]
            answers = [None] * len(rows)
        if len(rows) == 1:
            return answers
        alone = zip(rows, answers, strict=True)
        return [self._answers([row])[0] if answer is None else answer for row, answer in alone]

    def _failed(self, exc: EstimatorError) -> None:
        kind = type(exc.__cause__)
        if kind not in self._failures:
            log.error("shadow.failed", model=self._about.named, exception=stack_trace(exc))
        self._failures.add(kind)

    def _log(self, different: Sequence[tuple[_Asked, Compared]]) -> tuple[int, int]:
        """Write what differs to the prediction log; tell how many lines are there, and are lost."""
        if self._sink is None or not different:
            return 0, 0
        now = timestamp(time.time())
        try:
            self._sink.write([self._line(now, *pair) for pair in different])
        except OSError as exc:
            if type(exc) not in self._failures:
                log.error("prediction_log.failed", reason=exc.strerror or str(exc))
            self._failures.add(type(exc))
            return 0, len(different)
        return len(different), 0

    def _line(self, now: str, asked: _Asked, compared: Compared) -> bytes:
        line = {
            "timestamp": now,
            "level": "info",
            "event": "shadow",
            "request_id": asked.request_id,
            "row": asked.place,
            "model": self._served.named,
            "shadow": self._about.version,
            "features": dict(zip(self._served.features, asked.row, strict=True)),
            "served": compared.served,
            "shadowed": compared.shadowed,
        }
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _findings(compared: Sequence[Compared], seconds: float, written: int, lost: int) -> Findings:
    by_bucket = [0] * (len(DIFFERENCES) + 1)
    differences = [each.difference for each in compared if each.difference is not None]
    for difference in differences:
        by_bucket[bisect_left(DIFFERENCES, difference)] += 1
    labels = Counter(each.labels for each in compared if each.labels is not None)
    same = sum(each.is_same for each in compared)
    return Findings(
        same,
        len(compared) - same,
        by_bucket,
        sum(differences),
        [(*pair, count) for pair, count in labels.items()],
        seconds,
        written,
        lost,
    )

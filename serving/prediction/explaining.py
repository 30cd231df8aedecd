"""Explanations of predictions: part by part in the model's thread, between predictions.

Asked by the predictor. Parts of a row run one after another, and so do the rows of a batch, so that
clients take turns, and a prediction waits for no more than a part. What takes no time is done on
the event loop. An explanation that does not add up to the answer is told to nobody, and none that
fails, as where the model does on rows that it is asked about for it, harms the prediction.

It refuses: 413 for more rows than may be explained at once, 503 for more than can be in time.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple, TypeAlias

from serving.explaining.attribution import Attribution, Part
from serving.explaining.explanation import Explanation, NotAdditiveError
from serving.model.features import Row
from serving.model.outputs import Array, ExplainedPrediction, Prediction
from serving.model.rows import Explain
from serving.prediction.batching import WAIT_SHARE, overloaded
from serving.prediction.lanes import Pace
from serving.problems import BATCH_TOO_LARGE, Problem
from serving.telemetry import current_record, log, stack_trace

NUMBERS_OF_AN_ENTRY = 50  # which need about as much memory as a prediction with its key

Predict: TypeAlias = Callable[[list[Row]], Awaitable[list[Prediction]]]
Work: TypeAlias = Callable[[Part], Awaitable[Array]]


class Attributed(NamedTuple):
    """A prediction, and what each column contributed to it; nothing, if that can't be told."""

    prediction: Prediction
    attribution: Attribution | None

    @property
    def entries(self) -> int:
        """As how many predictions it counts where these are kept."""
        if self.attribution is None:
            return 1
        return 1 + ceil(self.attribution.contributions.size / NUMBERS_OF_AN_ENTRY)


@dataclass(slots=True, eq=False)
class _Asked:
    """What a request under way still waits for."""

    rows_left: int


class Explaining:
    """Explains the predictions of a loaded model."""

    def __init__(
        self,
        explanation: Explanation,
        work: Work,
        observe: Callable[[str, float], None],
        *,
        max_rows: int,
        patience_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what runs a part of the work, and what is told of each explanation how long it took.

        A request may have ``max_rows``. Callers are expected to leave after ``patience_s``.
        """
        self._explanation = explanation
        self._work = work
        self._observe = observe
        self._max_rows = max_rows
        self._patience_s = patience_s
        self._clock = clock
        self._pace = Pace()  # of rows, as if each had the model for itself
        self._under_way: list[_Asked] = []
        self._at_work = 0  # rows that take turns
        self._since_s = 0.0  # when the last of them was done, or the first of them began

    def warm_up(self, row: Row, prediction: Prediction) -> None:
        """Explain a row at once: what is lazy happens now, and it is known what a row takes.

        Raises:
            Exception: what explaining it raises; but that it does not add up is each row's affair.
        """
        began_s = self._clock()
        results = [part() for part in self._explanation.parts(row)]
        with suppress(NotAdditiveError):
            attribution = self._explanation.attribution(row, prediction, results)
            self._explanation.told(attribution, prediction, of_all=True)
        self._pace.learn(1, 0, self._clock() - began_s)

    async def explain(self, rows: list[Row], predict: Predict) -> list[Attributed]:
        """Explain the predictions of rows, in order.

        Raises:
            Problem: 413 for too many, 503 if they would wait for too long.
            Exception: what ``predict`` raised.
        """
        self._refuse_beyond(len(rows))
        asked = _Asked(len(rows))
        self._under_way.append(asked)
        try:
            predictions = await predict(rows)
            explained: list[Attributed] = []
            failures: list[Exception] = []
            for row, prediction in zip(rows, predictions, strict=True):
                attribution = await self._attribution(row, prediction, failures)
                explained.append(Attributed(prediction, attribution))
                asked.rows_left -= 1
        finally:
            self._under_way.remove(asked)
        if failures:
            log.error(
                "explanation.wrong",
                request_id=current_record().id,
                method=self._explanation.method,
                rows=len(failures),
                exception=stack_trace(failures[-1]),
            )
        return explained

    def told(self, explained: Sequence[Attributed], explain: Explain) -> list[ExplainedPrediction]:
        """Tell explanations as they stand in answers."""
        tell, of_all = self._explanation.told, explain is Explain.ALL
        return [
            ExplainedPrediction(
                prediction,
                None if attribution is None else tell(attribution, prediction, of_all=of_all),
            )
            for prediction, attribution in explained
        ]

    def _refuse_beyond(self, count: int) -> None:
        """Refuse rows that are too many, or come when there are too many.

        As all take turns, of those before no more come first than there are rows.
        """
        if count > self._max_rows:
            raise Problem(
                BATCH_TOO_LARGE, f"{count} rows, but at most {self._max_rows} are explained"
            )
        waiting = sum(asked.rows_left for asked in self._under_way)
        turns = sum(min(asked.rows_left, count) for asked in self._under_way)
        wait_s = (turns + count) * self._pace.batch_s
        if waiting and wait_s > self._patience_s * WAIT_SHARE:
            raise overloaded(f"{waiting} rows wait to be explained", wait_s, self._patience_s)

    async def _attribution(
        self, row: Row, prediction: Prediction, failures: list[Exception]
    ) -> Attribution | None:
        """Explain a row; nothing comes of it, if that fails or does not add up."""
        began_s = self._clock()
        if not self._at_work:
            self._since_s = began_s
        self._at_work += 1
        attribution = None
        try:
            parts = self._explanation.parts(row)
            results = [await self._work(part) for part in parts]
            if not parts:
                await asyncio.sleep(0)  # to others, as many rows would take a while
            attribution = self._explanation.attribution(row, prediction, results)
        except Exception as exc:  # the prediction is as good as without
            failures.append(exc)
        finally:
            self._at_work -= 1
        done_s = self._clock()
        if attribution is not None:
            self._observe(self._explanation.method, done_s - began_s)
        self._pace.learn(1, 0, done_s - self._since_s)
        self._since_s = done_s
        return attribution

"""The story of a prediction: the cache, the batcher, the model, the listeners.

Validated rows come in on the event loop, and leave as predictions. What the batcher has collected
comes back in at `compute`, in the model's thread. Whatever an estimator raises is a defect of the
model, whatever its class says: it leaves here as `EstimatorError`.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeAlias

from serving.model.about import About
from serving.model.features import Row
from serving.model.outputs import Prediction
from serving.model.rows import Question
from serving.prediction.batching import Batcher
from serving.prediction.cache import Begun, Lookup, PredictionCache
from serving.telemetry import Listeners, Predicted, current_record

Predict: TypeAlias = Callable[[list[Row]], list[Prediction | None]]


class EstimatorError(Exception):
    """The estimator failed; its own exception is the cause."""


class Outcome(NamedTuple):
    """Predictions, and how they were come by; nothing, if no cache was asked."""

    predictions: list[Prediction]
    lookup: str | None = None


class Predictor:
    """Answers rows with a model, each as if it were alone."""

    def __init__(
        self,
        about: About,
        batcher: Batcher[Row, Prediction],
        max_rows: int,
        cache: PredictionCache | None,
        looked_up: Callable[[Lookup], None],
        listeners: Listeners,
    ) -> None:
        """Take the parts; ``batcher`` has to bring its batches to `compute`.

        It is asked for at most ``max_rows`` at a time.
        """
        self._about = about
        self._batcher = batcher
        self._max_rows = max_rows
        self._cache = cache
        self._count_lookup = looked_up
        self._listeners = listeners

    async def ask(self, question: Question) -> Outcome:
        """Predict the rows of a question, in order; one row perhaps as it was of late.

        Raises:
            Problem: 503, they would wait for too long.
            EstimatorError: the estimator failed on one of them.
        """
        rows, record = question.rows, current_record()
        if question.is_one and self._cache is not None:
            prediction = await self._cache.get(rows[0], self._begin, self._looked_up)
            outcome = Outcome([prediction], record.cache)
        else:
            ask = self._batcher.submit if len(rows) <= self._max_rows else self._in_parts
            outcome = Outcome(await ask(rows))
        self._listeners.predicted(
            Predicted(record.id, self._about, rows, outcome.predictions, question.numbers)
        )
        return outcome

    async def ask_each(self, question: Question) -> list[Prediction | EstimatorError]:
        """Predict the rows of a question, each by itself: one that fails harms no other.

        Raises:
            Problem: 503, one would wait for too long.
        """
        asked = (self._batcher.submit([row]) for row in question.rows)
        answers: list[Prediction | EstimatorError] = []
        for given in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(given, EstimatorError):
                answers.append(given)
            elif isinstance(given, BaseException):
                raise given
            else:
                answers += given
        numbers = question.numbers or range(len(answers))
        told = zip(question.rows, answers, numbers, strict=True)
        good = [each for each in told if isinstance(each[1], Prediction)]
        if good:
            rows, predictions, numbers = (list(part) for part in zip(*good, strict=True))
            event = Predicted(current_record().id, self._about, rows, predictions, numbers)
            self._listeners.predicted(event)
        return answers

    async def _in_parts(self, rows: list[Row]) -> list[Prediction]:
        """Predict rows, no more at a time than may be asked for: neighbours take their turns."""
        predictions = []
        for start in range(0, len(rows), self._max_rows):
            predictions += await self._batcher.submit(rows[start : start + self._max_rows])
        return predictions

    def _begin(self, row: Row) -> Begun:
        job = self._batcher.ask([row])
        return job.future, partial(self._batcher.leave, job)

    def _looked_up(self, lookup: Lookup) -> None:
        current_record().cache = lookup
        self._count_lookup(lookup)


def compute(predict: Predict, rows: list[Row]) -> list[Prediction | None]:
    """Give a prediction for each row, in order, or None for those that need to be alone.

    Raises:
        EstimatorError: the estimator raised, or gave what no estimator may.
    """
    try:
        return predict(rows)
    except BaseException as exc:  # a SystemExit in a model is no reason to end the service
        raise EstimatorError from exc

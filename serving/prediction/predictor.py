"""The story of a prediction: the cache, the batcher, the model, explanations, the listeners.

Validated rows come in on the event loop, and leave as predictions. What the batcher has collected
comes back in at `compute`, in the model's thread. Whatever an estimator raises is a defect of the
model, whatever its class says: it leaves here as `EstimatorError`.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from serving.model.about import About
from serving.model.features import Row
from serving.model.outputs import Prediction
from serving.model.rows import Explain, Question
from serving.prediction.batching import Batcher
from serving.prediction.cache import Begun, Lookup, PredictionCache
from serving.prediction.explaining import Attributed, Explaining
from serving.problems import NOT_EXPLAINED, Problem
from serving.telemetry import Listeners, Predicted, current_record

EXPLAINED = "explained"  # by which the cache keeps these apart

Predict: TypeAlias = Callable[[list[Row]], list[Prediction | None]]


class EstimatorError(Exception):
    """The estimator failed; its own exception is the cause."""


class Outcome(NamedTuple):
    """Predictions, and how they were come by; nothing, if no cache was asked.

    Each is an `ExplainedPrediction`, if explanations were asked for, and else a `Prediction`.
    """

    predictions: list[Any]
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
        explaining: Explaining | str,
    ) -> None:
        """Take the parts; ``batcher`` has to bring its batches to `compute`.

        It is asked for at most ``max_rows`` at a time. Where nothing is ``explaining``, there is
        the reason.
        """
        self._about = about
        self._batcher = batcher
        self._max_rows = max_rows
        self._cache = cache
        self._count_lookup = looked_up
        self._listeners = listeners
        self._explaining = explaining

    async def ask(self, question: Question) -> Outcome:
        """Predict the rows of a question, in order; one row perhaps as it was of late.

        Raises:
            Problem: 503, they would wait for too long; 413 or 422, they can't be explained.
            EstimatorError: the estimator failed on one of them.
        """
        if question.explain is not None:
            return await self._ask_explained(question, question.explain)
        if question.is_one and self._cache is not None:
            prediction = await self._cache.get(question.rows[0], self._begin, self._looked_up)
            predictions, lookup = [prediction], current_record().cache
        else:
            predictions, lookup = await self._predictions(question.rows), None
        self._tell(question, predictions)
        return Outcome(predictions, lookup)

    async def _ask_explained(self, question: Question, explain: Explain) -> Outcome:
        """Predict rows as `ask` does, and explain the predictions."""
        explaining, record = self._explaining, current_record()
        if isinstance(explaining, str):
            raise Problem(NOT_EXPLAINED, f"predictions are not explained: {explaining}")
        lookup = None
        if question.is_one and self._cache is not None:
            begin = partial(self._begin_explained, explaining, self._cache)
            (row,) = question.rows
            explained = [await self._cache.get(row, begin, self._looked_up, EXPLAINED)]
            lookup = record.cache
        else:
            explained = await explaining.explain(question.rows, self._predictions)
        record.explained = len(explained)
        self._tell(question, [prediction for prediction, _ in explained])
        return Outcome(explaining.told(explained, explain), lookup)

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

    def _tell(self, question: Question, predictions: list[Prediction]) -> None:
        """Tell the listeners what was answered."""
        request_id, rows, numbers = current_record().id, question.rows, question.numbers
        self._listeners.predicted(Predicted(request_id, self._about, rows, predictions, numbers))

    async def _predictions(self, rows: list[Row]) -> list[Prediction]:
        """Predict rows, no more at a time than may be asked for: neighbours take their turns."""
        if len(rows) <= self._max_rows:
            return await self._batcher.submit(rows)
        predictions = []
        for start in range(0, len(rows), self._max_rows):
            predictions += await self._batcher.submit(rows[start : start + self._max_rows])
        return predictions

    def _begin(self, row: Row) -> Begun[Prediction]:
        job = self._batcher.ask([row])
        return job.future, partial(self._batcher.leave, job)

    def _begin_explained(
        self, explaining: Explaining, cache: PredictionCache, row: Row
    ) -> Begun[Attributed]:
        async def predict(rows: list[Row]) -> list[Prediction]:
            return [await cache.get(rows[0], self._begin, lambda _: None)]

        task = asyncio.create_task(explaining.explain([row], predict))
        return task, task.cancel

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

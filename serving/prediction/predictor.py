"""The story of a prediction: the cache, the batcher, the model, the prediction log.

Validated rows come in on the event loop, and leave as predictions. What the batcher has collected
comes back in at `Predictor.compute`, in the model's thread. Whatever an estimator raises is a
defect of the model, whatever its class says: it leaves here as `EstimatorError`, which is answered
with 500.
"""

from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any

from serving.dialects.ours import Prediction
from serving.metrics import ServiceMetrics
from serving.model.estimator import Model
from serving.model.values import Row
from serving.prediction.batching import Batcher
from serving.prediction.cache import CACHE_STATUS, Begun, Lookup, PredictionCache
from serving.prediction.lanes import Again
from serving.prediction.log import PredictionLog
from serving.telemetry import current_record


class EstimatorError(Exception):
    """The estimator failed; its own exception is the cause."""


class Predictor:
    """Answers rows with a model, each as if it were alone."""

    def __init__(
        self,
        model: Model,
        batcher: Batcher[Row, Prediction],
        metrics: ServiceMetrics,
        cache: PredictionCache | None,
        log: PredictionLog,
    ) -> None:
        """Take the parts; ``batcher`` has to bring its batches to `compute`."""
        self._model = model
        self._batcher = batcher
        self._metrics = metrics
        self._cache = cache
        self._log = log
        # Numbers, and the answers of several targets, have no label: they are counted together.
        self._has_labels = model.labels_are_few

    async def one(self, row: Row) -> Prediction:
        """Predict one row, or give again what was predicted for the same of late.

        Raises:
            Problem: 503, it would wait for too long.
            EstimatorError: the estimator failed on it.
        """
        record = current_record()
        if self._cache is None:
            (prediction,) = await self._batcher.submit([row])
        else:
            prediction = await self._cache.get(row, self._begin, self._looked_up)
            record.headers.append((b"cache-status", CACHE_STATUS[record.cache]))
            if record.cache is not Lookup.MISS:
                self._count([prediction])
        self._log.note(record.id, [row], [prediction])
        return prediction

    async def many(self, rows: list[Row]) -> list[Prediction]:
        """Predict many rows, in order.

        Raises:
            Problem: 503, they would wait for too long.
            EstimatorError: the estimator failed on one of them.
        """
        predictions = await self._batcher.submit(rows)
        self._log.note(current_record().id, rows, predictions)
        return predictions

    def compute(self, rows: list[Row]) -> list[Prediction | Again]:
        """Give a prediction for each row, in order, or `Again` for those that need to be alone.

        Raises:
            EstimatorError: the estimator raised, or gave what no estimator may.
        """
        try:
            predictions, sensitive = self._model.predict(rows)
        except BaseException as exc:  # a SystemExit in a model is no reason to end the service
            raise EstimatorError from exc
        results: list[Prediction | Again] = [*predictions] or [Again.ALONE] * len(rows)
        for index in sensitive:
            results[index] = Again.ALONE
        self._count(result for result in results if isinstance(result, Prediction))
        return results

    def _begin(self, row: Row) -> Begun:
        job = self._batcher.ask([row])
        return job.future, partial(self._batcher.leave, job)

    def _looked_up(self, lookup: Lookup) -> None:
        self._metrics.looked_up(lookup)
        current_record().cache = lookup

    def _count(self, predictions: Iterable[Prediction]) -> None:
        values: list[Any] = [prediction.value for prediction in predictions]
        self._metrics.predicted(Counter(values) if self._has_labels else {"": len(values)})

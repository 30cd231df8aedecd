"""The story of a batch: ask the model, and say which rows it must be asked for again, alone.

Runs in the batcher's thread. Whatever an estimator raises is a defect of the model, whatever its
class says: it leaves here as `EstimatorError`, which is answered with 500.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from serving.answers import Prediction
from serving.batching import Again
from serving.description import Label
from serving.model import Model
from serving.values import Row


class EstimatorError(Exception):
    """The estimator failed; its own exception is the cause."""


class Predictor:
    """Asks a model for many rows at once."""

    def __init__(self, model: Model, observe: Callable[[Mapping[Label, int]], None]) -> None:
        """Take the model, and whom to tell how often each label was predicted.

        Numbers, and the answers of several targets, have no label: they are counted together.
        """
        self._model = model
        self._observe = observe
        self._has_labels = model.labels_are_few

    def predict(self, rows: list[Row]) -> list[Prediction | Again]:
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
        answered: list[Any] = [result.value for result in results if isinstance(result, Prediction)]
        self._observe(Counter(answered) if self._has_labels else {"": len(answered)})
        return results

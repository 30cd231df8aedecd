"""The answers: predictions as JSON; floats are printed so that they read back the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from serving.model.description import Description, Label, label_key
from serving.problems import FieldError


@dataclass(slots=True)  # not frozen: that costs a tenth of answering a batch
class Prediction:
    """What the estimator says of one row.

    ``value`` is a label or a number, or a list of them if there are several targets.
    ``probabilities`` is in the order of ``classes_``, a list of such lists if there are several
    targets. ``scores`` is what ``decision_function`` gives instead: a number, or a list.
    """

    value: Label | list[Label]
    probabilities: list[Any] | None = None
    scores: float | list[float] | None = None


class AnswerWriter:
    """Writes the answers of a model as JSON; floats are printed so that they read back the same."""

    def __init__(self, description: Description, version: str) -> None:
        """Name the model that every answer names, and its classes in ``classes_`` order."""
        self._model = {"name": description.name, "version": version}
        self._keys = [
            [label_key(label) for label in labels] for labels in description.classes_by_target
        ]
        self._several = len(description.targets) > 1
        self._scores_by_class = description.asked.scores_by_class
        self._score = "score" if description.task == "outlier-detection" else "scores"

    def instance(
        self, prediction: Prediction, request_id: str, warnings: Sequence[FieldError] = ()
    ) -> bytes:
        """Write the answer to ``POST /predict``."""
        return self._close(self.document(prediction), request_id, warnings)

    def batch(
        self,
        predictions: Sequence[Prediction],
        request_id: str,
        warnings: Sequence[FieldError] = (),
    ) -> bytes:
        """Write the answer to ``POST /predict/batch``, in the order of the request."""
        documents = [self.document(prediction) for prediction in predictions]
        return self._close({"predictions": documents}, request_id, warnings)

    def _close(
        self, document: dict[str, Any], request_id: str, warnings: Sequence[FieldError]
    ) -> bytes:
        """Add what each answer ends with."""
        if warnings:
            document["warnings"] = warnings
        document["model"] = self._model
        document["request_id"] = request_id
        return orjson.dumps(document)

    def document(self, prediction: Prediction) -> dict[str, Any]:
        """Give one prediction as it stands in an answer."""
        document: dict[str, Any] = {"prediction": prediction.value}
        probabilities, scores = prediction.probabilities, prediction.scores
        if probabilities is not None:
            document["probabilities"] = (
                list(map(_by_key, self._keys, probabilities))
                if self._several
                else _by_key(self._keys[0], probabilities)
            )
        if scores is not None:
            document[self._score] = (
                _by_key(self._keys[0], scores)  # type: ignore[arg-type]
                if self._scores_by_class
                else scores
            )
        return document


def _by_key(keys: list[str], values: list[float]) -> dict[str, float]:
    return dict(zip(keys, values, strict=True))

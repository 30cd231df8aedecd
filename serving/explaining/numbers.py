"""The numbers by which a model answers: which there are, and those of a prediction.

They are what is explained: the probability or the score of each class of each target, or the one
number of each target. Here they are called outputs, and stand in that order everywhere.
"""

from dataclasses import dataclass
from itertools import chain

import numpy as np

from serving.model.answers import labels_of
from serving.model.description import Description, Label
from serving.model.outputs import Array, Prediction

SCORE = "score"  # as which the one of outlier detection is told


@dataclass(frozen=True, slots=True)
class Output:
    """A number of each answer: of which target, and of which of its classes, if it has some."""

    target: str
    label: Label | None = None

    @property
    def of(self) -> Label:
        """What it is a number of, as it is told."""
        return self.target if self.label is None else self.label


class Outputs:
    """All of a model, in order."""

    def __init__(self, description: Description) -> None:
        """Take what training has written."""
        targets = description.targets or ("",)
        self._by_target = [[Output(target)] for target in targets]
        self._labels: tuple[tuple[Label, ...], ...] = ()
        if description.task == "outlier-detection":
            self._by_target = [[Output(SCORE)]]
        elif description.task == "classification":
            self._labels = labels_of(description)
            self._by_target = [
                [Output(target, label) for label in labels]
                for target, labels in zip(targets, self._labels, strict=True)
            ]
        self.all = list(chain.from_iterable(self._by_target))
        self._asked = description.asked
        self._task = description.task

    @property
    def why_none(self) -> str:
        """Tell why there is no number to explain; nothing, if there are some."""
        if self._task == "clustering":
            return "a cluster is no number"
        if self._task == "outlier-detection" and self._asked.scored_by is None:
            return "it tells labels alone, and no number of them"
        if not self._labels:
            return ""
        if self._asked.scored_by is None:
            return "it tells labels alone, and no number of them"
        if self._asked.scored_by == "decision_function" and not self._asked.scores_by_class:
            return "its scores are none of classes"
        return ""

    @property
    def is_of_probabilities(self) -> bool:
        """Tell whether they are probabilities."""
        return bool(self._labels) and self._asked.scored_by == "predict_proba"

    def chosen(self, prediction: Prediction) -> list[int]:
        """Give the places of those that the answer names: of each target the class predicted."""
        values = prediction.value if len(self._by_target) > 1 else [prediction.value]
        places, start = [], 0
        for at, outputs in enumerate(self._by_target):
            label = values[at] if self._labels else None  # type: ignore[index]
            places.append(start + (self._labels[at].index(label) if self._labels else 0))
            start += len(outputs)
        return places

    def of_prediction(self, prediction: Prediction) -> Array:
        """Give those of a prediction: an array of shape (outputs,)."""
        if not self._labels:
            found = prediction.value if prediction.scores is None else prediction.scores
        elif prediction.probabilities is None:
            found = prediction.scores  # type: ignore[assignment]
        elif len(self._by_target) > 1:
            found = list(chain.from_iterable(prediction.probabilities))
        else:
            found = prediction.probabilities
        return np.atleast_1d(np.array(found, dtype=np.float64))

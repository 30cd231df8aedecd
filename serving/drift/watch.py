"""What of a model is compared with training: features, predictions, and how sure they are, in bins.

It counts what it is given, and keeps none of it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, reduce
from itertools import accumulate
from typing import Any

import numpy as np

from serving.drift.bins import Bins, Intervals, bins_of_feature, bins_of_output
from serving.model.answers import Answers, labels_of
from serving.model.columns import Column
from serving.model.description import Description, Reference, References
from serving.model.features import Row
from serving.model.outputs import Array, Prediction

TURNED_OFF = "SERVING_DRIFT is off"
UNKNOWN = "what the model was trained on is not known: train.py takes a table as its --reference"
OLD_MODEL = "the model was saved by a version that kept nothing to compare with: train it again"


class Kind(StrEnum):
    """What is watched; the value is what metrics and reports call it."""

    FEATURE = "feature"
    PREDICTION = "prediction"
    CONFIDENCE = "confidence"


@dataclass(frozen=True)
class Watched:
    """One thing that is watched: a feature, a target, or the largest probability for a target.

    ``place`` is where its values stand: of the features, or of the targets.

    Raises:
        ValueError: training counted in other bins than these.
    """

    kind: Kind
    name: str
    place: int
    bins: Bins
    reference: Reference

    def __post_init__(self) -> None:
        """See that both are of the same bins: a later version may have others."""
        if self.reference.rows.keys() != set(self.bins.names):
            raise ValueError(f"training counted {self.name!r} in other bins: train the model again")

    @cached_property
    def seen(self) -> Array:
        """The rows of training in each bin."""
        return np.array([self.reference.rows[name] for name in self.bins.names])


class Watch:
    """Counts rows and their predictions in the bins of all that is watched, one after the other."""

    def __init__(self, description: Description, references: References, max_features: int) -> None:
        """Watch so many features at most, the most important first.

        Raises:
            ValueError: see `Watched`.
        """
        features = {feature.name: feature for feature in description.features}
        places = {name: at for at, name in enumerate(features)}
        order = dict.fromkeys((*references.importance, *features))
        chosen = sorted(list(order)[:max_features], key=places.__getitem__)
        self.left_out = len(features) - len(chosen)
        targets = description.targets or ("",)
        self._several = len(targets) > 1
        watched = []
        for name in chosen:
            reference = references.features[name]
            bins = bins_of_feature(features[name], reference)
            watched.append(Watched(Kind.FEATURE, name, places[name], bins, reference))
        self.features = len(watched)
        is_number = {
            Kind.PREDICTION: description.task == "regression",
            Kind.CONFIDENCE: True,
        }
        for kind, of_kind in (
            (Kind.PREDICTION, references.predictions),
            (Kind.CONFIDENCE, references.confidence),
        ):
            for name, reference in of_kind.items():
                bins = bins_of_output(reference, is_number=is_number[kind])
                watched.append(Watched(kind, name, targets.index(name), bins, reference))
        self.all = tuple(watched)
        self._labels = labels_of(description)
        self._classes = list(accumulate(map(len, self._labels), initial=0))
        ends = list(accumulate(len(each.bins.names) for each in watched))
        self.width = ends[-1] if ends else 0
        self._ends = ends[:-1]

    def count(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> Array:
        """Count rows and as many predictions: an integer for each bin of each thing watched."""
        columns = list(zip(*rows, strict=True))
        counts = [
            each.bins.count(
                columns[each.place]
                if each.kind is Kind.FEATURE
                else values_of(each.kind, each.place, predictions, several=self._several)
            )
            for each in self.all
        ]
        return np.concatenate(counts)

    def count_columns(self, columns: Sequence[Column], answers: Answers) -> Array:
        """Count rows and the answers to them, as `count` does."""
        return np.concatenate(
            [each.bins.count(self._column(each, columns, answers)) for each in self.all]
        )

    def _column(self, each: Watched, columns: Sequence[Column], answers: Answers) -> Any:  # noqa: ANN401 (what `Bins.count` takes)
        if each.kind is Kind.FEATURE:
            return columns[each.place].counted()
        if each.kind is Kind.CONFIDENCE:
            start, end = self._classes[each.place : each.place + 2]
            return reduce(np.maximum, answers.numbers[start:end])
        values = answers.values[each.place]
        if not self._labels:
            return values if isinstance(each.bins, Intervals) else Counter(values.tolist())
        labels = self._labels[each.place]
        return dict(zip(labels, np.bincount(values, minlength=len(labels)).tolist(), strict=True))

    def split(self, counts: Array) -> list[Array]:
        """Give of such counts those of each thing watched."""
        return np.split(counts, self._ends)


def watch_of(description: Description, max_features: int) -> Watch:
    """Give what is watched of a model.

    Raises:
        ValueError: nothing is; the message says why.
    """
    if description.reference is None:
        raise ValueError(UNKNOWN if description.training is None else OLD_MODEL)
    return Watch(description, description.reference, max_features)


def values_of(
    kind: Kind, target: int, predictions: Sequence[Any], *, several: bool
) -> Sequence[Any]:
    """Give what predictions say of a target, or the largest of its probabilities."""
    if kind is Kind.PREDICTION:
        values = [prediction.value for prediction in predictions]
        return [value[target] for value in values] if several else values
    by_class = [prediction.probabilities for prediction in predictions]
    return [max(each[target]) for each in by_class] if several else list(map(max, by_class))

"""One version of a model, as answers, logs and metrics name it and its predictions."""

from collections import Counter
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from serving.model.description import Description, label_key
from serving.model.outputs import Prediction


class About:
    """What is fixed about a loaded version."""

    def __init__(self, description: Description, version: str) -> None:
        """Take what training has written, and the version that the store gave."""
        self.description = description
        self.name = description.name
        self.version = version
        self.features = tuple(feature.name for feature in description.features)
        self.named = {"name": description.name, "version": version}
        self._has_labels = description.task != "regression" and len(description.targets) < 2
        self._keys = [
            [label_key(label) for label in labels] for labels in description.classes_by_target
        ]
        self._several = len(description.targets) > 1
        self._scores_by_class = description.asked.scores_by_class
        self._score = "score" if description.task == "outlier-detection" else "scores"
        # What may be asked for of a prediction, by scikit-learn's names.
        self.methods: dict[str, Callable[[Prediction], Any]] = {"predict": attrgetter("value")}
        if description.asked.scored_by == "predict_proba":
            self.methods["predict_proba"] = attrgetter("probabilities")
        elif description.asked.scored_by == "decision_function":
            is_of_two = self._scores_by_class and len(self._keys[0]) == 2
            self.methods["decision_function"] = _of_second if is_of_two else attrgetter("scores")

    def counted(self, predictions: Sequence[Prediction]) -> dict[str, int]:
        """Count predictions by label, those without one label of few as one, under no name."""
        if not self._has_labels:
            return {"": len(predictions)}
        if len(predictions) == 1:
            return {label_key(predictions[0].value): 1}  # type: ignore[arg-type]
        values: list[Any] = [prediction.value for prediction in predictions]
        return {label_key(label): count for label, count in Counter(values).items()}

    def document(self, prediction: Prediction) -> dict[str, Any]:
        """Give one prediction by names: as it stands in an answer, and in the prediction log."""
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


def _of_second(prediction: Prediction) -> float:
    """Give the score of the second of two classes, as the estimator does."""
    return prediction.scores[1]  # type: ignore[index]


def _by_key(keys: list[str], values: Sequence[float]) -> dict[str, float]:
    return dict(zip(keys, values, strict=True))

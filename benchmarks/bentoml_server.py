"""A peer: the same model as BentoML's own documentation sets it up, with adaptive batching."""

import os
from typing import Any

import bentoml
import joblib
import numpy as np


@bentoml.service(logging={"access": {"enabled": False}})
class Classifier:
    """Answers the class and each class's probability."""

    def __init__(self) -> None:
        """Load the model."""
        self.estimator = joblib.load(os.environ["BENCH_MODEL_PATH"])
        self.classes = [str(name) for name in self.estimator.classes_]

    @bentoml.api(batchable=True, max_batch_size=64)
    def predict(self, data: np.ndarray) -> list[dict[str, Any]]:
        """Predict the rows of a batch."""
        labels = self.estimator.predict(data)
        probabilities = self.estimator.predict_proba(data).tolist()
        return [
            {"prediction": str(label), "probabilities": dict(zip(self.classes, row, strict=True))}
            for label, row in zip(labels, probabilities, strict=True)
        ]

"""A peer: the same model on LitServe, which batches concurrent requests."""

import os
import sys
from typing import Any

import joblib
import litserve
import numpy as np


class Classifier(litserve.LitAPI):
    """Answers the class and each class's probability; each hook's types are LitServe's own."""

    def setup(self, device: str) -> None:
        """Load the model, in the worker's process."""
        self.estimator = joblib.load(os.environ["BENCH_MODEL_PATH"])
        self.classes = [str(name) for name in self.estimator.classes_]

    def decode_request(self, request: dict[str, list[float]]) -> np.ndarray[Any, Any]:
        """Take the row from a request."""
        return np.array(request["data"])

    def predict(self, rows: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
        """Predict the rows of a batch."""
        labels = self.estimator.predict(rows)
        probabilities = self.estimator.predict_proba(rows).tolist()
        return [
            {"prediction": str(label), "probabilities": dict(zip(self.classes, row, strict=True))}
            for label, row in zip(labels, probabilities, strict=True)
        ]


if __name__ == "__main__":  # LitServe's workers import this module
    api = Classifier(max_batch_size=64, batch_timeout=0.002)
    server = litserve.LitServer(api, accelerator="cpu")
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, access_log=False
    )

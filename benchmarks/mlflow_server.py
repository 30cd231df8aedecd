"""A peer: the same model as an MLflow ``pyfunc``, behind ``mlflow models serve``.

Saves the model first, into the environment that it runs in, and then becomes that command.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import joblib
import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

FOLDER = Path(sys.prefix) / "model"
SERVE = ("mlflow", "models", "serve", "--env-manager", "local", "--host", "127.0.0.1")


class Classifier(mlflow.pyfunc.PythonModel):
    """Answers the class and each class's probability."""

    def load_context(self, context: Any) -> None:  # noqa: ANN401 (MLflow's own)
        """Load the model."""
        self.estimator = joblib.load(context.artifacts["estimator"])
        self.classes = [str(name) for name in self.estimator.classes_]

    def predict(self, context: Any, model_input: np.ndarray) -> list[dict[str, Any]]:  # noqa: ANN401
        """Predict rows."""
        labels = self.estimator.predict(model_input)
        probabilities = self.estimator.predict_proba(model_input).tolist()
        return [
            {"prediction": str(label), "probabilities": dict(zip(self.classes, row, strict=True))}
            for label, row in zip(labels, probabilities, strict=True)
        ]


if __name__ == "__main__":
    shutil.rmtree(FOLDER, ignore_errors=True)
    mlflow.pyfunc.save_model(
        FOLDER,
        python_model=Classifier(),
        artifacts={"estimator": os.environ["BENCH_MODEL_PATH"]},
        signature=ModelSignature(Schema([TensorSpec(np.dtype(np.float64), (-1, 4))])),
        pip_requirements=["mlflow"],
    )
    os.execvp(SERVE[0], [*SERVE, "--model-uri", str(FOLDER), "--port", sys.argv[1]])  # noqa: S606

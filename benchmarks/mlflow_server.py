"""A peer: the same model by MLflow's own flavour for it, behind ``mlflow models serve``.

It answers all probabilities and not the class, for a flavour calls one method of the estimator
alone, and that for LightGBM the booster's; the class follows from them. Its signature names the
parameter by which this service is asked for the same, so both can be sent the very same bytes;
the flavour ignores what it says.

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
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

FOLDER = Path(sys.prefix) / "model"
SERVE = ("mlflow", "models", "serve", "--env-manager", "local", "--host", "127.0.0.1")
METHOD = "predict_proba"


if __name__ == "__main__":
    shutil.rmtree(FOLDER, ignore_errors=True)
    estimator = joblib.load(os.environ["BENCH_MODEL_PATH"])
    options: dict[str, Any] = {
        "path": FOLDER,
        "signature": ModelSignature(
            Schema([TensorSpec(np.dtype(np.float64), (-1, 4))]),
            params=ParamSchema([ParamSpec("predict_method", "string", METHOD)]),
        ),
        "pip_requirements": ["mlflow"],
    }
    if booster := getattr(estimator[-1], "booster_", None):  # of the pipeline's estimator
        mlflow.lightgbm.save_model(booster, **options)
    else:
        mlflow.sklearn.save_model(
            estimator,
            pyfunc_predict_fn=METHOD,
            serialization_format="cloudpickle",  # its default refuses forests nobody vouches for
            **options,
        )
    os.execvp(SERVE[0], [*SERVE, "--model-uri", str(FOLDER), "--port", sys.argv[1]])  # noqa: S606

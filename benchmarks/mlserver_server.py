"""A peer: the same model on MLServer, by its scikit-learn runtime, or by its own for LightGBM.

The latter takes the file that LightGBM writes, and answers all probabilities and not the class,
which follows from them: it asks the booster.

Writes that file first, into the environment that it runs in, and then becomes MLServer's command.
"""

import os
import sys
from pathlib import Path

import joblib

SERVE = ("mlserver", "start", "mlserver")


if __name__ == "__main__":
    file, runtime = Path(os.environ["BENCH_MODEL_PATH"]), "mlserver_sklearn.SKLearnModel"
    if booster := getattr(joblib.load(file)[-1], "booster_", None):  # of the pipeline's estimator
        file, runtime = Path(sys.prefix) / "model.bst", "mlserver_lightgbm.LightGBMModel"
        booster.save_model(file)
    os.environ["MLSERVER_MODEL_URI"] = str(file)
    os.environ["MLSERVER_MODEL_IMPLEMENTATION"] = runtime
    os.execvp(SERVE[0], SERVE)  # noqa: S606

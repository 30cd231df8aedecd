"""A rival: the same model by MLflow's flavour for scikit-learn, asked for all probabilities.

python bulk_mlflow.py save FOLDER TABLE         with the signature of the table
python bulk_mlflow.py score FOLDER TABLE OUT    by its pyfunc
"""

import os
import shutil
import sys

import joblib
import mlflow
import pandas as pd

EXAMPLE_ROWS = 100


def save(folder: str, table: str) -> None:
    """Save the estimator as a model of MLflow."""
    shutil.rmtree(folder, ignore_errors=True)
    estimator = joblib.load(os.environ["BENCH_MODEL_PATH"])
    example = pd.read_csv(table, nrows=EXAMPLE_ROWS).drop(columns="id")
    mlflow.sklearn.save_model(
        estimator,
        folder,
        signature=mlflow.models.infer_signature(example),
        pyfunc_predict_fn="predict_proba",
        serialization_format="cloudpickle",  # its default refuses forests nobody vouches for
        pip_requirements=["mlflow"],
    )


def score(folder: str, table: str, out: str) -> None:
    """Score Parquet."""
    frame = pd.read_parquet(table)
    model = mlflow.pyfunc.load_model(folder)
    classes = model.get_raw_model().classes_
    found = pd.DataFrame(model.predict(frame), columns=[f"probability_{name}" for name in classes])
    found.insert(0, "prediction", classes[found.to_numpy().argmax(axis=1)])
    pd.concat([frame, found], axis=1).to_parquet(out, index=False)


if __name__ == "__main__":
    {"save": save, "score": score}[sys.argv[1]](*sys.argv[2:])

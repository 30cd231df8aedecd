"""Writes models with the MLflow of this environment, and what they answer: a script.

Takes a folder. Each model of it has its answers to ``rows.json`` in ``answers.json``.
"""

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import xgboost
from mlflow.models import infer_signature
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

ROWS = 200
PINNED: dict[str, Any] = {"pip_requirements": ["scikit-learn==1.9.1"]}  # or it looks for long
IS_THIRD = mlflow.__version__.startswith("3.")
TOWNS = np.array(["Bari", "Lodi", "Pisa"], dtype=object)


def write(folder: Path) -> None:
    """Write all models, and what they answer."""
    rng = np.random.default_rng(0)
    numbers = pd.DataFrame({"rooms": rng.integers(1, 9, ROWS), "size": rng.normal(90, 30, ROWS)})
    frame = numbers.assign(town=TOWNS[rng.integers(0, 3, ROWS)], lift=rng.random(ROWS) < 0.5)
    sold = ((frame["size"] > 90) ^ (frame["town"] == "Pisa")).astype(int)
    words = np.where(sold, "sold", "kept")
    encoder = OneHotEncoder(handle_unknown="ignore")
    columns = make_column_transformer((encoder, ["town"]), remainder="passthrough")
    pipeline = make_pipeline(columns, StandardScaler(), LogisticRegression()).fit(frame, words)
    of_frame = {"signature": infer_signature(frame, words), "input_example": frame.head(3)}
    of_numbers = {"signature": infer_signature(numbers, sold), "input_example": numbers.head(3)}
    wrapper = xgboost.XGBClassifier(n_estimators=9).fit(numbers, sold)
    light = lightgbm.LGBMClassifier(n_estimators=9, verbose=-1).fit(numbers, sold)
    (folder / "own_steps.py").write_text("STEPS = 3\n", "utf-8")
    code = {"code_paths": [str(folder / "own_steps.py")]}
    for form in ("pickle", "cloudpickle", "skops") if IS_THIRD else ("pickle", "cloudpickle"):
        save = mlflow.sklearn.save_model
        save(pipeline, folder / form, serialization_format=form, **of_frame, **code, **PINNED)
    mlflow.xgboost.save_model(wrapper, folder / "xgboost", **of_numbers, **PINNED)
    booster = wrapper.get_booster()
    mlflow.xgboost.save_model(booster, folder / "xgboost-booster", **of_numbers, **PINNED)
    mlflow.lightgbm.save_model(light, folder / "lightgbm", **of_numbers, **PINNED)
    booster = light.booster_
    mlflow.lightgbm.save_model(booster, folder / "lightgbm-booster", **of_numbers, **PINNED)
    mlflow.set_tracking_uri((folder / "runs").as_uri())
    with mlflow.start_run():
        named = {"name": "houses"} if IS_THIRD else {"artifact_path": "houses"}
        mlflow.sklearn.log_model(pipeline, **named, **of_frame, **PINNED)
    answers = {"houses": pipeline, "xgboost": wrapper, "lightgbm": light}
    told = {
        name: each.predict_proba(frame if name == "houses" else numbers).tolist()
        for name, each in answers.items()
    }
    (folder / "rows.json").write_text(json.dumps(frame.to_numpy().tolist()), "utf-8")
    (folder / "answers.json").write_text(json.dumps(told), "utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # of version 3, whose own is a database
    write(Path(sys.argv[1]).absolute())

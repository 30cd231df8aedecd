"""The models under measurement: trained by train.py into a model store, or found in one."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.servers import ROOT

LOGISTIC, FOREST, BOOSTING = "logistic", "forest", "boosting"  # their names in the store
ESTIMATORS = {
    LOGISTIC: "LogisticRegression",
    FOREST: "RandomForestClassifier",
    BOOSTING: "lightgbm.LGBMClassifier",
}
STORE = Path(os.environ.get("BENTOML_HOME", Path.home() / "bentoml"))  # as BentoML has it


def class_of(model: str) -> str:
    """Name the class of a model's estimator, as the report shows it."""
    return ESTIMATORS[model].rpartition(".")[2]


def train(store: Path, *options: str) -> None:
    """Train a model into a store, with options of train.py."""
    subprocess.run(
        [sys.executable, "train.py", *options],
        cwd=ROOT,
        env={**os.environ, "BENTOML_HOME": str(store)},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def find(store: Path = STORE, name: str = "iris") -> Path:
    """Give the pickle of a model's latest version."""
    folder = store / "models" / name
    if not (folder / "latest").exists():
        sys.exit(f"no model in {folder}: train one first, with the same BENTOML_HOME")
    return (folder / (folder / "latest").read_text().strip() / "saved_model.pkl").resolve()

"""Folders as MLflow writes them, written by hand: small, and as wrong as a test wants them."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn
import skops.io
import yaml  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression

COLUMNS = [
    {"type": "long", "name": "age", "required": True},
    {"type": "double", "name": "income", "required": True},
]
ROWS = [[30, 1500.5], [61, 900.0]]
EXAMPLE = {"columns": ["age", "income"], "data": ROWS}
TYPE_OF_EXAMPLE = {"artifact_path": "input_example.json", "type": "dataframe"}


def people() -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
    """Make up people, and whether they are members."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(18, 90, 60), "income": rng.normal(1e3, 300, 60)})
    return frame, np.where(frame.age * 20 < frame.income, "yes", "no")


def fitted() -> Any:  # noqa: ANN401 (scikit-learn has no type for it)
    """Fit a classifier on them."""
    frame, member = people()
    return LogisticRegression(max_iter=1000).fit(frame / [1, 10], member)


def about(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 (any YAML)
    """Give what a file MLmodel says, with changes."""
    flavour = {
        "pickled_model": "model.skops",
        "serialization_format": "skops",
        "sklearn_version": sklearn.__version__,
        "code": None,
    }
    told = {
        "flavors": {"python_function": {"python_version": "3.11.7"}, "sklearn": flavour},
        "mlflow_version": "3.17.2",
        "saved_input_example_info": TYPE_OF_EXAMPLE,
        "signature": {"inputs": json.dumps(COLUMNS), "outputs": '[{"type": "string"}]'},
    }
    return told | changes


def of_sklearn(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 (any YAML)
    """Give the flavours of such a file, that of scikit-learn with changes."""
    flavours: dict[str, Any] = about()["flavors"]
    return flavours | {"sklearn": flavours["sklearn"] | changes}


def write(folder: Path, told: object = None, estimator: Any = None) -> Path:  # noqa: ANN401
    """Write a model's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    estimator = fitted() if estimator is None else estimator
    skops.io.dump(estimator, folder / "model.skops")
    (folder / "model.pkl").write_bytes(pickle.dumps(estimator))
    (folder / "input_example.json").write_text(json.dumps(EXAMPLE), "utf-8")
    (folder / "MLmodel").write_text(yaml.safe_dump(about() if told is None else told), "utf-8")
    return folder

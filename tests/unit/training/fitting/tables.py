"""Columns of all types, and tables of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from serving.model.description import Task
from training.table.columns import FeatureType
from training.table.table import Table

ROWS = 60
TYPES: dict[str, FeatureType] = {
    "size": "number",
    "note": "text",
    "legs": "integer",
    "color": "category",
    "tame": "boolean",
    "weight": "number",
    "old": "boolean",
    "shape": "category",
    "name": "text",
}


def mixed() -> pd.DataFrame:
    """Give columns of all types, with and without gaps."""
    rng = np.random.default_rng(0)
    words = ["soft fur", "long claws", "a soft tail", "claws"]
    size, old = rng.normal(size=ROWS), rng.integers(0, 2, ROWS).astype(float)
    size[::7] = old[::9] = np.nan
    color = rng.choice(["red", "green", "blue"], ROWS).astype(object)
    note = rng.choice(words, ROWS).astype(object)
    color[::8] = note[::11] = np.nan
    return pd.DataFrame(
        {
            "size": size,
            "note": pd.Series(note, dtype=object),
            "legs": rng.integers(0, 5, ROWS),
            "color": pd.Series(color, dtype=object),
            "tame": rng.integers(0, 2, ROWS).astype(bool),
            "weight": rng.normal(50, 10, size=ROWS),
            "old": old,
            "shape": pd.Series(rng.choice(["round", "flat"], ROWS), dtype=object),
            "name": pd.Series(rng.choice(words, ROWS), dtype=object),
        }
    )


def as_asked(frame: pd.DataFrame) -> Any:  # noqa: ANN401 (an array of floats or of objects)
    """Give the array that the service makes of rows."""
    if (frame.dtypes == "object").any():
        return np.array([list(row) for row in frame.itertuples(index=False)], dtype=object)
    return frame.to_numpy("float64")


def kinds() -> Any:  # noqa: ANN401 (an array)
    return np.where(np.arange(ROWS) % 3 == 0, "cat", "dog").astype(object)


def steps(pipeline: Pipeline) -> list[str]:
    return [type(step).__name__ for _, step in pipeline.steps]


def table_of(
    frame: pd.DataFrame,
    labels: Any,  # noqa: ANN401 (an array)
    task: Task = "classification",
    types: Mapping[str, FeatureType] | None = None,
) -> Table:
    target = pd.DataFrame(labels)
    return Table(frame, types or dict.fromkeys(frame.columns, "number"), target, task, ())


def shipped(load: Any, task: Task = "classification") -> Table:  # noqa: ANN401
    data = load(as_frame=True)
    labels = data.target_names[data.target] if task == "classification" else data.target
    return table_of(
        data.data, np.array(labels, object if task == "classification" else float), task
    )

"""Tables of columns, described by an estimator that has no opinion of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from serving.model.description import Description, Metrics
from serving.model.features import Feature
from training.describing.describe import describe
from training.table.columns import FeatureType
from training.table.table import Table

Given = Any  # what estimators take and give
METRICS = Metrics(split="none", values={"r2": 0.5}, dummy={"r2": 0.0})


class Constant:
    """Answers with 1 whatever it is asked."""

    def predict(self, rows: Given) -> Given:
        """Give a number for each row."""
        return np.ones(len(rows))


def table_of(columns: Mapping[str, tuple[FeatureType, Sequence[Any]]]) -> Table:
    """Make a table as `to_table` does, of columns with None where a value is missing."""
    series = {}
    for name, (kind, values) in columns.items():
        gaps = None in values
        dtype: Any = {"integer": "int64", "boolean": "bool", "number": "float64"}.get(kind, object)
        dtype = "float64" if gaps and dtype is not object else dtype
        series[name] = pd.Series([np.nan if v is None else v for v in values], dtype=dtype)
    frame = pd.DataFrame(series)
    types = {name: kind for name, (kind, _) in columns.items()}
    target = pd.DataFrame({"y": np.zeros(len(frame))})
    return Table(frame=frame, types=types, target=target, task="regression", notes=())


def described(columns: Mapping[str, tuple[FeatureType, Sequence[Any]]]) -> Description:
    """Describe a table of columns by an estimator that has no opinion of them."""
    return describe("mine", Constant(), table_of(columns), METRICS, seed=0)


def feature_of(kind: FeatureType, values: Sequence[Any]) -> Feature:
    """Describe one column, beside another that has no gaps."""
    other = ("number", [float(number) for number in range(len(values))])
    description = described({"x": (kind, values), "other": other})  # type: ignore[dict-item]
    return description.features[0]

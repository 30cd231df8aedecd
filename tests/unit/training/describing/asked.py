"""Estimators and tables that the tests of describing share, and how they are asked."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_iris
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from serving.model.description import Description, Metrics, Task
from serving.model.features import Category, Number
from training.describing.describe import describe
from training.describing.evidence import NO_EVIDENCE, Evidence
from training.table.table import Table

Estimator = Any  # scikit-learn has no type for it
Given = Any  # what estimators take and give
METRICS = Metrics(split="none", values={}, dummy={})
FLOWERS = load_iris(as_frame=True)
SPECIES = FLOWERS.target_names[FLOWERS.target].astype(object)
LARGE = np.where(SPECIES == "virginica", "large", "small").astype(object)
WIDTHS = FLOWERS.data.iloc[:, 1].to_numpy()


def table_of(frame: pd.DataFrame, labels: Given, task: Task = "classification") -> Table:
    """Make a table of a frame whose dtypes tell what its columns are."""
    kinds = {"i": "integer", "f": "number", "b": "boolean", "O": "category"}
    types: Any = {str(name): kinds[dtype.kind] for name, dtype in frame.dtypes.items()}
    target = pd.DataFrame(index=frame.index) if labels is None else pd.DataFrame({"y": labels})
    return Table(frame.rename(columns=str), types, target, task, ())


def described(
    estimator: Estimator,
    frame: pd.DataFrame = FLOWERS.data,
    labels: Given = SPECIES,
    task: Task = "classification",
) -> Description:
    """Fit an estimator on the values of a frame, and describe it."""
    table = table_of(frame, labels, task)
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore")
        estimator.fit(table.frame.to_numpy(), labels)
        return describe("mine", estimator, table, METRICS, seed=0)


def asked_as_it_is(
    estimator: Estimator, table: Table, evidence: Evidence = NO_EVIDENCE
) -> Description:
    """Describe an estimator that was fitted elsewhere, or never."""
    with threadpool_limits(limits=1):
        return describe("mine", estimator, table, METRICS, seed=0, evidence=evidence)


SMALL = pd.DataFrame({"a": np.linspace(-1, 1, 20), "b": np.linspace(3, 5, 20)[::-1]})


class Foreign:
    """An estimator of another library; a test gives it the methods that it has."""

    def __init__(self, **methods: Given) -> None:
        """Take methods and attributes."""
        self.__dict__ |= methods


def regressor(predict: Given) -> Foreign:
    """Make an estimator of its `predict`."""
    return Foreign(predict=predict)


def domains(description: Description) -> list[tuple[float, float]]:
    """Give the domains of numbers."""
    return [
        (feature.bounds.minimum, feature.bounds.maximum)
        for feature in description.features
        if isinstance(feature, Number)
    ]


PETS = pd.DataFrame(
    {
        "color": np.array((["red", "blue"] * 9 + ["rare"] * 2), dtype=object),
        "size": np.linspace(1, 9, 20),
    }
)
KINDS = np.where(PETS["size"] > 5, "dog", "cat").astype(object)


def color_of(description: Description) -> Category:
    """Give the feature of colors."""
    (feature,) = (feature for feature in description.features if feature.name == "color")
    assert isinstance(feature, Category)
    return feature

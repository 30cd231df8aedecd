"""What is to be done with a table: classify, or predict numbers, if nobody says."""

from collections.abc import Mapping

import pandas as pd

from serving.model.description import Task
from training.table.columns import is_number
from training.table.flaws import MAX_CLASSES


def find_task(target: Mapping[str, pd.Series]) -> Task:
    """Take text, booleans, and few whole numbers that repeat for classes."""
    if not all(map(is_number, target.values())) or all(map(_repeats, target.values())):
        return "classification"
    return "regression"


def _repeats(column: pd.Series) -> bool:
    counts = column.value_counts()
    return bool(
        pd.api.types.is_integer_dtype(column) and len(counts) <= MAX_CLASSES and counts.min() >= 2
    )


def judgements(target: Mapping[str, pd.Series], task: Task) -> list[str]:
    """Tell how numbers were taken that might have been meant otherwise."""
    taken, other, meant = "numbers", "classification", "classes"
    if task == "classification":
        taken, other, meant = "classes", "regression", "numbers"
    return [
        f"target {name!r} holds {column.nunique()} different whole numbers, taken for {taken}: "
        f"say --task {other} if they are {meant}"
        for name, column in target.items()
        if _may_be_classes(column)
    ]


def _may_be_classes(column: pd.Series) -> bool:
    if pd.api.types.is_float_dtype(column):
        return bool(column.nunique() <= MAX_CLASSES and (column % 1 == 0).all())
    return bool(pd.api.types.is_integer_dtype(column))

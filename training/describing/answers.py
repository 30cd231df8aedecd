"""What an estimator gives for a row: how many numbers, and what they are called."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from serving.model.description import Task
from serving.model.estimator import Estimator
from serving.model.outputs import Array, answers_of
from training.table.table import Table

ASKED_ROWS = 2
LEVELS = re.compile(r"alpha=([\d.,\s]+)")  # as CatBoost is told of quantiles, in a text


def task_by_answers(estimator: Estimator, frame: pd.DataFrame) -> Task | None:
    """Take who gives numbers, and knows no classes, for a regressor: rankers say of no task."""
    given = _given(estimator, frame)
    knows_classes = len(getattr(estimator, "classes_", ())) > 0
    return (
        "regression"
        if given is not None and given.dtype.kind == "f" and not knows_classes
        else None
    )


def target_names(estimator: Estimator, table: Table) -> tuple[str, ...]:
    """Name what is predicted.

    Without a column for each answer they are numbered, but for quantiles, which have their levels.
    """
    if table.task not in {"classification", "regression"}:
        return ()
    names = tuple(map(str, table.target.columns))
    if len(names) > 1 or (names and table.task == "classification"):
        return names
    given = _given(estimator, table.frame)
    count = 1 if given is None or given.ndim != 2 else given.shape[1]
    (name,) = names or ("y",)
    if count == 1:
        return (name,)
    levels = next((found for found in _levels(estimator) if len(found) == count), None)
    if levels is None:
        return tuple(f"{name}{index}" for index in range(count))
    return tuple(f"{name} at {level}" for level in levels)


def _given(estimator: Estimator, frame: pd.DataFrame) -> Array | None:
    """Give what is predicted for a few rows, in whatever form they are taken."""
    few = frame.head(ASKED_ROWS)
    texts = few.select_dtypes(exclude=["number", "bool"]).columns
    for rows in (few, few.to_numpy(), few.astype(dict.fromkeys(texts, "category"))):
        with suppress(Exception):  # whatever it raises, `forms` will tell
            return answers_of(estimator.predict(rows))
    return None


def _levels(estimator: Estimator) -> Iterator[Sequence[float]]:
    """Give what of an estimator's parameters may be the levels of quantiles."""
    for value in estimator.get_params().values() if hasattr(estimator, "get_params") else ():
        levels: Any = ()
        if isinstance(value, str) and (found := LEVELS.search(value)):
            levels = found[1].strip(", ").split(",")
        elif isinstance(value, list | tuple | np.ndarray):
            levels = value
        with suppress(TypeError, ValueError):
            numbers = [float(level) for level in levels]
            if numbers and all(0 < number < 1 for number in numbers):
                yield numbers

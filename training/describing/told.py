"""What a fitted estimator tells of the columns that it was fitted on, and a table in line with it.

It is found wherever in the estimator it stands (`tellers`), and a hint: what the estimator answers
decides (`forms`). Refuses a table of which the estimator knows no value of a column.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import KBinsDiscretizer

from serving.console import listed
from serving.model.description import Label
from serving.model.estimator import Estimator
from training.describing.columns import Column, Columns
from training.describing.tellers import TELLERS, alike
from training.errors import TrainingError

NO_PARTS = (str, bytes, np.ndarray, pd.DataFrame, pd.Series, type, ModuleType)


def told_by(estimator: Estimator, columns: Columns) -> Mapping[str, Column]:
    """Find what is told of columns of a table."""
    found: dict[str, Column] = {}
    for name, told in _walk(estimator, columns, set()):
        before = found.get(name, Column())
        first = told if before.values is None else before
        found[name] = Column(
            told.is_categorical if before.is_categorical is None else before.is_categorical,
            first.values,
            first.dtype,
            before.known and told.known,
            before.closed or told.closed,
        )
    return found


def _walk(part: Any, columns: Columns, seen: set[int]) -> Iterator[tuple[str, Column]]:  # noqa: ANN401
    """Go through an estimator and all that it is made of; ``columns`` go into the part."""
    if id(part) in seen or isinstance(part, NO_PARTS):
        return
    seen.add(id(part))
    if isinstance(part, ColumnTransformer):
        for _, transformer, selected in getattr(part, "transformers_", ()):
            yield from _walk(transformer, columns.selected(selected), seen)
        return
    if isinstance(part, Pipeline):
        for _, step in part.steps:
            yield from _walk(step, columns, seen)
            columns = replace(columns, changed=columns.changed or not _keeps_values(step))
        return
    if isinstance(part, KBinsDiscretizer):
        columns = replace(columns, changed=True)  # its encoder gets the numbers of bins
    for teller in TELLERS:
        with suppress(Exception):  # it is another thing, and has no such attributes
            yield from list(teller(part, columns))
    inner: Iterable[Any] = ()
    if isinstance(part, list | tuple):
        inner = part
    elif isinstance(part, dict):
        inner = part.values()
    elif hasattr(part, "__dict__"):
        inner = vars(part).values()
    for other in list(inner):
        yield from _walk(other, columns, seen)


def _keeps_values(step: Any) -> bool:  # noqa: ANN401 (of a pipeline)
    is_imputer = type(step).__module__.startswith("sklearn.impute")
    return step is None or isinstance(step, str) or is_imputer or hasattr(step, "fit_resample")


def agreed(raw: pd.DataFrame, told: Mapping[str, Column]) -> pd.DataFrame:
    """Give a table's values the type of those that the estimator knows: numbers, or texts.

    A file keeps no types, or others: the categories 1 and 2 may have been texts.

    Raises:
        TrainingError: a column has none of the values that the estimator knows, or had no part.
    """
    unknown = [name for name, column in told.items() if not column.known]
    if unknown:
        raise TrainingError(
            f"the estimator was fitted without {listed(unknown)}: leave out with --drop what it "
            "does not know, or name its columns as they were named then"
        )
    changed = {}
    for name, column in told.items():
        if column.values:
            changed[name] = series = _typed(raw[name], column.values)
            present = series.dropna()
            if len(present) and not present.isin(column.values).any():
                raise TrainingError(
                    f"column {name!r} has none of the values that the estimator was fitted on, "
                    f"such as {column.values[0]!r}: write them alike"
                )
    return raw.assign(**changed)


def _typed(series: pd.Series, values: Sequence[Label]) -> pd.Series:
    held = series.dropna().unique().tolist()
    if _are_texts(values) and not _are_texts(held):
        written = {value: _written(value, values) for value in held}
        if doubtful := [value for value, ways in written.items() if len(ways) > 1]:
            ways = listed(written[doubtful[0]])
            raise TrainingError(
                f"column {series.name!r} has the number {doubtful[0]!r}, but the estimator was "
                f"fitted on texts, and knows {ways}: bring a --reference in Parquet, which keeps "
                "texts as they were written"
            )
        texts = {value: ways[0] for value, ways in written.items()}
        return series.map(texts, na_action="ignore").astype("string")
    if not any(isinstance(value, str) for value in values) and _are_texts(held):
        numbers = pd.to_numeric(series.astype("string"), errors="coerce")
        return numbers if numbers.notna().sum() == series.notna().sum() else series
    return series


def _are_texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _written(value: Label, texts: Sequence[Label]) -> list[str]:
    """Give the texts that a value of a file may have been, or what it is as a text."""
    if type(value) is int and str(value) in texts:  # files have no 01 for a number
        return [str(value)]
    return [str(text) for text in texts if alike(text) == alike(value)] or [str(value)]

"""What a fitted estimator tells of the columns that it was fitted on, and a table in line with it.

It is found wherever in the estimator it stands (`tellers`), and a hint: what the estimator answers
decides (`forms`). Refuses a table of which the estimator knows no value of a column.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer

from serving.description import Label
from serving.model import Estimator
from training.errors import TrainingError
from training.faults import is_text, listed
from training.tellers import TELLERS, Column, Columns, alike

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
    """Give values as texts where all that are known are texts, and as numbers where none is."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.dtype.categories.dtype)
    are_texts = [isinstance(value, str) for value in values]
    if all(are_texts) and not is_text(series):
        written = {alike(value): value for value in values} | {value: value for value in values}

        def text(value: object) -> str:
            return str(written.get(str(value), written.get(alike(value), str(value))))

        return series.map(text, na_action="ignore").astype("string")
    if not any(are_texts) and is_text(series):
        numbers = pd.to_numeric(series, errors="coerce")
        return numbers if numbers.notna().sum() == series.notna().sum() else series
    return series

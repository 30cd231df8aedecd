"""Dtypes of columns: those of a file's frame, and those that pandas makes of values by itself."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from pyarrow.parquet import read_schema

from serving.model.description import Categories
from training.table.files import PARQUET_ENDINGS

PLAIN = ("object", "int64", "float64", "bool")


def dtypes_of(path: Path, names: Sequence[str]) -> Mapping[str, Categories | str]:
    """Give the dtypes that a frame had when it was written to Parquet, but for the plain ones.

    Of categories that are no texts a file keeps how many there are, and not their order: that is
    taken for the usual one, unless some are not in the table, or their order was meant.
    """
    if path.suffix.lower() not in PARQUET_ENDINGS:
        return {}
    frame = pd.read_parquet(path)
    metadata = read_schema(path).pandas_metadata or {"columns": ()}
    kept = {entry["name"]: entry["metadata"] or {} for entry in metadata["columns"]}
    found: dict[str, Categories | str] = {}
    for name in names:
        column, known = frame.get(name, pd.Series(dtype=float)), kept.get(name, {})
        if isinstance(column.dtype, pd.CategoricalDtype):
            found[name] = _dtype(column.dtype.categories, ordered=bool(column.dtype.ordered))
        elif known.get("num_categories") == column.nunique() and not known["ordered"]:
            found[name] = categories_of(column)
        elif column.dtype not in PLAIN:
            found[name] = str(column.dtype)
    return found


def categories_of(values: Iterable[object]) -> Categories:
    """Give the dtype that pandas makes of values by itself: their own, sorted."""
    present = pd.Series([value for value in values if not pd.isna(value)])
    return _dtype(present.astype("category").dtype.categories)


def _dtype(categories: pd.Index, *, ordered: bool = False) -> Categories:
    values = tuple(categories.tolist())
    return Categories(values=values, dtype=str(categories.dtype), ordered=ordered)

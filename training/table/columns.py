"""What a column holds: how pandas has it, its type of feature, and how scikit-learn takes it."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from serving.model.outputs import Array

FeatureType = Literal["number", "integer", "boolean", "category", "text"]

MAX_WHOLE = 2**53  # up to here each whole number is a double, and reads the same everywhere
# A string is a category if it is short, and repeats: one of few, or one of many that are common.
MAX_CATEGORY_CHARS = 100
MAX_CATEGORIES = 50
MIN_REPEATS = 2  # on average
MAX_COMMON_CATEGORIES = 1000
MIN_COMMON_REPEATS = 20  # on average
DTYPES = {
    "boolean": "boolean",
    "integer": "Int64",
    "floating": "Float64",
    "mixed-integer-float": "Float64",
    "decimal": "Float64",
    "string": "string",
    "empty": "string",
}


def is_text(column: pd.Series) -> bool:
    """Tell whether a column holds strings."""
    return isinstance(column.dtype, pd.StringDtype)


def is_number(column: pd.Series) -> bool:
    """Tell whether a column holds numbers, whole or not; booleans are none."""
    types = pd.api.types
    return bool(types.is_integer_dtype(column) or types.is_float_dtype(column))


def plain(column: pd.Series) -> pd.Series:
    """Give a column the type of what it holds: boolean, Int64, Float64, string; object for else."""
    values = column.astype(object)
    held = pd.api.types.infer_dtype(values, skipna=True)
    scalars = held in {"mixed", "mixed-integer"} and values.dropna().map(np.isscalar).all()
    try:
        values = values.astype("string" if scalars else DTYPES.get(held, "object"))
    except OverflowError:  # by what is not even an int64, as pandas reads it from CSV
        values = values.astype("string")
    return values


def type_of(column: pd.Series) -> FeatureType:
    """Tell which type of feature a plain column is."""
    if pd.api.types.is_bool_dtype(column):
        return "boolean"
    if is_number(column):
        return "integer" if pd.api.types.is_integer_dtype(column) else "number"
    values = column.dropna()
    count, distinct = len(values), values.nunique()
    few = distinct <= MAX_CATEGORIES and count >= MIN_REPEATS * distinct
    common = distinct <= MAX_COMMON_CATEGORIES and count >= MIN_COMMON_REPEATS * distinct
    short = values.str.len().max() <= MAX_CATEGORY_CHARS
    return "category" if short and (few or common) else "text"


def frame_of(columns: Mapping[str, pd.Series], rows: int) -> pd.DataFrame:
    """Give plain columns as what an estimator is fitted on."""
    values = {name: _values(column) for name, column in columns.items()}
    # Without their dtype, pandas would make its own strings of objects.
    series = {name: pd.Series(array, dtype=array.dtype) for name, array in values.items()}
    return pd.DataFrame(series, index=pd.RangeIndex(rows))


def _values(column: pd.Series) -> Array:
    """Give the values as scikit-learn takes them: NaN where one is missing."""
    if is_text(column):
        return column.to_numpy("object", na_value=np.nan)  # type: ignore[no-any-return]
    if pd.api.types.is_float_dtype(column) or column.isna().any():
        return column.to_numpy("float64", na_value=np.nan)  # type: ignore[no-any-return]
    is_bool = pd.api.types.is_bool_dtype(column)
    return column.to_numpy("bool" if is_bool else "int64")  # type: ignore[no-any-return]

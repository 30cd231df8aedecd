"""What may be wrong with the values of one column, in words for the person who has it.

Numbers mixed with text, or written with other signs; infinite ones, and such as JSON does not keep.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from serving.model.outputs import Array
from training.advice import option
from training.table.columns import MAX_WHOLE, is_text
from training.table.numerals import DECORATED, are_numbers

WHOLE = "-?(?:0|[1-9][0-9]*)"
MAX_WHOLE_CHARS = 18  # of what surely is an int64
MAX_CLASSES = 20  # that numbers are taken for, unless they are said to be classes


def flaw_of(column: pd.Series) -> str | None:
    """Tell what is wrong with the values of a column, feature or target, and how to mend it."""
    if is_text(column):
        return _mixture(column) or _decoration(column) or _giant(column)
    if pd.api.types.is_float_dtype(column):
        wrong = np.isinf(column.to_numpy("float64", na_value=np.nan))
        row = _first(column, wrong) if wrong.any() else None
        return f"holds an infinite number in row {row}: clean it" if row else None
    if pd.api.types.is_integer_dtype(column):
        wrong = ((column > MAX_WHOLE) | (column < -MAX_WHOLE)).to_numpy("bool", na_value=False)
        return _too_large(_first(column, wrong)) if wrong.any() else None
    return None


def _too_large(row: int) -> str:
    return (
        f"holds a whole number beyond 2^53 in row {row}, which JSON does not keep exactly: clean it"
    )


def _giant(column: pd.Series) -> str | None:
    """Tell what made a column of whole numbers text, being too large for one."""
    values = column.dropna()
    if values.empty or not values.str.fullmatch(WHOLE).all():
        return None
    giant = (values.str.len() > MAX_WHOLE_CHARS).to_numpy("bool")
    return _too_large(_first(values, giant)) if 0 < giant.sum() < len(values) / 2 else None


def mixtures(columns: Mapping[str, pd.Series]) -> dict[str, str]:
    """Tell what is text in columns of numbers, by column."""
    told = {name: _mixture(column) for name, column in columns.items() if is_text(column)}
    return {name: mixture for name, mixture in told.items() if mixture}


def _mixture(column: pd.Series) -> str | None:
    """Tell what is text in a column of numbers; strings that are all numbers may be codes.

    One word in most rows, beside many numbers, is a mark and no category.
    """
    values = column.dropna()
    is_text = ~_are_written_numbers(values)
    texts, numbers = int(is_text.sum()), int((~is_text).sum())
    if not texts:
        return None
    is_one = values[is_text].nunique() == 1
    if numbers <= texts and not (is_one and values[~is_text].nunique() > MAX_CLASSES):
        return None
    verb, example = "does" if texts == 1 else "do", values[is_text].iloc[0]
    # Two hyphens would end all options.
    is_mark = is_one and example.isprintable() and example != "--"
    mark = f", or say {option('--missing', example)} if that means none" if is_mark else ""
    return (
        f"mixes numbers with other text: {numbers} rows hold numbers, {texts} {verb} not, such as "
        f"{example!r} in row {_first(values, is_text)}: clean it{mark}"
    )


def _are_written_numbers(values: pd.Series) -> Array:
    """Tell which texts are numbers, however they are written."""
    plain = pd.to_numeric(values, errors="coerce").notna().to_numpy("bool")
    return plain | are_numbers(values).to_numpy("bool")  # type: ignore[no-any-return]


def _decoration(column: pd.Series) -> str | None:
    """Tell what hides numbers in text, if they are numbers."""
    values = column.dropna()
    plain = pd.to_numeric(values, errors="coerce").notna().to_numpy("bool")
    written = values.str.fullmatch(DECORATED).to_numpy("bool") | _are_written_numbers(values)
    written &= ~plain
    if not written.any() or not (written | plain).all():
        return None
    return (
        f"holds numbers that are written with other signs, such as {values[written].iloc[0]!r} in "
        f"row {_first(values, written)}: clean it"
    )


def _first(column: pd.Series, chosen: Array) -> int:
    """Give the number of the first row that is chosen, as a person counts them."""
    return int(column.index[chosen.argmax()]) + 1

"""Marks that mean a value is missing: the usual ones among numbers, and those that a person names.

In a column of text a word is a word, NA and None too: only the empty cell is missing there, unless
the word is named. What is taken for missing is counted, and told.
"""

from collections.abc import Sequence

import pandas as pd

from serving.model.reading import USUAL
from training.advice import option


def counted(cells: pd.Series) -> str:
    """Count marks, for a person."""
    counts = cells.value_counts(sort=False)
    return ", ".join(
        f"{mark!r} in {count} row{'s' if count > 1 else ''}" for mark, count in counts.items()
    )


def told_missing(cells: pd.Series) -> str:
    """Tell that marks are taken for missing; the sentence goes on after the column's name."""
    return f"{counted(cells)} taken for missing"


def told_text(column: pd.Series) -> str | None:
    """Tell of words in a column of text that could have meant that a value is missing."""
    cells = column[column.isin(USUAL)]
    if cells.empty:
        return None
    said = option("--missing", *cells.unique())
    return f"has {counted(cells)}: taken for text, say {said} if that means none"


def same(mark: str, cell: object) -> bool:
    """Tell whether a cell is a mark: by its text, or as the number that it is."""
    if str(cell) == mark:
        return True
    try:
        return not isinstance(cell, bool) and float(mark) == float(str(cell))
    except ValueError:
        return False


def without(column: pd.Series, marks: Sequence[str]) -> tuple[pd.Series, pd.Series]:
    """Make gaps of the cells of a column that are marks; give these cells beside it, as text."""
    types = pd.api.types
    if types.is_bool_dtype(column) or types.is_object_dtype(column):
        return column, pd.Series(dtype="string")
    distinct = column.dropna().unique()
    found = [cell for cell in distinct if any(same(mark, cell) for mark in marks)]
    gone = column.isin(found) & column.notna()
    return column.mask(gone), column[gone].astype("string")


def never_found(marks: Sequence[str], gone: Sequence[pd.Series]) -> tuple[str, ...]:
    """Tell of marks that no column has, given the cells of each that were taken for missing."""
    cells = {cell for column in gone for cell in column.unique()}
    return tuple(
        f"no cell is {mark!r}, which --missing names"
        for mark in dict.fromkeys(marks)
        if not any(same(mark, cell) for cell in cells)
    )

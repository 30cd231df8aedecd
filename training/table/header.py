"""Whether the first line of a file names its columns, or is a row like the others.

A word over numbers is a name. What stands over numbers and is one, or is found among the values of
its own column, looks like a value; but whole numbers in order, such as years, may be names.
"""

import csv
import io
import re
from collections.abc import Sequence
from itertools import islice

import numpy as np
import pandas as pd

from serving.files.delimiter import BLANK, DELIMITERS, SNIFFED_CHARS, SNIFFED_LINES, rows_of
from serving.model.reading import USUAL
from training.table.dates import is_date
from training.table.walk import NUMERIC

NUMBER_LIKE = re.compile(r"[-+]?[\d.,]*\d[\d.,' \u00a0\u2019\u202f]*([eE][-+]?\d+)?")
FIRST_LINE = re.compile(r"\s*[^\r\n]*")
MIN_STEPS = 3
MIN_LINES = 5  # so many alike are no accident
MIN_NAMES = 2  # of one column, a name that is a value may be just that


def sample(text: str) -> list[str]:
    """Give the first lines that are not blank."""
    lines = io.StringIO(text[:SNIFFED_CHARS], newline=None)
    return [line.strip() for line in islice(filter(str.strip, lines), SNIFFED_LINES)]


def first_row(text: str, delimiter: str, *, strict: bool = False) -> list[str]:
    """Give the first row that is not blank."""
    return next(row for row in rows_of(_head(text), delimiter, strict) if row not in BLANK)


def columns_of(text: str, delimiter: str) -> int:
    """Count the columns of the first row, whose quotes may be none."""
    try:
        return len(first_row(text, delimiter, strict=True))
    except csv.Error:
        line = next(line for line in io.StringIO(text, newline=None) if line.strip())
        return line.count(delimiter) + 1


def _head(text: str) -> io.StringIO:
    """Give the text as lines; only as far as the first row goes, if that has no quotes."""
    first = FIRST_LINE.match(text)
    return io.StringIO(first[0] if first and '"' not in first[0] else text, newline="")


def looks_like_values(names: Sequence[str], frame: pd.DataFrame) -> str | None:
    """Give a name that looks like a value, unless some name can be nothing but a name."""
    found: list[str] = []
    numbers: list[tuple[str, pd.Series]] = []
    for name, (_, column) in zip(names, frame.items(), strict=False):
        values = column.dropna()
        if not name or name in USUAL or values.empty:
            continue
        if pd.api.types.is_bool_dtype(values):
            if name.lower() not in {"true", "false"}:
                return None
            found.append(name)
        elif pd.api.types.is_numeric_dtype(values):
            if not NUMBER_LIKE.fullmatch(name):
                return None
            numbers.append((name, values))
        elif (values == name).any() or (is_date(name) and is_date(str(values.iloc[0]))):
            found.append(name)
    if numbers and not _are_names(numbers):
        found = [name for name, _ in numbers] + found
    return found[0] if found else None


def why_not_one_column(lines: Sequence[str]) -> str | None:
    """Tell why a file whose first line has one column has several, of which all would be one text.

    That is so where something stands before the header, or where blanks part the columns.
    """
    first, *rest = lines
    if len(rest) < MIN_LINES or '"' in "".join(rest) or all(map(NUMERIC.fullmatch, rest)):
        return None
    for mark in DELIMITERS:
        counts = {line.count(mark) for line in rest}
        if len(counts) == 1 and (more := counts.pop()):
            other = "|" if mark == ";" else ";"
            return (
                f"has one column in its first line, but {more + 1} below, parted by {mark!r}: take "
                f"out what stands before the header, or, if it is one column of text, write a line "
                f"'sep={other}' before it"
            )
    parts = [line.split() for line in rest]
    if {len(part) for part in parts} != {len(first.split())} or len(parts[0]) == 1:
        return None
    if not any(all(map(NUMERIC.fullmatch, column)) for column in zip(*parts, strict=True)):
        return None
    return (
        "has columns that blanks part: write a line 'sep= ' before its header, or, if it is one "
        "column of text, a line 'sep=;'"
    )


def repeated(names: Sequence[str], frame: pd.DataFrame) -> int | None:
    """Give the first row that is the header once more, as where files were joined, if any.

    Names that other rows hold, too, are values, and rows that are the same are no wonder.
    """
    if len(names) < MIN_NAMES or not all(isinstance(kind, pd.StringDtype) for kind in frame.dtypes):
        return None
    same = np.full(len(frame), fill_value=True)
    for name, (_, column) in zip(names, frame.items(), strict=False):
        same &= (column == name).to_numpy("bool", na_value=False)
    rest = frame[~same]
    if not same.any() or any(
        (column == name).any() for name, (_, column) in zip(names, rest.items(), strict=False)
    ):
        return None
    return int(same.argmax()) + 1


def _are_names(numbers: Sequence[tuple[str, pd.Series]]) -> bool:
    """Tell whether numbers may name columns of numbers: whole ones that count, or are no values."""
    if not all(name.isdecimal() for name, _ in numbers):
        return False
    whole = np.array([int(name) for name, _ in numbers], "float64")
    steps = np.diff(whole)
    counts = len(steps) and steps[0] > 0 and (steps == steps[0]).all()
    if counts and (len(steps) >= MIN_STEPS - 1 or steps[0] == 1):
        return True
    return not any((values == int(name)).any() for name, values in numbers)

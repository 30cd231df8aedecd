"""Lines of values whose columns are named, in any order, or stand in the order of the features.

CSV and pandas' frames come so. Columns that the model ignores may be among them. Refuses with 422
other names, names that are given twice or are missing, and, at their places, lines of another
length and what the model does not take.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeAlias

from serving.dialects.manners import instances_of
from serving.json_text import kind_of
from serving.model.features import Feature
from serving.model.rows import (
    MAX_PROBLEMS,
    ROWS_AT_ONCE,
    Place,
    Question,
    Rows,
    expected,
    refuse,
)
from serving.problems import FieldError, pointer

# Says what is wrong with a column, or with all of them.
Tell: TypeAlias = Callable[[int | None, str], FieldError]
# Makes values of what stands in a column.
Typed: TypeAlias = Callable[[Feature, Sequence[Any]], Sequence[Any]]


def columns_of(names: Sequence[Any], rows: Rows, tell: Tell) -> list[int]:
    """Give the column of each feature, by the names of all columns.

    Raises:
        Problem: 422.
    """
    columns: dict[str, int] = {}
    mistakes: list[FieldError] = []
    for column, name in enumerate(names):
        if type(name) is not str:
            mistakes.append(tell(column, f"expected a string, got {kind_of(name)}"))
        elif name not in rows.known:
            mistakes.append(tell(column, "unknown name"))
        elif name in columns:
            mistakes.append(tell(column, "given twice"))
        else:
            columns[name] = column
        if len(mistakes) >= MAX_PROBLEMS:  # there may be a million
            break
    for name in rows.by_name:
        if name not in columns:
            mistakes.append(tell(None, f"the column {name} is missing"))
    if mistakes:
        refuse(mistakes)
    return [columns[name] for name in rows.by_name]


def read_lines(
    lines: Sequence[Any],
    columns: Sequence[int],
    width: int,
    rows: Rows,
    place: Place = (),
    typed: Typed = lambda _, values: values,
    *,
    in_parts: bool = False,
) -> Question:
    """Read lines of so many values, of which each feature's is in its column.

    What is no such line is told, and the others are read. ``place`` is where the lines stand;
    ``in_parts`` takes more of them than fit into one batch.

    Raises:
        Problem: 413 or 422.
    """
    if not in_parts:
        rows.check_count(len(lines))  # before any of them is looked at
    mistakes = list(islice(_broken(lines, width, place), MAX_PROBLEMS))
    whole: Sequence[int] = range(len(lines))
    if mistakes:
        whole = [n for n in whole if type(lines[n]) is list and len(lines[n]) == width]
    items: list[list[Any]] = []
    for start in range(0, len(whole), ROWS_AT_ONCE):
        part = [lines[number] for number in whole[start : start + ROWS_AT_ONCE]]
        by_column = list(zip(*part, strict=True))
        values = [
            typed(feature, by_column[column])
            for feature, column in zip(rows.features, columns, strict=True)
        ]
        items += instances_of(values)

    def at(row: int, *value: int) -> Place:
        return (*place, whole[row], *(columns[each] for each in value))

    return rows.each(items, at, mistakes, in_parts=in_parts)


def _broken(lines: Sequence[Any], width: int, place: Place) -> Iterator[FieldError]:
    """Tell of lines that have no value for each column."""
    for number, line in enumerate(lines):
        if type(line) is not list:
            yield expected("an array of values", line, (*place, number))
        elif len(line) != width:
            told = f"expected {width} values, got {len(line)}"
            yield FieldError(pointer(*place, number), told)

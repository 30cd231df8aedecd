"""Rows of delimited text, each with the line on which it begins.

Tells which have another number of columns, or go over several lines.
"""

import csv
import io
from dataclasses import dataclass

MAX_CELL_CHARS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Record:
    """A row of the file: the line on which it begins, counted from 1, and its number of columns."""

    line: int
    columns: int


@dataclass(frozen=True, slots=True)
class Records:
    """The rows of a file: how many, those of another number of columns, those of several lines."""

    count: int
    odd: tuple[Record, ...] = ()
    long: tuple[Record, ...] = ()


def records_of(text: str, delimiter: str, columns: int) -> Records | None:
    """Give the rows; None, if a quoted cell is not well-formed."""
    if '"' not in text:
        count = text.count("\n") + (not text.endswith("\n"))
        if text.count(delimiter) == count * (columns - 1) and "\r" not in text:
            return Records(count)  # and what is too long, with others too short, the parser tells
    return exact_records(text, delimiter, columns)


def exact_records(text: str, delimiter: str, columns: int) -> Records | None:
    """Give the rows, each looked at; None, if a quoted cell is not well-formed."""
    csv.field_size_limit(MAX_CELL_CHARS)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    odd, long, count, end = [], [], 0, 0
    try:
        for row in reader:
            begin, end = end + 1, reader.line_num
            if not row or (len(row) == 1 and not row[0] and columns > 1):
                continue  # a blank line
            count += 1
            if len(row) != columns:
                odd.append(Record(begin, len(row)))
            if end > begin:
                long.append(Record(begin, len(row)))
    except csv.Error:
        return None
    return Records(count, tuple(odd), tuple(long))

"""A part of delimited text as columns of cells, all at once where its quotes are as they should be.

Arrow's parser does that in a tenth of the time of Python's, which reads all others: those that it
would understand otherwise.
"""

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from serving.files.delimiter import rows_of
from serving.files.records import Records, has_initial_blanks, lines_in, no_csv, records_of
from serving.files.source import Part, TableError
from serving.files.transcoded import no_text
from serving.problems import FieldError

# Cells by column, and how many of them each row has that has another number; it gives none.
Cells: TypeAlias = tuple[dict[int, pa.Array], dict[int, int]]


@dataclass(frozen=True, slots=True)
class Split:
    """The cells of a part: strings by column, null where one is empty or its row is broken."""

    columns: Mapping[int, pa.Array]
    lines: Sequence[int]
    broken: Mapping[int, FieldError] = field(default_factory=dict)


def split(part: Part, delimiter: str, width: int, wanted: Collection[int], name: str) -> Split:
    """Split a part into columns, of which some are wanted; rows have so many of them.

    Raises:
        TableError: it is no text, or a quote stands where none may. The message gives the name.
    """
    check_text(part, name)
    try:
        records = records_of(part.data, delimiter)
    except csv.Error as exc:
        raise no_csv(name, part.line, exc) from None
    lines = part.line + records.lines[records.is_row]
    found = _at_once(part.data, records, delimiter, width, wanted)
    columns, odd = found or _one_by_one(part.data, delimiter, width, wanted)
    broken = {
        place: FieldError("", f"expected {width} values, got {count}")
        for place, count in odd.items()
    }
    return Split(columns, lines.tolist(), broken)


def check_text(part: Part, name: str) -> None:
    """Check that a part is text; the message gives the file's name.

    Raises:
        TableError: it has what is no UTF-8, or a NUL.
    """
    data: bytes = part.data
    if (at := data.find(b"\0")) >= 0:
        line = part.line + lines_in(data[:at])
        raise TableError(f"{name} has a NUL in line {line}: is it another encoding?")
    try:
        if not data.isascii():
            data.decode()
    except UnicodeDecodeError as exc:
        line = part.line + lines_in(data[: exc.start])
        raise TableError(no_text(name, "utf-8", line)) from None


def _at_once(
    data: bytes, records: Records, delimiter: str, width: int, wanted: Collection[int]
) -> Cells | None:
    """Let Arrow split what it understands as Python does; None, if that is not so."""
    if not records.is_regular or not delimiter.isascii() or delimiter == " ":
        return None
    rows = int(records.is_row.sum())
    has_quotes, blanks = b'"' in data, has_initial_blanks(data, delimiter)
    if not rows or (has_quotes and blanks):
        return None  # which blanks are in quotes, cells tell no more
    odd: dict[int, int] = {}

    def is_odd(row: arrow_csv.InvalidRow) -> str:
        odd[row.number - 1] = row.actual_columns
        return "skip"

    names = [str(place) for place in range(width)]
    table = arrow_csv.read_csv(
        pa.BufferReader(data),
        # Without threads rows have numbers; blank lines are none.
        arrow_csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
        arrow_csv.ParseOptions(
            delimiter=delimiter,
            quote_char='"' if has_quotes else False,
            newlines_in_values=has_quotes,
            invalid_row_handler=is_odd,
        ),
        arrow_csv.ConvertOptions(
            check_utf8=False,
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            include_columns=[str(place) for place in wanted],
        ),
    )
    columns = {int(name): table[name].combine_chunks() for name in table.column_names}
    if blanks:
        columns = {place: _without_blanks(cells) for place, cells in columns.items()}
    if odd:
        gaps = np.zeros(rows, bool)
        gaps[list(odd)] = True
        places = pa.array(np.cumsum(~gaps) - 1, mask=gaps)
        columns = {place: cells.take(places) for place, cells in columns.items()}
    return columns, odd


def _without_blanks(cells: pa.Array) -> pa.Array:
    """Take away the blanks that cells begin with; of what is nothing else, nothing is left."""
    cells = pc.ascii_ltrim(cells, " ")
    return pc.if_else(pc.equal(cells, ""), None, cells)


def _one_by_one(data: bytes, delimiter: str, width: int, wanted: Collection[int]) -> Cells:
    """Let Python split rows."""
    text = io.StringIO(data.decode(), newline="")
    rows = list(filter(None, rows_of(text, delimiter, strict=True)))
    odd = {place: len(row) for place, row in enumerate(rows) if len(row) != width}
    for place in odd:
        rows[place] = [""] * width
    columns = {place: [row[place] or None for row in rows] for place in wanted}
    return {place: pa.array(cells, pa.string()) for place, cells in columns.items()}, odd

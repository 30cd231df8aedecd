"""The beginning of delimited text: what parts its cells, and the first row, perhaps of names."""

import csv
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from serving.files.delimiter import BLANK, SNIFFED_CHARS, parted, rows_of
from serving.files.records import Readable, lines_in, no_csv, records_of
from serving.files.source import MAX_ROW_BYTES, Part, TableError
from serving.files.splitting import check_text

HEAD_BYTES = 4 * SNIFFED_CHARS  # as many characters at least


class Place(NamedTuple):
    """A place in a text: how many bytes are before it, and its line, from 1."""

    byte: int
    line: int


@dataclass(frozen=True, slots=True)
class Head:
    """The first row of a text: its cells, what parts them, where it begins and where it ends."""

    delimiter: str
    cells: tuple[str, ...]
    begin: Place
    end: Place


def head_of(stream: Readable, name: str) -> Head:
    """Read the beginning of a text; messages give its name.

    Raises:
        TableError: it is empty, or does not begin with a row.
    """
    block, wanted = b"", HEAD_BYTES
    while True:
        while len(block) < wanted and (more := stream.read(wanted - len(block))):
            block += more
        is_last = len(block) < wanted
        if head := _first_row(block, name, is_last=is_last):
            return head
        if is_last:
            raise TableError(f"{name} is empty")
        if len(block) >= MAX_ROW_BYTES:
            limit = MAX_ROW_BYTES // 2**20
            raise TableError(f"{name} has no whole row in its first {limit} MiB")
        wanted *= 2


def _first_row(block: bytes, name: str, *, is_last: bool) -> Head | None:
    """Give the first row that is not blank, if all of it is there."""
    start = block.decode("utf-8", "replace")
    text, delimiter = parted(start, name)
    before = len(start[: len(start) - len(text)].encode())
    rest = block[before:]
    before += len(rest) - len(rest.lstrip(b"\r\n"))
    first_line = 1 + lines_in(block[:before])
    try:
        records = records_of(block[before:], delimiter, is_last=is_last)
    except csv.Error as exc:
        raise no_csv(name, first_line, exc) from None
    for at in np.flatnonzero(records.is_row):
        begin = before + int(records.ends[at - 1] if at else 0)
        end = before + int(records.ends[at])
        line = first_line + int(records.lines[at])
        row = block[begin:end]
        check_text(Part(1, line, row), name)
        if (cells := next(rows_of([row.decode()], delimiter))) not in BLANK:
            ends = Place(end, line + lines_in(row))
            return Head(delimiter, tuple(cells), Place(begin, line), ends)
    return None

"""Where the records of delimited text end: a line end within quotes ends none.

Text is looked at as bytes of UTF-8, all of a block at once. That tells the records wherever each
quote encloses a cell, from one delimiter to the next. Where one does not, Python's reader of CSV
says record by record what it means, as it does where the service reads CSV, or that it means
nothing.
"""

import csv
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from serving.files.source import Part, TableError
from serving.model.outputs import Array

csv.field_size_limit(sys.maxsize)  # a record has its own limit, and a text may be as long
BLOCK_BYTES = 4 * 2**20
MAX_RECORD_BYTES = 16 * 2**20
MAX_PART_ROWS = 65_536
LF, CR, QUOTE, BLANK = b'\n\r" '


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a block: where each ends, past its line end; blank lines are such, too.

    ``is_row`` tells which are no blank lines, and ``lines`` how many lines come before each.
    ``is_regular`` says that each quote encloses a cell.
    """

    ends: Array
    is_row: Array
    lines: Array
    is_regular: bool = True


def records_of(block: bytes, delimiter: str, *, is_last: bool = True) -> Records:
    """Give the records of a block that begins with one; what of it may go on is left out.

    Raises:
        csv.Error: quotes are not closed, or stand where none may; its second argument is the line
            on which the record begins, from 0.
    """
    codes = np.frombuffer(block, np.uint8)
    line_ends = _line_ends(block, codes, is_last=is_last)
    quotes = np.flatnonzero(codes == QUOTE) if b'"' in block else None
    ends = line_ends
    if quotes is not None:
        if not _enclose(codes, quotes, delimiter):
            return _read_one_by_one(block, delimiter, is_last=is_last)
        ends = line_ends[_are_outside(line_ends, quotes)]
    if is_last and len(block) and (not len(ends) or ends[-1] < len(block)):
        if quotes is not None and len(quotes) % 2:
            return _read_one_by_one(block, delimiter, is_last=True)
        ends = np.append(ends, len(block))
    starts = np.concatenate(([0], ends[:-1])) if len(ends) else ends
    lines = np.searchsorted(line_ends, starts, "right")
    return Records(ends, _are_rows(codes, starts, ends), lines)


def has_initial_blanks(block: bytes, delimiter: str) -> bool:
    """Tell whether some cell begins with a blank, which is no part of it, outside of quotes."""
    if b" " not in block:
        return False
    codes = np.frombuffer(block, np.uint8)
    before = codes[:-1]
    begins = (before == LF) | (before == CR) | (before == ord(delimiter))
    found = np.flatnonzero(begins & (codes[1:] == BLANK)) + 1
    if b'"' in block:
        found = found[_are_outside(found, np.flatnonzero(codes == QUOTE))]
    return bool(len(found)) or codes[0] == BLANK


class Readable(Protocol):
    """What gives blocks of bytes, and none at its end."""

    def read(self, size: int) -> bytes:
        """Give the next block."""


def cut(stream: Readable, delimiter: str, name: str, start: int, line: int) -> Iterator[Part]:
    """Cut a stream into parts of whole records, but for as many bytes at its start.

    Messages give its name; ``line`` is the number of the first line after them.

    Raises:
        TableError: a record is too long, or its quotes are not closed.
    """
    row, rest = 1, b""
    while len(rest) < start and (more := stream.read(BLOCK_BYTES)):
        rest += more
    rest = rest[start:]
    while True:
        more = stream.read(BLOCK_BYTES)
        block = rest + more
        try:
            records = records_of(block, delimiter, is_last=not more)
        except csv.Error as exc:
            raise TableError(
                f"{name} is no CSV: {exc.args[0]}, in line {line + exc.args[1]}"
            ) from None
        ends = records.ends
        done = int(ends[-1]) if len(ends) else 0
        sizes = np.diff(ends, prepend=0, append=len(block))
        if (long := sizes > MAX_RECORD_BYTES).any():
            at = int(long.argmax())
            begin = int(ends[at - 1]) if at else 0
            record = block[begin : begin + int(sizes[at])]
            raise TableError(_too_long(name, line + lines_in(block[:begin]), record))
        for first in range(0, len(ends), MAX_PART_ROWS):
            chosen = slice(first, first + MAX_PART_ROWS)
            begin = int(ends[first - 1]) if first else 0
            if rows := int(records.is_row[chosen].sum()):
                data = block[begin : int(ends[chosen][-1])]
                yield Part(row, line + int(records.lines[first]), data)
                row += rows
        line += lines_in(block[:done])
        rest = block[done:]
        if not more:
            return


def _too_long(name: str, line: int, record: bytes) -> str:
    cause = ": is a quote not closed?" if b'"' in record else ""
    limit = MAX_RECORD_BYTES // 2**20
    return f"{name} has a row of more than {limit} MiB, which begins in line {line}{cause}"


def lines_in(block: bytes) -> int:
    """Count the lines of whole records."""
    return len(_line_ends(block, np.frombuffer(block, np.uint8), is_last=True))


def _line_ends(block: bytes, codes: Array, *, is_last: bool) -> Array:
    """Give the places after line ends: LF, CR with LF, or CR alone."""
    ends = np.flatnonzero(codes == LF)
    if b"\r" in block:
        returns = np.flatnonzero(codes == CR)
        if not is_last:  # what follows may be a LF
            returns = returns[returns < len(codes) - 1]
        following = codes[np.minimum(returns + 1, len(codes) - 1)]
        ends = np.sort(np.concatenate((ends, returns[following != LF])))
    return ends + 1


def _are_outside(places: Array, quotes: Array) -> Array:
    """Tell which places have an even number of quotes before them."""
    outside: Array = np.searchsorted(quotes, places) % 2 == 0
    return outside


def _enclose(codes: Array, quotes: Array, delimiter: str) -> bool:
    """Tell whether each quote opens or closes a cell, or is doubled in one.

    A quote that is doubled closes a cell, and opens it again. So every other one has to stand where
    a cell begins, or after the one that closed it, and those between where one ends.
    """
    if not delimiter.isascii():
        return False
    edges = np.zeros(256, bool)
    edges[[LF, CR, QUOTE, ord(delimiter)]] = True
    opening, closing = quotes[::2], quotes[1::2]
    opening = opening[1:] if opening[0] == 0 else opening
    closing = closing[:-1] if len(closing) and closing[-1] == len(codes) - 1 else closing
    return bool(edges[codes[opening - 1]].all() and edges[codes[closing + 1]].all())


def _are_rows(codes: Array, starts: Array, ends: Array) -> Array:
    """Tell which records are no blank lines."""
    sizes = ends - starts
    line_end = (codes[starts] == LF) | (codes[starts] == CR)
    rows: Array = (sizes > 2) | ~line_end
    return rows


def _read_one_by_one(block: bytes, delimiter: str, *, is_last: bool) -> Records:
    """Let Python's reader find the records."""
    lines = io.StringIO(block.decode("utf-8", "surrogateescape"), newline="")
    at, number = 0, 0

    def fed() -> Iterator[str]:
        nonlocal at, number
        for line in lines:
            size = len(line.encode("utf-8", "surrogateescape"))
            may_go_on = not line.endswith("\n") and at + size == len(block)
            if may_go_on and not is_last:
                return
            at += size
            number += 1
            yield line

    reader = csv.reader(fed(), delimiter=delimiter, strict=True, skipinitialspace=True)
    ends, is_row, begins = [], [], []
    begin = 0
    try:
        for row in reader:
            ends.append(at)
            is_row.append(bool(row))
            begins.append(begin)
            begin = number
    except csv.Error as exc:
        if is_last or str(exc) != "unexpected end of data":
            raise csv.Error(str(exc), begin) from None
    return Records(
        np.array(ends, np.int64),
        np.array(is_row, bool),
        np.array(begins, np.int64),
        is_regular=False,
    )

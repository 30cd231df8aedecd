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

from serving.files.delimiter import rows_of
from serving.files.source import BLOCK_BYTES, MAX_ROW_BYTES, PART_ROWS, Part, TableError
from serving.model.outputs import Array

csv.field_size_limit(sys.maxsize)  # a record has its own limit, and a text may be as long
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
    are_line_ends = _line_ends(block, codes, is_last=is_last)
    are_ends = are_line_ends
    if b'"' in block:
        inside = _inside(codes)
        if not _enclose(codes, inside, delimiter) or (is_last and inside[-1]):
            return _read_one_by_one(block, delimiter, is_last=is_last)
        are_ends = are_line_ends & ~inside
    ends = np.flatnonzero(are_ends) + 1
    if is_last and len(block) and not (len(ends) and ends[-1] == len(block)):
        ends = np.append(ends, len(block))
    starts = np.concatenate(([0], ends[:-1])) if len(ends) else ends
    lines = np.arange(len(ends))
    if are_ends is not are_line_ends:
        lines = np.searchsorted(np.flatnonzero(are_line_ends), starts)
    return Records(ends, _are_rows(codes, starts, ends), lines)


def no_csv(name: str, line: int, exc: csv.Error) -> TableError:
    """Tell why a file's block that begins in a line has no records, as `records_of` found."""
    cause = "is a quote not closed, or one within a text not doubled?"
    return TableError(f"{name} is no CSV: {exc.args[0]}, in line {line + exc.args[1]}: {cause}")


def has_initial_blanks(block: bytes, delimiter: str) -> bool:
    """Tell whether some cell begins with a blank, which is no part of it, outside of quotes."""
    if b" " not in block:
        return False
    codes = np.frombuffer(block, np.uint8)
    before = codes[:-1]
    begins = (before == LF) | (before == CR) | (before == ord(delimiter))
    found = begins & (codes[1:] == BLANK)
    if b'"' in block:
        found &= ~_inside(codes)[1:]
    return bool(codes[0] == BLANK or found.any())


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
            raise no_csv(name, line, exc) from None
        ends = records.ends
        done = int(ends[-1]) if len(ends) else 0
        sizes = np.diff(ends, prepend=0, append=len(block))
        if (long := sizes > MAX_ROW_BYTES).any():
            at = int(long.argmax())
            begin = int(ends[at - 1]) if at else 0
            record = block[begin : begin + int(sizes[at])]
            raise TableError(_too_long(name, line + lines_in(block[:begin]), record))
        for first in range(0, len(ends), PART_ROWS):
            chosen = slice(first, first + PART_ROWS)
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
    limit = MAX_ROW_BYTES // 2**20
    return f"{name} has a row of more than {limit} MiB, which begins in line {line}{cause}"


def lines_in(block: bytes) -> int:
    """Count the lines of whole records."""
    ends = _line_ends(block, np.frombuffer(block, np.uint8), is_last=True)
    return int(np.count_nonzero(ends))


def _line_ends(block: bytes, codes: Array, *, is_last: bool) -> Array:
    """Tell the last bytes of line ends: LF, or CR that none follows."""
    ends: Array = codes == LF
    if b"\r" in block:
        returns = codes == CR
        returns[:-1] &= ~ends[1:]
        returns[-1] &= is_last  # what follows may be a LF
        ends |= returns
    return ends


def _inside(codes: Array) -> Array:
    """Tell what stands within quotes, with the one that opens a cell."""
    quotes = (codes == QUOTE).view(np.uint8)
    inside: Array = np.bitwise_xor.accumulate(quotes).view(bool)
    return inside


def _enclose(codes: Array, inside: Array, delimiter: str) -> bool:
    """Tell whether each quote opens or closes a cell, or is doubled in one.

    A quote that is doubled closes a cell, and opens it again. So every other one has to stand where
    a cell begins, or after the one that closed it, and those between where one ends.
    """
    if not delimiter.isascii():
        return False
    quotes = codes == QUOTE
    edges = quotes | (codes == LF) | (codes == CR) | (codes == ord(delimiter))
    opening, closing = quotes & inside, quotes & ~inside
    is_odd = (opening[1:] & ~edges[:-1]).any() or (closing[:-1] & ~edges[1:]).any()
    return not is_odd


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

    reader = rows_of(fed(), delimiter, strict=True)
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

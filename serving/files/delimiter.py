"""What parts the cells of delimited text, and the text's first lines.

Excel names the delimiter in a line before the header; else it is found out.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from serving.files.source import TableError

DELIMITERS = ";\t|,"  # where two do as well, the comma may be the decimal mark
SNIFFED_CHARS = 65_536
SNIFFED_LINES = 50
SEP = re.compile(r'"?sep=(\\t|[^"\r\n]*)"?[ ]*(?=\r|\n|\Z)', re.IGNORECASE)
FIRST_LINE = re.compile(r"\s*[^\r\n]*")
BLANK: list[list[str]] = [[], [""]]


def parted(text: str, name: str) -> tuple[str, str]:
    """Find the delimiter, which Excel names in a line before the header, and blank that line.

    Raises:
        TableError: what is named there is no delimiter.
    """
    if not (said := SEP.match(text)):
        return text, _delimiter(text)
    delimiter = "\t" if said[1] == "\\t" else said[1]
    if len(delimiter) != 1:
        raise TableError(f"{name} names a delimiter that is not one character: {delimiter!r}")
    return text[said.end() :], delimiter


def _delimiter(text: str) -> str:
    """Find the delimiter that gives the most lines as many columns as the first has.

    Quotes may be none: so lines are looked at one by one, too.
    """
    start = text[:SNIFFED_CHARS]
    whole, lines = io.StringIO(start, newline=""), io.StringIO(start, newline=None)

    def fit(rows: Iterable[Sequence[str]]) -> tuple[int, int]:
        counts = [len(row) for row in islice(rows, SNIFFED_LINES) if row]
        columns = counts[0] if counts else 0
        return (counts.count(columns), columns) if columns > 1 else (0, 0)

    def best(delimiter: str) -> tuple[int, int]:
        whole.seek(0)
        lines.seek(0)
        alone = (row for line in lines for row in _rows([line], delimiter))
        return max(fit(_rows(whole, delimiter)), fit(alone))

    return max(DELIMITERS, key=best)


def sample(text: str) -> list[str]:
    """Give the first lines that are not blank."""
    lines = io.StringIO(text[:SNIFFED_CHARS], newline=None)
    return [line.strip() for line in islice(filter(str.strip, lines), SNIFFED_LINES)]


def _rows(lines: Iterable[str], delimiter: str, strict: bool = False) -> Iterator[list[str]]:
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=strict)


def first_row(text: str, delimiter: str) -> list[str]:
    """Give the first row that is not blank."""
    return next(row for row in _rows(_head(text), delimiter) if row not in BLANK)


def columns_of(text: str, delimiter: str) -> int:
    """Count the columns of the first row, whose quotes may be none."""
    try:
        return len(
            next(row for row in _rows(_head(text), delimiter, strict=True) if row not in BLANK)
        )
    except csv.Error:
        line = next(line for line in io.StringIO(text, newline=None) if line.strip())
        return line.count(delimiter) + 1


def _head(text: str) -> io.StringIO:
    """Give the text as lines; only as far as the first row goes, if that has no quotes."""
    first = FIRST_LINE.match(text)
    return io.StringIO(first[0] if first and '"' not in first[0] else text, newline="")

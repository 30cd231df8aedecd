"""What parts the cells of delimited text, for who learns from a table and who scores one.

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
        alone = (row for line in lines for row in rows_of([line], delimiter))
        return max(fit(rows_of(whole, delimiter)), fit(alone))

    return max(DELIMITERS, key=best)


def rows_of(lines: Iterable[str], delimiter: str, strict: bool = False) -> Iterator[list[str]]:
    """Give the cells of rows."""
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=strict)

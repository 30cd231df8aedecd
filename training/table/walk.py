"""A walk through delimited text from one quoted cell to the next, which judges each.

A quoted cell has to be well-formed, and may not hold what are rows to all appearances.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from training.table.records import Records, exact_records

MANY_LINES = 5  # so many of the right number of columns are no accident
SAMPLED_LINES = 10_000
MIN_KNOWN = 5
MAX_LABELS = 20
MIN_REPEATS = 2
NEWLINE = re.compile(r"\r\n|\r|\n")
NUMERIC = re.compile(r"\s*[-+]?[\d.,]*\d\s*")


@dataclass(frozen=True, slots=True)
class Mended:
    """Text of which each quote that begins a cell encloses it, and what was done for that."""

    text: str
    records: Records
    stray_lines: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


class Walk:
    """A walk through text from one quoted cell to the next, which judges each."""

    def __init__(self, text: str, delimiter: str, columns: int) -> None:
        """Start at the beginning of text whose rows have so many columns."""
        self.text, self.delimiter, self.columns = text, delimiter, columns
        d = re.escape(delimiter)
        self.begin = re.compile(rf'(?:\A|[\r\n{d}]) *"')
        self.closed = re.compile(rf'"[^"]*+(?:""[^"]*+)*+" *(?=[\r\n{d}]|\Z)')
        self.closing = re.compile(rf'" *(?=[\r\n{d}]|\Z)')
        self.edge = re.compile(rf"[\r\n{d}]")
        # Only those that there are: a search for another would go through all of the text.
        self.newlines = [newline for newline in "\n\r" if newline in text] or ["\n"]

    def mended(self) -> Mended:
        """Enclose in quotes what begins with one that is text."""
        parts: list[str] = []
        stray: list[int] = []
        line, at = 1, 0
        while found := self.begin.search(self.text, at):
            start = found.end() - 1
            cell = self.closed.match(self.text, start)
            parts.append(self.text[at:start])
            line += _newlines(parts[-1])
            if cell and not self.holds_rows(cell):
                parts.append(cell[0].rstrip(" "))
                at = cell.end()
                line += _newlines(cell[0])
                continue
            body, at = self.stray(start)
            parts.append('"' + body.replace('"', '""') + '"')
            stray.append(line)
        text = "".join((*parts, self.text[at:]))
        records = exact_records(text, self.delimiter, self.columns) or Records(0)
        return Mended(text, records, tuple(stray))

    def stray(self, start: int) -> tuple[str, int]:
        """Give the text that begins with a quote which is none, and where it ends.

        It ends with its column; unless the row has the right number of columns only if it goes on
        to a quote at the end of one, as where quotes within a text were not escaped.
        """
        begin, end = self.line_around(start)
        before = self.text[begin:start].count(self.delimiter)
        if before + self.text[start:end].count(self.delimiter) + 1 != self.columns:
            for closing in self.closing.finditer(self.text, start + 1, end):
                after = self.text[closing.end() : end].count(self.delimiter)
                if before + after + 1 == self.columns:
                    return self.text[start + 1 : closing.start()], closing.end()
        following = self.edge.search(self.text, start)
        to = following.start() if following else end
        return self.text[start:to], to

    def line_around(self, at: int, end: int | None = None) -> tuple[int, int]:
        """Give where the line begins that a place is in, and where the line of the end ends."""
        begin = max(self.text.rfind(newline, 0, at) for newline in self.newlines) + 1
        after = NEWLINE.search(self.text, at if end is None else end)
        return begin, after.start() if after else len(self.text)

    def holds_rows(self, cell: re.Match[str]) -> bool:
        """Tell whether a quoted cell of several lines holds what are rows to all appearances."""
        if not NEWLINE.search(cell[0]):
            return False
        begin, end = self.line_around(cell.start(), cell.end())
        lines = NEWLINE.split(self.text[begin:end])
        if any(line.count(self.delimiter) != self.columns - 1 for line in lines):
            return False
        alike = self.are_like_others([line.split(self.delimiter) for line in lines])
        if alike is not None:
            return alike
        likely = self.columns > 1 and (self.delimiter in "\t|" or len(lines) >= MANY_LINES)
        return likely and not self.encloses

    @cached_property
    def encloses(self) -> bool:
        """Tell whether some cell of one line is in quotes as it should be."""
        d = re.escape(self.delimiter)
        cell = re.compile(rf'[\r\n{d}] *"[^"\r\n]*" *(?=[\r\n{d}]|\Z)')
        return cell.search(self.text) is not None

    @cached_property
    def labels(self) -> list[set[str] | None]:
        """Give for each column the labels that it has in rows without quotes.

        None are those of a column of numbers, and there is no more than an empty list if rows are
        few; an empty set says that a column has other texts.
        """
        lines = (line for line in NEWLINE.split(self.text)[1:] if line and '"' not in line)
        cells = (line.split(self.delimiter) for line in lines)
        fitting = list(islice((row for row in cells if len(row) == self.columns), SAMPLED_LINES))
        if len(fitting) < MIN_KNOWN:
            return []
        found: list[set[str] | None] = []
        for column in zip(*fitting, strict=True):
            labels = set(column)
            few = len(labels) <= MAX_LABELS and len(column) >= MIN_REPEATS * len(labels)
            numeric = all(map(NUMERIC.fullmatch, labels))
            found.append(None if numeric else labels if few else set())
        return found

    def are_like_others(self, rows: Sequence[Sequence[str]]) -> bool | None:
        """Tell whether rows have numbers and labels where rows without quotes have them.

        None, if there are no such columns.
        """
        found = None
        for labels, column in zip(self.labels, zip(*rows, strict=True), strict=False):
            cells = [cell.strip('" ') for cell in column]
            if labels is not None and not labels:
                continue
            if labels is None:
                found = all(map(NUMERIC.fullmatch, cells))
            else:
                found = labels.issuperset(cells)
            if not found:
                return False
        return found


def _newlines(text: str) -> int:
    return len(NEWLINE.findall(text))

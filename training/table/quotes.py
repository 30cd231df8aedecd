"""Quotes in delimited text, of which some enclose a cell, and some are only part of a text.

A quote that is none would join lines until the next one. So each quoted cell has to be well-formed,
and none may hold what are rows to all appearances. A quote for which that fails is taken for text,
which is told with its line.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

DELIMITERS = ";\t|,"  # where two do as well, the comma may be the decimal mark
MAX_CELL_CHARS = 2**31 - 1
MANY_LINES = 5  # so many of the right number of columns are no accident
SAMPLED_LINES = 10_000
MIN_KNOWN = 5
MAX_LABELS = 20
MIN_REPEATS = 2
MAX_NAMED = 5
NEWLINE = re.compile(r"\r\n|\r|\n")
NUMERIC = re.compile(r"\s*[-+]?[\d.,]*\d\s*")


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


@dataclass(frozen=True, slots=True)
class Mended:
    """Text of which each quote that begins a cell encloses it, and what was done for that."""

    text: str
    records: Records
    stray_lines: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def mended(text: str, delimiter: str, columns: int) -> Mended:
    """Make quotes what they are meant to be, in text of rows that have so many columns."""
    records = records_of(text, delimiter, columns)
    if records and not records.odd and not records.long:
        return Mended(text, records)
    if '"' not in text:
        return Mended(text, records or Records(0))
    walk = Walk(text, delimiter, columns)
    best = walk.mended()
    unescaped, escapes = _unescaped(text, delimiter)
    if escapes and (best.stray_lines or best.records.odd):
        other = Walk(unescaped, delimiter, columns).mended()
        if _misfits(other) < _misfits(best):
            told = f"{escapes} quotes that a backslash escapes are read as quotes"
            best = replace(other, notes=(told,))
    return replace(best, notes=(*best.notes, *_told(best)))


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


def _misfits(mended_text: Mended) -> tuple[int, int]:
    return len(mended_text.records.odd), len(mended_text.stray_lines)


def _told(found: Mended) -> Iterator[str]:
    """Tell of quotes that are none, and of texts of several lines."""
    if stray := found.stray_lines:
        lines = ", ".join(map(str, stray[:MAX_NAMED])) + (", …" if stray[MAX_NAMED:] else "")
        quotes = (
            f"{len(stray)} quotes that enclose no cell are"
            if stray[1:]
            else "1 quote that encloses no cell is"
        )
        yield f"{quotes} taken for text: see line{'s' if stray[1:] else ''} {lines}"
    if long := found.records.long:
        yield (
            f"{len(long)} rows go over several lines, within quotes: see line {long[0].line}"
            if len(long) > 1
            else f"1 row goes over several lines, within quotes: see line {long[0].line}"
        )


def _unescaped(text: str, delimiter: str) -> tuple[str, int]:
    """Double the quotes that a backslash escapes in quoted cells, as CSV has it; count them."""
    if '\\"' not in text:
        return text, 0
    d = re.escape(delimiter)
    cell = re.compile(
        rf'((?:\A|[\r\n{d}]) *)"((?:[^"\\]|\\.|"")*+)"(?= *(?:[\r\n{d}]|\Z))', re.DOTALL
    )
    bodies = [found[2] for found in cell.finditer(text)]
    # Where each backslash stands before a quote or another backslash, it is escaped itself.
    both = all(re.fullmatch(r'(?:[^\\]|\\["\\])*+', body, re.DOTALL) for body in bodies)
    escape = re.compile(r'\\(["\\])' if both else r'\\(")')

    def doubled(found: re.Match[str]) -> str:
        body = escape.sub(lambda one: '""' if one[1] == '"' else one[1], found[2])
        return f'{found[1]}"{body}"'

    count = sum(body.count('\\"') for body in bodies)
    return cell.sub(doubled, text), count


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

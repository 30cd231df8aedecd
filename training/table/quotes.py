"""Quotes in delimited text, of which some enclose a cell, and some are only part of a text.

A quote that is none would join lines until the next one. So each quoted cell has to be well-formed,
and none may hold what are rows to all appearances. A quote for which that fails is taken for text,
which is told with its line.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from training.table.records import Records, records_of
from training.table.walk import Mended, Walk

MAX_NAMED = 5


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

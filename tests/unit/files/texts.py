"""Delimited text as its tests read it: in small parts, and by Python's own reader."""

import csv
import io
from typing import BinaryIO

import pytest

from serving.files import records
from serving.files.inputs import Input
from serving.files.source import Part


class Text(Input):
    """A file of such text."""

    def __init__(self, text: str) -> None:
        """Take the text."""
        super().__init__("x.csv", head=text.encode())

    def open(self) -> BinaryIO:
        """Begin at its beginning."""
        return io.BytesIO(self.head)


def rows_of(text: str, delimiter: str = ",") -> list[tuple[int, list[str]]]:
    """Let Python read rows, each with the line that it begins in."""
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    rows, line = [], 1
    for row in reader:
        if row:
            rows.append((line, row))
        line = reader.line_num + 1
    return rows


def parts_of(text: str, block_bytes: int, max_rows: int = 2, delimiter: str = ",") -> list[Part]:
    """Cut a text as if blocks and parts were small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "BLOCK_BYTES", block_bytes)
        patch.setattr(records, "PART_ROWS", max_rows)
        return list(records.cut(io.BytesIO(text.encode()), delimiter, "x.csv", 0, 1))

"""Text is cut into parts where records end."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.files import records
from serving.files.source import BLOCK_BYTES, TableError
from tests.unit.files.texts import parts_of, rows_of

TEXTS = st.text('a1,;" \r\né', max_size=30)
CELLS = st.sampled_from(["a", "", '"a,\nb"', '""', '"say ""a"""', "é", ' "x"', '"\r\n"'])
LINES = st.lists(st.lists(CELLS, min_size=1, max_size=3).map(",".join), max_size=6)
TABLES = st.tuples(LINES, st.sampled_from(["\n", "\r\n", "\r"])).map(lambda t: t[1].join(t[0]))


@given(TEXTS | TABLES, st.integers(1, 40), st.sampled_from(",;é"))
def test_parts_have_whole_rows_with_the_numbers_and_lines_that_they_have_in_the_text(
    text: str, block_bytes: int, delimiter: str
) -> None:
    try:
        rows = rows_of(text, delimiter)
    except csv.Error:
        with pytest.raises(TableError, match=r"x\.csv is no CSV: .*, in line \d"):
            parts_of(text, block_bytes, delimiter=delimiter)
        return

    parts = parts_of(text, block_bytes, delimiter=delimiter)

    found = [
        (part.row, part.line + line - 1, row)
        for part in parts
        for line, row in rows_of(part.data.decode(), delimiter)
    ]
    assert [(line, row) for _, line, row in found] == rows
    first = 1
    for part in parts:
        count = len(rows_of(part.data.decode(), delimiter))
        assert 1 <= count <= 2
        assert part.row == first
        first += count


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('a,b\n1,2\n3,"' + "x,\n" * 40, "begins in line 3: is a quote not closed?"),
        ("a,b\n\n" + "x" * 101 + "\n", "begins in line 3"),
    ],
)
def test_a_row_that_is_too_long_ends_it_however_long_the_text_is(
    text: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MAX_ROW_BYTES", 100)
    endless = Endless(text.encode())

    with pytest.raises(TableError) as caught:
        for _ in records.cut(endless, ",", "x.csv", 0, 1):
            pass

    assert str(caught.value).endswith(told)
    assert endless.given <= 2 * BLOCK_BYTES


class Endless(io.RawIOBase):
    """A text that never ends."""

    def __init__(self, text: bytes) -> None:
        """Begin with a text, and go on without a line end."""
        self.text, self.given = text, 0

    def read(self, size: int = -1) -> bytes:
        """Give as much as is wanted."""
        block = self.text + b"x" * (size - len(self.text))
        self.text = b""
        self.given += size
        return block

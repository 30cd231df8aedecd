"""Parts of text become columns of cells, as Python's reader splits them."""

import csv
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.files import splitting
from serving.files.source import Part, TableError
from serving.files.splitting import Split, split
from tests.unit.files.test_records import TABLES
from tests.unit.files.texts import rows_of


def split_of(text: str, width: int, delimiter: str = ",") -> Split:
    return split(Part(1, 1, text.encode()), delimiter, width, range(width), "x.csv")


@given(TABLES | st.text('ab1,;"\n', max_size=20), st.integers(1, 3))
def test_cells_are_what_pythons_reader_makes_of_them(text: str, width: int) -> None:
    try:
        rows = rows_of(text)
    except csv.Error:
        with pytest.raises(TableError, match="no CSV"):
            split_of(text, width)
        return

    found = split_of(text, width)

    assert found.lines == [line for line, _ in rows]
    odd = [place for place, (_, row) in enumerate(rows) if len(row) != width]
    assert list(found.broken) == odd
    cells = [row if len(row) == width else [""] * width for _, row in rows]
    columns = [found.columns[place].to_pylist() for place in range(width)]
    assert columns == [[row[place] or None for row in cells] for place in range(width)]


@pytest.mark.parametrize(
    "text",
    ["a,b\n1,2\n", "a, b\n1,  2\n", '"a, b","c\nd"\n"",x\n', '"say ""a""",b\r\n\r\nc,d\r\n'],
)
def test_what_leaves_no_doubt_is_split_all_at_once(text: str) -> None:
    with patch.object(splitting, "_one_by_one", side_effect=AssertionError):
        split_of(text, 2)


def test_a_row_of_another_length_is_told_with_its_place_and_has_no_values() -> None:
    found = split_of("1,2\n3\n\n4,5,6\n7,8\n", 2)

    told = {place: mistake.detail for place, mistake in found.broken.items()}
    assert told == {1: "expected 2 values, got 1", 2: "expected 2 values, got 3"}
    assert found.columns[0].to_pylist() == ["1", None, None, "7"]
    assert found.lines == [1, 2, 4, 5]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"a,b\nc,\xff\n", "x.csv is not utf-8, see line 12: save it as UTF-8, or name its"),
        (b"a,b\r\n\r\nc\0,d\r\n", "x.csv has a NUL in line 13"),
        (b'a,b\n"c"d,e\n', "x.csv is no CSV: ',' expected after '\"', in line 12"),
    ],
)
def test_what_is_no_text_of_cells_is_told_with_its_line(data: bytes, told: str) -> None:
    with pytest.raises(TableError) as caught:
        split(Part(1, 11, data), ",", 2, [0, 1], "x.csv")

    assert str(caught.value).startswith(told)

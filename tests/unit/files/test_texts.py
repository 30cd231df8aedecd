"""Rows as lines of text."""

import csv
import io
import math
import struct
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from serving.dialects.tables import write_csv
from serving.files.texts import delimited, json_lines

TEXTS = st.lists(
    st.none()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from([" a", 'b"', ","]),
    min_size=1,
    max_size=5,
)


@given(st.lists(st.floats() | st.none(), min_size=1))
def test_doubles_read_back_with_the_same_bits(numbers: list[float | None]) -> None:
    column = pa.array(numbers, pa.float64())

    def bits(number: float) -> bytes:
        return b"NaN" if math.isnan(number) else struct.pack("<d", number)

    text = delimited([column, column], ",").decode()
    for line, number in zip(text.splitlines(), numbers, strict=True):
        first, second = line.split(",")
        assert first == second
        assert (first == "") if number is None else (bits(float(first)) == bits(number))
    for each, number in zip(json_lines(["x"], [column]).splitlines(), numbers, strict=True):
        read = orjson.loads(each)["x"]
        is_finite = number is not None and math.isfinite(number)
        assert bits(read) == bits(number) if is_finite and number is not None else read is None


@given(TEXTS, TEXTS)
def test_cells_read_back_as_they_were(one: list[str | None], other: list[str | None]) -> None:
    count = min(len(one), len(other))
    columns = [pa.array(each[:count], pa.string()) for each in (one, other)]
    for delimiter in ",\t":
        text = delimited(columns, delimiter).decode()
        for skips_blanks in (False, True):
            lines = io.StringIO(text, newline="")
            read = csv.reader(
                lines, delimiter=delimiter, strict=True, skipinitialspace=skips_blanks
            )
            expected = [[each or "" for each in row] for row in zip(one, other, strict=False)]
            assert list(read) == expected
    rows = [dict(zip("ab", row, strict=True)) for row in zip(one, other, strict=False)]
    assert [orjson.loads(line) for line in json_lines("ab", columns).split(b"\n")[:-1]] == rows


def test_lines_are_those_of_the_service() -> None:
    rows: list[list[Any]] = [
        ["a", 1, 0.5, True],
        ['say "a"', 2, 1e-300, False],
        ["two\r\nlines", None, None, None],
    ]
    columns = [pa.array(each) for each in zip(*rows, strict=True)]
    assert delimited(columns, ",") == write_csv(rows)


def test_a_line_of_one_empty_cell_is_not_empty() -> None:
    assert delimited([pa.array(["a", None, ""])], ",") == b'a\n""\n""\n'
    assert delimited([pa.array([1, None])], ",") == b'1\n""\n'


def test_slices_are_written_alone() -> None:
    column = pa.array(['"', "a", "b", None]).slice(1, 2)
    assert delimited([column, column], ",") == b"a,a\nb,b\n"


def test_whatever_has_a_text_is_written() -> None:
    moment = datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)
    columns = {
        "whole": pa.array([2**63, None], pa.uint64()),
        "single": pa.array([0.1, None], pa.float32()),
        "half": pa.array([0.5, math.nan], pa.float16()),
        "yes": pa.array([True, None]),
        "none": pa.nulls(2),
        "price": pa.array([Decimal("1.10"), None]),
        "day": pa.array([date(2024, 2, 3), None]),
        "moment": pa.array([moment, None], pa.timestamp("s", "Nowhere/Known")),
        "kind": pa.array(["a,b", None]),
        "list": pa.array([[1, None], None]),
        "struct": pa.array([{"a": "b"}, None]),
        "json": pa.array(['{"a":1}', None], pa.json_()),
    }
    lines = json_lines([*columns], [*columns.values()]).splitlines()
    assert lines[0].decode() == (
        '{"whole":9223372036854775808,"single":0.1,"half":0.5,"yes":true,"none":null,"price":1.10,'
        '"day":"2024-02-03","moment":"2024-02-03 04:05:06Z","kind":"a,b","list":[1,null],'
        '"struct":{"a":"b"},"json":{"a":1}}'
    )
    assert set(orjson.loads(lines[1]).values()) == {None}
    text = delimited([*columns.values()], ",").decode()
    assert text == (
        '9223372036854775808,0.1,0.5,true,,1.10,2024-02-03,2024-02-03 04:05:06Z,"a,b","[1,null]",'
        '"{""a"":""b""}","{""a"":1}"\n,,nan,,,,,,,,,\n'
    )

"""A table is read as its like was when the model was trained, and as the service reads it."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.dialects.tables import read_csv
from serving.files.delimited import open_delimited
from serving.files.formats import How
from serving.model.columns import Column, judge
from serving.model.rows import Rows
from serving.problems import Problem
from tests.unit.files.texts import Text
from tests.unit.samples import boolean, category, closed_category, description, integer, number
from training.describing.describe import rows_of
from training.describing.features import features_of
from training.table.delimited import Format
from training.table.files import read_file
from training.table.table import to_table

FEATURES = (
    number("a", nullable=True),
    integer("b"),
    category("c"),
    boolean("d", nullable=True),
    closed_category("e", nullable=True),
)
SERVICE = Rows(FEATURES, 1)
HEADER = "a,b,c,d,e\n"
CELLS = (
    ["1", "2.5", "", "1e13", "inf", " 5", "+4", "x"],
    ["1", "5.0", "+7", "2.5", "9007199254740993", "9" * 20, "x", ""],
    ["red", "", "é", " blue", "x" * 30, '"a, ""b"""'],
    ["true", "0", "FALSE ", "", "ja"],
    ["red", "rare", "nope", ""],
)
ROWS = st.tuples(*map(st.sampled_from, CELLS)).map(",".join) | st.just("1,2,red")


def columns_of(text: str, model: Any) -> tuple[list[Column], Any]:  # noqa: ANN401
    """Read the columns of a table, and what is broken."""
    source = open_delimited(Text(text), How(), model)
    [part] = source.parts()
    read = source.read(part)
    return list(read.columns), read.broken


@given(st.lists(ROWS, min_size=1, max_size=20))
def test_values_and_mistakes_are_those_of_the_service(lines: list[str]) -> None:
    judged = judge(FEATURES, *columns_of(HEADER + "\n".join(lines), description(features=FEATURES)))

    good = list(zip(*(column.objects() for column in judged.columns), strict=True))
    for place, line in enumerate(lines):
        told = [remark.told.detail for remark in judged.mistakes if place in remark.rows]
        wanted = []
        try:
            row = read_csv((HEADER + line).encode(), SERVICE).rows[0]
        except Problem as problem:
            wanted = [mistake.detail for mistake in problem.errors]
        assert told == wanted
        assert told or good.pop(0) == row


@pytest.mark.parametrize(("between", "mark", "thousands"), [(";", ",", "."), (",", ".", "")])
def test_values_are_those_that_training_has_read(
    tmp_path: Path, between: str, mark: str, thousands: str
) -> None:
    lines = [between.join(("size", "price", "count", "town", "flag", "kind"))]
    for row in range(60):
        cells = [
            f"{row * 7 % 60}{mark}25",
            f"{row % 9 + 1}{thousands}500{mark}5",
            f"{row * 11 % 60}",
            f"0{row % 4}",
            ("true", "FALSE")[row % 2],
        ]
        place = row % 5
        cells[place] = (cells[place], "NA", "", "?", f'"{cells[place]}"')[row // 5 % 5]
        lines.append(between.join([*cells, "ab"[row % 7 // 4]]))
    text = "\n".join(lines)
    path = tmp_path / "x.csv"
    path.write_text(text)
    frame, remarks = read_file(path, Format(missing=["?", "NA"]))
    table = to_table(frame, ["kind"], remarks=remarks)
    rows = rows_of(table)
    model = description(features=tuple(features_of(table, rows)), reading=table.reading)

    columns, broken = columns_of(text, model)

    assert list(zip(*(column.objects() for column in columns), strict=True)) == rows
    assert not broken
    assert not any(column.others for column in columns)
    assert len(table.types) == 5

"""Numbers as people write them."""

from pathlib import Path

import pandas as pd
import pytest

from serving.model.reading import Reading, Style
from tests.unit.training.table.tables import (
    CLASSES,
    NUMBERS,
    ROWS,
    column_of,
    read,
    refusal,
    understood,
)
from training.errors import TrainingError
from training.table.files import read_file
from training.table.table import to_table


def test_a_comma_is_the_decimal_mark_where_that_makes_numbers(csv: Path) -> None:
    csv.write_text("a;b;c;d\n1,5;1.5;x,y;1\n-2,25;2.5;z;2\n")

    frame = read(csv)

    assert frame.to_dict("list") == {
        "a": [1.5, -2.25],
        "b": [1.5, 2.5],
        "c": ["x,y", "z"],
        "d": [1, 2],
    }


def test_how_the_features_are_written_is_kept_with_the_marks_that_were_named(csv: Path) -> None:
    cells = [f"1.{row:03},5;{row * 7 % ROWS},5;{row};1,5;{CLASSES[row]}" for row in range(ROWS)]
    text = "\n".join(["a;b;c;constant;kind", *cells])

    table = understood(csv, text, "kind", missing=["?"])

    assert table.reading == Reading(missing=("?",), numbers={"a": Style(",", "."), "b": Style(",")})


def test_integers_with_missing_values_stay_integers(csv: Path) -> None:
    csv.write_text("a,b,c\n1,1.0,true\n,2.0,\n3,3.0,false\n")

    assert read(csv).dtypes.astype(str).tolist() == ["Int64", "Float64", "boolean"]


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["2.500,50", "12"], "number", [2500.5, 12]),
        (["1.234.567", "-12.037"], "integer", [1234567, -12037]),
        (["1 234,5", "7"], "number", [1234.5, 7]),
        (["1\u00a0234", "-5"], "integer", [1234, -5]),
        (["1", "1\u202f234\u202f567,25"], "number", [1, 1234567.25]),
        (["1\u2009234", "1 234"], "integer", [1234, 1234]),
        (["1'234.50", "999"], "number", [1234.5, 999]),
        (["1\u2019234", "+5"], "integer", [1234, 5]),
        (["1,234.50", "1,234,567"], "number", [1234.5, 1234567]),
        (["1,5", "-0,25", ",5"], "number", [1.5, -0.25, 0.5]),
        (["1,5e3", "2,25"], "number", [1500, 2.25]),
        (["12.037", "0.5"], "number", [12.037, 0.5]),
        (["15000", "12.037"], "number", [15000, 12.037]),
    ],
)
def test_numbers_are_read_as_the_column_leaves_no_doubt(
    csv: Path, cells: list[str], kind: str, values: list[float]
) -> None:
    table = column_of(csv, cells)

    assert table.types["x"] == kind
    assert table.frame["x"].tolist()[: len(values)] == values
    told = any(note.startswith("column 'x': ") for note in table.notes)
    assert told == ("12.037" not in cells)


def test_columns_that_are_written_alike_are_told_together(csv: Path) -> None:
    rows = [f"{n}.500,5;{n}.250,25;{kind}" for n, kind in zip(range(1, 41), CLASSES, strict=True)]

    table = understood(csv, "\n".join(["a;b;y", *rows]), "y")

    assert table.frame["b"].tolist()[:2] == [1250.25, 2250.25]
    assert table.notes == (
        "columns 'a', 'b': ',' is read as the decimal mark and '.' as the mark of thousands",
    )


@pytest.mark.parametrize(
    ("cells", "point", "comma"),
    [
        (["12.037", "1.250"], [12.037, 1.25], [12037, 1250]),
        (["12.037", "5"], [12.037, 5], [12037, 5]),
        (["1,234", "12"], [1234, 12], [1.234, 12]),
        (["-1,234", "NA"], [-1234], [-1.234]),
    ],
)
def test_numbers_that_may_be_thousandths_are_told_until_their_mark_is_named(
    csv: Path, cells: list[str], point: list[float], comma: list[float]
) -> None:
    text = "x;kind\n" + "".join(f"{cells[i % 2]};{kind}\n" for i, kind in enumerate(CLASSES))
    csv.write_text(text)
    frame, remarks = read_file(csv)

    (problem,) = refusal(frame, ["kind"], remarks=remarks)
    assert problem.startswith("column 'x' holds numbers that can be read in two ways, such as ")
    assert f"{cells[0]!r} in row 1" in problem
    assert f"--decimal . if that is {point[0]:.15g}" in problem
    assert f"--decimal , if it is {comma[0]:.15g}, or leave it out with --drop x" in problem
    for decimal, values in ((".", point), (",", comma)):
        settled = understood(csv, text, "kind", decimal=decimal)
        assert settled.frame["x"].tolist()[: len(values)] == values


def test_doubt_is_told_of_targets_and_of_what_would_be_an_identifier(csv: Path) -> None:
    csv.write_text("x;y\n" + "".join(f"{row}.5;{row * 7 % 41 + 1}.125\n" for row in range(ROWS)))
    assert read(csv)["y"].tolist()[:2] == [1.125, 8.125]  # x shows what the point is

    rows = (f"{row**2};{row * 7 % 41 + 1}.125" for row in range(ROWS))
    csv.write_text("\n".join(["x;y", *rows]))
    frame, remarks = read_file(csv)
    assert refusal(frame, ["y"], remarks=remarks)[0].startswith("target 'y' holds numbers that can")
    assert refusal(frame, task="clustering", remarks=remarks)[0].startswith("column 'y' holds")
    table = to_table(frame, task="clustering", drop=["y"], keep=["x"], remarks=remarks)
    assert list(table.types) == ["x"]


def test_with_commas_between_columns_the_point_is_the_decimal_mark(csv: Path) -> None:
    assert column_of(csv, ["12.037", "1.250"], between=",").frame["x"][0] == 12.037
    assert column_of(csv, ['"1,5"', '"2,25"'], between=",").frame["x"][0] == 1.5
    with pytest.raises(TrainingError, match="read in two ways, such as '1,234'"):
        understood(csv, 'x,y\n"1,234",a\n"1,235",b\n', "y")


SIGNS = [
    "$1,234.56",
    "2.500,50 €",
    "CHF 5",
    "5 EUR",
    "12,5 %",
    "12,34,567",
    "1.204-",
    "(1,204)",
    "\u22125,5",
    "($5.50)",
    "97 kr",
    "R$ 7,50",
    "1 234,50 zł",
    "Rs. 5",
    "\uff19\uff16",
    "\u0663",
]


def test_numbers_with_other_signs_are_told(csv: Path) -> None:
    names = [f"x{at}" for at in range(len(SIGNS))]
    rows = [";".join(SIGNS if row % 2 == 0 else "7" * len(SIGNS)) for row in range(ROWS)]
    csv.write_text("\n".join([";".join(names), *rows]))

    problems = refusal(read(csv), task="clustering")

    assert len(problems) == len(SIGNS)
    for name, cell, problem in zip(names, SIGNS, problems, strict=True):
        assert problem.startswith(
            f"column {name!r} holds numbers that are written with other signs"
        )
        assert repr(cell) in problem


@pytest.mark.parametrize("cells", [["1,5", "1.5"], ["1.234,5", "1,234.5"], ["1 234", "1'234"]])
def test_numbers_written_in_several_ways_are_told(csv: Path, cells: list[str]) -> None:
    rows = "".join(f"{cells[row % 2]};{NUMBERS[row]};{CLASSES[row]}\n" for row in range(ROWS))
    csv.write_text(f"x;size;kind\n{rows}")

    assert "written with other signs" in refusal(read(csv), ["kind"])[0]


def test_text_of_a_data_frame_that_hides_numbers_is_told() -> None:
    for value in ("2.500,50", "1'234", "1 234", "1,5"):
        raw = pd.DataFrame({"x": [value] * ROWS, "size": NUMBERS, "kind": CLASSES})
        raw.loc[0, "x"] = "7"

        assert "numbers that are written with other signs" in refusal(raw, ["kind"])[0]


@pytest.mark.parametrize(
    "cells", [["192.168.1.1", "10.0.0.1"], ["1.2.3", "1.10.24"], ["089 12 34", "1/2"]]
)
def test_what_only_resembles_numbers_stays_text(csv: Path, cells: list[str]) -> None:
    table = column_of(csv, cells)

    assert table.types["x"] == "category"
    assert table.frame["x"].tolist()[:2] == cells

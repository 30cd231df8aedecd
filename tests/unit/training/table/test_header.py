"""First lines that name columns, and first lines that are rows."""

from pathlib import Path

import pytest

from tests.unit.training.table.tables import CLASSES, NUMBERS, ROWS, read, unread


@pytest.mark.parametrize(
    ("rows", "value"),
    [
        ([f"{n},{n % 5},{kind}" for n, kind in zip(NUMBERS, CLASSES, strict=True)], "0.5"),
        ([f"{row % 2},{row % 3},{row % 4}" for row in range(1, ROWS)], "1"),
        ([f"{kind}\ttext {row}" for row, kind in enumerate(CLASSES)], "cat"),
        ([f"2.500,5{row};{kind}" for row, kind in enumerate(CLASSES)], "2.500,50"),
        (
            [f"2020-01-{row + 10};{kind}{row}" for row, kind in enumerate(CLASSES[:20])],
            "2020-01-10",
        ),
        ([f"{row % 2 == 0},{row}" for row in range(ROWS)], "True"),
    ],
)
def test_a_first_line_of_values_is_told_and_can_be_read_as_such(
    csv: Path, rows: list[str], value: str
) -> None:
    csv.write_text("\n".join(rows))

    assert f"looks like values, not like names of columns, see {value!r}: say --no-header" in (
        unread(csv)
    )
    frame = read(csv, header=False)
    assert len(frame) == len(rows)
    assert list(frame)[:2] == ["column_1", "column_2"]
    if len(set(rows[0].split(","))) == len(rows[0].split(",")):
        assert len(read(csv, header=True)) == len(rows) - 1


@pytest.mark.parametrize(
    "header",
    [
        "2019,2020,2021,kind",
        "2015,2016,2018,kind",
        "0,1,2,3",
        "350,352,354,kind",
        "x,5.1,2,kind",
        "DE,1,cat,kind",
        ",a,b,kind",
        "2020-01-01,2020-01-02,2020-01-03,kind",
    ],
)
def test_names_that_are_numbers_or_words_stay_names(csv: Path, header: str) -> None:
    rows = [f"{n},{n % 5},{row % 4},{CLASSES[row]}" for row, n in enumerate(NUMBERS)]
    csv.write_text("\n".join([header, *rows]))

    assert len(read(csv)) == ROWS


def test_a_header_that_comes_once_more_is_told(csv: Path) -> None:
    csv.write_text("a,b\nx,1\ny,2\na,b\nz,3\n")

    assert unread(csv).endswith("has its header once more, in row 3: take that row out")


@pytest.mark.parametrize("rows", [["p,x", "e,b", "e,x", "p,b"], ["no,a", "yes,a", "no,b"]])
def test_values_whose_row_comes_once_more_are_no_header(csv: Path, rows: list[str]) -> None:
    csv.write_text("\n".join(rows * 5))

    assert "looks like values, not like names of columns" in unread(csv)
    assert len(read(csv, header=False)) == len(rows) * 5


@pytest.mark.parametrize(
    ("above", "mark", "told"),
    [
        ("Report of 2026\n", ";", "one column in its first line, but 3 below, parted by ';': take"),
        ("# made by a tool\n\n", ",", "one column in its first line, but 3 below, parted by ','"),
        ("", " ", "columns that blanks part: write a line 'sep= ' before its header"),
        ("", "   ", "columns that blanks part: write a line 'sep= ' before its header"),
    ],
)
def test_several_columns_below_one_name_are_told(
    csv: Path, above: str, mark: str, told: str
) -> None:
    rows = [mark.join(map(str, ("x", "z", "y"))), *(mark.join((str(n), "1", "a")) for n in NUMBERS)]
    csv.write_text(above + "\n".join(rows))

    assert told in unread(csv)

    csv.write_text("\n".join([f"sep={mark[0]}", *rows]))
    assert read(csv).shape == (ROWS, 3)


def test_texts_of_one_column_may_hold_delimiters(csv: Path) -> None:
    texts = [f"well, {'yes, ' * (row % 3)}{row} times" for row in range(ROWS)]
    csv.write_text("\n".join(["text", *texts]))
    assert read(csv)["text"].tolist() == texts

    csv.write_text("sep=;\nname\n" + "Smith, John\n" * ROWS)
    assert len(read(csv)) == ROWS

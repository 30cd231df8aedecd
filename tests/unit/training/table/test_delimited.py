"""Rows of delimited text, those that do not fit, and names."""

from pathlib import Path

import pytest

from tests.unit.training.table.tables import read, unread
from training.table.files import read_file


def test_blanks_after_a_delimiter_belong_to_no_value(csv: Path) -> None:
    csv.write_text('age, job\n39, Private\n40, "Self, employed"\n')

    assert read(csv).to_dict("list") == {
        "age": [39, 40],
        "job": ["Private", "Self, employed"],
    }


def test_columns_of_the_same_name_are_told_and_nameless_ones_are_not(csv: Path) -> None:
    csv.write_text(",a,b,,a\n1,2,3,4,5\n")
    assert unread(csv).endswith("rename them: 'a'")

    csv.write_text(",a,b,\n1,2,3,4\n")
    assert read(csv).columns.tolist() == ["Unnamed: 0", "a", "b", "Unnamed: 3"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "a,b\n1,2\n\n1,x,y\n",
            "3 columns in line 4, but 2 before: does a text or a number hold ','",
        ),
        ('a,b\n"1\n2",2\n1,x,y\n', "3 columns in line 4, but 2 before"),
        ("sep=;\na;b\n1;2\n1;x;y\n", "3 columns in line 4, but 2 before"),
        ('a,b\n1,2\n1,"x,y\n', "3 columns in line 3, but 2 before: its quote is not closed"),
        ("a,b\n1,2,\n3,4,\n", "3 in line 2, but 2 names: each row ends with ','"),
        (
            "a,b\n1,5,2\n2,5,3\n",
            "3 in line 2, but 2 names: name each of them there, or take out what stands before it, "
            "or is ',' a decimal mark, too?",
        ),
        ("# a,b\n# c\na,b,c\n" + "1,2,3\n" * 9, "3 in line 3, but 2 names: name each of them"),
    ],
)
def test_a_row_of_more_columns_is_told_with_its_line_and_the_likely_cause(
    csv: Path, text: str, told: str
) -> None:
    csv.write_text(text)

    assert told in unread(csv)


def test_rows_of_fewer_columns_are_counted(csv: Path) -> None:
    csv.write_text("a,b,c\n1,2,3\n4,5\n6\n")

    frame, remarks = read_file(csv)

    assert frame["c"].isna().tolist() == [False, True, True]
    assert remarks.file == (
        "2 rows have fewer columns than the header, see line 3: what it lacks is missing",
    )

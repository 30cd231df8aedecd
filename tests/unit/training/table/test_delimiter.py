"""Delimiters: found out, or named in a line before the header."""

from pathlib import Path

import pytest

from tests.unit.training.table.tables import read, unread


@pytest.mark.parametrize(
    ("delimiter", "ending"), [(",", ".csv"), (";", ".tsv"), ("\t", ".txt"), ("|", ".CSV")]
)
def test_the_delimiter_is_found_out(tmp_path: Path, delimiter: str, ending: str) -> None:
    path = tmp_path / f"table{ending}"
    path.write_text(f'a{delimiter}b\n1{delimiter}"x,y;z"\n2{delimiter}w\n')

    assert read(path).to_dict("list") == {"a": [1, 2], "b": ["x,y;z", "w"]}


def test_a_file_of_one_column_needs_no_delimiter(csv: Path) -> None:
    csv.write_text("a\n1\n2\n")

    assert read(csv).to_dict("list") == {"a": [1, 2]}


@pytest.mark.parametrize(
    ("first", "delimiter", "newline"),
    [
        ("sep=;", ";", "\n"),
        ('"sep=,"', ",", "\r\n"),
        ("SEP=\t", "\t", "\r"),
        ("sep=\\t", "\t", "\r\n"),
        ("\ufeffsep=^", "^", "\n"),
    ],
)
def test_a_first_line_that_names_the_delimiter_is_heeded(
    csv: Path, first: str, delimiter: str, newline: str
) -> None:
    rows = [first, delimiter.join(("a", "b|c")), delimiter.join(("1", "x|y"))]
    csv.write_bytes(newline.join(rows).encode())

    assert read(csv).to_dict("list") == {"a": [1], "b|c": ["x|y"]}


def test_a_delimiter_of_several_characters_is_refused(csv: Path) -> None:
    csv.write_text("sep=||\na||b\n1||2\n")

    assert "names a delimiter that is not one character: '||'" in unread(csv)

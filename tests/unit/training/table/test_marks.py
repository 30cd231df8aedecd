"""Cells that are missing, or only look so."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.unit.training.table.tables import CLASSES, NUMBERS, ROWS, column_of, read, understood
from train import build_parser
from training.errors import TrainingError
from training.table.delimited import Format
from training.table.files import read_file
from training.table.table import to_table


@pytest.mark.parametrize("word", ["NA", "None", "N/A"])
def test_a_word_in_a_column_of_text_is_a_word_until_it_is_named(csv: Path, word: str) -> None:
    cells = [word, "DE", "FR", ""]

    table, named = column_of(csv, cells), column_of(csv, cells, missing=[word])

    assert table.frame["x"].tolist()[:3] == [word, "DE", "FR"]
    assert table.frame["x"].isna().sum() == ROWS // 4
    assert (
        f"column 'x' has {word!r} in 10 rows: taken for text, say --missing {word}"
        in (table.notes[0])
    )
    assert named.frame["x"].isna().sum() == ROWS // 2
    assert named.notes == (f"column 'x': {word!r} in 10 rows taken for missing",)


def test_a_word_is_a_word_in_parquet_too(tmp_path: Path) -> None:
    raw = pd.DataFrame({"x": ["NA", None, "DE", "FR", "NA"] * 8, "size": NUMBERS, "kind": CLASSES})
    raw["size"] = raw["size"].replace(5.5, -999.0)
    raw["when"] = ["2020-01-31", "NA"] * 20
    raw.to_parquet(tmp_path / "table.parquet")

    table = to_table(read(tmp_path / "table.parquet"), ["kind"])
    frame, remarks = read_file(tmp_path / "table.parquet", Format(missing=["NA", "-999", "?"]))
    named = to_table(frame, ["kind"], remarks=remarks)

    assert table.frame["x"].isna().sum() == 8
    assert "has 'NA' in 16 rows: taken for text" in table.notes[0]
    assert "column 'when' is left out: it holds dates" in table.notes[1]
    assert named.frame["x"].isna().sum() == 24
    assert named.frame["size"].isna().sum() == NUMBERS.count(5.5)
    assert named.notes[:3] == (
        "no cell is '?', which --missing names",
        "column 'x': 'NA' in 16 rows taken for missing",
        "column 'size': '-999.0' in 1 row taken for missing",
    )


@pytest.mark.parametrize("word", ["None", "NA", "null"])
def test_a_class_may_be_such_a_word(csv: Path, word: str) -> None:
    text = "\n".join(
        ["size,y", *(f"{n},{(word, 'all', '')[i % 3]}" for i, n in enumerate(NUMBERS))]
    )

    table = understood(csv, text, "y")

    assert set(table.labels) == {word, "all"}
    assert table.notes[0].startswith(f"target 'y' has {word!r} in 14 rows: taken for text")
    assert table.notes[1] == "13 rows are left out: the target is missing"


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1", "NA", "", "3"], "integer", [1, np.nan, np.nan, 3]),
        (["1.5", "nan", "", "-3"], "number", [1.5, np.nan, np.nan, -3]),
        (["true", "None", "", "false"], "boolean", [1, np.nan, np.nan, 0]),
        (["01", "NULL", "", "12"], "category", ["01", np.nan, np.nan, "12"]),
        (["1,5", "N/A", "", "2,5"], "number", [1.5, np.nan, np.nan, 2.5]),
        (["inf", "#N/A", "", "2"], "number", [np.inf, np.nan, np.nan, 2]),
        (["1" * 25, "<NA>", "", "2"], "category", ["1" * 25, np.nan, np.nan, "2"]),
    ],
)
def test_among_numbers_and_booleans_the_usual_marks_are_missing_and_counted(
    csv: Path, cells: Sequence[str], kind: str, values: Sequence[object]
) -> None:
    if "inf" in cells:
        with pytest.raises(TrainingError, match="infinite number in row 1"):
            column_of(csv, cells)
        return
    table = column_of(csv, cells)

    assert table.types["x"] == kind
    pd.testing.assert_series_equal(
        table.frame["x"][:4], pd.Series(values, dtype=table.frame["x"].dtype), check_names=False
    )
    assert f"column 'x': {cells[1]!r} in 10 rows taken for missing" in table.notes


def test_marks_that_a_person_names_are_missing_everywhere_and_counted(csv: Path) -> None:
    numbers = column_of(csv, ["1", "?", "-999", "3"], missing=["?", "-", "-999"])
    texts = column_of(csv, ["a", "?", "", "-"], missing=["?", "-"])

    assert numbers.types["x"] == "integer"
    assert numbers.frame["x"].tolist()[::3][:2] == [1, 3]
    assert numbers.notes == (
        "no cell is '-', which --missing names",
        "column 'x': '?' in 10 rows, '-999' in 10 rows taken for missing",
    )
    assert texts.frame["x"].isna().sum() == 30


@pytest.mark.parametrize("cell", ["-999,0", "-999,00", "-999"])
def test_a_mark_that_is_a_number_is_found_as_europe_writes_it(csv: Path, cell: str) -> None:
    rows = (f"{('1,5', cell)[row % 2]};{CLASSES[row]}" for row in range(ROWS))
    csv.write_text("\n".join(["x;kind", *rows]))

    frame, remarks = read_file(csv, Format(missing=["-999"]))

    assert frame["x"].isna().sum() == 20
    assert "in 20 rows taken for missing" in remarks.decided["x"][0]
    assert remarks.file == ()


@pytest.mark.parametrize("mark", ["<NA>", "#N/A", "-nan"])
def test_what_is_to_be_said_of_a_mark_can_be_typed(csv: Path, mark: str) -> None:
    note = column_of(csv, ["DE", mark, "FR"]).notes[0]
    said = shlex.split(note.split("say ")[1].removesuffix(" if that means none"))

    assert build_parser().parse_args(said).missing == [mark]

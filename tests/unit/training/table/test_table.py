"""The table: what is read from files, how columns are understood, and what is refused."""

import gzip
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from palmerpenguins import load_penguins, load_penguins_raw
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine

from train import build_parser
from training.errors import TrainingError
from training.table.delimited import Format
from training.table.files import read_file
from training.table.table import Table, to_table

ROWS = 40
NUMBERS = [(7 * row) % 41 + 0.5 for row in range(ROWS)]
CLASSES = ["cat", "dog", "dog", "eel"] * (ROWS // 4)


def table_of(feature: Any, *, keep: Sequence[str] = (), name: str = "x") -> Table:  # noqa: ANN401
    """A table of one feature more, and of classes to learn."""
    raw = pd.DataFrame({"size": NUMBERS, name: feature, "kind": CLASSES})
    return to_table(raw, ["kind"], keep=keep)


def with_target(target: Any, **options: Any) -> Table:  # noqa: ANN401
    """A table of a number, and of a target."""
    return to_table(pd.DataFrame({"size": NUMBERS, "y": target}), ["y"], **options)


def refusal(raw: pd.DataFrame, *args: Any, **options: Any) -> list[str]:  # noqa: ANN401
    """The lines that tell why a table can't be used."""
    with pytest.raises(TrainingError) as caught:
        to_table(raw, *args, **options)
    return str(caught.value).splitlines()


def read(path: Path, **form: Any) -> pd.DataFrame:  # noqa: ANN401
    """What is read from a file."""
    frame, _ = read_file(path, Format(**form))
    return frame


def understood(path: Path, text: str, target: str, **form: Any) -> Table:  # noqa: ANN401
    """What is understood of a file, a target among it."""
    path.write_text(text)
    frame, remarks = read_file(path, Format(**form))
    return to_table(frame, [target], remarks=remarks)


def column_of(path: Path, cells: Sequence[str], *, between: str = ";", **form: Any) -> Table:  # noqa: ANN401
    """A table of a column x of these cells, over and over, and of classes."""
    rows = [
        f"{cells[row % len(cells)]}{between}{NUMBERS[row]}{between}{CLASSES[row]}"
        for row in range(ROWS)
    ]
    text = "\n".join([between.join(("x", "size", "kind")), *rows])
    path.write_text(text)
    frame, remarks = read_file(path, Format(**form))
    return to_table(frame, ["kind"], keep=["x"], remarks=remarks)


def unread(path: Path, **form: Any) -> str:  # noqa: ANN401
    """What tells why a file can't be read."""
    with pytest.raises(TrainingError) as caught:
        read_file(path, Format(**form))
    return str(caught.value)


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


# Files


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".txt", ".CSV"])
def test_the_delimiter_is_found_out(tmp_path: Path, delimiter: str, ending: str) -> None:
    path = tmp_path / f"table{ending}"
    path.write_text(f'a{delimiter}b\n1{delimiter}"x,y;z"\n2{delimiter}w\n')

    assert read(path).to_dict("list") == {"a": [1, 2], "b": ["x,y;z", "w"]}


def test_a_file_of_one_column_needs_no_delimiter(csv: Path) -> None:
    csv.write_text("a\n1\n2\n")

    assert read(csv).to_dict("list") == {"a": [1, 2]}


def test_blanks_after_a_delimiter_belong_to_no_value(csv: Path) -> None:
    csv.write_text('age, job\n39, Private\n40, "Self, employed"\n')

    assert read(csv).to_dict("list") == {
        "age": [39, 40],
        "job": ["Private", "Self, employed"],
    }


@pytest.mark.parametrize("name", ["table.csv.gz", "table.gz", "table.TSV.GZ"])
def test_csv_files_may_be_gzipped(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"a,b\n1,2\n"))

    assert read(tmp_path / name).to_dict("list") == {"a": [1], "b": [2]}


def test_a_byte_order_mark_is_no_part_of_a_name(csv: Path) -> None:
    csv.write_text("a,b\n1,é\n", encoding="utf-8-sig")

    assert read(csv).to_dict("list") == {"a": [1], "b": ["é"]}


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16"])
def test_other_encodings_are_read_when_named(csv: Path, encoding: str) -> None:
    csv.write_text("a,b\n1,é\n", encoding=encoding)

    assert read(csv, encoding=encoding)["b"].tolist() == ["é"]


def test_another_encoding_is_told_with_its_place_and_what_to_say(csv: Path) -> None:
    csv.write_bytes("a,b\n1,x\n2,é\n".encode("latin-1"))

    message = unread(csv)

    assert "is not utf-8, see byte 10 in line 3" in message
    assert "--encoding cp1252" in message
    assert "latin-1" in message


@pytest.mark.parametrize("encoding", ["utf-9", "base64", "undefined"])
def test_an_unknown_encoding_is_told(csv: Path, encoding: str) -> None:
    csv.write_text("a,b\n1,2\n")

    assert f"there is no encoding {encoding}" in unread(csv, encoding=encoding)


def test_a_comma_is_the_decimal_mark_where_that_makes_numbers(csv: Path) -> None:
    csv.write_text("a;b;c;d\n1,5;1.5;x,y;1\n-2,25;2.5;z;2\n")

    frame = read(csv)

    assert frame.to_dict("list") == {
        "a": [1.5, -2.25],
        "b": [1.5, 2.5],
        "c": ["x,y", "z"],
        "d": [1, 2],
    }


def test_integers_with_missing_values_stay_integers(csv: Path) -> None:
    csv.write_text("a,b,c\n1,1.0,true\n,2.0,\n3,3.0,false\n")

    assert read(csv).dtypes.astype(str).tolist() == ["Int64", "Float64", "boolean"]


def test_parquet_is_read_with_its_types_and_named_index(tmp_path: Path) -> None:
    written = pd.DataFrame({"a": [1, None], "b": ["x", None]}, index=pd.Index([5, 7], name="year"))
    written.astype({"a": "Int64"}).to_parquet(tmp_path / "table.pq")

    frame = read(tmp_path / "table.pq")

    assert frame["year"].tolist() == [5, 7]
    assert frame["a"].dtype == "Int64"


def test_an_index_without_a_name_is_no_column(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1, 2]}, index=[4, 9]).to_parquet(tmp_path / "table.parquet")

    assert read(tmp_path / "table.parquet").columns.tolist() == ["a"]


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    assert "there is no file" in unread(tmp_path / "none.csv")
    assert "is a folder" in unread(tmp_path)


@pytest.mark.parametrize("name", ["table.xlsx", "table", "table.json.gz", "table.tar.gz"])
def test_what_can_be_read_is_told_for_an_unknown_ending(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"a"))

    assert ".csv, .gz, .parquet, .pq, .tsv, .txt" in unread(tmp_path / name)


@pytest.mark.parametrize("text", ["", "\n\n", " \n"])
def test_an_empty_file_is_told(csv: Path, text: str) -> None:
    csv.write_text(text)

    assert unread(csv) == f"{csv} is empty"


def test_a_header_without_rows_is_told(csv: Path) -> None:
    csv.write_text("a,b\n")

    assert "has no rows" in unread(csv)


def test_a_ragged_line_is_told_with_its_number(csv: Path) -> None:
    csv.write_text("a,b\n1,2\n1,2,3\n")

    assert "has 3 columns in line 3, but 2 before" in unread(csv)


def test_a_header_of_fewer_names_than_columns_is_told(csv: Path) -> None:
    csv.write_text("a,b\n1,2,3\n4,5,6\n")

    assert "more columns than its header" in unread(csv)


def test_columns_of_the_same_name_are_told_and_nameless_ones_are_not(csv: Path) -> None:
    csv.write_text(",a,b,,a\n1,2,3,4,5\n")
    assert unread(csv).endswith("rename them: 'a'")

    csv.write_text(",a,b,\n1,2,3,4\n")
    assert read(csv).columns.tolist() == ["Unnamed: 0", "a", "b", "Unnamed: 3"]


def test_damaged_gzip_is_told(tmp_path: Path) -> None:
    whole = gzip.compress(b"a,b\n" + bytes(range(32, 127)) * 10)
    flipped = whole[:15] + b"\xff\xff\xff" + whole[18:]
    for damaged in (b"a,b\n1,2\n", whole[:-12], flipped):
        (tmp_path / "table.csv.gz").write_bytes(damaged)

        assert "may be damaged" in unread(tmp_path / "table.csv.gz")


def test_damaged_parquet_is_told(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pd.DataFrame({"a": [1, 2]}).to_parquet(path)
    whole = path.read_bytes()
    for damaged in (b"", b"a,b\n1,2\n", whole[:-30], whole[:4] + b"\xff" * 50 + whole[54:]):
        path.write_bytes(damaged)

        assert "can't be read" in unread(path)


# Cells that are missing, or only look so


@pytest.mark.parametrize("word", ["NA", "None", "null", "nan", "N/A", "NULL"])
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


def test_without_them_other_marks_among_numbers_are_a_mixture(csv: Path) -> None:
    rows = (f"{('1', '?', 'NA', '3')[row % 4]},{CLASSES[row]}" for row in range(ROWS))
    csv.write_text("\n".join(["x,kind", *rows]))

    problem = refusal(read(csv), ["kind"])[0]

    assert "20 rows hold numbers, 10 do not, such as '?' in row 2" in problem
    assert "say --missing '?' if that means none" in problem


def test_a_mark_in_most_rows_makes_no_category_of_numbers(csv: Path) -> None:
    rows = [
        f"{n if row % 3 else '?'},{kind}"
        for row, (n, kind) in enumerate(zip(NUMBERS, CLASSES, strict=True))
    ]
    csv.write_text("\n".join(["x,kind", *rows, *("?,cat" for _ in range(ROWS))]))

    assert (
        "26 rows hold numbers, 54 do not, such as '?' in row 1" in refusal(read(csv), ["kind"])[0]
    )


@pytest.mark.parametrize("last", ["Total,", "Source: the office", "\x1a"])
def test_a_last_line_that_is_no_row_makes_no_text_of_numbers(csv: Path, last: str) -> None:
    rows = (f"{n},{kind}" for n, kind in zip(NUMBERS, CLASSES, strict=True))
    csv.write_text("\n".join(["x,kind", *rows, last]))

    problem = refusal(read(csv), ["kind"])[0]

    assert "40 rows hold numbers, 1 does not" in problem
    assert f"{last.strip(',')!r} in row 41" in problem


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


# Quotes that are none


@pytest.mark.parametrize(
    ("text", "rows", "note"),
    [
        ('l\tt\np\t"a\nn\tb\np\t"c\nn\td\n', ['"a', "b", '"c', "d"], "lines 2, 4"),
        ('l\tt\np\t"a\nn\tb\np\tc"\nn\td\n', ['"a', "b", 'c"', "d"], "line 2"),
        (
            'l,t\r\np,"a\r\nn,b\r\np,c"\r\n' + "n,d\r\np,e\r\n" * 2,
            ['"a', "b", 'c"', *"dede"],
            "line 2",
        ),
        ('l;t\rp;"a\rn;b\r', ['"a', "b"], "line 2"),
        ('l|t\np|"good" he said\nn|b', ['"good" he said', "b"], "line 2"),
        ('l,t\np,"He said "hi, you", ok"\nn,b', ['He said "hi, you", ok', "b"], "line 2"),
        ('l,t\np,"a, b"\nn,"\np,5"" pipe\n', ["a, b", '"', '5"" pipe'], "line 3"),
        ('t\n"a\nb\n"c\n', ['"a', "b", '"c'], "lines 2, 4"),
    ],
)
def test_a_quote_that_is_none_joins_no_lines_and_is_told(
    csv: Path, text: str, rows: list[str], note: str
) -> None:
    csv.write_bytes(text.encode())

    frame, remarks = read_file(csv)

    assert frame["t"].tolist() == rows
    assert "taken for text" in remarks.file[0]
    assert remarks.file[0].endswith(note)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (
            'l,t\np,"Dear Sir\nthank you, bye"\nn,b\np,c\nn,d',
            ["Dear Sir\nthank you, bye", "b", "c", "d"],
        ),
        ('l;t\r\np;"one\r\n\r\ntwo; ""x"""\r\n', ['one\r\n\r\ntwo; "x"']),
        ('l\tt\np\t"one\ntwo"\nn\t"b"\n', ["one\ntwo", "b"]),
    ],
)
def test_a_text_of_several_lines_stays_one_and_is_told(
    csv: Path, text: str, rows: list[str]
) -> None:
    csv.write_bytes(text.encode())

    frame, remarks = read_file(csv)

    assert frame["t"].tolist() == rows
    assert remarks.file == ("1 row goes over several lines, within quotes: see line 2",)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ('"He said \\"hi\\", twice"', 'He said "hi", twice'),
        ('"say \\"a, b\\""', 'say "a, b"'),
        ('"C:\\\\dir\\\\ \\"x\\", y"', 'C:\\dir\\ "x", y'),
        ('"C:\\dir\\"', "C:\\dir\\"),
        ('"C:\\new, x\\"', "C:\\new, x\\"),
        ('"a ""b"", c"', 'a "b", c'),
    ],
)
def test_quotes_after_a_backslash_are_read_where_that_fits(
    csv: Path, cell: str, value: str
) -> None:
    csv.write_text(f'id,t,n\n1,{cell},5\n2,"a, b",6\n')

    frame, remarks = read_file(csv)

    assert frame["t"].tolist() == [value, "a, b"]
    assert frame["n"].tolist() == [5, 6]
    assert ("2 quotes that a backslash escapes are read as quotes" in remarks.file) == (
        '\\"h' in cell or '\\"a' in cell or '\\"x' in cell
    )


@settings(max_examples=30)
@given(
    cells=st.lists(
        st.lists(st.text(st.sampled_from('ab"\n,;\\ é'), max_size=8), min_size=2, max_size=2),
        min_size=1,
        max_size=8,
    )
)
def test_what_is_written_as_csv_has_it_is_read_so(
    tmp_path_factory: pytest.TempPathFactory, cells: list[list[str]]
) -> None:
    path = tmp_path_factory.mktemp("any") / "table.csv"
    cells = [[f"x{one.strip()}y", f"x{other.strip()}y"] for one, other in cells]
    pd.DataFrame(cells, columns=["p", "q"]).to_csv(path, index=False, quoting=1)

    assert read(path, header=True).to_numpy().tolist() == cells


# Numbers as people write them


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["2.500,50", "12"], "number", [2500.5, 12]),
        (["1.234.567", "-12.037"], "integer", [1234567, -12037]),
        (["1 234,5", "7"], "number", [1234.5, 7]),
        (["1\u00a0234", "-5"], "integer", [1234, -5]),
        (["1\u202f234\u202f567,25", "1"], "number", [1234567.25, 1]),
        (["1\u2009234", "1 234"], "integer", [1234, 1234]),
        (["1'234.50", "999"], "number", [1234.5, 999]),
        (["1\u2019234", "+5"], "integer", [1234, 5]),
        (["1,234.50", "1,234,567"], "number", [1234.5, 1234567]),
        (["1,5", "-0,25", ",5"], "number", [1.5, -0.25, 0.5]),
        (["1,5e3", "2,25"], "number", [1500, 2.25]),
        (["12.037", "0.5"], "number", [12.037, 0.5]),
        (["12.037", "15000"], "number", [12.037, 15000]),
    ],
)
def test_numbers_are_read_as_the_column_leaves_no_doubt(
    csv: Path, cells: list[str], kind: str, values: list[float]
) -> None:
    for order in (1, -1):
        table = column_of(csv, cells[::order])

        assert table.types["x"] == kind
        assert table.frame["x"].tolist()[: len(values)] == values[::order]
        told = any(note.startswith("column 'x': ") for note in table.notes)
        assert told == (cells[0] != "12.037")


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


@pytest.mark.parametrize(
    "cell",
    [
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
    ],
)
def test_numbers_with_other_signs_are_told(csv: Path, cell: str) -> None:
    rows = "".join(f"{(cell, 7)[row % 2]};{NUMBERS[row]};{CLASSES[row]}\n" for row in range(ROWS))
    csv.write_text(f"x;size;kind\n{rows}")

    assert "'x' holds numbers that are written with other signs" in refusal(read(csv), ["kind"])[0]


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


# Headers


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


# Lines that Excel writes, and rows that do not fit


@pytest.mark.parametrize(
    ("first", "delimiter"),
    [("sep=;", ";"), ('"sep=,"', ","), ("SEP=\t", "\t"), ("sep=\\t", "\t"), ("\ufeffsep=^", "^")],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_first_line_that_names_the_delimiter_is_heeded(
    csv: Path, first: str, delimiter: str, newline: str
) -> None:
    rows = [first, delimiter.join(("a", "b|c")), delimiter.join(("1", "x|y"))]
    csv.write_bytes(newline.join(rows).encode())

    assert read(csv).to_dict("list") == {"a": [1], "b|c": ["x|y"]}


def test_a_delimiter_of_several_characters_is_refused(csv: Path) -> None:
    csv.write_text("sep=||\na||b\n1||2\n")

    assert "names a delimiter that is not one character: '||'" in unread(csv)


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


def test_rows_of_nothing_but_delimiters_are_told_where_no_target_lacks(csv: Path) -> None:
    csv.write_text("x,z\n" + "".join(f"{n},{n % 5}\n" for n in NUMBERS) + ",\n,\n")

    table = to_table(read(csv), task="clustering")

    assert "2 rows are without any value: take them out if they are none" in table.notes


def test_rows_of_fewer_columns_are_counted(csv: Path) -> None:
    csv.write_text("a,b,c\n1,2,3\n4,5\n6\n")

    frame, remarks = read_file(csv)

    assert frame["c"].isna().tolist() == [False, True, True]
    assert remarks.file == (
        "2 rows have fewer columns than the header, see line 3: what it lacks is missing",
    )


# Types of features


@pytest.mark.parametrize(
    ("values", "kind", "dtype"),
    [
        ([1.5, 2.0, 2.5, -1.0], "number", "float64"),
        ([1.5, None, 2.5, -1.0], "number", "float64"),
        (np.array([1.5, 2, 2.5, -1], "float32"), "number", "float64"),
        ([Decimal("1.5"), None, Decimal(2), Decimal(3)], "number", "float64"),
        (np.array([1, 2.5, 2, 3], object), "number", "float64"),
        ([3, 1, 2, 2], "integer", "int64"),
        (np.array([3, 1, 2, 2], "uint8"), "integer", "int64"),
        (pd.array([3, None, 2, 2], "Int64"), "integer", "float64"),
        (pd.array([3, 1, 2, 2], "int64[pyarrow]"), "integer", "int64"),
        (pd.Categorical([3, 1, 2, 2]), "integer", "int64"),
        ([True, False, False, False], "boolean", "bool"),
        (np.array([True, None, False, False], object), "boolean", "float64"),
        (["True", "FALSE", "true", "true"], "category", "object"),
        (["a", "b", "b", "c"], "category", "object"),
        (["a", "b", None, "c"], "category", "object"),
        (pd.Categorical(["a", "b", None, "c"]), "category", "object"),
        (pd.array(["a", "b", None, "c"], "string"), "category", "object"),
    ],
)
def test_each_column_has_a_type_and_the_dtype_that_estimators_take(
    values: Any,  # noqa: ANN401
    kind: str,
    dtype: str,
) -> None:
    feature = pd.Series(values).take([0, 1, 2, 3] * (ROWS // 4)).reset_index(drop=True)

    table = table_of(feature, keep=["x"])

    assert table.types == {"size": "number", "x": kind}
    assert table.frame.dtypes.astype(str).to_dict() == {"size": "float64", "x": dtype}
    assert table.frame["x"].isna().equals(feature.isna())
    assert table.frame.index.equals(pd.RangeIndex(ROWS))


def test_missing_booleans_become_numbers_with_gaps() -> None:
    table = table_of([True, None, False, True] * 10)

    np.testing.assert_array_equal(table.frame["x"][:4], [1.0, np.nan, 0.0, 1.0])


def test_strings_are_pythons_own_and_missing_ones_are_nan() -> None:
    values = pd.Series(["a", None, "b", "b"] * 10, dtype="string")

    found = table_of(values).frame["x"].tolist()

    assert found[0] == "a"
    assert type(found[0]) is str
    assert type(found[1]) is float


def texts(distinct: int, repeats: int, length: int) -> Table:
    """A table with a column of different texts, each in several rows."""
    values = [f"{index} {'z' * (length - 5)}".ljust(length) for index in range(distinct)] * repeats
    return to_table(pd.DataFrame({"x": values}), task="clustering")


@pytest.mark.parametrize(
    ("distinct", "repeats", "length", "kind"),
    [
        (50, 2, 9, "category"),
        (51, 2, 9, "text"),
        (50, 1, 9, "text"),
        (50, 2, 100, "category"),
        (50, 2, 101, "text"),
        (1000, 20, 9, "category"),
        (1000, 19, 9, "text"),
        (1001, 20, 9, "text"),
    ],
)
def test_strings_are_categories_if_they_repeat_and_are_short(
    distinct: int, repeats: int, length: int, kind: str
) -> None:
    assert texts(distinct, repeats, length).types == {"x": kind}


def test_strings_that_are_all_numbers_stay_codes() -> None:
    assert table_of(["01", "02", "02", "03"] * 10, keep=["x"]).types["x"] == "category"


def test_the_given_table_is_left_as_it_is() -> None:
    raw = pd.DataFrame({1: NUMBERS, "y": CLASSES}, index=range(5, ROWS + 5))
    before = raw.copy(deep=True)

    assert list(to_table(raw, ["y"]).types) == ["1"]
    pd.testing.assert_frame_equal(raw, before)


@given(
    st.lists(
        st.floats(allow_infinity=False, width=64).map(lambda value: value + 0.0),
        min_size=10,
        max_size=30,
    )
)
def test_any_floats_come_through_unchanged(values: list[float]) -> None:
    assume(not all(value != value for value in values))

    table = to_table(pd.DataFrame({"x": values}), task="clustering", keep=["x"])

    np.testing.assert_array_equal(table.frame["x"], values)
    assert table.types == {"x": "number"}


@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20),
    mark=st.sampled_from([".", ","]),
)
def test_any_floats_are_read_from_text_unchanged(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], mark: str
) -> None:
    path = tmp_path_factory.mktemp("any") / "table.csv"
    lines = [f"{value!r};x".replace(".", mark) for value in values]
    path.write_text("\n".join(["a;b", *lines]))

    assert read(path)["a"].tolist() == values


# What is left out


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("x", range(ROWS)),
        ("x", range(100, 100 - 2 * ROWS, -2)),
        ("id", [(7 * row) % 41 for row in range(ROWS)]),
        ("Unnamed: 0", [(7 * row) % 41 for row in range(ROWS)]),
        ("passengerId", [(7 * row) % 41 for row in range(ROWS)]),
        ("customer_id", [2**60 + (7 * row) % 41 for row in range(ROWS)]),
        ("x", [f"A-{row:03}" for row in range(ROWS)]),
        ("x", [*(f"A-{row:03}" for row in range(ROWS - 1)), None]),
        ("x", [str(10**20 + row**2) for row in range(ROWS)]),
        ("x", [10**20 + row**2 for row in range(ROWS)]),
    ],
)
def test_identifiers_are_left_out_unless_they_are_kept(name: str, values: Any) -> None:  # noqa: ANN401
    table = table_of(values, name=name)

    assert list(table.types) == ["size"]
    (note,) = table.notes
    assert f"column '{name}' is left out: it looks like an identifier" in note
    if name != "customer_id":
        assert name in table_of(values, name=name, keep=[name]).types


def test_all_columns_but_features_are_known_as_ignored_in_the_tables_order() -> None:
    raw = pd.DataFrame(
        {
            "id": range(ROWS),
            "kind": CLASSES,
            "same": 1,
            "when": pd.date_range("2026-01-01", periods=ROWS),
            "size": NUMBERS,
            "nothing": None,
            "said": NUMBERS[::-1],
            7: "x",
        }
    )
    table = to_table(raw, ["kind"], drop=["said"])
    assert table.ignored == ("id", "kind", "same", "when", "nothing", "said", "7")
    clusters = to_table(raw, task="clustering", drop=["kind"])
    assert clusters.ignored == ("id", "kind", "same", "when", "nothing", "7")


def test_row_numbers_are_found_though_rows_are_left_out() -> None:
    raw = pd.DataFrame({"x": range(ROWS), "size": NUMBERS, "kind": [None, *CLASSES[1:]]})
    raw.loc[[7, 20], "kind"] = None

    assert list(to_table(raw, ["kind"]).types) == ["size"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([(7 * row) % 41 for row in range(ROWS)], "integer"),
        ([row + 0.5 for row in range(ROWS)], "number"),
        ([f"row {row}" for row in range(ROWS)], "text"),
        ([f"第{row}行" for row in range(ROWS)], "text"),
        (["one", *[None] * (ROWS - 1)], "text"),
    ],
)
def test_other_values_in_every_row_may_tell_something(values: Any, kind: str) -> None:  # noqa: ANN401
    assert table_of(values).types["x"] == kind


@pytest.mark.parametrize("value", [1, 1.5, True, "a"])
def test_constant_columns_are_left_out_unless_they_are_kept(value: object) -> None:
    left_out = table_of([value] * ROWS)

    assert list(left_out.types) == ["size"]
    assert "the same value in every row: use it all the same with --keep x" in left_out.notes[0]
    assert list(table_of([value] * ROWS, keep=["x"]).types) == ["size", "x"]


def test_one_value_or_none_is_not_constant() -> None:
    assert table_of(["a", None] * (ROWS // 2)).types["x"] == "category"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([None] * ROWS, "no values"),
        ([np.nan] * ROWS, "no values"),
        (pd.date_range("2020-01-01", periods=ROWS), "dates or times"),
        (pd.date_range("2020-01-01", periods=ROWS, tz="UTC"), "dates or times"),
        (pd.to_timedelta(range(ROWS), unit="s"), "dates or times"),
        (pd.period_range("2020-01", periods=ROWS, freq="M"), "dates or times"),
        ([date(2020, 1, 1 + row // 2) for row in range(ROWS)], "dates or times"),
        ([*["2020-01-31"] * (ROWS - 2), None, "unknown"], "dates or times"),
        (["2020-01-31T12:00:00Z", "2020-01-31 12:00"] * (ROWS // 2), "dates or times"),
        (["13/01/2026", "1/2/26"] * (ROWS // 2), "dates or times"),
        (["01/13/2026 10:50 PM", "02/01/2026 9:05 AM"] * (ROWS // 2), "dates or times"),
        (["13.01.2026", "1.2.2026, 22:50 Uhr"] * (ROWS // 2), "dates or times"),
        (["13.01.26", "01.02.26"] * (ROWS // 2), "dates or times"),
        (["2026/01/13", "2026.1.2", "2026-01", "01/2026"] * (ROWS // 4), "dates or times"),
        (["22:50", "9:05:10", "10:50 PM", "10 a.m."] * (ROWS // 4), "dates or times"),
        (["13 Jan 2026", "13. Januar 2026", "Jan 13, 2026", "3-Feb-26"] * 10, "dates or times"),
        (["Tue, 13 Jan 2026 10:00:00 GMT", "13 de enero de 2026"] * 20, "dates or times"),
        (["13/01/2026", None, "NA", "14/01/2026"] * 10, "dates or times"),
        (["13. 1. 2026", "2026. 1. 13.", "2026年1月13日", "2026-Q1"] * 10, "dates or times"),
        (["13 stycznia 2026", "13 января 2026", "5th of May 2026"] * 13 + [None], "dates or times"),
        (["Dec-26", "Dec-2026", "13JAN2026", "Tue Jan  6 10:00:00 2026"] * 10, "dates or times"),
        (["130:10:05", "6 days 10:00:00", "PT6H30M", "20260113 2250"] * 10, "dates or times"),
        ([f"{day}.{day % 9 + 1}.26" for day in range(1, 29)] + ["1.2.26"] * 12, "dates or times"),
        ([[1], [2]] * (ROWS // 2), "of the type list"),
        ([{"a": 1}, {}] * (ROWS // 2), "of the type dict"),
        ([b"a", b"b"] * (ROWS // 2), "of the type bytes"),
        ([1 + 2j, 2j] * (ROWS // 2), "of the type complex"),
    ],
)
def test_what_no_request_can_hold_is_left_out_even_if_kept(values: Any, reason: str) -> None:  # noqa: ANN401
    for keep in ([], ["x"]):
        table = table_of(values, keep=keep)

        assert list(table.types) == ["size"]
        assert reason in table.notes[0]


@pytest.mark.parametrize(
    "values",
    [
        ["1.2.3", "1.10.24"],
        ["10.0.0.1", "192.168.1.12"],
        ["1/2", "3/4"],
        ["1:2", "16:9"],
        ["2020-2021", "10-20"],
        ["may", "march"],
        ["089/12345", "DE89 3704"],
        ["31/31/2026", "99:99"],
        ["30 days", "60 days"],
        ["28.1.10", "9.10.24"],
        ["12ABC2020", "lip-gloss-12"],
        ["13/01/2026", "unknown"],
    ],
)
def test_what_only_resembles_dates_and_times_is_text(values: list[str]) -> None:
    assert table_of(values * (ROWS // 2)).types["x"] == "category"


def test_dates_in_eight_digits_are_left_out_unless_they_are_kept() -> None:
    days = [20260101 + row % 28 for row in range(ROWS)]

    table, minutes = table_of(days), table_of([10_000 * day + 2250 for day in days])

    assert list(table.types) == list(minutes.types) == ["size"]
    assert "column 'x' is left out: it holds dates, such as 20260101" in table.notes[0]
    assert "column 'x' is left out: it holds dates, such as 202601012250" in minutes.notes[0]
    assert table_of(days, keep=["x"]).types["x"] == "integer"
    assert table_of([20260101 + 7 * row for row in range(ROWS)], keep=["x"]).types["x"] == "integer"


def test_columns_are_dropped_without_a_note() -> None:
    raw = pd.DataFrame({"size": NUMBERS, "when": "2020-01-01", "kind": CLASSES})

    table = to_table(raw, ["kind"], drop=["when"])

    assert list(table.types) == ["size"]
    assert table.notes == ()


def test_rows_without_a_target_are_left_out_with_a_note() -> None:
    one, other = pd.Series(CLASSES, dtype=object), pd.Series(CLASSES, dtype=object)
    one[3], other[3], other[5] = None, None, np.nan
    raw = pd.DataFrame({"size": NUMBERS, "one": one, "other": other})

    table = to_table(raw, ["one", "other"])

    assert table.frame["size"].tolist() == [x for i, x in enumerate(NUMBERS) if i not in (3, 5)]
    assert table.frame.index.equals(table.target.index)
    assert table.notes == ("2 rows are left out: the target is missing",)


def test_rows_that_occur_twice_are_noted() -> None:
    raw = pd.DataFrame({"size": [NUMBERS[1], *NUMBERS[1:]], "kind": ["dog", *CLASSES[1:]]})

    table = to_table(raw, ["kind"])

    assert len(table.frame) == ROWS
    assert table.notes == ("1 row is the same as an earlier one",)


# What is refused


def test_a_mixture_of_numbers_and_text_is_told_with_an_example() -> None:
    values = [str(number) for number in NUMBERS]
    values[11], values[20] = "n/a?", "?"
    raw = pd.DataFrame({"the age": values, "kind": CLASSES})

    assert refusal(raw, ["kind"]) == [
        "column 'the age' mixes numbers with other text: 38 rows hold numbers, 2 do not, such as "
        "'n/a?' in row 12: clean it, or leave it out with --drop 'the age', or take it as text "
        "with --keep 'the age'"
    ]
    assert to_table(raw, ["kind"], keep=["the age"]).types == {"the age": "text"}


@pytest.mark.parametrize("values", [[1, 2, 3, "x"], [1.5, 2, None, "x"], [1.5, 2.5, 3.5, "x"]])
def test_a_mixture_of_pythons_own_objects_is_told_too(values: list[object]) -> None:
    raw = pd.DataFrame({"x": pd.Series(values * 10, dtype=object), "size": NUMBERS})

    assert "such as 'x' in row 4" in refusal(raw, task="clustering")[0]


def test_one_text_among_numbers_is_told_in_the_singular() -> None:
    raw = pd.DataFrame({"x": [*range(0, 90, 10), "?"]}, dtype=object)

    assert (
        "9 rows hold numbers, 1 does not, such as '?' in row 10"
        in refusal(raw, task="clustering")[0]
    )


def test_numbers_that_json_can_not_hold_are_told_with_their_row() -> None:
    infinite, large, small = list(NUMBERS), [1, 2] * 20, [1, 2] * 20
    infinite[4], large[6], small[0] = -np.inf, 2**53 + 1, -(2**63)
    raw = pd.DataFrame({"x": infinite, "l": large, "s": small, "kind": CLASSES})

    problems = refusal(raw, ["kind"])

    assert problems[0].startswith("column 'x' holds an infinite number in row 5: clean it, or")
    assert problems[1].startswith("column 'l' holds a whole number beyond 2^53 in row 7")
    assert problems[2].startswith("column 's' holds a whole number beyond 2^53 in row 1")
    assert problems[2].endswith("leave it out with --drop s")


def test_one_number_that_is_too_large_makes_no_codes_of_the_others(csv: Path) -> None:
    rows = (f"{(row, 10**20)[row == 7]},{CLASSES[row]}" for row in range(ROWS))
    csv.write_text("\n".join(["x,kind", *rows]))

    assert "a whole number beyond 2^53 in row 8" in refusal(read(csv), ["kind"])[0]


def test_whole_numbers_up_to_the_limit_are_taken() -> None:
    values = [2**53, -(2**53)] * (ROWS // 2)

    assert table_of(values).frame["x"].tolist() == values


def test_row_numbers_are_those_of_the_file_though_rows_are_left_out() -> None:
    raw = pd.DataFrame({"x": NUMBERS, "kind": [None, None, *CLASSES[2:]]})
    raw.loc[9, "x"] = np.inf

    assert "in row 10" in refusal(raw, ["kind"])[0]


def test_all_problems_are_told_together() -> None:
    raw = pd.DataFrame({"a": [np.inf, 1.0, 2.0], "b": ["1", "2", "x"], "y": ["p", "p", "q"]})

    problems = refusal(raw, ["y"])

    assert [problem.split()[1] for problem in problems] == ["rows", "'a'", "'b'", "'y'"]
    assert problems[0] == "3 rows are too few: 10 are the least"


def test_no_feature_left_is_told_with_the_reasons() -> None:
    raw = pd.DataFrame({"x": 1, "kind": CLASSES})

    first, second = refusal(raw, ["kind"])

    assert first == "no column is left to learn from"
    assert second.startswith("column 'x' is left out")


def test_unknown_names_are_told_with_the_names_there_are() -> None:
    raw = pd.DataFrame({"Age": NUMBERS, "kind": CLASSES})

    assert refusal(raw, ["kid"], drop=["age"], keep=["zzz"]) == [
        "there is no column 'kid' for --target: did you mean 'kind'?",
        "there is no column 'age' for --drop: did you mean 'Age'?",
        "there is no column 'zzz' for --keep",
        "the columns are 'Age', 'kind'",
    ]


def test_of_many_names_not_all_are_told() -> None:
    raw = pd.DataFrame(np.zeros((1, 100)), columns=[f"c{index}" for index in range(100)])

    assert refusal(raw, ["y"])[-1].endswith("'c29' and 70 more")


def test_names_that_contradict_are_told() -> None:
    raw = pd.DataFrame({"x": NUMBERS, "kind": CLASSES})

    assert refusal(raw, ["kind", "kind"])[0] == "target 'kind' is named twice"
    assert refusal(raw, ["kind"], drop=["kind", "x"], keep=["x"]) == [
        "column 'kind' is named by --target and by --drop",
        "column 'x' is named by --keep and by --drop",
    ]


def test_columns_of_the_same_name_are_told() -> None:
    raw = pd.DataFrame([[1, 2]], columns=["1", 1])

    assert refusal(raw, ["1"]) == ["columns have the same name, rename them: '1'"]


# Leaks


@pytest.mark.parametrize(
    "copy",
    [
        CLASSES,
        [kind.upper() for kind in CLASSES],
        [len(kind) + ord(kind[0]) for kind in CLASSES],
        [None, *CLASSES[1:]],
    ],
)
def test_a_feature_that_is_the_class_by_another_name_leaks_it(copy: list[Any]) -> None:
    raw = pd.DataFrame({"size": NUMBERS, "the kind": copy, "kind": CLASSES})

    (problem,) = refusal(raw, ["kind"])

    assert problem.startswith("column 'the kind' leaks the target 'kind'")
    assert "--drop 'the kind'" in problem
    assert "the kind" in to_table(raw, ["kind"], keep=["the kind"]).types


@pytest.mark.parametrize(
    "feature",
    [
        ["dog", *CLASSES[1:]],
        [*CLASSES[:-1], "fly"],
        ["a", "b", "c", "b"] * (ROWS // 4),
        [*CLASSES[:8], *[None] * (ROWS - 8)],
    ],
)
def test_a_feature_that_tells_a_little_less_or_more_is_none(feature: list[Any]) -> None:
    assert "x" in table_of(feature).types


@pytest.mark.parametrize(
    "copy",
    [
        NUMBERS,
        [-2.54 * number + 7 for number in NUMBERS],
        [1e308 / 41 * number for number in NUMBERS],
        [None, *NUMBERS[1:]],
    ],
)
def test_a_feature_that_is_the_number_in_another_unit_leaks_it(copy: list[Any]) -> None:
    raw = pd.DataFrame({"size": copy, "other": CLASSES, "y": NUMBERS})

    (problem,) = refusal(raw, ["y"])

    assert problem.startswith("column 'size' leaks the target 'y'")
    assert "size" in to_table(raw, ["y"], keep=["size"]).types


@pytest.mark.parametrize(
    "feature",
    [
        [number + row % 2 * 1e-3 for row, number in enumerate(NUMBERS)],
        [number**2 for number in NUMBERS],
        [*NUMBERS[:9], *[None] * (ROWS - 9)],
        [*[0.0] * 20, *[None] * 20],
        [True, False] * (ROWS // 2),
    ],
)
def test_a_feature_that_only_goes_along_with_the_number_leaks_nothing(feature: list[Any]) -> None:
    raw = pd.DataFrame({"size": feature, "y": NUMBERS})

    assert "size" in to_table(raw, ["y"]).types


# Task and targets


@pytest.mark.parametrize(
    ("target", "task", "dtype"),
    [
        (CLASSES, "classification", "object"),
        (pd.Categorical(CLASSES), "classification", "object"),
        ([True, False] * 20, "classification", "bool"),
        (["true", "False"] * 20, "classification", "object"),
        ([0, 1] * 20, "classification", "int64"),
        ([*range(20)] * 2, "classification", "int64"),
        ([*range(19)] * 2 + [19, 20], "regression", "int64"),
        ([row**2 for row in range(ROWS)], "regression", "int64"),
        ([row**2 + 0.5 for row in range(ROWS)], "regression", "float64"),
        ([0.0, 1.0] * 20, "regression", "float64"),
    ],
)
def test_the_task_is_found_out(target: Any, task: str, dtype: str) -> None:  # noqa: ANN401
    table = with_target(target)

    assert table.task == task
    assert table.labels.dtype == table.target["y"].dtype == dtype
    assert table.labels.tolist() == table.target["y"].tolist()
    assert table.labels.shape == (ROWS,)


@pytest.mark.parametrize(
    ("target", "note"),
    [
        ([0, 1] * 20, "2 different whole numbers, taken for classes: say --task regression if"),
        ([0.0, 1.0] * 20, "taken for numbers: say --task classification if they are classes"),
        ([row**2 for row in range(ROWS)], "taken for numbers: say --task classification"),
    ],
)
def test_how_whole_numbers_were_taken_is_noted_unless_it_was_said(target: Any, note: str) -> None:  # noqa: ANN401
    table = with_target(target)

    assert note in table.notes[0]
    assert with_target(target, task=table.task).notes == ()


@pytest.mark.parametrize("target", [CLASSES, [row**2 + 0.5 for row in range(ROWS)]])
def test_what_is_clear_is_not_noted(target: Any) -> None:  # noqa: ANN401
    assert with_target(target).notes == ()


def test_the_task_can_be_said() -> None:
    assert with_target([0, 1] * 20, task="regression").labels.dtype == "int64"
    assert with_target([0.0, 1.0] * 20, task="classification").labels.dtype == "float64"
    assert with_target([*range(20, 40)] * 2, task="classification").task == "classification"


def test_without_a_target_the_task_has_to_be_said() -> None:
    raw = pd.DataFrame({"x": NUMBERS})

    table = to_table(raw, task="outlier-detection")

    assert table.task == "outlier-detection"
    assert table.target.shape == table.labels.shape == (ROWS, 0)
    assert "--task clustering or --task outlier-detection" in refusal(raw)[0]


def test_a_reference_table_may_lack_the_target() -> None:
    table = to_table(pd.DataFrame({"x": NUMBERS}), task="regression")

    assert table.task == "regression"
    assert table.target.empty


@pytest.mark.parametrize("task", ["clustering", "outlier-detection"])
def test_a_target_is_refused_where_none_is_learnt(task: str) -> None:
    raw = pd.DataFrame({"x": NUMBERS, "y": CLASSES})

    assert f"{task} learns no target" in refusal(raw, ["y"], task=task)[0]


@pytest.mark.parametrize(
    ("target", "task", "fault"),
    [
        ([None] * ROWS, None, "has no values"),
        ([None] * ROWS, "regression", "has no values"),
        (pd.date_range("2020-01-01", periods=ROWS), None, "neither numbers, nor booleans"),
        (["2020-01-01", "2020-01-02"] * 20, None, "neither numbers, nor booleans"),
        (["13/01/2026", "14/01/2026"] * 20, None, "neither numbers, nor booleans"),
        (["22:50", "10:50 PM"] * 20, None, "neither numbers, nor booleans"),
        (["2.500,50", "1,5"] * 20, None, "written with other signs"),
        ([[1], [2]] * 20, None, "neither numbers, nor booleans"),
        ([*NUMBERS[1:], np.inf], None, "an infinite number in row 40: clean it"),
        ([*range(39), 2**60], None, "a whole number beyond 2^53 in row 40"),
        ([*map(str, NUMBERS[1:]), "?"], None, "mixes numbers with other text"),
        (["a"] * ROWS, None, "the same value in every row"),
        ([1.5] * ROWS, None, "the same value in every row"),
        (CLASSES, "regression", "holds no numbers, as regression needs: say --task classification"),
        ([True, False] * 20, "regression", "holds no numbers"),
        (NUMBERS, "classification", "holds 40 different numbers such as 0.5"),
        ([*map(float, range(20)), 30.0] + [1.0] * 19, "classification", "holds 21 different"),
        ([0.5, 1.0] * 20, "classification", "holds 2 different numbers such as 0.5"),
        ([f"text {row}" for row in range(ROWS)], None, "holds 40 different texts in 40 rows"),
        (["one", *CLASSES[1:-1], "two"], None, "has one row only of 'one', 'two': a class needs"),
        ([5, 6, 6, 6] + [7] * 36, "classification", "has one row only of 5"),
    ],
)
def test_a_target_that_can_not_be_learnt_is_told(
    target: Any,  # noqa: ANN401
    task: str | None,
    fault: str,
) -> None:
    raw = pd.DataFrame({"size": [number**2 for number in NUMBERS], "y": target})

    (problem,) = refusal(raw, ["y"], task=task)

    assert problem.startswith("target 'y' ")
    assert fault in problem


@pytest.mark.parametrize(
    ("one", "other", "task", "dtype"),
    [
        (CLASSES, ["p", "q"] * 20, "classification", "object"),
        ([2, 1] * 20, [0, 0, 1, 1] * 10, "classification", "int64"),
        ([True, False] * 20, [False, False, True, True] * 10, "classification", "bool"),
        ([2, 1] * 20, NUMBERS, "regression", "float64"),
    ],
)
def test_several_targets_are_a_matrix(one: Any, other: Any, task: str, dtype: str) -> None:  # noqa: ANN401
    raw = pd.DataFrame({"b": one, "size": [number**2 for number in NUMBERS], "a": other})

    table = to_table(raw, ["a", "b"])

    assert table.task == task
    assert list(table.target.columns) == ["a", "b"]
    assert table.labels.dtype == dtype
    assert table.labels.tolist() == [list(pair) for pair in zip(other, one, strict=True)]


def test_targets_of_text_and_of_numbers_are_not_learnt_together() -> None:
    raw = pd.DataFrame({"size": NUMBERS, "y": ["p", "q"] * 20, "n": [0, 0, 1, 1] * 10})

    (problem,) = refusal(raw, ["y", "n"])

    assert problem.startswith("the targets 'y', 'n' mix text, booleans or numbers")


def test_classes_and_measures_are_not_learnt_together() -> None:
    raw = pd.DataFrame({"x": CLASSES, "size": NUMBERS, "y": ["p", "q"] * 20})

    (problem,) = refusal(raw, ["y", "size"])

    assert problem.startswith("target 'size' holds 40 different numbers")


# Fingerprint

Cell = st.one_of(st.integers(0, 3).map(float), st.just(float("nan")))


@settings(max_examples=30)
@given(
    cells=st.lists(st.tuples(Cell, Cell), min_size=12, max_size=12),
    row=st.integers(0, 11),
    column=st.sampled_from(["x", "y"]),
)
def test_the_fingerprint_tells_any_value(
    cells: list[tuple[float, float]], row: int, column: str
) -> None:
    frame = pd.DataFrame({"a": np.sqrt(range(12)), **pd.DataFrame(cells, columns=["x", "y"])})
    changed = frame.copy()
    changed.loc[row, column] = 5.0

    one, same, other = (
        Table(raw[["a", "x"]], {"a": "number", "x": "number"}, raw[["y"]], "regression", ())
        for raw in (frame, frame.copy(), changed)
    )

    assert one.fingerprint == same.fingerprint
    assert one.fingerprint != other.fingerprint


def test_the_fingerprint_tells_strings_names_types_and_roles() -> None:
    def fingerprint(names: tuple[str, str] = ("x", "y"), **changed: object) -> str:
        columns: dict[str, Any] = {"size": NUMBERS, "x": ["a", "b"] * 20, "y": CLASSES, **changed}
        x, y = names
        raw = pd.DataFrame({"size": columns["size"], x: columns["x"], y: columns["y"]})
        return to_table(raw, [y]).fingerprint

    different = [
        fingerprint(),
        fingerprint(names=("y", "x")),
        fingerprint(names=("xx", "y")),
        fingerprint(x=["a", "b"] * 19 + ["a", None]),
        fingerprint(x=["a", "bc"] * 20),
        fingerprint(x=["ab", ""] * 20),
        fingerprint(x=[0, 1] * 20),
        fingerprint(x=[0.0, 1.0] * 20),
        fingerprint(y=["dog", *CLASSES[1:]]),
    ]

    assert len(set(different)) == len(different)


def test_the_fingerprint_is_the_same_in_another_process() -> None:
    program = (
        "import pandas as pd; from training.table.table import to_table\n"
        f"raw = pd.DataFrame({{'size': {NUMBERS}, 'é': {['a', None] * 20}, 'y': {CLASSES}}})\n"
        "print(to_table(raw, ['y']).fingerprint)"
    )
    ours = to_table(
        pd.DataFrame({"size": NUMBERS, "é": ["a", None] * 20, "y": CLASSES}), ["y"]
    ).fingerprint

    theirs = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout

    assert theirs.strip() == ours
    assert ours.startswith("sha256:")


# Tables as people have them


def test_penguins_are_understood() -> None:
    table = to_table(load_penguins(), ["species"])

    assert table.types == {
        "island": "category",
        "bill_length_mm": "number",
        "bill_depth_mm": "number",
        "flipper_length_mm": "number",
        "body_mass_g": "number",
        "sex": "category",
        "year": "integer",
    }
    assert table.task == "classification"
    assert table.notes == ()
    assert to_table(load_penguins(), ["body_mass_g"]).task == "regression"


def test_penguins_as_they_were_noted_down_are_understood() -> None:
    table = to_table(load_penguins_raw(), ["Species"])

    assert {name for name in load_penguins_raw() if name not in table.types} == {
        "Species",
        "Region",
        "Stage",
        "Date Egg",
    }
    assert table.types["Sample Number"] == "integer"
    assert len(table.notes) == 3


@pytest.mark.parametrize(
    ("load", "task", "left_out"),
    [
        (load_iris, "classification", 0),
        (load_wine, "classification", 0),
        (load_breast_cancer, "classification", 0),
        (load_diabetes, "regression", 0),
        (load_digits, "classification", 3),
    ],
)
def test_the_tables_that_scikit_learn_ships_are_understood(
    load: Any,  # noqa: ANN401
    task: str,
    left_out: int,
) -> None:
    raw = load(as_frame=True).frame

    table = to_table(raw, ["target"])

    assert table.task == task
    assert set(table.types.values()) == {"number"}
    assert len(table.types) == raw.shape[1] - 1 - left_out

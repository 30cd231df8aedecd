"""Tables in delimited text, from their header to their last row."""

import gzip
import pickle
from pathlib import Path
from typing import cast

import pyarrow as pa
import pytest

from serving.files.delimited import DelimitedSource, open_delimited
from serving.files.formats import Format, How
from serving.files.inputs import Input
from serving.files.source import Read, TableError
from serving.model.reading import Reading, Style
from tests.unit.samples import boolean, category, description, integer, number

MODEL = description(
    features=(number("a", nullable=True), integer("b"), category("c"), boolean("d")),
    reading=Reading(missing=("?",), numbers={"a": Style(",")}),
)
HEADER = "id;a;b;c;d\n"
AS_WRITTEN = How(to=Format.CSV)


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return tmp_path / "x.csv"


def opened(path: Path, how: How = AS_WRITTEN) -> DelimitedSource:
    source = open_delimited(Input(str(path), path.suffix == ".gz"), how, MODEL)
    return cast("DelimitedSource", pickle.loads(pickle.dumps(source)))  # noqa: S301 (our own)


def read(source: DelimitedSource) -> Read:
    """Read the one part of a table."""
    [part] = source.parts()
    return source.read(part)


def refusal(path: Path, how: How = AS_WRITTEN) -> str:
    with pytest.raises(TableError) as caught:
        list(map(read, [opened(path, how)]))
    return str(caught.value).replace(str(path), "x.csv")


def test_a_table_is_read_as_training_read_its_own(csv: Path) -> None:
    csv.write_text(HEADER + '7;1,5;2;"x\ny";true\n\n8;?;NA;z\n9;x;3;?;0\n')
    source = opened(csv)

    found = read(source)

    assert [column.objects() for column in found.columns] == [
        [1.5, None, 0.0],
        [2, None, 3],
        ["x\ny", "", None],
        [True, None, False],
    ]
    assert found.columns[0].others == {2: "x"}
    assert {place: told.detail for place, told in found.broken.items()} == {
        1: "expected 5 values, got 4"
    }
    assert found.lines == [2, 5, 6]
    assert found.batch.column("id").to_pylist() == ["7", None, "9"]
    assert found.batch.column("a").to_pylist() == ["1,5", None, "x"]
    assert found.batch.schema == source.kept
    assert source.notes == (
        "column 'id' is nothing that the model looks at",
        "column 'a': ',' is read as the decimal mark",
    )


def test_what_is_given_back_has_the_models_types_where_the_output_has_types(csv: Path) -> None:
    csv.write_text(HEADER + "007;1,5;2;red;true\n8;x;2.5;?;no\n")

    source = opened(csv, How(columns=("d", "id", "b", "a", "c")))

    assert source.kept.types == [pa.bool_(), pa.string(), pa.int64(), pa.float64(), pa.string()]
    assert read(source).batch.to_pylist() == [
        {"d": True, "id": "007", "b": 2, "a": 1.5, "c": "red"},
        {"d": None, "id": "8", "b": None, "a": None, "c": None},
    ]


@pytest.mark.parametrize(
    ("data", "how"),
    [
        ("a,b,c,d\n1.5,2,é,1\n".encode(), How(decimal=".")),
        ("\ufeffsep=|\r\na|b|c|d\r\n1,5|2|é|1\r\n".encode(), How()),
        ("b\ta\tc\td\r2\t1,5\té\t1\r".encode("cp1252"), How(encoding="cp1252")),
        ('a;"b";c;d\n1,5;"2";é;1'.encode("utf-16"), How(encoding="utf-16")),
        ("1,5;2;é;1\n".encode(), How(header=False)),
        ("\n  \n a; b; c; d\n 1,5; 2; é; 1\n".encode(), How(header=True)),
        (gzip.compress("a;b;c;d\n1,5;2;é;1\n".encode(), mtime=0), How()),
    ],
)
def test_text_is_read_however_it_is_written(tmp_path: Path, data: bytes, how: How) -> None:
    path = tmp_path / ("x.csv.gz" if data.startswith(b"\x1f\x8b") else "x.csv")
    path.write_bytes(data)

    found = read(opened(path, how))

    assert [column.objects() for column in found.columns] == [[1.5], [2], ["é"], [True]]
    assert not any(column.others for column in found.columns)


def test_marks_that_are_named_are_missing_beside_those_of_training(csv: Path) -> None:
    csv.write_text("a;b;c;d\n-9,0;2;-9;1\n?;2;none;1\n")

    columns = read(opened(csv, How(missing=("-9", "none")))).columns

    assert [column.objects() for column in columns[:3]] == [[None, None], [2, 2], [None, None]]


@pytest.mark.parametrize(
    ("text", "how", "told"),
    [
        ("", How(), "x.csv is empty"),
        ("\n  \n", How(), "x.csv is empty"),
        ("sep=||\na||b\n", How(), "x.csv names a delimiter that is not one character: '||'"),
        ("a;b\n1;2\n", How(), "the model's column 'c' is missing"),
        ("1,5;2;x;1\n", How(), "the first line of x.csv names none of them: say --no-header"),
        ("a;b;c;d\n", How(header=False), "names the columns: leave --no-header out"),
        ("1;2\n", How(header=False), "x.csv has 2 columns, but the model takes 4: without a"),
        ("a;b;c;d\n1;2;\xff;1\n", How(encoding="ascii"), "x.csv is not ascii, see line 2: save"),
        ("a;b;c;d\n", How(encoding="klingon"), "there is no encoding klingon: name another"),
        ("a;b;c;d\n", How(encoding="hex"), "there is no encoding hex: name another"),
        ('a;b;c;d\n1;2;"x;1\n', How(), "unexpected end of data, in line 2: is a quote not closed"),
    ],
)
def test_what_is_no_such_table_is_refused_with_what_to_do(
    csv: Path, text: str, how: How, told: str
) -> None:
    csv.write_text(text, "utf-8")

    assert told in refusal(csv, how)


def test_files_that_are_not_there_or_damaged_are_told(tmp_path: Path) -> None:
    assert refusal(tmp_path / "x.csv") == "there is no file x.csv"

    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"a;b;c;d\n" + b"1;2;x;1\n" * 99, mtime=0)[:-9])
    assert refusal(path).startswith("x.csv can't be read, it may be damaged: ")


def test_a_file_without_an_end_to_its_first_row_is_refused(csv: Path) -> None:
    csv.write_bytes(b'a;b;c;"d\n' + b"1;2;3;4\n" * 2**21)

    assert refusal(csv) == "x.csv has no whole row in its first 16 MiB"

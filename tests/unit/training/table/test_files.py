"""Files: their kinds, their encodings, and the damaged ones."""

import gzip
from pathlib import Path

import pandas as pd
import pytest

from tests.unit.training.table.tables import read, unread


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

"""A table of any kind is opened by its name, or from standard input, and says the same."""

import gzip
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from serving.files.formats import Format, How
from serving.files.opening import found, open_source
from serving.files.source import TableError
from tests.unit.files.arrow_tables import MODEL, table, written

TABLE = table().select(["x", "w"])


def _csv() -> bytes:
    cells = [
        ["" if each is None else str(each) for each in row.values()] for row in TABLE.to_pylist()
    ]
    return "".join(f"{','.join(row)}\n" for row in [["x", "w"], *cells]).encode()


def _ndjson() -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in TABLE.to_pylist()).encode()


FILES: dict[str, Callable[[], bytes]] = {
    "t.csv": _csv,
    "t.tsv.gz": lambda: gzip.compress(_csv().replace(b",", b"\t")),
    "t.ndjson": _ndjson,
    "t.jsonl.gz": lambda: gzip.compress(_ndjson()),
    "t.pq": lambda: written(TABLE, Format.PARQUET),
    "t.feather": lambda: written(TABLE, Format.ARROW, "lz4"),
    "t.arrows": lambda: written(TABLE, Format.ARROWS),
}


@contextmanager
def standard_input(path: Path) -> Iterator[None]:
    """Let standard input be a file's content."""
    before = os.dup(0)
    with path.open("rb") as file:
        os.dup2(file.fileno(), 0)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


def content(data: str) -> pa.Table:
    source = open_source(*found(data), How(), MODEL)
    batches = [source.read(part).batch for part in source.parts()]
    return pa.Table.from_batches(batches, source.kept)


@pytest.mark.parametrize("name", FILES)
def test_a_table_is_the_same_in_each_format(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name]())
    assert content(str(path)).equals(TABLE)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv.gz", "t.jsonl.gz", "t.arrows"])
def test_standard_input_is_known_by_how_it_begins(tmp_path: Path, name: str) -> None:
    path = tmp_path / "t"
    path.write_bytes(FILES[name]())
    with standard_input(path):
        assert content("-").equals(TABLE)


@pytest.mark.parametrize("name", sorted(FILES.keys() - {"t.arrows"}))
def test_who_waits_is_told_how_much_of_a_file_is_done(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name]())
    assert [part.share for part in open_source(*found(str(path)), How(), MODEL).parts()] == [1.0]
    if name.endswith("gz"):
        with standard_input(path):
            parts = list(open_source(*found("-"), How(), MODEL).parts())
        assert [part.share for part in parts] == [0.0]


@pytest.mark.parametrize("name", ["t.pq", "t.feather"])
def test_what_begins_at_its_end_is_no_standard_input(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name]())
    with standard_input(path), pytest.raises(TableError, match="name the file"):
        found("-")


@pytest.mark.parametrize(
    ("data", "said", "how", "told"),
    [
        ("none.csv", None, How(), "there is no file .*none.csv"),
        ("none.parquet", None, How(), "there is no file .*none.parquet"),
        ("none", None, How(), "is of no known kind"),
        ("", Format.CSV, How(), "is a folder, and of these only such with Parquet"),
        ("pipe", Format.CSV, How(), "is no file: for a pipe, say --data -"),
        ("t.ndjson", None, How(missing=("?",)), "are for CSV files"),
        ("t.ndjson", None, How(header=False), "are for CSV files"),
    ],
)
def test_what_can_not_be_opened_is_told(
    tmp_path: Path, data: str, said: Format | None, how: How, told: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TableError, match=told):
        open_source(*found(str(tmp_path / data), said), how, MODEL)

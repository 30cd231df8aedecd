"""Parquet and Arrow's own formats are read by a process apart; its end is told in a sentence."""

import os
import pickle
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.files.columnar import ColumnarSource
from serving.files.decoding import PART_BYTES, in_parts, read
from serving.files.formats import Format, How
from serving.files.inputs import Input
from serving.files.source import PART_ROWS, CutShortError, TableError
from tests.unit.files import fuzz
from tests.unit.files.arrow_tables import KINDS, MODEL, ROWS, Asking, saved, table, written


def opened(path: Path, **how: object) -> ColumnarSource:
    form = Format.PARQUET if path.is_dir() else Format(path.suffix[1:])
    return ColumnarSource(Input(str(path)), form, How(**how), MODEL)  # type: ignore[arg-type]


def all_of(source: ColumnarSource) -> pa.Table:
    read = [source.read(part) for part in source.parts()]
    return pa.Table.from_batches([each.batch for each in read], source.kept)


@pytest.mark.parametrize("form", KINDS)
def test_a_table_is_read_twice_and_by_who_did_not_open_it(tmp_path: Path, form: Format) -> None:
    source = opened(saved(tmp_path, table(), form, "zstd"))
    elsewhere = pickle.loads(pickle.dumps(source))  # noqa: S301 (our own)
    (part,) = source.parts()
    assert (part.row, part.line) == (1, 0)
    read = elsewhere.read(part)
    assert read.columns[0].objects() == table()["x"].to_pylist()
    assert read.columns[1].objects() == table()["w"].to_pylist()
    assert all_of(elsewhere).equals(table())
    assert source.notes == (
        "the columns 'id', 'list', 'struct' are nothing that the model looks at",
    )


def test_what_is_given_back_has_no_dictionaries_nor_views(tmp_path: Path) -> None:
    odd = table().set_column(2, "w", table()["w"].dictionary_encode())
    odd = odd.append_column(
        "view", pa.array(["long enough to be no inline view"] * ROWS, pa.string_view())
    )
    source = opened(saved(tmp_path, odd, Format.ARROWS), columns=("view", "w"))
    assert source.kept.types == [pa.string(), pa.string()]
    assert all_of(source)["w"].to_pylist() == table()["w"].to_pylist()


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for name, rows in (("b", 5), ("a", 3), ("c", 0)):
        (tmp_path / f"{name}.parquet").write_bytes(written(table(rows), Format.PARQUET))
    (tmp_path / "_SUCCESS").touch()
    assert all_of(opened(tmp_path, columns=("id",)))["id"].to_pylist() == [0, 1, 2, 0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (table(2).drop_columns("x"), "b.parquet has no column 'x', unlike .*a.parquet"),
        (
            table(2).set_column(0, "id", pa.array(["a", "b"])),
            "column 'id' is of type string in .*b.parquet, and of type int64 in other files",
        ),
    ],
)
def test_a_folder_with_other_columns_is_refused_before_the_first_row(
    tmp_path: Path, other: pa.Table, told: str
) -> None:
    (tmp_path / "a.parquet").write_bytes(written(table(2), Format.PARQUET))
    (tmp_path / "b.parquet").write_bytes(written(other, Format.PARQUET))
    with pytest.raises(TableError, match=told):
        opened(tmp_path)


def test_the_share_that_is_done_is_that_of_all_rows(tmp_path: Path) -> None:
    more = pa.table({"x": pa.nulls(3 * PART_ROWS // 2), "w": pa.nulls(3 * PART_ROWS // 2)})
    for name in ("a", "b"):
        (tmp_path / f"{name}.parquet").write_bytes(written(more, Format.PARQUET))
    shares = [part.share for part in opened(tmp_path).parts()]
    assert shares == [pytest.approx(share) for share in (1 / 3, 2 / 3, 1)]


def test_a_folder_with_anything_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="has no Parquet files in it"):
        opened(tmp_path)
    (tmp_path / "a.csv").touch()
    with pytest.raises(TableError, match=r"has a.csv in it, which is named as no Parquet file is"):
        opened(tmp_path)
    (tmp_path / "a.csv").unlink()
    os.mkfifo(tmp_path / "a.parquet")
    with pytest.raises(TableError, match=r"has a.parquet in it, which is no file"):
        opened(tmp_path)


def swelling() -> bytes:
    """Give a stream with one batch that takes 2 GiB of memory when it is unpacked."""
    rows = 1 << 25
    zeros = pa.Array.from_buffers(pa.int8(), rows, [None, pa.py_buffer(bytes(rows))])
    columns = {"w": pa.nulls(rows), "x": zeros} | {f"c{at}": zeros for at in range(63)}
    return written(pa.table(columns), Format.ARROWS, "zstd", rows)


def test_a_file_that_swells_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.arrows"
    path.write_bytes(swelling())
    assert path.stat().st_size < 1 << 20
    with pytest.raises(TableError, match="takes more than 1 GiB of memory to read"):
        all_of(opened(path))


def test_a_file_of_which_too_much_is_read_at_once_may_be_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 80000 failed")

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", fail)
    asking = Asking(str(saved(tmp_path, table(), Format.PARQUET)), "parquet")
    read(cast("Connection", asking))
    assert (
        "more than 1 GiB of memory to read: it may be damaged; if it is not"
        in (asking.end["error"])
    )


def _cases() -> Iterator[tuple[str, bytes, str]]:
    for form in KINDS:
        whole = written(table(), form)
        yield str(form), b"", "is empty|can't be read"
        yield str(form), whole[: len(whole) // 2], "can't be read, it may be damaged"
        yield str(form), b"not a table at all", "can't be read, it may be damaged"
    stream = written(table(), Format.ARROWS)
    yield "arrows", stream[:-8], "can't be read, it may be damaged: its end is missing"
    yield "arrows", stream + stream, "there is more behind its end"
    longest = struct.pack("<i", 2**31 - 1)
    yield "arrows", stream[:4] + longest + stream[8:], "can't be read|memory"


@pytest.mark.parametrize(("form", "data", "told"), list(_cases()))
def test_a_damaged_file_is_told(tmp_path: Path, form: str, data: bytes, told: str) -> None:
    path = tmp_path / f"t.{form}"
    path.write_bytes(data)
    asking = Asking(str(path), form)
    read(cast("Connection", asking))
    assert asking.end["error"].startswith(str(path))
    assert re.search(told, asking.end["error"])


@pytest.mark.parametrize(
    ("number", "kind", "told"),
    [
        (signal.SIGSEGV, TableError, "has ended by SIGSEGV; the file is damaged"),
        (
            signal.SIGKILL,
            CutShortError,
            "has ended, killed, perhaps because there was no memory left",
        ),
    ],
)
def test_a_crash_is_told(tmp_path: Path, number: int, kind: type[TableError], told: str) -> None:
    more = pa.table({"x": pa.array(range(1 << 18)), "w": pa.nulls(1 << 18)})  # than a socket takes
    source = opened(saved(tmp_path, more, Format.ARROW))
    assert source._reader is not None
    os.kill(source._reader._process.pid, number)
    source._reader._process.wait()
    with pytest.raises(TableError, match=told) as caught:
        list(source.parts())
    assert type(caught.value) is kind


@pytest.mark.slow
def test_files_with_changed_bytes_are_read_or_told() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", fuzz.__name__, "1", "300"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_parts_have_as_many_rows_as_they_may() -> None:
    small = [pa.record_batch({"x": pa.array(range(at, at + 9))}) for at in range(0, 90_000, 9)]
    parts = list(in_parts(small))
    assert [part.num_rows for part in parts] == [PART_ROWS, 90_000 - PART_ROWS]
    assert pa.Table.from_batches(parts)["x"].to_pylist() == list(range(90_000))
    large = pa.record_batch({"x": pa.array(["x" * (1 << 20)] * 40)})
    rows = [part.num_rows for part in in_parts([large])]
    assert rows == [PART_BYTES >> 20, PART_BYTES >> 20, 40 - (PART_BYTES >> 19)]

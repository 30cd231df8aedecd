"""Tables written in parts."""

import gzip
import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.files.formats import Format
from serving.files.source import TableError
from serving.files.written import writer_for
from tests.unit.files.written import written

TABLE = pa.table(
    {
        "id": pa.array(range(1000)),
        "word": pa.array(["a", "b", None, "c"] * 250),
        "prediction": pa.array(["yes", "no"] * 500),
        "probability_yes": pa.array(np.random.default_rng(0).random(1000)),
        "error": pa.array([None, None, None, None, 'a "b", c'] * 200),
    }
)
PARTS = [TABLE.slice(0, 400), TABLE.slice(400, 0), TABLE.slice(400, 1), TABLE.slice(401)]
READ: dict[str, Callable[[bytes], pa.Table]] = {
    "parquet": lambda file: pq.read_table(io.BytesIO(file)),
    "arrow": lambda file: pa.ipc.open_file(file).read_all(),
    "arrows": lambda file: pa.ipc.open_stream(file).read_all(),
}


def batches(tables: list[pa.Table]) -> list[pa.RecordBatch]:
    """Give a part for each table."""
    return [table.combine_chunks().to_batches()[0] if len(table) else empty() for table in tables]


def empty() -> pa.RecordBatch:
    """Give a part of which all rows were left out."""
    return pa.RecordBatch.from_pylist([], TABLE.schema)


@pytest.mark.parametrize("name", READ)
def test_parts_are_one_table(name: str) -> None:
    read = READ[name](written(name, batches(PARTS)))
    read.validate(full=True)
    assert read.equals(TABLE)


@pytest.mark.parametrize("name", READ)
def test_a_table_without_rows_has_its_columns(name: str) -> None:
    read = READ[name](written(name, [empty()]))
    assert (read.num_rows, read.column_names) == (0, TABLE.column_names)


def test_pandas_reads_what_is_written(tmp_path: Path) -> None:
    expected = TABLE.to_pandas()
    for name, read in {
        "csv": lambda file: pd.read_csv(file),
        "ndjson": lambda file: pd.read_json(file, lines=True, precise_float=True),
        "parquet": pd.read_parquet,
        "arrow": pd.read_feather,
    }.items():
        file = tmp_path / name
        file.write_bytes(written(name, batches(PARTS)))
        pd.testing.assert_frame_equal(read(file), expected, check_dtype=False, obj=name)


@pytest.mark.parametrize("name", ["csv", "tsv", "ndjson"])
def test_compressed_parts_are_one_file(name: str, tmp_path: Path) -> None:
    file = tmp_path / "file.gz"
    for parts in (batches(PARTS), [empty()]):
        file.write_bytes(written(name, parts, gz=True))
        text = subprocess.run(["gzip", "-dc", str(file)], check=True, capture_output=True).stdout
        assert text == gzip.decompress(file.read_bytes()) == written(name, parts)


def test_the_first_line_has_the_names() -> None:
    batch = pa.record_batch({"a,b": pa.array([1]), "c": pa.array(["x"])})
    assert written("csv", [batch]) == b'"a,b",c\n1,x\n'
    assert written("tsv", [batch]) == b"a,b\tc\n1\tx\n"


def test_what_stands_under_nulls_is_not_written() -> None:
    valid = pa.py_buffer(b"\x01")
    files = set()
    for hidden in (7, 8):
        values = pa.py_buffer(np.array([1, hidden]).tobytes())
        column = pa.Array.from_buffers(pa.int64(), 2, [valid, values])
        files.add(written("arrows", [pa.record_batch({"a": column})]))
    assert len(files) == 1


def test_columns_that_a_format_cannot_hold_are_refused_together() -> None:
    schema = pa.schema({"a": pa.binary(), "b": pa.int64(), "c": pa.list_(pa.duration("s"))})
    with pytest.raises(TableError, match=r"^can't be written as csv: a \(binary\), c \(list<.*--c"):
        writer_for(Format.CSV, gz=False, schema=schema)
    interval = pa.schema({"a": pa.month_day_nano_interval()})
    with pytest.raises(TableError, match="can't be written as parquet: a"):
        writer_for(Format.PARQUET, gz=False, schema=interval)
    coded = pa.dictionary(pa.int8(), pa.string())
    with pytest.raises(TableError, match=r"can't be written as arrow: a .*, b "):
        writer_for(Format.ARROW, gz=False, schema=pa.schema({"a": coded, "b": pa.list_(coded)}))


def test_what_a_format_cannot_hold_of_a_part_is_told() -> None:
    moments = pa.array([2**62], pa.timestamp("s"))
    with pytest.raises(TableError, match="some rows can't be written as parquet: "):
        written("parquet", [pa.record_batch({"a": moments})])
    with pytest.raises(TableError, match="parquet is not compressed by gzip"):
        writer_for(Format.PARQUET, gz=True, schema=TABLE.schema)


def test_numbers_have_no_dictionaries_in_parquet_and_few_words_have_one() -> None:
    many = pa.array([f"word {n}" for n in range(1000)])
    file = written("parquet", batches([TABLE.append_column("many", many)]))
    group = pq.ParquetFile(io.BytesIO(file)).metadata.row_group(0)
    chunks = [group.column(at) for at in range(group.num_columns)]
    has = {each.path_in_schema: each.has_dictionary_page for each in chunks}
    assert [name for name, it_has in has.items() if it_has] == ["word", "prediction", "error"]

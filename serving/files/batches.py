"""Tables that pyarrow reads, batch by batch: Parquet, and Arrow's files and streams.

Whatever the size of a row group, a few thousand rows of it are in memory. All of this runs in a
process of its own (`serving.files.decoding`), which may crash or swell.
"""

import io
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from serving.files.formats import ENDINGS, Format
from serving.files.inputs import BLOCK_BYTES, Input, Standard, unreadable
from serving.files.source import PART_ROWS, TableError

_BATCH_ROWS = 8192
_BATCH_BYTES = 8 << 20  # about so much, by what a file says of its rows
_BUFFERED_BYTES = 32 << 20  # of all columns
_LEAST_BUFFERED, _MOST_BUFFERED = 1 << 14, 1 << 18
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
ERRORS = (pa.ArrowException, OSError, ValueError)


class Batches(Protocol):
    """A table, read once."""

    schema: pa.Schema

    def read(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Give the columns of these names, each of which is there once, and perhaps others.

        Raises:
            TableError: the table is damaged, or its files differ.
            pa.ArrowException, OSError, ValueError: it is damaged.
        """


def open_batches(given: Input, form: Format) -> Batches:
    """Open a table.

    Raises:
        TableError: as `Batches.read`.
        pa.ArrowException, OSError, ValueError: as `Batches.read`.
    """
    match form:
        case Format.PARQUET:
            return _Parquet(given.path)
        case Format.ARROW:
            return _ArrowFile(given.path)
        case _:
            return _ArrowStream(given)


class _Parquet:
    """A Parquet file, or a folder of them: one after the other, in the order of their names.

    All have the same columns. One in which a column has no value may have no type for it.
    """

    def __init__(self, path: str) -> None:
        self._files = _files(Path(path)) if os.path.isdir(path) else [path]
        self._schemas = list(map(_schema, self._files))
        first, *others = self._schemas
        self.schema = pa.schema([_typed(field, others) for field in first])

    def read(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        wanted = pa.schema([self.schema.field(name) for name in names])
        for path, schema in zip(self._files, self._schemas, strict=True):
            self._check_alike(path, schema, wanted)
        return self._batches(wanted)

    def _batches(self, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
        for path in self._files:
            with _parquet(path) as file:
                for batch in _rows(path, file, wanted.names):
                    arrays = [
                        pa.nulls(len(batch), field.type)
                        if pa.types.is_null(batch.schema.field(field.name).type)
                        else batch.column(field.name)
                        for field in wanted
                    ]
                    yield pa.RecordBatch.from_arrays(arrays, wanted.names)

    def _check_alike(self, path: str, schema: pa.Schema, wanted: pa.Schema) -> None:
        for field in wanted:
            count = len(schema.get_all_field_indices(field.name))
            if count != 1:
                has = "no column" if count == 0 else "more than one column"
                raise TableError(f"{path} has {has} {field.name!r}, unlike {self._files[0]}")
            other = schema.field(field.name).type
            if other != field.type and not pa.types.is_null(other):
                raise TableError(
                    f"column {field.name!r} is of type {other} in {path}, and of type {field.type} "
                    "in other files"
                )


def _schema(path: str) -> pa.Schema:
    with _parquet(path) as file:
        return file.schema_arrow


def _typed(field: pa.Field, others: Sequence[pa.Schema]) -> pa.Field:
    """Give a column with the type that the first file has in which it has one."""
    kinds = (schema.field(field.name).type for schema in others if field.name in schema.names)
    if pa.types.is_null(field.type):
        return field.with_type(next((k for k in kinds if not pa.types.is_null(k)), field.type))
    return field


def _files(folder: Path) -> list[str]:
    """Give the Parquet files in a folder; what others leave beside them begins with _ or a dot."""
    found = sorted(path for path in folder.iterdir() if not path.name.startswith(("_", ".")))
    for path in found:
        if path.is_dir():
            raise TableError(f"{folder} has the folder {path.name} in it: name one without folders")
        if ENDINGS.get(path.suffix.lower()) is not Format.PARQUET:
            raise TableError(
                f"{folder} has {path.name} in it, which is named as no Parquet file is"
            )
    if not found:
        raise TableError(f"{folder} has no Parquet files in it")
    return list(map(str, found))


def _parquet(path: str) -> pq.ParquetFile:
    try:
        metadata = pq.read_metadata(path)
        of_each = _BUFFERED_BYTES // max(metadata.num_columns, 1)
        return pq.ParquetFile(
            path,
            metadata=metadata,
            buffer_size=min(max(of_each, _LEAST_BUFFERED), _MOST_BUFFERED),
            pre_buffer=False,
            page_checksum_verification=True,
        )
    except ERRORS as exc:
        raise TableError(unreadable(path, exc)) from exc


def _rows(path: str, file: pq.ParquetFile, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    metadata = file.metadata
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    row_bytes = sum(group.total_byte_size for group in groups) // max(metadata.num_rows, 1)
    at_once = min(max(_BATCH_BYTES // max(row_bytes, 1), 1), _BATCH_ROWS)
    found = 0
    try:
        for batch in file.iter_batches(at_once, columns=list(names), use_threads=False):
            found += batch.num_rows
            yield batch
    except ERRORS as exc:
        raise TableError(unreadable(path, exc)) from exc
    if found != metadata.num_rows:
        told = f"it tells of {metadata.num_rows} rows, and has {found}"
        raise TableError(unreadable(path, told))


class _Mapped:
    """A file as it lies on the disk: what is read of it is no memory of this process."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise TableError(f"{path} is empty")
            self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.buffer = pa.py_buffer(self._mapped)

    def slices(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Give some rows of a batch at a time, and let go of them: it may be the whole file."""
        for start in range(0, batch.num_rows, PART_ROWS):
            yield batch.slice(start, PART_ROWS)
            self._mapped.madvise(mmap.MADV_DONTNEED)


class _ArrowFile:
    """Arrow's file: a batch is read where it lies."""

    def __init__(self, path: str) -> None:
        self._mapped = _Mapped(path)
        self._file = pa.ipc.open_file(self._mapped.buffer, options=_only([]))
        self.schema = self._file.schema

    def read(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        # Asked for some columns only, Arrow would copy these of the whole batch.
        for at in range(self._file.num_record_batches):
            yield from self._mapped.slices(self._file.get_batch(at))


class _ArrowStream:
    """Arrow's stream, in a file or from standard input.

    A mark is at its end, which Arrow's own reader does not ask for: without it, a stream that was
    cut off would be taken for a shorter one.
    """

    def __init__(self, given: Input) -> None:
        self._given = given
        self._mapped = None if given.is_standard else _Mapped(given.path)
        self._piped = _Piped(given)
        self._stream = self._open(_only([]))
        self.schema = self._stream.schema

    def _open(self, options: pa.ipc.IpcReadOptions) -> pa.RecordBatchReader:
        if self._mapped is None:
            self._bytes = pa.PythonFile(self._piped, mode="r")
        else:
            self._bytes = pa.BufferReader(self._mapped.buffer)
        return pa.ipc.open_stream(self._bytes, options=options)

    def read(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        if self._mapped is not None:  # others can't be read from their beginning again
            self._stream = self._open(_only(_places(self.schema, names)))
        for batch in self._stream:
            if self._mapped is None:
                yield batch
            else:
                yield from self._mapped.slices(batch)
        end = self._end()
        if end != _END_OF_STREAM:
            more = end.startswith(_END_OF_STREAM)
            told = "there is more behind its end" if more else "its end is missing"
            raise TableError(unreadable(self._given.name, told))

    def _end(self) -> bytes:
        """Give the last bytes that were read, and one more, if there is one."""
        count = len(_END_OF_STREAM)
        if self._mapped is None:
            return self._piped.last[-count:] + self._piped.read(1)
        at = max(self._bytes.tell() - count, 0)
        return bytes(self._mapped.buffer[at : at + count + 1])


class _Piped:
    """Standard input as Arrow reads it: so many bytes at once."""

    closed = False

    def __init__(self, given: Input) -> None:
        self._bytes = io.BufferedReader(Standard(given), BLOCK_BYTES)
        self.last = b""

    def read(self, size: int) -> bytes:
        found = self._bytes.read(size)
        self.last = (self.last + found[-len(_END_OF_STREAM) :])[-len(_END_OF_STREAM) :]
        return found


def _places(schema: pa.Schema, names: Sequence[str]) -> list[int]:
    return [schema.get_field_index(name) for name in names]


def _only(places: Sequence[int]) -> pa.ipc.IpcReadOptions:
    """Ask for the columns at these places; for all, if there are none."""
    return pa.ipc.IpcReadOptions(
        ensure_alignment=pa.ipc.Alignment.DataTypeSpecific,
        use_threads=False,
        included_fields=list(places),
    )

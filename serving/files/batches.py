"""Tables that pyarrow reads, batch by batch: Parquet, and Arrow's files and streams.

Whatever the size of a row group, a few thousand rows of it are in memory. All of this runs in a
process of its own (`serving.files.decoding`), which may crash or swell.
"""

import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from serving.files.formats import ARROW_END, ENDINGS, Format
from serving.files.inputs import Input, files_in, unreadable
from serving.files.source import PART_ROWS, TableError

_BATCH_ROWS = 8192
_BATCH_BYTES = 8 << 20  # about so much, by what a file says of its rows
_BUFFERED_BYTES = 32 << 20  # of all columns
_LEAST_BUFFERED, _MOST_BUFFERED = 1 << 14, 1 << 18
ERRORS = (pa.ArrowException, OSError, ValueError)


class Batches(Protocol):
    """A table, read once. It tells how many ``rows`` it has; 0, if it does not."""

    schema: pa.Schema
    rows: int

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
        self._schemas, rows = zip(*map(_said, self._files), strict=True)
        self.rows = sum(rows)
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


def _said(path: str) -> tuple[pa.Schema, int]:
    """Give what a file says of its columns, and of the number of its rows."""
    with _parquet(path) as file:
        return file.schema_arrow, file.metadata.num_rows


def _typed(field: pa.Field, others: Sequence[pa.Schema]) -> pa.Field:
    """Give a column with the type that the first file has in which it has one."""
    kinds = (schema.field(field.name).type for schema in others if field.name in schema.names)
    if pa.types.is_null(field.type):
        return field.with_type(next((k for k in kinds if not pa.types.is_null(k)), field.type))
    return field


def _files(folder: Path) -> list[str]:
    """Give the Parquet files in a folder."""
    found = files_in(folder)
    for path in found:
        if path.is_dir():
            raise TableError(f"{folder} has the folder {path.name} in it: name one without folders")
        if ENDINGS.get(path.suffix.lower()) is not Format.PARQUET:
            raise TableError(
                f"{folder} has {path.name} in it, which is named as no Parquet file is"
            )
        if path.exists() and not path.is_file():  # such as a pipe, which would be waited for
            raise TableError(f"{folder} has {path.name} in it, which is no file")
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
    except MemoryError:  # which says nothing of the file
        raise
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
    except MemoryError:  # which says nothing of the file
        raise
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

    def opened(self) -> pa.NativeFile:
        """Begin at its beginning."""
        return pa.BufferReader(self.buffer)

    def slices(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Give some rows of a batch at a time, and let go of them: it may be the whole file."""
        for start in range(0, batch.num_rows, PART_ROWS):
            yield batch.slice(start, PART_ROWS)
            self._mapped.madvise(mmap.MADV_DONTNEED)

    def end(self, opened: pa.NativeFile) -> bytes:
        """Give as many bytes as end a stream, of those that were read, and one more if there is."""
        at = max(opened.tell() - len(ARROW_END), 0)
        return bytes(self.buffer[at : at + len(ARROW_END) + 1])


class _Piped:
    """Standard input, as `_Mapped` is a file; Arrow reads so many bytes of it at once."""

    closed = False

    def __init__(self, given: Input) -> None:
        self._bytes = given.open()
        self._last = b""

    def read(self, size: int) -> bytes:
        found = self._bytes.read(size)
        self._last = (self._last + found[-len(ARROW_END) :])[-len(ARROW_END) :]
        return found

    def opened(self) -> pa.NativeFile:
        return pa.PythonFile(self, mode="r")

    def slices(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        yield batch

    def end(self, _: pa.NativeFile) -> bytes:
        return self._last + self._bytes.read(1)


class _ArrowFile:
    """Arrow's file: a batch is read where it lies."""

    def __init__(self, path: str) -> None:
        self._mapped = _Mapped(path)
        self._file = pa.ipc.open_file(self._mapped.buffer, options=_only())
        self.schema = self._file.schema
        self.rows = self._file.count_rows()

    def read(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        # Asked for some columns only, Arrow would copy these of the whole batch.
        for at in range(self._file.num_record_batches):
            yield from self._mapped.slices(self._file.get_batch(at))


class _ArrowStream:
    """Arrow's stream, in a file or from standard input.

    A mark is at its end, which Arrow's own reader does not ask for: without it, a stream that was
    cut off would be taken for a shorter one.
    """

    rows = 0

    def __init__(self, given: Input) -> None:
        self._given = given
        self._from = _Piped(given) if given.is_standard else _Mapped(given.path)
        self._stream = self._open()
        self.schema = self._stream.schema

    def _open(self, places: Sequence[int] = ()) -> pa.RecordBatchReader:
        self._bytes = self._from.opened()
        return pa.ipc.open_stream(self._bytes, options=_only(places))

    def read(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        if isinstance(self._from, _Mapped):  # others can't be read from their beginning again
            self._stream = self._open([self.schema.get_field_index(name) for name in names])
        for batch in self._stream:
            yield from self._from.slices(batch)
        end = self._from.end(self._bytes)
        if end != ARROW_END:
            more = end.startswith(ARROW_END)
            told = "there is more behind its end" if more else "its end is missing"
            raise TableError(unreadable(self._given.name, told))


def _only(places: Sequence[int] = ()) -> pa.ipc.IpcReadOptions:
    """Ask for the columns at these places; for all, if there are none."""
    return pa.ipc.IpcReadOptions(
        ensure_alignment=pa.ipc.Alignment.DataTypeSpecific,
        use_threads=False,
        included_fields=list(places),
    )

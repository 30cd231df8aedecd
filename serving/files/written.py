"""Tables written in parts: each part becomes bytes by itself, wherever, and files are these joined.

So a file has the same bytes, however many processes wrote it. A file begins with `Writer.head`, and
what has to stand at its end is made of what was noted of the parts. Refuses columns that a format
can't hold, before anything is written.
"""

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.files import footers
from serving.files.arrow import is_string
from serving.files.formats import ARROW_END, ARROW_MAGIC, PARQUET_MAGIC, Format
from serving.files.source import TableError
from serving.files.texts import delimited, has_text, json_lines

# Of numbers, higher levels take several times as long to save some hundredths.
GZIP_LEVEL = 1
# So many are written in memory that stays near the processor, which saves a fifth of the time.
ROWS_AT_ONCE = 16384
# Columns of strings are sampled for how many different ones they have.
SAMPLED_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Encoded:
    """A part as it stands in a file, and what the file's end has to tell of it."""

    data: bytes
    index: bytes = b""


class Writer(Protocol):
    """Writes tables of one schema in one format. It can be pickled."""

    def head(self) -> bytes:
        """Give what a file begins with."""

    def encode(self, batch: pa.RecordBatch) -> Encoded:
        """Give a part as bytes; none, if it has no rows."""

    def tail(self, parts: Sequence[tuple[int, bytes]]) -> bytes:
        """Give what a file ends with, by the place in it where each part starts, and its index."""


def writer_for(form: Format, *, gz: bool, schema: pa.Schema) -> Writer:
    """Give the writer of a format.

    Raises:
        TableError: the format can't hold some of the columns, or is not compressed so.
    """
    schema = schema.remove_metadata()  # what it tells of the input may not hold here
    if gz and not form.is_text:
        raise TableError(f"{form} is not compressed by gzip: name a file without .gz")

    def writer(schema: pa.Schema) -> Writer:
        if form.is_text:
            return _Texts(schema, form, gz)
        if form is Format.PARQUET:
            return _Parquet(schema)
        return _Arrow(schema, is_file=form is Format.ARROW)

    bad = [
        each
        for each in schema
        if (form.is_text and not has_text(each.type)) or not _fits(each, writer)
    ]
    if bad:
        told = ", ".join(f"{each.name} ({each.type})" for each in bad)
        raise TableError(
            f"can't be written as {form}: {told}; --columns names those that are given back"
        )
    return writer(schema)


def _fits(column: pa.Field, writer: Callable[[pa.Schema], Writer]) -> bool:
    """Find out whether a column can be written, by a row that has nothing."""
    schema = pa.schema([column.with_nullable(True)])
    try:
        writer(schema).encode(pa.record_batch([pa.nulls(1, column.type)], schema=schema))
    except (pa.ArrowException, TableError):
        return False
    return True


@dataclass(frozen=True)
class _Texts:
    """Lines; compressed, a member for each part."""

    schema: pa.Schema
    form: Format
    gz: bool

    def head(self) -> bytes:
        names = [pa.array([name]) for name in self.schema.names]
        is_named = self.form is Format.NDJSON
        head = b"" if is_named else delimited(names, self._delimiter)
        return gzip.compress(head, GZIP_LEVEL, mtime=0) if self.gz else head

    def encode(self, batch: pa.RecordBatch) -> Encoded:
        if not batch.num_rows:
            return Encoded(b"")
        starts = range(0, batch.num_rows, ROWS_AT_ONCE)
        data = b"".join([self._lines(batch.slice(start, ROWS_AT_ONCE)) for start in starts])
        return Encoded(gzip.compress(data, GZIP_LEVEL, mtime=0) if self.gz else data)

    def tail(self, parts: Sequence[tuple[int, bytes]]) -> bytes:
        return b""

    def _lines(self, batch: pa.RecordBatch) -> bytes:
        if self.form is Format.NDJSON:
            return json_lines(self.schema.names, batch.columns)
        return delimited(batch.columns, self._delimiter)

    @property
    def _delimiter(self) -> str:
        return "\t" if self.form is Format.TSV else ","


@dataclass(frozen=True)
class _Parquet:
    """A part is a row group."""

    schema: pa.Schema

    def head(self) -> bytes:
        return PARQUET_MAGIC

    def encode(self, batch: pa.RecordBatch) -> Encoded:
        if not batch.num_rows:
            return Encoded(b"")
        table = pa.Table.from_arrays(batch.columns, schema=self.schema)
        try:
            file = _parquet_file(table)
        except pa.ArrowException as exc:  # such as a date that it can't hold
            raise TableError(f"some rows can't be written as parquet: {exc}") from exc
        return Encoded(*footers.row_group(file))

    def tail(self, parts: Sequence[tuple[int, bytes]]) -> bytes:
        return footers.parquet_footer(_parquet_file(self.schema.empty_table()), parts)


def _parquet_file(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    # Numbers are rarely alike, and to find that out takes several times as long.
    columns = zip(table.column_names, table.columns, strict=True)
    alike = [name for name, column in columns if _has_few(column)]
    pq.write_table(table, sink, row_group_size=max(table.num_rows, 1), use_dictionary=alike)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _has_few(column: pa.ChunkedArray) -> bool:
    """Tell whether a column has strings, few of them different, as far as a sample shows."""
    if not is_string(column.type):
        return False
    sample = column.slice(0, SAMPLED_ROWS).cast(pa.large_string())
    few: bool = pc.count_distinct(sample).as_py() * 4 <= len(sample)
    return few


@dataclass(frozen=True)
class _Arrow:
    """A part is a message; a file has a footer beside what a stream has.

    Nothing may be in dictionaries: those of parts differ, and a file can have but one.
    """

    schema: pa.Schema
    is_file: bool

    def head(self) -> bytes:
        start: bytes = self.schema.serialize().to_pybytes()
        return ARROW_MAGIC + bytes(2) + start if self.is_file else start

    def encode(self, batch: pa.RecordBatch) -> Encoded:
        if not batch.num_rows:
            return Encoded(b"")
        if any(_has_dictionary(kind) for kind in self.schema.types):
            raise TableError("dictionaries can't be written as Arrow")
        columns = [_with_zeros(each) for each in batch.columns]
        written = pa.RecordBatch.from_arrays(columns, schema=self.schema)
        message = written.serialize().to_pybytes()
        return Encoded(message, footers.arrow_block(message))

    def tail(self, parts: Sequence[tuple[int, bytes]]) -> bytes:
        if not self.is_file:
            return ARROW_END
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, self.schema) as file:
            file.write_batch(pa.RecordBatch.from_pylist([], self.schema))
        return ARROW_END + footers.arrow_footer(sink.getvalue().to_pybytes(), parts)


def _has_dictionary(kind: pa.DataType) -> bool:
    inner = [kind.field(at).type for at in range(kind.num_fields)]
    return pa.types.is_dictionary(kind) or any(map(_has_dictionary, inner))


def _with_zeros(column: pa.Array) -> pa.Array:
    """Give a column with zeros under its nulls, where there may be anything."""
    if column.null_count and pa.types.is_primitive(column.type):
        return column.take(pa.array(np.arange(len(column))))
    return column

"""Parquet, read and written by pyarrow where that is installed: the image has none.

A file becomes an Arrow stream, which is read as any is. Refuses with 400 what is no such file, with
413 one that holds more than a body may, and with 415 what is encoded in a way that is not read, or
all, where there is no pyarrow.
"""

import io
from collections.abc import Iterable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

from serving.dialects.arrow import fitting, read_arrow, write_arrow
from serving.dialects.arrow_columns import VALUE_BYTES, Room
from serving.dialects.arrow_messages import read_stream
from serving.dialects.dialect import Answer, Sent
from serving.dialects.parquet_pages import page_sizes
from serving.model.about import About
from serving.model.outputs import Prediction
from serving.model.rows import Question, Rows
from serving.problems import MALFORMED_BODY, UNSUPPORTED_MEDIA_TYPE, Problem

PARQUET_MEDIA_TYPE = "application/vnd.apache.parquet"
IS_INSTALLED = find_spec("pyarrow") is not None
_ROWS_AT_ONCE = 65_536
_STRINGS = {"category", "text"}
_MOST_IN_THRIFT = 2**31 - 1  # of its limits
_ENCODED = (
    "a column of strings is encoded in a way that is not read, perhaps by their differences: "
    "encode it plainly or with a dictionary, or send an Arrow stream"
)


def read_parquet(sent: Sent, rows: Rows) -> Question:
    """Read rows, also more of them than fit into one batch.

    Raises:
        Problem: 400, 413, 415 or 422.
    """
    if not IS_INSTALLED:
        detail = "Parquet is read only where pyarrow is installed, and here it is not"
        raise Problem(UNSUPPORTED_MEDIA_TYPE, f"{detail}: send an Arrow stream, or another format")
    import pyarrow as pa

    try:
        stream = _as_stream(sent, rows)
    except (pa.ArrowException, OSError, ValueError, TypeError, MemoryError) as exc:
        if "Not yet implemented" in str(exc):
            raise Problem(UNSUPPORTED_MEDIA_TYPE, _ENCODED) from None
        raise Problem(MALFORMED_BODY, "no Parquet file, or a damaged one") from None
    return read_arrow(sent._replace(body=stream), rows)


def _as_stream(sent: Sent, rows: Rows) -> bytes:
    """Give the columns that the model looks at as an Arrow stream."""
    import pyarrow as pa
    from pyarrow import parquet

    most = min(sent.max_bytes, _MOST_IN_THRIFT)
    read = partial(
        parquet.ParquetFile,
        thrift_string_size_limit=most,
        thrift_container_size_limit=most,
        page_checksum_verification=True,
    )
    file = read(pa.BufferReader(sent.body))
    fields, _ = read_stream(_stream(file.schema_arrow, ()))
    fitting(fields, rows)
    metadata = file.metadata
    Room(sent.max_bytes).take(metadata.num_rows * len(rows.features) * VALUE_BYTES)
    room, footer = Room(sent.max_bytes), pa.BufferOutputStream()
    metadata.write_metadata_file(footer)
    for size in page_sizes(sent.body, footer.getvalue().to_pybytes()):
        room.take(size)
    # A word that many rows have is there once.
    strings = [feature.name for feature in rows.features if feature.type in _STRINGS]
    file = read(pa.BufferReader(sent.body), metadata=metadata, read_dictionary=strings)
    names = list(rows.by_name)
    batches = list(file.iter_batches(_ROWS_AT_ONCE, columns=names, use_threads=False))
    if sum(batch.num_rows for batch in batches) != metadata.num_rows:
        raise ValueError("it has other rows than it says")
    return _stream(batches[0].schema if batches else file.schema_arrow, batches)


def _stream(schema: Any, batches: Iterable[Any]) -> bytes:  # noqa: ANN401 (pyarrow's)
    import pyarrow as pa

    written = io.BytesIO()
    with pa.ipc.new_stream(written, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return written.getvalue()


def write_parquet(about: About, predictions: Sequence[Prediction], request_id: str) -> Answer:
    """Write a row for each prediction, in columns that are named as those of CSV are."""
    import pyarrow as pa
    from pyarrow import parquet

    stream = write_arrow(about, predictions, request_id).body
    written = io.BytesIO()
    parquet.write_table(pa.ipc.open_stream(stream).read_all(), written)
    return Answer(written.getvalue(), PARQUET_MEDIA_TYPE)

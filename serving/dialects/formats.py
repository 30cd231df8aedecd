"""The formats of rows and predictions beside JSON, by their media types.

Each may be asked in and answered in, whatever the other is. Of CSV a request has no more rows than
a batch; of the others as many as a body may have.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from serving.dialects.arrow import ARROW_MEDIA_TYPE, read_arrow, write_arrow
from serving.dialects.dialect import Answer, ReadParts, Sent
from serving.dialects.ndjson import (
    NDJSON_MEDIA_TYPE,
    ndjson_body,
    read_in_parts,
    read_ndjson,
    write_ndjson,
)
from serving.dialects.parquet import (
    IS_INSTALLED,
    PARQUET_MEDIA_TYPE,
    read_parquet,
    write_parquet,
)
from serving.dialects.schemas import BINARY, REQUEST_ID, TEXT
from serving.dialects.tables import CSV_MEDIA_TYPE, csv_body, read_csv, write_table
from serving.model.about import About
from serving.model.domains import Schema
from serving.model.outputs import Prediction
from serving.model.rows import Question, Rows

Write: TypeAlias = Callable[[About, Sequence[Prediction], str], Answer]

READERS: Mapping[str, Callable[[Sent, Rows], Question]] = {
    CSV_MEDIA_TYPE: lambda sent, rows: read_csv(sent.body, rows),
    NDJSON_MEDIA_TYPE: lambda sent, rows: read_ndjson(sent.body, rows),
    ARROW_MEDIA_TYPE: read_arrow,
    PARQUET_MEDIA_TYPE: read_parquet,  # or says why it can't be
}
WRITERS: Mapping[str, Write] = {
    CSV_MEDIA_TYPE: write_table,
    NDJSON_MEDIA_TYPE: write_ndjson,
    ARROW_MEDIA_TYPE: write_arrow,
} | ({PARQUET_MEDIA_TYPE: write_parquet} if IS_INSTALLED else {})
IN_PARTS = frozenset(READERS) - {CSV_MEDIA_TYPE}
SWELLS = frozenset({ARROW_MEDIA_TYPE, PARQUET_MEDIA_TYPE})  # they may be compressed
ECHOES = frozenset(WRITERS) - {CSV_MEDIA_TYPE}
STREAMS: Mapping[str, ReadParts] = {NDJSON_MEDIA_TYPE: read_in_parts}
_LINES = (CSV_MEDIA_TYPE, NDJSON_MEDIA_TYPE)
_BINARY = [name for name in (ARROW_MEDIA_TYPE, PARQUET_MEDIA_TYPE) if name in WRITERS]


def bodies(about: About) -> dict[str, Schema]:
    """Describe the bodies that are read."""
    return {
        CSV_MEDIA_TYPE: csv_body(about.description),
        NDJSON_MEDIA_TYPE: ndjson_body(about.description),
        **{name: {"schema": BINARY} for name in _BINARY},
    }


def answers(about: About, example: Prediction) -> dict[str, Schema]:
    """Describe the answers, given an example of a prediction."""
    lines = {name: WRITERS[name](about, [example], REQUEST_ID) for name in _LINES}
    told = {name: {"schema": TEXT, "example": each.body.decode()} for name, each in lines.items()}
    return told | {name: {"schema": BINARY} for name in _BINARY}

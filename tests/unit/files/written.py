"""Tables that are written, as a run does it."""

import pickle
from collections.abc import Sequence

import pyarrow as pa

from serving.files.formats import Format
from serving.files.written import Writer, writer_for


def written(name: str, parts: Sequence[pa.RecordBatch], *, gz: bool = False) -> bytes:
    """Write parts, each by a writer of its own, as processes do."""
    writer = writer_for(Format(name), gz=gz, schema=parts[0].schema)
    return joined(writer, parts)


def joined(writer: Writer, parts: Sequence[pa.RecordBatch]) -> bytes:
    """Join what a writer makes of parts."""
    file, places = writer.head(), []
    for part in parts:
        encoded = pickle.loads(pickle.dumps(writer)).encode(part)  # noqa: S301 (just made)
        if encoded.index:
            places.append((len(file), encoded.index))
        file += encoded.data
    return file + writer.tail(places)

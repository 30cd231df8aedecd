"""Buffers of an Arrow stream that were compressed, inflated by nanoarrow.

It reads streams alone, so each buffer becomes one: a column of bytes, with metadata that is made
here. So its code in C never sees a client's metadata, and a column with a dictionary, which it
would read wrongly in a compressed stream, is none to it. Refuses with 400 what is damaged.
"""

import io
import struct
from functools import lru_cache

import flatbuffers
import nanoarrow
from nanoarrow.c_array_stream import CArrayStream
from nanoarrow.ipc import InputStream, StreamWriter

from serving.dialects.arrow_messages import BATCH, CONTINUATION, malformed

CODECS = (0, 1)  # LZ4 frames, and Zstandard
_VERSION = 4  # V5
_BYTES = {"bytes": nanoarrow.uint8()}


def inflated(data: memoryview, codec: int, length: int) -> memoryview:
    """Inflate a buffer: its length as a long integer, and what was compressed behind that.

    Raises:
        Problem: 400.
    """
    body = bytes(data) + bytes(-len(data) % 8)
    metadata = _batch(length, len(data), len(body), codec)
    metadata += bytes(-len(metadata) % 8)
    head, end = (struct.pack("<ii", CONTINUATION, size) for size in (len(metadata), 0))
    try:
        given = InputStream.from_readable(b"".join((_schema(), head, metadata, body, end)))
        with given, nanoarrow.c_array_stream(given) as stream:
            buffer = stream.get_next().child(0).view().buffer(1)
            return memoryview(buffer).cast("B")
    except (ValueError, RuntimeError, OSError, StopIteration):  # nanoarrow's own are such
        malformed("a compressed buffer is damaged")


@lru_cache
def _schema() -> bytes:
    """Write the schema of one column of bytes."""
    written = io.BytesIO()
    writer = StreamWriter.from_writable(written)
    writer.write_stream(
        CArrayStream.from_c_arrays([], nanoarrow.c_schema(nanoarrow.struct(_BYTES)))
    )
    writer.release()
    return written.getvalue()


def _batch(length: int, compressed: int, body: int, codec: int) -> bytes:
    """Write the metadata of a batch with so many bytes in one compressed buffer."""
    to = flatbuffers.Builder(256)
    to.StartObject(2)  # BodyCompression
    to.PrependInt8Slot(0, codec, 0)
    compression = to.EndObject()
    buffers = _pairs(to, (0, 0), (0, compressed))
    nodes = _pairs(to, (length, 0))
    to.StartObject(4)  # RecordBatch
    to.PrependInt64Slot(0, length, 0)
    to.PrependUOffsetTRelativeSlot(1, nodes, 0)
    to.PrependUOffsetTRelativeSlot(2, buffers, 0)
    to.PrependUOffsetTRelativeSlot(3, compression, 0)
    header = to.EndObject()
    to.StartObject(4)  # Message
    to.PrependInt64Slot(3, body, 0)
    to.PrependUOffsetTRelativeSlot(2, header, 0)
    to.PrependInt16Slot(0, _VERSION, 0)
    to.PrependUint8Slot(1, BATCH, 0)
    to.Finish(to.EndObject())
    return bytes(to.Output())


def _pairs(to: flatbuffers.Builder, *pairs: tuple[int, int]) -> int:
    """Write a vector of structs of two long integers."""
    to.StartVector(16, len(pairs), 8)
    for first, second in reversed(pairs):
        to.PrependInt64(second)
        to.PrependInt64(first)
    return int(to.EndVector())

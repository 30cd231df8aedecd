"""Reads damaged Arrow streams and Parquet files, in a process that may crash; see `test_arrow`.

Prints how many were refused. Any other end of reading than rows or a Problem is an error.
"""

import io
import random
import resource

import pyarrow as pa
from pyarrow import parquet

from serving.dialects.dialect import Sent
from serving.dialects.formats import READERS
from serving.model.features import Feature
from serving.model.rows import Rows
from serving.problems import Problem
from tests.unit.samples import category, integer, number, text

MOST_BYTES = 4 * 2**30  # of addresses: what swells ends here
TRIES = 400  # of each body
FEATURES: tuple[Feature, ...] = (
    number("length"),
    integer("count", nullable=True),
    category("colour"),
    text("note", nullable=True),
)
ROWS = Rows(FEATURES, 100)
ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
CODECS = (None, "lz4", "zstd")


def bodies() -> list[tuple[str, bytes]]:
    """Write a table in all ways."""
    table = pa.table(
        {
            "length": [0.5 * n for n in range(60)],
            "count": pa.array([1, None, 3] * 20, pa.int32()),
            "colour": pa.array(["red", "blue", "eggs"] * 20).dictionary_encode(),
            "note": pa.array(["aa", None, "b" * 20] * 20, pa.string_view()),
        }
    )
    written = []
    for codec in CODECS:
        stream, file = io.BytesIO(), io.BytesIO()
        options = pa.ipc.IpcWriteOptions(compression=codec)
        with pa.ipc.new_stream(stream, table.schema, options=options) as writer:
            writer.write_table(table, 40)
        plain = table.set_column(3, "note", table["note"].cast(pa.string()))
        parquet.write_table(plain, file, compression=codec or "none", row_group_size=40)
        written += [(ARROW, stream.getvalue()), (PARQUET, file.getvalue())]
    return written


def damaged(body: bytes, draw: random.Random) -> bytes:
    """Change some bytes, or numbers, or leave some out."""
    changed = bytearray(body)
    for _ in range(draw.choice([1, 1, 2, 8])):
        at = draw.randrange(len(changed))
        match draw.randrange(4):
            case 0:
                changed[at] ^= 1 << draw.randrange(8)
            case 1:
                changed[at : at + 4] = draw.choice(
                    [b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xff" * 4]
                )
            case 2:
                changed[at : at + 8] = draw.choice([b"\xff" * 7 + b"\x7f", bytes(8), b"\xff" * 8])
            case 3:
                del changed[at : at + draw.randrange(1, 64)]
        changed = changed or bytearray(b"\0")
    return bytes(changed)


def main() -> None:
    """Read them."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    draw = random.Random(11)
    refused = 0
    for media_type, body in bodies():
        assert len(READERS[media_type](Sent(body), ROWS).rows) == 60
        for _ in range(TRIES):
            sent = Sent(damaged(body, draw), media_type, max_bytes=10**6)
            try:
                READERS[media_type](sent, ROWS)
            except Problem:
                refused += 1
    print(refused)


if __name__ == "__main__":
    main()

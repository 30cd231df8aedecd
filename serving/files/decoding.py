"""A process that reads what pyarrow reads; `serving.files.columnar` starts it.

A file from outside may be made to crash pyarrow, or to swell in memory. So it is read here, within
a limit of memory, and what is handed over has been validated: parts of a table, as streams of
Arrow's with one batch each. Whatever happens here, the other side has a sentence for it.
"""

import json
import resource
import signal
import sys
from base64 import b64decode
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import pyarrow as pa

from serving.files.arrow import plain, validate
from serving.files.batches import ERRORS, open_batches
from serving.files.formats import Format
from serving.files.inputs import Input, unreadable
from serving.files.source import PART_ROWS, TableError

PART_BYTES = 16 << 20
MEMORY_BYTES = 1 << 30


def main() -> None:
    """Read the table that the other end of a socket asks for, whose number is the argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other side ends, and then this one
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    pa.set_cpu_count(1)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with Connection(int(sys.argv[1])) as other:
        read(other)


def read(other: Connection) -> None:
    """Read the table that the other side asks for, and hand it over."""
    asked = json.loads(other.recv_bytes())
    given = Input(asked["path"], head=b64decode(asked["head"]), is_looked_at=True)
    try:
        _hand_over(other, given, Format(asked["format"]))
        tell(other, end=True)
    except TableError as exc:
        tell(other, error=str(exc))
    except MemoryError:
        told = (
            f"{given.name} takes more than {MEMORY_BYTES >> 30} GiB of memory to read: it may be "
        )
        told += "damaged; if it is not, write it in smaller parts, or give back fewer --columns"
        tell(other, error=told)
    except ERRORS as exc:
        tell(other, error=unreadable(given.name, exc))


def _hand_over(other: Connection, given: Input, form: Format) -> None:
    """Tell of the columns, be told which are wanted, tell of the rows, and hand them over."""
    batches = open_batches(given, form)
    _ = batches.schema.names  # what is no UTF-8 is found here
    other.send_bytes(batches.schema.serialize())
    names = json.loads(other.recv_bytes())["names"]
    found = batches.read(names)
    tell(other, rows=batches.rows)
    for part in in_parts(_valid(found, names, given.name)):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, part.schema) as stream:
            stream.write_batch(part)
        other.send_bytes(sink.getvalue())


def tell(other: Connection, **message: Any) -> None:  # noqa: ANN401 (JSON)
    """Send JSON, which no stream of Arrow's begins as."""
    other.send_bytes(json.dumps(message).encode())


def _valid(
    batches: Iterable[pa.RecordBatch], names: list[str], name: str
) -> Iterator[pa.RecordBatch]:
    """Validate what is wanted of batches, and make it plain."""
    for batch in batches:
        wanted = batch.select(names)
        try:
            validate(wanted, range(len(names)))
        except TableError as exc:
            raise TableError(f"{name}: {exc}") from exc
        yield pa.RecordBatch.from_arrays(list(map(plain, wanted.columns)), names)


def in_parts(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Cut or join batches, so that parts have as many rows as they may, by number and bytes."""
    held: list[pa.RecordBatch] = []
    rows, size = 0, 0
    for batch in batches:
        while batch.num_rows:
            of_each = max(batch.nbytes // batch.num_rows, 1)
            count = min(PART_ROWS - rows, max((PART_BYTES - size) // of_each, 1), batch.num_rows)
            piece, batch = batch.slice(0, count), batch.slice(count)
            held.append(piece)
            rows, size = rows + count, size + piece.nbytes
            if rows == PART_ROWS or size >= PART_BYTES:
                yield pa.concat_batches(held)
                held, rows, size = [], 0, 0
    if held:
        yield pa.concat_batches(held)

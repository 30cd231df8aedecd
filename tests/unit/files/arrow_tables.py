"""Tables in Parquet and Arrow's own formats, for the tests: good ones, and such as are damaged."""

import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from serving.files.formats import Format
from serving.model.description import Description
from serving.model.features import Feature
from tests.unit.samples import category, description, number

ROWS = 300
FEATURES: tuple[Feature, ...] = (number("x", nullable=True), category("w", nullable=True))
MODEL: Description = description(features=FEATURES)
KINDS = (Format.PARQUET, Format.ARROW, Format.ARROWS)


def table(rows: int = ROWS) -> pa.Table:
    """Give a table that fits, with nested columns beside."""
    return pa.table(
        {
            "id": pa.array(range(rows)),
            "x": pa.array([None if at % 7 == 0 else at / 8 for at in range(rows)]),
            "w": pa.array([f"w{at % 5}" if at % 11 else None for at in range(rows)]),
            "list": pa.array([[at, None] if at % 3 else None for at in range(rows)]),
            "struct": pa.array([{"a": at, "b": [str(at)]} for at in range(rows)]),
        }
    )


def written(
    given: pa.Table, form: Format, compression: str | None = None, rows: int = 100
) -> bytes:
    """Write a table in parts of so many rows."""
    sink = io.BytesIO()
    if form is Format.PARQUET:
        pq.write_table(given, sink, compression=compression or "none", row_group_size=rows)
        return sink.getvalue()
    make = pa.ipc.new_file if form is Format.ARROW else pa.ipc.new_stream
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with make(sink, given.schema, options=options) as writer:
        writer.write_table(given, max_chunksize=rows)
    return sink.getvalue()


def saved(folder: Path, given: pa.Table, form: Format, compression: str | None = None) -> Path:
    """Save a table in a file of its format's name."""
    path = folder / f"t.{form}"
    path.write_bytes(written(given, form, compression))
    return path


def damaged(seed: int, count: int) -> Iterator[tuple[Format, bytes]]:
    """Give files in which some bytes differ, or that end too early."""
    chance = random.Random(seed)
    encoded = table().set_column(2, "w", table()["w"].dictionary_encode())
    files = [
        (form, written(encoded, form, compression))
        for form in KINDS
        for compression in (None, "zstd")
    ]
    for _ in range(count):
        form, data = chance.choice(files)
        if chance.random() < 0.2:
            yield form, data[: chance.randrange(len(data))]
            continue
        # What tells of the rest stands at the beginning and at the end.
        size = len(data)
        begin, end = chance.choice([(0, size), (0, 1200), (max(0, size - 3000), size)])
        changed = bytearray(data)
        for _ in range(chance.choice([1, 1, 2, 4, 16])):
            at = chance.randrange(begin, min(end, size))
            word = chance.choice([b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\0", None])
            changed[at : at + 1] = word[:1] if word else bytes([changed[at] ^ 1 << at % 8])
            if word and at + len(word) < size:
                changed[at : at + len(word)] = word
        yield form, bytes(changed)


class Asking:
    """The other side of a reader, which wants all columns; what is told last is its ``end``."""

    def __init__(self, path: str, form: str) -> None:
        """Ask for a file."""
        self._asked = {"path": path, "head": "", "format": form}
        self._names: list[str] = []
        self.end: dict[str, Any] = {}

    def recv_bytes(self) -> bytes:
        """Ask for the file, and then for its columns."""
        return json.dumps({"names": self._names} if self._names else self._asked).encode()

    def send_bytes(self, message: bytes) -> None:
        """Hear of the columns, of parts, which are read, and of the end."""
        if message[:1] == b"{":
            self.end = json.loads(message)
        elif not self._names:
            self._names = list(pa.ipc.read_schema(pa.py_buffer(message)).names)
        else:
            pa.ipc.open_stream(message).read_next_batch()

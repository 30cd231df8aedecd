"""Parquet and Arrow's own formats as a source: read by a process apart, which may crash or swell.

That process (`serving.files.decoding`) decodes, which takes a tenth of the time that scoring takes;
what it hands over are parts that any process can read. Its end is told in a sentence.
"""

import json
import signal
import socket
import subprocess
import sys
import weakref
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pyarrow as pa

from serving.files.arrow import check_fit, column_of, plain_schema
from serving.files.formats import Format, How
from serving.files.inputs import Input
from serving.files.source import CutShortError, Part, Read, TableError
from serving.model.description import Description

_PROGRAM = "serving.files.decoding"
_END_S = 5.0  # in which it ends by itself, once it hands nothing over


class ColumnarSource:
    """A table in a format that pyarrow reads."""

    def __init__(self, given: Input, form: Format, how: How, description: Description) -> None:
        """Look at the columns.

        Raises:
            TableError: it can't be read, or does not fit the model.
        """
        self._given, self._form = given, form
        self._features = description.features
        self._reader: _Reader | None = _Reader(given, form)
        schema = self._reader.schema
        fit = check_fit(schema, description.features, how.columns, how.answers)
        self.notes: Sequence[str] = fit.notes
        self.kept = plain_schema(schema, fit.kept)
        features = [feature.name for feature in self._features]
        self._names = list(dict.fromkeys([*features, *self.kept.names]))
        self._reader.ask(self._names)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the process behind: parts can be read without it."""
        return self.__dict__ | {"_reader": None}

    def parts(self) -> Iterator[Part]:
        """Give all parts.

        Raises:
            TableError: the table is damaged.
        """
        reader, self._reader = self._reader, None
        if reader is None:
            reader = _Reader(self._given, self._form)
            reader.ask(self._names)
        row = 1
        with reader:
            while (data := reader.receive()) is not None:
                first, row = row, row + _batch(data).num_rows
                share = min((row - 1) / reader.rows, 1.0) if reader.rows > 0 else 0.0
                yield Part(first, 0, data, share)

    def read(self, part: Part) -> Read:
        """Read a part."""
        batch = _batch(part.data)
        pairs = [column_of(feature, batch.column(feature.name)) for feature in self._features]
        read = Read([column for column, _ in pairs], batch.select(self.kept.names))
        for _, taken in pairs:
            read.taken.update(taken)
        return read


def _batch(data: bytes) -> pa.RecordBatch:
    return pa.ipc.open_stream(data).read_next_batch()


class _Reader:
    """The process that reads a table."""

    def __init__(self, given: Input, form: Format) -> None:
        self._given = given
        ours, theirs = socket.socketpair()
        self._other = Connection(ours.detach())
        self._told = TemporaryFile()  # noqa: SIM115 (closed with the process)
        with theirs:
            root = str(Path(__file__).parents[2])
            self._process = subprocess.Popen(  # noqa: S603 (our own program)
                [sys.executable, "-c", _program([root, *sys.path]), str(theirs.fileno())],
                stdin=None if given.is_standard else subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._told,
                pass_fds=[theirs.fileno()],
            )
        self._close = weakref.finalize(self, _end, self._process, self._other, self._told)
        head = b64encode(given.head).decode()
        self._send({"path": given.path, "head": head, "format": form})
        self.schema = pa.ipc.read_schema(pa.py_buffer(self._message()))

    def __enter__(self) -> "_Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def ask(self, names: Sequence[str]) -> None:
        """Ask for these columns, and be told how many rows there are; 0, if that is not known."""
        self._send({"names": names})
        self.rows: int = json.loads(self._message())["rows"]

    def receive(self) -> bytes | None:
        """Give the next part, None at the end."""
        message = self._message()
        return None if message.startswith(b"{") else message

    def _send(self, message: dict[str, Any]) -> None:
        with suppress(OSError):  # it has ended, which is told when it is listened to
            self._other.send_bytes(json.dumps(message).encode())

    def _message(self) -> bytes:
        """Give what it says, if that is no error."""
        try:
            message = self._other.recv_bytes()
        except (EOFError, OSError):
            raise self._death() from None
        if message.startswith(b"{") and (error := json.loads(message).get("error")):
            raise TableError(error)
        return message

    def _death(self) -> TableError:
        try:
            status = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            status = 0
        told = f"{self._given.name} can't be read: what reads it has ended"
        if status == -signal.SIGKILL:
            return CutShortError(f"{told}, killed, perhaps because there was no memory left")
        if status < 0:
            return TableError(f"{told} by {signal.Signals(-status).name}; the file is damaged")
        self._told.seek(0)
        last = self._told.read().decode(errors="replace").strip().rpartition("\n")[2]
        return TableError(f"{told}: {last or status}")


def _program(path: Sequence[str]) -> str:
    # What Arrow allocates by otherwise reserves more than is used, which would count.
    pool = "os.environ['ARROW_DEFAULT_MEMORY_POOL'] = 'system'"
    begin = f"from {_PROGRAM} import main; main()"
    return f"import os, sys; {pool}; sys.path[:] = {list(path)!r}; {begin}"


def _end(process: "subprocess.Popen[bytes]", other: Connection, told: Any) -> None:  # noqa: ANN401
    other.close()
    process.kill()
    process.wait()
    told.close()

"""Where a table's bytes come from: a file, gzipped or not, or standard input.

Standard input is looked at before it is known what it is, so what was read of it goes first. What
can't be read is told in a sentence.
"""

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from serving.files.formats import STANDARD
from serving.files.source import TableError

_HEAD_BYTES = 1 << 16
_MAGIC_BYTES = 8  # as many as the longest that a format begins with
_BUFFER_BYTES = 1 << 20


@dataclass(slots=True)
class Input:
    """Bytes to be read. ``head`` is what was read of standard input.

    That can be looked at once before it is read: what is read of it when it is opened first goes to
    the head, for who opens it next.
    """

    path: str
    gz: bool = False
    head: bytes = b""
    is_looked_at: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave behind what was read: another process has another standard input."""
        return Input, (self.path, self.gz)

    @property
    def is_standard(self) -> bool:
        """Tell whether it is standard input."""
        return self.path == STANDARD

    @property
    def name(self) -> str:
        """What it is called in sentences."""
        return "standard input" if self.is_standard else self.path

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Open it.

        Raises:
            TableError: it can't be read, now or while it is open.
        """
        try:
            with self.open() as stream:
                yield stream
        except (OSError, EOFError, zlib.error) as exc:
            raise TableError(unreadable(self.name, exc)) from exc

    def open(self) -> BinaryIO:
        """Open it.

        Raises:
            OSError: it can't be read; then or later also EOFError and zlib.error.
        """
        if self.is_standard:
            plain = io.BufferedReader(_Standard(self), _BUFFER_BYTES)
            self.is_looked_at = True
            return cast("BinaryIO", gzip.GzipFile(fileobj=plain)) if self.gz else plain
        opened = gzip.open(self.path) if self.gz else open(self.path, "rb")  # noqa: SIM115 (who opens it closes it)
        return cast("BinaryIO", opened)


def share_of(stream: BinaryIO) -> float:
    """Tell how much of a file has been read, from 0 to 1; 0 of what is no file."""
    file = stream.fileobj if isinstance(stream, gzip.GzipFile) else stream
    try:
        return min(file.tell() / os.fstat(file.fileno()).st_size, 1.0)
    except (OSError, ZeroDivisionError):
        return 0.0


class _Standard(io.RawIOBase):
    """Standard input, with what was read of it before."""

    def __init__(self, given: Input) -> None:
        """Begin with its head."""
        self._given, self._keeps = given, not given.is_looked_at
        self._head = memoryview(given.head)

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read what is there, at most as much as the buffer takes."""
        if found := self._head[: len(buffer)]:
            self._head = self._head[len(found) :]
        else:
            found = memoryview(os.read(0, len(buffer)))
            if self._keeps:
                self._given.head += found
        buffer[: len(found)] = found
        return len(found)


def first_bytes() -> bytes:
    """Read how standard input begins.

    Raises:
        TableError: it can't be read.
    """
    head = b""
    try:
        while len(head) < _MAGIC_BYTES and (more := os.read(0, _HEAD_BYTES)):
            head += more
    except OSError as exc:
        raise TableError(unreadable("standard input", exc)) from exc
    return head


def files_in(folder: Path) -> list[Path]:
    """Give what is read of a folder; what others leave beside it begins with _ or a dot."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(("_", ".")))


def unreadable(name: str, reason: object) -> str:
    """Tell that something can't be read."""
    if isinstance(reason, FileNotFoundError):
        return f"there is no file {name}"
    if isinstance(reason, OSError) and reason.strerror:
        return f"{name} can't be read: {reason.strerror}"
    return f"{name} can't be read, it may be damaged: {reason}"

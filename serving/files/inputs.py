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
from typing import BinaryIO

from serving.files.formats import STANDARD
from serving.files.source import TableError

_HEAD_BYTES = 1 << 16
_MAGIC_BYTES = 8  # as many as the longest that a format begins with
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Input:
    """Bytes to be read; ``head`` is what was read of standard input."""

    path: str
    gz: bool = False
    head: bytes = b""

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
        """Open it; standard input can be read once.

        Raises:
            TableError: it can't be read, now or while it is open.
        """
        try:
            with self._bytes() as plain:
                if not self.gz:
                    yield plain
                    return
                with gzip.GzipFile(fileobj=plain) as unpacked:
                    yield io.BufferedReader(unpacked, _BLOCK_BYTES)
        except (OSError, EOFError, zlib.error) as exc:
            raise TableError(unreadable(self.name, exc)) from exc

    def _bytes(self) -> BinaryIO:
        if self.is_standard:
            return io.BufferedReader(Standard(self.head), _BLOCK_BYTES)
        return open(self.path, "rb")


class Standard(io.RawIOBase):
    """Standard input, with what was read of it before."""

    def __init__(self, head: bytes) -> None:
        """Begin with these bytes."""
        self._head = memoryview(head)

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read what is there, at most as much as the buffer takes."""
        found = self._head[: len(buffer)] or os.read(0, len(buffer))
        self._head = self._head[len(found) :]
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


def unreadable(name: str, reason: object) -> str:
    """Tell that something can't be read."""
    if isinstance(reason, FileNotFoundError):
        return f"there is no file {name}"
    if isinstance(reason, OSError) and reason.strerror:
        return f"{name} can't be read: {reason.strerror}"
    return f"{name} can't be read, it may be damaged: {reason}"

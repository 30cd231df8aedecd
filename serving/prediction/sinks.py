"""Where the lines of the prediction log go: a file that is appended to, or stdout."""

import fcntl
import os
import stat
import sys
from contextlib import suppress
from typing import Protocol

from serving.keys import OFF
from serving.settings import PREFIX, STDOUT


class Sink(Protocol):
    """Takes lines; one that keeps nothing of a failure may be given the same lines again."""

    @property
    def keeps_nothing_of_a_failure(self) -> bool:
        """Whether lines that could not be written left nothing behind."""

    def write(self, lines: list[bytes]) -> None:
        """Write lines.

        Raises:
            OSError: it can't be done.
        """

    def close(self) -> None:
        """Let go of what is open."""


def sink_to(target: str) -> Sink | None:
    """Give the sink for ``stdout`` or a path; none for ``off``."""
    if target == OFF:
        return None
    return Stdout() if target == STDOUT else File(target)


class File:
    """A file that several processes append to, and that may be moved away, as logrotate does."""

    keeps_nothing_of_a_failure = True

    def __init__(self, path: str) -> None:
        """Take where it is; it is opened when it is written to."""
        self._path = path
        self._descriptor: int | None = None

    def write(self, lines: list[bytes]) -> None:
        """Append all lines or, if that fails, none."""
        descriptor = self._opened()
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # or a line might follow the half that is cut off
        try:
            append_whole(descriptor, b"".join(lines))
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _opened(self) -> int:
        """Open the file, again if another or none is at its path by now."""
        if self._descriptor is not None:
            with suppress(OSError):
                if os.path.samestat(os.stat(self._path), os.fstat(self._descriptor)):
                    return self._descriptor
            self.close()
        self._descriptor = _open(self._path)
        return self._descriptor

    def close(self) -> None:
        """Close what is open."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _open(path: str) -> int:
    """Open a file to append to; a new one is for this user alone, since it holds inputs.

    Raises:
        OSError: it can't be opened, or is something else than a file: a FIFO would block.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is no regular file")
    return descriptor


class Stdout:
    """The stdout of the process, which log lines share."""

    keeps_nothing_of_a_failure = False

    def write(self, lines: list[bytes]) -> None:
        """Write line by line, through the buffer that log lines go through, so that none tears."""
        if sys.__stdout__ is None:
            raise OSError("stdout is closed")
        stream = sys.__stdout__.buffer
        for line in lines:
            stream.write(line)
            stream.flush()

    def close(self) -> None:
        """Leave it open."""


def check(target: str) -> None:
    """See, before a worker starts, that the log can be written.

    Raises:
        SystemExit: with a line that names the variable and what is wrong.
    """
    if target in (OFF, STDOUT):
        return
    try:
        os.close(_open(target))
    except (OSError, ValueError) as exc:
        problem = getattr(exc, "strerror", None) or str(exc)
        raise SystemExit(
            f"{PREFIX}PREDICTION_LOG: can't write to {target}: {problem} (`stdout`, or a file that "
            "gets a JSON line for each prediction)"
        ) from None


def append_whole(descriptor: int, data: bytes) -> None:
    """Append to a file that is open for that, all or nothing.

    Raises:
        OSError: it can't be done; the file is as it was, unless another process appended too.
    """
    before = os.fstat(descriptor).st_size
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, before)
        raise

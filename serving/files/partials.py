"""A file that is there when it is whole: until then its bytes stand beside it, in ``.partial``.

What is no file, such as a pipe or a device, gets its bytes at once. What the system refuses is told
as an `OutputError`, and so is a place that is read too.
"""

import fcntl
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

STANDARD_OUTPUT = "-"


class OutputError(Exception):
    """A table can't be written; the message says why, what is kept, and what to do."""


@contextmanager
def writing(path: str, kept: str = "") -> Iterator[None]:
    """Tell why something can't be written, and what is kept of it.

    Raises:
        OutputError: the system refuses.
    """
    try:
        yield
    except OSError as exc:
        name = "standard output" if path == STANDARD_OUTPUT else path
        told = f"{name} can't be written ({exc.strerror or exc})"
        raise OutputError(f"{told}; {kept}" if kept else told) from exc


def is_stream(path: str) -> bool:
    """Tell whether a path is no place for a file: a pipe, a device, standard output."""
    place = Path(path)
    return path == STANDARD_OUTPUT or (
        place.exists() and not place.is_file() and not place.is_dir()
    )


def check_places(paths: Sequence[str], inputs: Sequence[str]) -> None:
    """Refuse to write where there is no place, or over what is read or written too.

    Raises:
        OutputError: it says which.
    """
    read = [Path(each).resolve() for each in inputs if each != STANDARD_OUTPUT]
    taken: list[Path] = []
    for path in paths:
        if is_stream(path):
            continue
        place = Path(path).resolve()
        if place.is_dir():
            raise OutputError(f"{path} is a folder; name a file to be written")
        if not place.parent.is_dir():
            raise OutputError(f"{path} can't be written: there is no folder {place.parent}")
        for each in (place, partial_of(place)):
            if any(_is_same(each, other) or other in each.parents for other in read):
                raise OutputError(f"{path} would be written over what is read; name another file")
            if any(_is_same(each, other) for other in taken):
                raise OutputError(f"{path} is to be written twice; name another file")
        taken += [place, partial_of(place)]


def _is_same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)
    return one == other


def partial_of(place: Path) -> Path:
    """Give where the bytes of a file stand until it is whole."""
    return place.with_name(f"{place.name}.partial")


class Stream:
    """Takes bytes that can't be taken back; ``size`` counts them."""

    def __init__(self, path: str) -> None:
        """Open it, which waits for who reads from a pipe."""
        self.path, self.size = path, 0
        self._file = self._open()

    def _open(self) -> int:
        if self.path == STANDARD_OUTPUT:
            return os.dup(sys.stdout.fileno())
        return os.open(self.path, os.O_WRONLY)

    def write(self, data: bytes) -> None:
        """Append bytes."""
        write_all(self._file, data)
        self.size += len(data)

    def holds(self, size: int, checksum: int) -> bool:
        """Tell whether so many bytes with this CRC-32 follow, of an earlier run."""
        return False

    def cut(self, size: int) -> None:
        """Leave no more than so many bytes of an earlier run."""

    def sync(self) -> None:
        """See that what was written lasts."""

    def publish(self) -> None:
        """Let the file be there."""

    def remove(self) -> None:
        """Leave nothing of it."""

    def close(self) -> None:
        """Close it."""
        os.close(self._file)


class Partial(Stream):
    """Takes the bytes of a file, beside it; a link to the file stays one."""

    def _open(self) -> int:
        self._place = Path(self.path).resolve()
        self._partial = partial_of(self._place)
        return locked(self._partial)

    def holds(self, size: int, checksum: int) -> bool:
        """Tell whether so many bytes with this CRC-32 follow, of an earlier run."""
        data = os.pread(self._file, size, self.size)
        return len(data) == size and zlib.crc32(data) == checksum

    def cut(self, size: int) -> None:
        """Leave no more than so many bytes of an earlier run."""
        os.truncate(self._file, size)
        os.lseek(self._file, size, os.SEEK_SET)
        self.size = size

    def sync(self) -> None:
        """See that what was written lasts."""
        os.fsync(self._file)

    def publish(self) -> None:
        """Let the file be there."""
        self._partial.replace(self._place)

    def remove(self) -> None:
        """Leave nothing of it."""
        self._partial.unlink(missing_ok=True)


def write_all(file: int, data: bytes) -> None:
    """Write bytes, of which the system may take some at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def locked(place: Path) -> int:
    """Open a file that no other run writes to, as long as it is open.

    Raises:
        OutputError: another run does.
    """
    while True:
        file = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            told = str(place).removesuffix(place.suffix)
            raise OutputError(f"another run is writing {told}") from None
        except OSError:
            return file  # this file system has no locks
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), place.stat()):
                return file
        os.close(file)  # the run that had it has just removed it

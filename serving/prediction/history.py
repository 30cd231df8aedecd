"""The totals of each minute of a day: what a server had counted then, so that differences tell.

They stand in a file that the workers share, each minute written by whoever comes first. So all tell
alike, and a worker that is replaced takes nothing with it.
"""

import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np

from serving.model.outputs import Array

SLOT_S = 60
SLOTS = 24 * 60 + 1  # so that there is one from a day ago
MOST_OF_ROOM = 0.75  # that is free when it begins
_NUMBER = np.dtype(np.int64).itemsize


class Totals(NamedTuple):
    """What had been counted at a moment, in seconds since the epoch."""

    time_s: int
    counts: Array


class History:
    """A ring of totals, one for each minute: the first that were noted in it."""

    def __init__(self, file: Path | None, width: int) -> None:
        """Open the file, or make it; a worker that has no others beside it needs no name for it.

        Raises:
            OSError: it can't be made, or would leave too little room to others.
        """
        self._slot = _NUMBER * (1 + width)
        self._width = width
        self._began_s = int(time.time())
        self._one_thread = Lock()  # the file's lock keeps out other processes alone
        if file is None:
            with tempfile.TemporaryFile() as unnamed:
                self._file = os.dup(unnamed.fileno())
        else:
            self._file = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._has_room()
        except OSError:
            self.close()
            raise

    def wants(self, now_s: float) -> bool:
        """Tell whether nobody has noted this minute yet."""
        return self._noted_at(int(now_s)) // SLOT_S != int(now_s) // SLOT_S

    def note(self, now_s: float, counts: Array) -> None:
        """Note what has been counted by now, unless another worker has noted this minute.

        Raises:
            OSError: there is no room.
        """
        time_s = int(now_s)
        with self._locked():
            if self.wants(time_s):
                place = self._place(time_s)
                # The time goes last: what could not be written whole is nobody's total.
                self._write(np.asarray(counts, dtype=np.int64).tobytes(), place + _NUMBER)
                self._write(np.int64(time_s).tobytes(), place)

    def before(self, time_s: float, now_s: float) -> Totals:
        """Give the last totals that are as old as that, or the first of all if none is.

        If nothing could be noted, there was nothing when this worker began.
        """
        with self._locked():
            content = os.pread(self._file, SLOTS * self._slot, 0)
        whole = len(content) // self._slot * self._slot
        records = np.frombuffer(content[:whole], dtype=np.int64).reshape(-1, 1 + self._width)
        times = records[:, 0]
        kept = records[(times > 0) & (times > now_s - SLOTS * SLOT_S)]
        if not len(kept):
            return Totals(self._began_s, np.zeros(self._width, dtype=np.int64))
        old = kept[kept[:, 0] <= time_s]
        record = old[old[:, 0].argmax()] if len(old) else kept[kept[:, 0].argmin()]
        return Totals(int(record[0]), record[1:])

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _has_room(self) -> None:
        """Refuse to fill within a day the memory that the workers' counters need to grow.

        A worker that writes to one of those where there is no room is killed by the system.
        """
        size, room = SLOTS * self._slot, os.fstatvfs(self._file)
        free = room.f_bavail * room.f_frsize + 512 * os.fstat(self._file).st_blocks
        if size > free * MOST_OF_ROOM:
            told = f"a day takes {size / 1e6:.1f} of the {free / 1e6:.1f} MB that are free"
            raise OSError(errno.ENOSPC, f"{told}, watch fewer features or leave it more room")

    def _write(self, content: bytes, place: int) -> None:
        if os.pwrite(self._file, content, place) < len(content):  # the rest finds no room
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _noted_at(self, time_s: int) -> int:
        stamp = os.pread(self._file, _NUMBER, self._place(time_s))
        return int.from_bytes(stamp, byteorder="little", signed=True)

    def _place(self, time_s: int) -> int:
        return time_s // SLOT_S % SLOTS * self._slot

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._one_thread:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

"""Letters: what a worker leaves in a folder of its server's own, for the supervisor to read.

That some worker has served is a letter that stays. The others are of a worker that has died, by its
process id: why it can't serve, or where its threads were when it could not log any more.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import IO

_SERVED = "served"


class Letters:
    """The letters of one server."""

    def __init__(self, folder: Path) -> None:
        """Take the folder."""
        self.folder = folder

    def tell_served(self) -> None:
        """Leave word that a worker has served."""
        with suppress(OSError):  # a cleaner of old files may have taken the folder
            (self.folder / _SERVED).touch()

    @property
    def has_served(self) -> bool:
        """Whether any worker has."""
        return (self.folder / _SERVED).exists()

    def refuse(self, reason: str) -> None:
        """Leave word of why this worker can't serve."""
        with suppress(OSError):
            self._refusal(os.getpid()).write_text(reason, "utf-8", "backslashreplace")

    def refusal_of(self, pid: int) -> str:
        """Read why a worker could not serve, and remove that."""
        return _taken(self._refusal(pid))

    def open_stacks(self) -> IO[str] | None:
        """Open the file for the stacks of this worker."""
        with suppress(OSError):
            return self._stacks(os.getpid()).open("w")
        return None

    def stacks_of(self, pid: int) -> str:
        """Read where the threads of a dead worker were, if it left that, and remove it."""
        return _taken(self._stacks(pid))

    def _refusal(self, pid: int) -> Path:
        return self.folder / f"refusal_{pid}"

    def _stacks(self, pid: int) -> Path:
        return self.folder / f"stacks_{pid}"


def _taken(file: Path) -> str:
    words = ""
    with suppress(OSError):
        words = file.read_text("utf-8", "replace")
        file.unlink()
    return words

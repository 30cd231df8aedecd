"""Letters: what the processes of a server tell each other, in a folder of the server's own.

A worker leaves word of what it can do and of why it can't go on, by its process id; that some
worker has served is a letter that stays. The supervisor leaves the status of the server, which
`python -m serving.versions` reads.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal

from pydantic import ValidationError

from serving.exposition import lives
from serving.host.process import LETTERS_PURPOSE, folders_in_use
from serving.model.domains import Frozen
from serving.model.state import ShadowLetter

Phase = Literal["starting", "draining", "done", "refused"]
_SERVED = "served"
_STATUS = "status.json"


class Status(Frozen):
    """What a server serves, and what it has made of the desired state.

    ``revision`` is that of the state file that was looked at last, ``phase`` how far that has come:
    new workers start beside the old ones, the old ones drain, all is done; or it was refused, with
    a ``reason``. ``models`` has the version of each model that answers from now on, ``workers``
    what each of them serves, by its process id, and ``tags`` what the settings name.
    """

    parent: int
    state_file: str
    metrics: str
    tags: tuple[str, ...]
    revision: int
    phase: Phase
    reason: str = ""
    models: Mapping[str, str]
    workers: Mapping[str, Mapping[str, str]]


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

    def tell_ready(self) -> None:
        """Leave word that this worker has loaded its models, and that they have answered."""
        self.tell_served()
        with suppress(OSError):
            self._ready(os.getpid()).touch()

    def is_ready(self, pid: int) -> bool:
        """Tell whether a worker is ready."""
        return self._ready(pid).exists()

    def ask_for_successor(self) -> None:
        """Leave word that another should take the place of this worker."""
        with suppress(OSError):
            self._successor(os.getpid()).touch()

    def wants_successor(self, pids: Iterable[int]) -> list[int]:
        """Tell which of these workers have asked for one."""
        return [pid for pid in pids if self._successor(pid).exists()]

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

    def forget(self, pid: int) -> None:
        """Remove what else a worker has left that has ended: another may get its number."""
        shadows = self.folder.glob(f"shadow_{pid}_*")
        for letter in (self._ready(pid), self._successor(pid), *shadows):
            with suppress(OSError):
                letter.unlink()

    def write_status(self, status: Status) -> None:
        """Tell the status of the server, whole or not at all."""
        unfinished = self.folder / f"{_STATUS}.new"
        with suppress(OSError):
            unfinished.write_text(status.model_dump_json(), "utf-8")
            unfinished.replace(self.folder / _STATUS)

    def read_status(self) -> Status | None:
        """Read the status of a server; nothing, if it has told none yet."""
        try:
            return Status.model_validate_json((self.folder / _STATUS).read_bytes())
        except (OSError, ValidationError):
            return None

    def tell_shadow(self, letter: ShadowLetter) -> None:
        """Tell what has become of a model's shadow in this worker, whole or not at all."""
        place = self._shadow(letter.model)
        unfinished = place.with_name(f".{place.name}")
        with suppress(OSError):
            unfinished.write_text(letter.model_dump_json(), "utf-8")
            unfinished.replace(place)

    def forget_shadow(self, model: str) -> None:
        """Tell that a model has no shadow in this worker any more."""
        with suppress(OSError):
            self._shadow(model).unlink()

    def shadows(self) -> list[ShadowLetter]:
        """Read what has become of the shadows of all workers that live."""
        letters = []
        for place in sorted(self.folder.glob("shadow_*")):
            with suppress(OSError, ValidationError):
                letters.append(ShadowLetter.model_validate_json(place.read_bytes()))
        return [letter for letter in letters if lives(letter.worker)]

    def _shadow(self, model: str) -> Path:
        return self.folder / f"shadow_{os.getpid()}_{model}"

    def _ready(self, pid: int) -> Path:
        return self.folder / f"ready_{pid}"

    def _successor(self, pid: int) -> Path:
        return self.folder / f"successor_{pid}"

    def _refusal(self, pid: int) -> Path:
        return self.folder / f"refusal_{pid}"

    def _stacks(self, pid: int) -> Path:
        return self.folder / f"stacks_{pid}"


def live_servers() -> Iterator[tuple[Letters, Status]]:
    """Give the letters and the status of each server that runs on this machine, as far as we may.

    Those of other users are seen by root alone.
    """
    for folder in folders_in_use(LETTERS_PURPOSE):
        letters = Letters(folder)
        status = letters.read_status()
        if status is not None and lives(status.parent):
            yield letters, status


def _taken(file: Path) -> str:
    words = ""
    with suppress(OSError):
        words = file.read_text("utf-8", "replace")
        file.unlink()
    return words

"""The desired state: which version of each model is wanted, as people have decided, and when.

One small JSON file beside the model store, written whole or not at all. The command
``python -m serving.versions`` writes it; servers read it.
"""

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError

from serving.model.domains import Frozen
from serving.model.stored import ModelError, newest
from serving.settings import TAG

CHAMPION = "champion"  # the alias of what was promoted last
LATEST = "latest"
BUSY = "is being changed by another command"


class StateError(ModelError):
    """The file can't be read or written, so that nobody knows which version to serve.

    The message says why and what to do.
    """


def _exact(version: str) -> str:
    """Check that it is a version: what is ``latest`` changes, and differs between workers."""
    if version == LATEST or not re.fullmatch(TAG, f"name:{version}"):
        raise ValueError(f"{version!r} is no exact version")
    return version


Version = Annotated[str, AfterValidator(_exact)]


class Change(Frozen):
    """What somebody has decided about a model: from which version to which, and why."""

    time: datetime
    action: str
    before: str | None
    after: str | None
    who: str
    why: str = ""


class Shadow(Frozen):
    """A version that is asked as well, for so many of a hundred requests, and answers nobody."""

    version: Version
    share: float = Field(100.0, gt=0, le=100)


class ShadowLetter(Frozen):
    """What has become of a model's shadow in a worker, as the desired state of a revision has it.

    One that was ``refused`` is not tried again before the state changes; the ``reason`` tells why,
    or of what the last one died while another is ``starting``.
    """

    worker: int
    revision: int
    model: str
    version: str
    state: Literal["starting", "running", "refused"]
    reason: str = ""


class ModelState(Frozen):
    """What is wanted of one model.

    ``promoted`` has the versions that are on the way back, the last of which is the champion;
    the first is what was served before anything was promoted.
    """

    promoted: tuple[Version, ...] = ()
    aliases: Mapping[str, Version] = {}
    shadow: Shadow | None = None
    history: tuple[Change, ...] = ()

    def of_alias(self, alias: str) -> str | None:
        """Give the version that an alias stands for, if it stands for one."""
        if alias == CHAMPION:
            return self.promoted[-1] if self.promoted else None
        return self.aliases.get(alias)


class State(Frozen):
    """What is wanted of all models; ``revision`` grows with each change."""

    revision: int = 0
    models: Mapping[str, ModelState] = {}

    def of(self, name: str) -> ModelState:
        """Give what is wanted of a model: nothing yet, if nobody has decided."""
        return self.models.get(name, ModelState())

    def version_of(self, tag: str) -> str:
        """Give the version that a tag means: NAME, NAME:VERSION, NAME:latest or NAME@ALIAS.

        A bare name, and ``latest``, mean the champion, and before there is one the newest version
        of the store. So does a version over which others have been promoted: who set it has set
        where that began.

        Raises:
            ModelError: the alias stands for nothing, or there is no such model.
        """
        name, alias = split_alias(tag)
        if alias:
            if (version := self.of(name).of_alias(alias)) is None:
                raise ModelError(
                    f"no {name}@{alias}: name a version with `python -m serving.versions`"
                )
            return version
        name, _, version = tag.partition(":")
        promoted = self.of(name).promoted
        if promoted and version in {"", LATEST, *promoted}:
            return promoted[-1]
        return newest(name) if version in {"", LATEST} else version


def leaves_open(tag: str) -> bool:
    """Tell whether it depends on what people have decided which version a tag means."""
    return tag.partition(":")[2] in {"", LATEST}


def split_alias(tag: str) -> tuple[str, str]:
    """Take NAME@ALIAS apart; the alias is empty if the tag has none."""
    name, _, alias = tag.partition("@")
    return name, alias


def stamp(file: Path) -> object:
    """Tell one content of the file from another, without reading it; where there is none, too."""
    try:
        told = file.stat()
    except OSError:
        return None
    return told.st_ino, told.st_mtime_ns, told.st_size


def read_state(file: Path) -> State:
    """Read the file; where there is none, nobody has decided anything.

    Raises:
        StateError: it can't be read.
    """
    try:
        return State.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return State()
    except ValidationError as exc:
        told = exc.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, told["loc"]))
        raise StateError(
            f"{file} is no state of models ({place + ': ' if place else ''}{told['msg']}): "
            "mend it, or remove it to begin anew"
        ) from exc
    except OSError as exc:
        raise StateError(f"{file} can't be read: {exc.strerror or exc}") from exc


def write_state(file: Path, state: State) -> None:
    """Write the file, whole or not at all; a link to it stays one.

    Raises:
        StateError: it can't be written; what was there is there.
    """
    file = file.resolve()
    try:
        descriptor, unfinished = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    except OSError as exc:
        raise _unwritable(file, exc) from exc
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(state.model_dump_json(indent=2) + "\n")
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)  # it has no secrets, and servers may be other users
            os.fsync(stream.fileno())
        Path(unfinished).replace(file)
    except OSError as exc:
        raise _unwritable(file, exc) from exc
    finally:  # whoever ends this process
        Path(unfinished).unlink(missing_ok=True)


def _unwritable(file: Path, exc: OSError) -> StateError:
    return StateError(
        f"{file} can't be written ({exc.strerror or exc}): nothing is changed; "
        "SERVING_STATE_FILE names another place"
    )


@contextmanager
def one_at_a_time(file: Path) -> Iterator[None]:
    """Let nobody else change the file meanwhile.

    It is the file's own folder that is locked: the file is another after each change.

    Raises:
        StateError: somebody else is at it, or there is no such folder.
    """
    try:
        folder = os.open(file.resolve().parent, os.O_RDONLY)
    except OSError as exc:
        raise _unwritable(file, exc) from exc
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateError(f"{file} {BUSY}: try again when that has ended") from None
        except OSError as exc:  # some network shares have no locks
            raise _unwritable(file, exc) from exc
        yield
    finally:
        os.close(folder)

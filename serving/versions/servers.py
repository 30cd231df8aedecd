"""Servers of this machine that look at a state file: what they serve, and say of a change.

They tell it in their letters. One that ends has no say any more.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from serving.host.letters import Letters, Status, live_servers
from serving.host.wanted import exact
from serving.model.state import CHAMPION, State, split_alias
from serving.model.stored import ModelError
from serving.settings import name_of
from serving.versions.deciding import VersionsError

POLL_S = 0.1

Servers: TypeAlias = Mapping[Path, Status]  # by the folder of their letters
# Whether a server has done what is waited for, given what it says, and what it said before.
Judge: TypeAlias = Callable[[Path, Status, Status], bool]


def running(state_file: Path) -> dict[Path, Status]:
    """Find the servers that look at a state file."""
    wanted = state_file.resolve()
    return {
        letters.folder: status
        for letters, status in live_servers()
        if Path(status.state_file).resolve() == wanted
    }


def served(servers: Servers, name: str) -> set[str]:
    """Give the versions of a model that answer where no alias but the champion's is meant."""
    return {
        status.models[name]
        for status in servers.values()
        for tag in status.tags
        if name_of(tag) == name and split_alias(tag)[1] in {"", CHAMPION}
    }


def concerned(servers: Servers, name: str, state: State) -> dict[Path, Status]:
    """Give the servers that would serve another version of a model in this state."""

    def differences(status: Status) -> Iterator[bool]:
        for tag in status.tags:
            if name_of(tag) == name:
                with suppress(ModelError):  # it means nothing: this one goes on as it is
                    yield exact(tag, state, status.models) != f"{name}:{status.models[name]}"

    return {folder: status for folder, status in servers.items() if any(differences(status))}


class Watch:
    """Waits for what servers say."""

    def __init__(
        self,
        look: Callable[[], Servers],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take what finds the servers, and a clock."""
        self.look = look
        self._clock = clock
        self._sleep = sleep

    def until(self, servers: Servers, has_done: Judge, patience_s: float) -> None:
        """Wait until all servers have done something, which raises what it has against it.

        Raises:
            VersionsError: one has refused, or takes too long, or all have ended.
        """
        end_s = self._clock() + patience_s
        waiting, ended = dict(servers), []
        while waiting:
            there = self.look()
            for folder, before in list(waiting.items()):
                if folder not in there:
                    ended.append(waiting.pop(folder))
                elif has_done(folder, there[folder], before):
                    del waiting[folder]
            if waiting and self._clock() > end_s:
                raise VersionsError(_silent(waiting, there, patience_s))
            if waiting:
                self._sleep(POLL_S)
        if ended and len(ended) == len(servers):
            raise VersionsError(f"{_all(ended)} ended meanwhile")


def has_switched(revision: int, *, wholly: bool) -> Judge:
    """Judge whether a server has taken a revision of the state.

    It has as many new workers as it had, and they answer; ``wholly``, if no old one is left.

    Raises:
        VersionsError: it has refused it.
    """

    def judge(_: Path, status: Status, before: Status) -> bool:
        if status.revision < revision:
            return False
        if status.phase == "refused":
            raise VersionsError(f"{named(status)} has refused it: {status.reason}")
        new = [each for each in status.workers.values() if each == status.models]
        is_taken = status.phase == "draining" and len(new) >= len(before.workers)
        return status.phase == "done" or (is_taken and not wholly)

    return judge


def has_shadow(name: str, version: str, revision: int) -> Judge:
    """Judge whether all workers of a server have a version as the shadow of a model.

    Raises:
        VersionsError: one can't have it.
    """

    def judge(folder: Path, status: Status, _: Status) -> bool:
        letters = [
            letter
            for letter in Letters(folder).shadows()
            if (letter.model, letter.version) == (name, version) and letter.revision >= revision
        ]
        for letter in letters:
            if letter.reason:  # it was refused, or has died before it ever ran
                raise VersionsError(f"{named(status)} can't have it: {letter.reason}")
        have = {str(letter.worker) for letter in letters if letter.state == "running"}
        return bool(status.workers) and status.workers.keys() <= have

    return judge


def named(status: Status) -> str:
    """Name a server by the process that people know."""
    return f"server {status.parent}"


def _all(servers: list[Status]) -> str:
    return " and ".join(map(named, servers))


def _silent(waiting: Servers, there: Servers, patience_s: float) -> str:
    """Tell who has not done it, and what they said last that may be why."""
    reasons = {there[folder].reason for folder in waiting if folder in there} - {""}
    said = f" (it said: {'; '.join(sorted(reasons))})" if reasons else ""
    return f"{_all([*waiting.values()])} did not do it within {patience_s:g} s{said}"

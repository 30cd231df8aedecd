"""What the command does: a version is verified, decided on, and waited for; or all is as before.

The order is what makes it safe. Nobody else changes the state meanwhile; what can't be served is
refused before anything is written; and what servers refuse, or nobody waits for any longer, is
taken back.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from serving.model.changes import Noticed, changes, why_no_shadow
from serving.model.description import Description
from serving.model.state import (
    CHAMPION,
    LATEST,
    Shadow,
    State,
    StateError,
    one_at_a_time,
    read_state,
    split_alias,
    write_state,
)
from serving.model.stored import ModelError, compiled_form, described, found, kept, newest, verify
from serving.settings import Settings, name_of
from serving.versions import deciding, servers
from serving.versions.deciding import By, VersionsError
from serving.versions.servers import Judge, Servers, Watch

REACTION_S = 10.0  # for a server to look at the state, and for workers that are ended to end
MAX_TOLD = 3  # of what would break, in one line


class Versions:
    """Decides on versions of models, for all servers that look at one state file."""

    def __init__(
        self,
        settings: Settings,
        by: By,
        watch: Watch,
        tell: Callable[[str], None],
        *,
        patience_s: float | None = None,
        waits: bool = False,
    ) -> None:
        """Take who decides, and what is told to whom.

        ``patience_s`` is for how long servers may take, by default what settings allow their
        workers; who ``waits`` does so until no old worker is left.
        """
        self._settings = settings
        self._file = settings.state_path
        self._by = by
        self._watch = watch
        self._tell = tell
        self._patience_s = patience_s
        self._waits = waits

    def promote(self, tag: str, *, may_break: bool = False, margin: float | None = None) -> None:
        """Let a version answer where no other is named.

        Raises:
            VersionsError, ModelError, StateError: it is refused, and all is as before.
        """
        name = name_of(tag)
        with self._changing() as (state, there):
            version = _version(tag, state)
            new = self._verified(name, version)
            now = self._served(name, state, there)
            if state.of(name).of_alias(CHAMPION) == version and set(now) == {version}:
                self._tell(f"{name}:{version} is the champion already")
                return
            others = [each for each in now if each != version]
            self._compare(name, others, version, new, may_break=may_break)
            if margin is not None:
                if reason := deciding.why_not_again(state, name, version):
                    raise VersionsError(f"{name}:{version} is not promoted: {reason}")
                for each in others:
                    if reason := deciding.why_worse(described(f"{name}:{each}"), new, margin):
                        raise VersionsError(f"{name}:{version} is not promoted: {reason}")
            after = deciding.promote(state, name, version, now, self._by)
            self._decide(name, version, state, after, there)

    def rollback(self, name: str) -> None:
        """Let the version answer that did before the last was promoted.

        Raises:
            VersionsError, ModelError, StateError: it is refused, and all is as before.
        """
        with self._changing() as (state, there):
            before, version = deciding.way_back(state, name)
            new = self._verified(name, version)
            self._compare(name, [before], version, new, may_break=True)
            after = deciding.rollback(state, name, self._by)
            self._decide(name, version, state, after, there)

    def alias(self, alias_tag: str, tag: str | None, *, may_break: bool = False) -> None:
        """Let an alias stand for a version, or for nothing.

        Raises:
            VersionsError, ModelError, StateError: it is refused, and all is as before.
        """
        name, alias = split_alias(alias_tag)
        with self._changing() as (state, there):
            version = None if tag is None else _version(tag, state)
            after = deciding.alias(state, name, alias, version, self._by)
            if version is None:
                for status in there.values():
                    if alias_tag in status.tags:
                        raise VersionsError(f"{servers.named(status)} serves {alias_tag}")
                write_state(self._file, after)
                self._tell(f"{alias_tag} is gone")
                return
            new = self._verified(name, version)
            others = {
                status.models[name] for status in servers.concerned(there, name, after).values()
            }
            self._compare(name, sorted(others), version, new, may_break=may_break)
            self._decide(name, version, state, after, there, alias)

    def shadow(self, tag: str, share: float) -> None:
        """Let a version be asked as well.

        Raises:
            VersionsError, ModelError, StateError: it is refused, and all is as before.
        """
        name = name_of(tag)
        with self._changing() as (state, there):
            version = _version(tag, state)
            new = self._verified(name, version)
            for each in self._served(name, state, there):
                if each == version:
                    raise VersionsError(f"{name}:{version} is what answers: it can't shadow itself")
                if reason := why_no_shadow(described(f"{name}:{each}"), new):
                    raise VersionsError(f"{name}:{version} can't shadow {name}:{each}: {reason}")
            after = deciding.shadow(state, name, Shadow(version=version, share=share), self._by)
            waiting = {
                folder: status
                for folder, status in there.items()
                if status.models.get(name, version) != version
            }
            has_done = servers.has_shadow(name, version, after.revision)
            failing = f"{name}:{version} is no shadow"
            self._carry_out(name, state, after, waiting, has_done, failing)
            self._tell(f"{name}:{version} is the shadow of {name}")
            self._tell_without(there)
            for status in waiting.values():
                self._tell(f"{servers.named(status)} asks it, too")

    def stop(self, name: str) -> None:
        """Let no version be asked as well.

        Raises:
            VersionsError, StateError: there is none, or the state can't be changed.
        """
        with self._changing() as (state, _):
            write_state(self._file, deciding.shadow(state, name, None, self._by))
            self._tell(f"{name} has no shadow any more")

    @contextmanager
    def _changing(self) -> Iterator[tuple[State, Servers]]:
        with one_at_a_time(self._file):
            yield read_state(self._file), self._watch.look()

    def _verified(self, name: str, version: str) -> Description:
        """Check that a version can be served here, and give its description."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            verified = verify(found(f"{name}:{version}"))
            compiled_form(verified, self._settings.runtime)
        for each in caught:
            self._tell(f"note: {each.message}")
        return verified.description

    def _served(self, name: str, state: State, there: Servers) -> list[str]:
        """Give the versions that answer now, or would if a server started; the oldest first."""
        now = servers.served(there, name)
        if not now:
            own = [tag for tag in self._settings.tags if name_of(tag) == name]
            own = [tag for tag in own if not split_alias(tag)[1]] or [name]
            now = {*map(state.version_of, own), *state.of(name).promoted[-1:]}
        ages = {str(model.tag): age for age, model in enumerate(kept())}
        return sorted(now, key=lambda version: ages.get(f"{name}:{version}", -1))

    def _compare(
        self, name: str, others: Iterable[str], version: str, new: Description, *, may_break: bool
    ) -> None:
        """Tell what clients would notice.

        Raises:
            VersionsError: something would break them, which it must not.
        """
        breaking: list[str] = []
        for other in others:
            noticed = _noticed(f"{name}:{other}", new)
            words = "would notice:" if noticed else "would notice nothing"
            self._tell(f"clients of {name}:{other} {words}")
            for each in noticed:
                self._tell(f"  {'breaking: ' if each.breaking else ''}{each.text}")
            breaking += [each.text for each in noticed if each.breaking]
        if breaking and not may_break:
            more = len(breaking) - MAX_TOLD
            rest = [f"{more} more"] if more > 0 else []
            raise VersionsError(
                f"{name}:{version} would break clients ({'; '.join(breaking[:MAX_TOLD] + rest)}): "
                "--breaking lets it"
            )

    def _decide(
        self,
        name: str,
        version: str,
        state: State,
        after: State,
        there: Servers,
        alias: str = CHAMPION,
    ) -> None:
        """Write the state, and wait until servers have taken it; or take it back."""
        waiting = servers.concerned(there, name, after)
        has_done = servers.has_switched(after.revision, wholly=self._waits)
        self._carry_out(name, state, after, waiting, has_done, f"{name}:{version} does not serve")
        self._tell(f"{name}:{version} is {name}@{alias}")
        self._tell_without(there)
        for folder, status in there.items():
            if folder in waiting or status.models.get(name) == version:
                self._tell(f"{servers.named(status)} serves it")
            elif name in status.models:
                told = f"{name}:{status.models[name]}"
                self._tell(f"{servers.named(status)} goes on with {told}")

    def _carry_out(
        self,
        name: str,
        state: State,
        after: State,
        waiting: Servers,
        has_done: Judge,
        otherwise: str,
    ) -> None:
        """Write the state, and wait for servers; or take it back.

        Raises:
            VersionsError, StateError, KeyboardInterrupt: it was taken back, or never written.
        """
        try:
            write_state(self._file, after)
            self._watch.until(waiting, has_done, self._patience_for(waiting))
        except KeyboardInterrupt:
            self._take_back(name, state, after, "interrupted")
            raise
        except VersionsError as exc:
            self._take_back(name, state, after, str(exc))
            raise VersionsError(f"{otherwise}, all is as before: {exc}") from exc

    def _tell_without(self, there: Servers) -> None:
        if not there:
            self._tell(
                f"no server is running on this machine with {self._file}: the next one to start "
                "takes it up"
            )

    def _take_back(self, name: str, before: State, after: State, reason: str) -> None:
        """Give back what was wanted of a model.

        Raises:
            VersionsError: that can't be written, or something else was, by other means.
        """
        try:
            state = read_state(self._file)
            if state == before:  # it was never written
                return
            if state != after:
                raise StateError(f"{self._file} was changed by others meanwhile")
            back = deciding.taken_back(state, name, before.of(name), reason, self._by)
            write_state(self._file, back)
        except StateError as exc:
            raise VersionsError(
                f"{reason}; and the state can't be taken back, so the next server takes it as it "
                f"is: {exc}"
            ) from exc

    def _patience_for(self, waiting: Servers) -> float:
        """Tell for how long servers may take, which replace one worker after the other."""
        if self._patience_s is not None:
            return self._patience_s
        settings = self._settings
        workers = max((len(status.workers) for status in waiting.values()), default=0)
        each_s = settings.start_timeout_s + settings.drain_timeout_s + REACTION_S
        return workers * each_s + REACTION_S


def _version(tag: str, state: State) -> str:
    """Find the version that a tag means; ``latest`` is the newest of the store, not the champion.

    Raises:
        VersionsError: it names none.
        ModelError: there is no such model, or no such alias.
    """
    if split_alias(tag)[1]:
        return state.version_of(tag)
    name, _, version = tag.partition(":")
    return newest(name) if version == LATEST else version


def _noticed(old: str, new: Description) -> list[Noticed]:
    try:
        return changes(described(old), new)
    except ModelError as exc:
        return [Noticed(f"what they would notice can't be told: {exc}", breaking=True)]

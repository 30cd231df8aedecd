"""Succession: new workers take the place of old ones, and no request is lost.

One by one, a new worker is started beside those that serve. Only when it has loaded its models, and
they have answered, an old one stops taking connections and answers what it has taken. If the new
one ends before that, or takes too long, it goes, and the old ones stay. So a reload (SIGHUP), a
promotion and a worker whose model hangs are served by one procedure.

This room knows what is to happen; what circus has to do for it stands in `supervisor`.
"""

import asyncio
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Protocol, TypeAlias

from serving.gathering import GATHER_S, gather
from serving.host.following import Following
from serving.host.letters import Letters, Phase, Status
from serving.host.process import pinned_models
from serving.host.wanted import Wanted, versions
from serving.model.state import StateError, read_state, stamp
from serving.model.stored import ModelError
from serving.settings import name_of
from serving.telemetry import log, stack_trace

LOOK_S = 0.5  # between looks at the desired state
AGAIN_S = 20.0  # before another successor is tried, where one was refused
POLL_S = 0.05

Look: TypeAlias = Callable[[Mapping[str, str]], Wanted]


class Staff(Protocol):
    """The workers, as circus has them."""

    def pids(self) -> list[int]:
        """Give those that live and stay, the oldest first, but not one that was put beside."""

    def serving(self, pid: int) -> tuple[str, ...]:
        """Tell which models a worker was started with."""

    def start_beside(self, models: Sequence[str]) -> int:
        """Start one more than there should be.

        Raises:
            RuntimeError: the system has no room for it.
        """

    def fate_of(self, pid: int) -> str | None:
        """Tell why a worker has ended; nothing, if it lives."""

    def dismiss(self, pid: int) -> None:
        """End the one that was started beside the others, at once."""

    def settle(self, models: Sequence[str]) -> None:
        """Take in the one that was started beside the others; start such ones from now on."""

    async def retire(self, pid: int) -> None:
        """Let one drain, and wait until it has ended."""


class Succession:
    """Sees to it that what is wanted is served."""

    def __init__(self, staff: Staff, letters: Letters, look: Look, metrics: Path) -> None:
        """Take what is looked after; nothing is looked at before `keep_up`."""
        self._staff = staff
        self._letters = letters
        self._look = look
        self._metrics = metrics
        self._asked = asyncio.Event()
        self._models = pinned_models()
        self._tags = self._models  # as settings name them
        self._wanted: Wanted | None = None
        self._seen: object = None  # of the state file, when it was looked at last
        self._phase: Phase = "done"
        self._reason = ""
        self._told: Status | None = None
        self._successor_s = 0.0  # before then, none is tried
        self._beside: int | None = None  # the worker that is not ready yet
        self._following = Following()
        self._gathers_s = monotonic() + GATHER_S
        self._failures: set[type[Exception]] = set()  # each kind is told once

    def reload(self) -> None:
        """Replace all workers, whatever they serve."""
        self._asked.set()

    async def keep_up(self) -> None:
        """Look, and follow, until cancelled: then a worker that is not ready yet ends."""
        try:
            # Those that start first have no one before them.
            while not self._letters.has_served:  # noqa: ASYNC110 (other processes set no event)
                await asyncio.sleep(POLL_S)
            while True:
                try:
                    await self._turn()
                except Exception as exc:  # whatever it is, what serves goes on
                    if type(exc) not in self._failures:
                        self._failures.add(type(exc))
                        log.error("succession.failed", exception=stack_trace(exc))
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._asked.wait(), LOOK_S)
        finally:
            self._dismiss()

    async def _turn(self) -> None:
        is_reload = self._asked.is_set()
        self._asked.clear()
        if is_reload or self._wanted is None or self._stamp() != self._seen:
            await self._follow(is_reload=is_reload)
        elif monotonic() > self._successor_s and (
            hanging := self._letters.wants_successor(self._staff.pids())
        ):
            if reason := await self._replace(hanging, self._models):
                log.error("successor.refused", reason=reason)
                self._successor_s = monotonic() + AGAIN_S
            self._tell("refused" if self._reason else "done")
        else:
            self._tell(self._phase)
            self._gather()
            self._following.look(self._wanted.settings, self._tags, versions(self._models))

    async def _follow(self, *, is_reload: bool) -> None:
        """Serve what is wanted, or tell why not."""
        self._seen = self._stamp()
        try:
            wanted = self._wanted = self._look(versions(self._models))
        except (SystemExit, ModelError) as exc:
            self._refuse(str(exc), is_reload=is_reload)
            return
        if self._has_changed(is_reload=is_reload):
            return
        old = self._staff.pids() if is_reload else self._stale((), (), wanted.models)
        if old:
            log.info("switch.started", models=wanted.models)
            self._tell("starting")
            if reason := await self._replace(old, wanted.models):
                if not self._has_changed(is_reload=is_reload):
                    self._refuse(reason, is_reload=is_reload)
                return
            log.info("switch.done", models=wanted.models)
        self._models, self._tags = wanted.models, wanted.tags
        self._reason = ""
        self._tell("done")

    def _has_changed(self, *, is_reload: bool) -> bool:
        """Tell whether something else is wanted by now, which the next turn looks at."""
        if self._stamp() == self._seen:
            return False
        if is_reload:
            self._asked.set()
        return True

    def _gather(self) -> None:
        """Keep what dead workers have counted in one place, now and then."""
        if monotonic() < self._gathers_s:
            return
        self._gathers_s = monotonic() + GATHER_S
        served = {
            item
            for pid in self._staff.pids()
            for item in versions(self._staff.serving(pid)).items()
        }
        gather(self._metrics, served)

    async def _replace(self, pids: Collection[int], models: tuple[str, ...]) -> str:
        """Let others take the place of these workers; tell why not, if that fails.

        If one is refused after others have taken their places, these give them back.
        """
        before = self._models
        taken: set[int] = set()
        while leaving := self._stale(pids, taken, models):
            try:
                self._beside = beside = self._staff.start_beside(models)
                reason = await self._readiness(beside)
            except RuntimeError as exc:
                reason = str(exc)
            if reason:
                self._dismiss()
                if taken and models != before:
                    self._settle(before)
                    await self._replace(taken, before)
                return reason
            taken.add(beside)
            self._beside = None
            self._settle(models)
            self._tell("draining")
            await self._staff.retire(leaving[0])
        return ""

    def _stale(
        self, pids: Collection[int], taken: Collection[int], models: tuple[str, ...]
    ) -> list[int]:
        """Give those that have to go: also such as circus has started meanwhile, for a dead one."""
        return [
            pid
            for pid in self._staff.pids()
            if pid not in taken and (pid in pids or self._staff.serving(pid) != models)
        ]

    def _settle(self, models: tuple[str, ...]) -> None:
        self._models = models
        self._staff.settle(models)

    async def _readiness(self, pid: int) -> str:
        """Wait until a worker is ready; tell why not, if it never will be."""
        assert self._wanted is not None  # noqa: S101 (which comes before all else)
        limit_s = self._wanted.settings.start_timeout_s
        loop = asyncio.get_running_loop()
        end_s = loop.time() + limit_s
        while True:
            if (fate := self._staff.fate_of(pid)) is not None:
                return fate
            if self._letters.is_ready(pid):
                return ""
            if self._stamp() != self._seen:
                return "something else is wanted by now"
            if loop.time() > end_s:
                return f"a new worker was not ready within {limit_s:g} s (SERVING_START_TIMEOUT_S)"
            await asyncio.sleep(POLL_S)

    def _dismiss(self) -> None:
        if self._beside is not None:
            self._staff.dismiss(self._beside)
            self._beside = None

    def _refuse(self, reason: str, *, is_reload: bool) -> None:
        if is_reload:
            log.error("reload.refused", reason=reason)
        elif self._wanted is None and reason == self._reason:  # it is looked at in each turn
            return
        else:
            log.error("switch.refused", reason=reason)
        self._reason = reason
        if self._wanted is not None:
            with suppress(StateError):  # by which it would have been wanted
                revision = read_state(self._wanted.settings.state_path).revision
                self._wanted = self._wanted._replace(revision=revision)
        self._tell("refused")

    def _tell(self, phase: Phase) -> None:
        """Tell how far it has come, to who asks."""
        self._phase = phase
        if (wanted := self._wanted) is None:
            return
        serving = {pid: self._staff.serving(pid) for pid in self._staff.pids()}
        models = versions(self._models)
        status = Status(
            parent=os.getpid(),
            state_file=str(wanted.settings.state_path.absolute()),
            metrics=str(self._metrics),
            tags=tuple(tag for tag in self._tags if name_of(tag) in models),
            revision=wanted.revision,
            phase=phase,
            reason=self._reason,
            models=models,
            workers={str(pid): versions(tags) for pid, tags in serving.items()},
        )
        if status != self._told:
            self._letters.write_status(status)
            self._told = status

    def _stamp(self) -> object:
        return None if self._wanted is None else stamp(self._wanted.settings.state_path)

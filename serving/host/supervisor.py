"""The side that starts workers: how soon one is replaced, and when the server ends.

`Workers` is circus's watcher, which BentoML makes: it also closes that process's listening socket,
or who connects would wait for nobody, looks after its workers as soon as one has died, instead of
every 10 s, and ends the server if one dies before any has served.
"""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import circus.watcher  # type: ignore[import-untyped]
from circus.exc import ConflictError  # type: ignore[import-untyped]

from serving.host.letters import Letters
from serving.host.process import LETTERS
from serving.telemetry import log

MARGIN_S = 5.0  # beyond its two periods, for a worker that drains to end before it is killed
RETRY_S = 0.1


class Workers(circus.watcher.Watcher):
    """Starts, replaces and ends the workers of one service."""

    drain_delay_s = 0.0
    drain_timeout_s = 0.0
    read_settings: Callable[[], object]  # or raises a SystemExit that tells a mistake

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 (circus's own)
        """Take circus's options, some of which BentoML sets otherwise.

        In a container BentoML replaces no worker. That ends the server, so that another container
        takes its place, where there is one worker; of several, the others would live on as if
        nothing were missing.
        """
        options["respawn"] = options.get("respawn", True) or options.get("numprocesses", 1) > 1
        # uvicorn counts from when it stops listening, in whole seconds.
        limit = ["--timeout-graceful-shutdown", str(ceil(self.drain_timeout_s))]
        options["args"] = [*options.get("args", ()), *limit]
        options["graceful_timeout"] = self.drain_delay_s + self.drain_timeout_s + MARGIN_S
        options["hooks"] = {
            "before_stop": (self._close_door, True),
            "after_reap": (self._report, True),
        }
        super().__init__(*args, **options)
        self._looked_s = -float("inf")

    def initialize(self, evpub_socket: object, sockets: object, arbiter: Any) -> None:  # noqa: ANN401
        """Listen to signals, once there is an event loop that they can be handed to."""
        super().initialize(evpub_socket, sockets, arbiter)
        self._loop = arbiter.loop.asyncio_loop
        arbiter.ctrl.sys_hdl.quit = partial(self._loop.call_soon_threadsafe, self._quit)
        with suppress(ValueError):  # in a thread, where BentoML starts servers for tests
            signal.signal(signal.SIGCHLD, self._child_died)

    def _quit(self) -> None:
        """End the server; circus would forget about it while it is busy with a reload."""
        if self.arbiter._stopping:
            return
        with suppress(ConflictError):
            self.arbiter.loop.add_future(self.arbiter.stop(), lambda done: done.result())
        self._loop.call_later(RETRY_S, self._quit)

    def _reload(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 (circus's own)
        """Start new workers, unless these would end at once for a mistake in the settings."""
        try:
            self.read_settings()
        except SystemExit as exc:
            log.error("reload.refused", reason=str(exc))
            done = self._loop.create_future()
            done.set_result(None)
            return done
        return super()._reload(*args, **options)

    def _child_died(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        """Replace workers that have died, but not over and over those that die young.

        These, whose model can't be loaded any more perhaps, wait for circus to look by itself.
        """
        if self.arbiter._stopping:
            return
        every_s, now_s = self.arbiter.check_delay, time.monotonic()
        ages_s = [self.processes[pid].age() for pid in self._dead()]
        if not ages_s or (max(ages_s) < every_s and now_s - self._looked_s < every_s):
            return
        try:
            looking = self.arbiter.manage_watchers()
        except ConflictError:
            self._loop.call_later(RETRY_S, self._look)
        else:
            self._looked_s = now_s
            self.arbiter.loop.add_future(looking, lambda done: done.result())

    def manage_processes(self) -> Any:  # noqa: ANN401 (circus's own)
        """Reap those who have died since the arbiter did: circus forgets them without a word."""
        for pid in self._dead():
            self.reap_process(pid)
        return super().manage_processes()

    def _dead(self) -> list[int]:
        alive = {process.pid for process in self.get_active_processes()}
        return [pid for pid in self.processes if pid not in alive]

    def _close_door(self, **_: object) -> None:
        """Stop listening when the workers do, but for a reload: new workers need the socket."""
        if self.arbiter._stopping:
            self._loop.call_later(self.drain_delay_s, self.arbiter.sockets.close_all)

    def _report(self, *, process_pid: int, exit_code: int | None, **_: object) -> None:
        """Log the death of a worker, and what it has left word of."""
        letters = Letters(Path(self.env[LETTERS]))
        if stacks := letters.stacks_of(process_pid):
            log.critical("model.hangs", worker=process_pid, stack=stacks)
        refusal = letters.refusal_of(process_pid)
        if not self.arbiter._stopping:
            log.error("worker.died", worker=process_pid, exit_code=exit_code)
            if not letters.has_served:
                self._give_up(refusal or f"a worker ended with {exit_code} before it could serve")

    def _give_up(self, reason: str) -> None:
        """End the server with one line: what no worker could do, the next can't either."""
        self.arbiter._exception = SystemExit(reason)
        self.respawn = True  # or circus would end in a container with an error of its own
        self._quit()


def install_workers(
    drain_delay_s: float, drain_timeout_s: float, read_settings: Callable[[], object]
) -> None:
    """Let BentoML start its workers through `Workers`."""
    own = {
        "drain_delay_s": drain_delay_s,
        "drain_timeout_s": drain_timeout_s,
        "read_settings": staticmethod(read_settings),
    }
    circus.watcher.Watcher = type("Workers", (Workers,), own)

"""The side that starts workers: how soon one is replaced, and when the server ends.

`Workers` is circus's watcher, which BentoML makes: it also closes that process's listening socket,
or who connects would wait for nobody, looks after its workers as soon as one has died, instead of
every 10 s, and ends the server if one dies before any has served.
"""

import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import circus.watcher  # type: ignore[import-untyped]
from circus.exc import ConflictError  # type: ignore[import-untyped]

from serving.host.letters import Letters
from serving.host.life import RETIRE_SIGNAL
from serving.host.process import LETTERS, MODELS
from serving.host.succession import Look, Succession
from serving.settings import METRICS_FOLDER
from serving.telemetry import log

MARGIN_S = 5.0  # beyond its two periods, for a worker that drains to end before it is killed
RETRY_S = 0.1


class Workers(circus.watcher.Watcher):
    """Starts, replaces and ends the workers of one service."""

    drain_delay_s = 0.0
    drain_timeout_s = 0.0
    look: Look

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
            "after_spawn": (self._note, True),
            "after_reap": (self._report, True),
        }
        super().__init__(*args, **options)
        self._looked_s = -float("inf")
        self.env: dict[str, str]
        self._serving: dict[int, tuple[str, ...]] = {}  # the models of each worker
        self._beside: int | None = None  # one more than there should be, until it is ready
        self._leaving: set[int] = set()  # who is let go is not mourned
        self._fates: dict[int, str] = {}

    def initialize(self, evpub_socket: object, sockets: object, arbiter: Any) -> None:  # noqa: ANN401
        """Listen to signals, once there is an event loop that they can be handed to."""
        super().initialize(evpub_socket, sockets, arbiter)
        self._loop = arbiter.loop.asyncio_loop
        metrics = Path(self.env[METRICS_FOLDER])
        self._succession = Succession(self, self._letters, self.look, metrics)
        self._keeping_up = self._loop.create_task(self._succession.keep_up())
        handler = arbiter.ctrl.sys_hdl
        handler.quit = partial(self._loop.call_soon_threadsafe, self._quit)
        handler.reload = partial(self._loop.call_soon_threadsafe, self._succession.reload)
        with suppress(ValueError):  # in a thread, where BentoML starts servers for tests
            signal.signal(signal.SIGCHLD, self._child_died)

    @property
    def _letters(self) -> Letters:
        return Letters(Path(self.env[LETTERS]))

    def _quit(self) -> None:
        """End the server; circus would forget about it while it is busy with something else."""
        self._keeping_up.cancel()
        if self.arbiter._stopping:
            return
        with suppress(ConflictError):
            self.arbiter.loop.add_future(self.arbiter.stop(), lambda done: done.result())
        self._loop.call_later(RETRY_S, self._quit)

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
        """Stop listening when the workers do, now that the server ends."""
        if self.arbiter._stopping:
            self._loop.call_later(self.drain_delay_s, self.arbiter.sockets.close_all)

    def _note(self, *, pid: int, **_: object) -> bool:
        """Note what a new worker serves."""
        self._serving[pid] = tuple(self.env.get(MODELS, "").split(","))
        return True

    def _report(self, *, process_pid: int, exit_code: int | None, **_: object) -> None:
        """Log the death of a worker, and what it has left word of."""
        letters = self._letters
        stacks = letters.stacks_of(process_pid)
        refusal = letters.refusal_of(process_pid)
        letters.forget(process_pid)
        self._serving.pop(process_pid, None)
        if process_pid in self._leaving:
            return
        if stacks:
            log.critical("model.hangs", worker=process_pid, stack=stacks)
        told = refusal or f"a worker ended with {exit_code} before it could serve"
        if process_pid == self._beside:
            self._fates[process_pid] = told
            self._take_in()
        if not self.arbiter._stopping:
            log.error("worker.died", worker=process_pid, exit_code=exit_code)
            if not letters.has_served:
                self._give_up(told)

    def _give_up(self, reason: str) -> None:
        """End the server with one line: what no worker could do, the next can't either."""
        self.arbiter._exception = SystemExit(reason)
        self.respawn = True  # or circus would end in a container with an error of its own
        self._quit()

    # What `Succession` asks of its staff.

    def pids(self) -> list[int]:
        """Give those that live and stay, the oldest first, but not one that was put beside."""
        alive = sorted(self.get_active_processes(), key=lambda process: process.started)
        away = {*self._leaving, self._beside}
        return [process.pid for process in alive if process.pid not in away]

    def serving(self, pid: int) -> tuple[str, ...]:
        """Tell which models a worker was started with."""
        return self._serving.get(pid, ())

    def start_beside(self, models: Sequence[str]) -> int:
        """Start one more than there should be; circus has to know, or it would end one of them."""
        before, env = set(self.processes), self.env
        self.numprocesses += 1
        self.env = {**env, MODELS: ",".join(models)}
        try:
            self.spawn_process()
        finally:
            self.env = env
        started: set[int] = set(self.processes) - before
        if not started:
            self.numprocesses -= 1
            raise RuntimeError("no worker could be started")
        self._beside = pid = started.pop()
        return pid

    def fate_of(self, pid: int) -> str | None:
        """Tell why a worker has ended; nothing, if it lives."""
        if pid in self._dead():
            self.reap_process(pid)
        return self._fates.pop(pid, None)

    def dismiss(self, pid: int) -> None:
        """End the one that was started beside the others, at once."""
        process = self.processes.get(pid)
        if process is not None and pid == self._beside:
            self._leaving.add(pid)
            self.send_signal_process(process, signal.SIGKILL, recursive=True)
            self._part_with(pid)
        self._take_in()

    def settle(self, models: Sequence[str]) -> None:
        """Take in the one that was started beside the others; start such ones from now on."""
        self.env[MODELS] = ",".join(models)
        self._take_in()

    async def retire(self, pid: int) -> None:
        """Let one drain, and wait until it has ended."""
        process = self.processes.get(pid)
        if process is not None:
            self._leaving.add(pid)
            await self.kill_process(process, stop_signal=RETIRE_SIGNAL)
            self._part_with(pid)

    def _take_in(self) -> None:
        """Have as many as there should be."""
        if self._beside is not None:
            self._beside = None
            self.numprocesses -= 1

    def _part_with(self, pid: int) -> None:
        """Forget a worker that has ended, or is about to."""
        self.processes.pop(pid, None)
        self._report(process_pid=pid, exit_code=None)
        self._leaving.discard(pid)


def install_workers(drain_delay_s: float, drain_timeout_s: float, look: Look) -> None:
    """Let BentoML start its workers through `Workers`."""
    own = {
        "drain_delay_s": drain_delay_s,
        "drain_timeout_s": drain_timeout_s,
        "look": staticmethod(look),
    }
    circus.watcher.Watcher = type("Workers", (Workers,), own)

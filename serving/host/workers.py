"""The life of worker processes: how one ends, what watches over it, and how soon it is replaced.

`Life` is the worker's own side. Asked to end, a worker first says that it is unready, goes on
answering for a while so that load balancers notice, and then lets uvicorn close its door and answer
what is under way, for a bounded time. A watchdog ends a worker whose model hangs.

`Workers` is the side of the process that starts workers. It is circus's watcher, which BentoML
makes: it also closes that process's listening socket, or who connects would wait for nobody, looks
after its workers as soon as one has died, instead of every 10 s, and ends the server if one dies
before any has served.
"""

import asyncio
import faulthandler
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, NoReturn

import circus.watcher  # type: ignore[import-untyped]
import uvicorn
from circus.exc import ConflictError  # type: ignore[import-untyped]

from serving.metrics import forget_this_worker
from serving.settings import Settings, load_settings, metrics_folder
from serving.telemetry import MODEL_THREAD, end_process, log

MARGIN_S = 5.0  # beyond its two periods, for a worker that drains to end before it is killed
RETRY_S = 0.1
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Life:
    """A worker process, from the moment its model is loaded."""

    def __init__(self, settings: Settings, running_s: Callable[[], float]) -> None:
        """Take for how long a batch has run, when asked."""
        self.draining = False
        self._drain_delay_s = settings.drain_delay_s
        self._drain_timeout_s = settings.drain_timeout_s
        self._deadline_s = settings.request_timeout_s
        self._longest_s = settings.request_timeout_s + settings.hang_delay_s
        self._tick_s = min(1.0, self._longest_s / 20)
        self._running_s = running_s
        self._next_tick: asyncio.TimerHandle | None = None
        self._stacks: IO[str] | None = None

    def begin(self, on_drain: Callable[[], None]) -> None:
        """Take over uvicorn's signals and start the watchdog; without uvicorn, do nothing.

        ``on_drain`` is told when the worker begins to end. To be called on the event loop.
        """
        server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
        if not isinstance(server, uvicorn.Server):
            return
        raise_descriptor_limit()
        self._loop = asyncio.get_running_loop()
        # uvicorn counts from when it stops listening, and answers the rest with a 503 of the edge.
        server.config.timeout_graceful_shutdown = self._drain_timeout_s  # type: ignore[assignment]
        for number in STOP_SIGNALS:
            shut_down = partial(server.handle_exit, number, None)
            self._loop.add_signal_handler(number, self._drain, shut_down, on_drain)
        if server.should_exit:  # it was asked to end while it loaded the model
            self.draining = True
            on_drain()
        if (folder := metrics_folder()) is not None:
            served_file(folder).touch()
            self._stacks = stacks_file(folder, os.getpid()).open("w")
        self._tick()

    @property
    def unready(self) -> str | None:
        """Why clients should ask another server; nothing, if they need not."""
        if self.draining:
            return "the server is shutting down"
        if self._running_s() > self._deadline_s:
            return "the model has not answered within a request's deadline"
        return None

    def end(self) -> None:
        """Stop the watchdog."""
        if self._next_tick is not None:
            self._next_tick.cancel()
            faulthandler.cancel_dump_traceback_later()
        if self._stacks is not None:
            stacks = Path(self._stacks.name)
            with suppress(OSError):  # a cleaner of old files may have taken it, or the folder
                served_file(stacks.parent).touch()
            stacks.unlink(missing_ok=True)
            self._stacks.close()

    def _drain(self, shut_down: Callable[[], None], on_drain: Callable[[], None]) -> None:
        """Be unready from now on, and shut down when load balancers have had time to see it."""
        if self.draining:
            return
        self.draining = True
        on_drain()
        log.info("drain.started", delay_s=self._drain_delay_s, timeout_s=self._drain_timeout_s)
        self._loop.call_later(self._drain_delay_s, shut_down)

    def _tick(self) -> None:
        """End the process if the model hangs, for there is no way to end its thread alone.

        Native code may hold the interpreter, so that not even this runs: a thread in C waits for
        the next tick, and ends the process if there is none.
        """
        running_s = self._running_s()
        if running_s > self._longest_s:
            log.critical("model.hangs", running_s=round(running_s, 3), stack=stack_of(MODEL_THREAD))
            os._exit(1)
        stream = self._stacks or sys.__stderr__
        if stream is not None:
            faulthandler.dump_traceback_later(self._longest_s, exit=True, file=stream)
        self._next_tick = self._loop.call_later(self._tick_s, self._tick)


def stack_of(name: str) -> str:
    """Tell where a thread is, without the values that it works on."""
    frames = sys._current_frames()
    named = [thread.ident for thread in threading.enumerate() if thread.name == name]
    stacks = [traceback.format_stack(frames[ident]) for ident in named if ident in frames]
    return "\n".join(map("".join, stacks))


def refuse(reason: str) -> NoReturn:
    """End this worker, whose model can't be served, and leave word of it to `Workers`."""
    if (folder := metrics_folder()) is not None:
        forget_this_worker(folder)
        refusal_file(folder, os.getpid()).write_text(reason, "utf-8", "backslashreplace")
    end_process("model.refused", reason=reason)


def refusal_file(folder: Path, pid: int) -> Path:
    """Name the file in which a worker says why it can't serve."""
    return folder / f"refusal_{pid}.txt"


def served_file(folder: Path) -> Path:
    """Name the file that tells that a worker of this server has served; nobody takes it away."""
    return folder / "served.txt"


def stacks_file(folder: Path, pid: int) -> Path:
    """Name the file in which a worker leaves its stacks when it can't log any more."""
    return folder / f"stacks_{pid}.txt"


def last_words(file: Path) -> str:
    """Read a file that a dead worker may have left, and remove it."""
    words = ""
    with suppress(OSError):
        words = file.read_text("utf-8", "replace")
        file.unlink()
    return words


def raise_descriptor_limit() -> None:
    """Take as many descriptors as the system gives: idle connections need one each."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # some systems give fewer than they say
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Workers(circus.watcher.Watcher):
    """Starts, replaces and ends the workers of one service."""

    drain_delay_s = 0.0
    drain_timeout_s = 0.0

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 (circus's own)
        """Take circus's options, some of which BentoML sets otherwise.

        In a container BentoML replaces no worker. That ends the server, so that another container
        takes its place, where there is one worker; of several, the others would live on as if
        nothing were missing.
        """
        options["respawn"] = options.get("respawn", True) or options.get("numprocesses", 1) > 1
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
            load_settings()
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
        alive = {process.pid for process in self.get_active_processes()}
        ages_s = [process.age() for pid, process in self.processes.items() if pid not in alive]
        if not ages_s or (max(ages_s) < every_s and now_s - self._looked_s < every_s):
            return
        try:
            looking = self.arbiter.manage_watchers()
        except ConflictError:
            self._loop.call_later(RETRY_S, self._look)
        else:
            self._looked_s = now_s
            self.arbiter.loop.add_future(looking, lambda done: done.result())

    def _close_door(self, **_: object) -> None:
        """Stop listening when the workers do, but for a reload: new workers need the socket."""
        if self.arbiter._stopping:
            self._loop.call_later(self.drain_delay_s, self.arbiter.sockets.close_all)

    def _report(self, *, process_pid: int, exit_code: int | None, **_: object) -> None:
        """Log the death of a worker, and what it has left word of."""
        folder = Path(self.env["PROMETHEUS_MULTIPROC_DIR"])
        if stacks := last_words(stacks_file(folder, process_pid)):
            log.critical("model.hangs", worker=process_pid, stack=stacks)
        refusal = last_words(refusal_file(folder, process_pid))
        if not self.arbiter._stopping:
            log.error("worker.died", worker=process_pid, exit_code=exit_code)
            if not served_file(folder).exists():
                self._give_up(refusal or f"a worker ended with {exit_code} before it could serve")

    def _give_up(self, reason: str) -> None:
        """End the server with one line: what no worker could do, the next can't either."""
        self.arbiter._exception = SystemExit(reason)
        self.respawn = True  # or circus would end in a container with an error of its own
        self._quit()


def install_workers(drain_delay_s: float, drain_timeout_s: float) -> None:
    """Let BentoML start its workers through `Workers`."""
    periods = {"drain_delay_s": drain_delay_s, "drain_timeout_s": drain_timeout_s}
    circus.watcher.Watcher = type("Workers", (Workers,), periods)

"""The life of a worker process: how it drains, and how it is ended when its model hangs.

Asked to end, a worker first says that it is unready, goes on answering for a while so that load
balancers notice, and then lets uvicorn close its door and answer what is under way, for a bounded
time. One whose place another has taken does the latter alone: the server goes on. A watchdog asks
for such a successor when a model hangs, and ends the worker if none comes and no other model
answers.
"""

import asyncio
import faulthandler
import os
import resource
import signal
import sys
from collections.abc import Callable, Sized
from contextlib import suppress
from functools import partial
from typing import IO, NoReturn, Protocol

from serving.exposition import forget_this_worker
from serving.host.letters import Letters
from serving.host.process import letters_folder
from serving.settings import Settings, metrics_folder
from serving.telemetry import log

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
RETIRE_SIGNAL = signal.SIGUSR1  # from the supervisor, when another has taken this worker's place
HANG_DELAY_S = 20.0  # after the deadline, in which a batch may still end


class Watched(Protocol):
    """What runs models."""

    @property
    def running_s(self) -> float:
        """For how many seconds the longest of the batches that run has run; 0 if none does."""

    @property
    def all(self) -> Sized:
        """The models."""

    def hanging(self, longer_than_s: float) -> Sized:
        """Give those whose batch has run for longer."""

    @property
    def stacks(self) -> str:
        """Where the models' threads are."""


class Life:
    """A worker process, from before its model is loaded."""

    def __init__(self, settings: Settings) -> None:
        """Take the periods."""
        self.draining = False
        self._retires = self._hangs = False
        self._drain_delay_s = settings.drain_delay_s
        self._drain_timeout_s = settings.drain_timeout_s
        self._deadline_s = settings.request_timeout_s
        self._longest_s = settings.request_timeout_s + HANG_DELAY_S
        self._succession_s = settings.start_timeout_s + HANG_DELAY_S
        self._tick_s = min(1.0, self._longest_s / 20)
        folder = letters_folder()
        self._letters = None if folder is None else Letters(folder)
        self._is_worker = False
        self._models: Watched | None = None
        self._on_drain: Callable[[], None] | None = None
        self._next_tick: asyncio.TimerHandle | None = None
        self._stacks: IO[str] | None = None

    def take_signals(self) -> None:
        """Take over uvicorn's signals; without uvicorn, do nothing. To be called on the event loop.

        One that comes while a model is loaded is heard right after that.
        """
        self._loop = asyncio.get_running_loop()
        # asyncio itself takes over SIGINT, but not this.
        self._is_worker = callable(signal.getsignal(signal.SIGTERM))
        for number in STOP_SIGNALS:
            shut_down = signal.getsignal(number)
            if self._is_worker and callable(shut_down):
                handler = partial(shut_down, number, None)
                self._loop.add_signal_handler(number, self._drain, handler)
                if number == signal.SIGTERM:
                    self._loop.add_signal_handler(RETIRE_SIGNAL, self._retire, handler)

    def begin(self, models: Watched, on_drain: Callable[[], None]) -> None:
        """Start the watchdog, under uvicorn; ``on_drain`` is told when the worker begins to end."""
        self._models = models
        self._on_drain = on_drain
        if self.draining:  # it was asked to end before this
            on_drain()
        if self._is_worker:
            raise_descriptor_limit()
            if self._letters is not None:
                self._letters.tell_ready()
                self._stacks = self._letters.open_stacks()
            self._tick()

    @property
    def unready(self) -> str | None:
        """Why clients should ask another server, whichever model they ask; nothing, if not."""
        return self._reason(hangs=self._models is not None and self._all_hang(self._deadline_s))

    def unready_with(self, running_s: float) -> str | None:
        """Why clients of a model should, whose batch has run for so long."""
        return self._reason(hangs=running_s > self._deadline_s)

    def _all_hang(self, longer_than_s: float) -> bool:
        assert self._models is not None  # noqa: S101 (which `begin` has set)
        return len(self._models.hanging(longer_than_s)) == len(self._models.all)

    def _reason(self, *, hangs: bool) -> str | None:
        if self.draining and not self._retires:
            return "the server is shutting down"
        return "the model has not answered within a request's deadline" if hangs else None

    def refuse(self, reason: str) -> NoReturn:
        """End this worker, whose model can't be served, with one line, and leave word of it.

        BentoML, Starlette and uvicorn each would have something to say to an exception, with pages
        of stack trace.
        """
        if (folder := metrics_folder()) is not None:
            forget_this_worker(folder)
        if self._letters is not None:
            self._letters.refuse(reason)
        log.critical("model.refused", reason=reason)
        os._exit(1)

    def end(self) -> None:
        """Stop the watchdog."""
        if self._next_tick is not None:
            self._next_tick.cancel()
            faulthandler.cancel_dump_traceback_later()
        if self._is_worker and self._letters is not None:
            self._letters.tell_served()  # again: a cleaner of old files may have taken it
            self._letters.stacks_of(os.getpid())
        if self._stacks is not None:
            self._stacks.close()

    def _drain(self, shut_down: Callable[[], None]) -> None:
        """Be unready from now on, and shut down when load balancers have had time to see it."""
        if self.draining:
            return
        self.draining = True
        if self._on_drain is not None:
            self._on_drain()
        log.info("drain.started", delay_s=self._drain_delay_s, timeout_s=self._drain_timeout_s)
        self._loop.call_later(self._drain_delay_s, shut_down)

    def _retire(self, shut_down: Callable[[], None]) -> None:
        """Leave the door to another worker, which is ready: what this one has taken it answers."""
        self._retires = not self.draining
        self._drain_delay_s = 0.0
        self._drain(shut_down)

    def _tick(self) -> None:
        """Let another worker take over if a model hangs, for there is no way to end its thread.

        This one goes on for its neighbours meanwhile; if nobody comes, it ends, but not while one
        of them answers: with the same model, another may never be ready. Native code may hold the
        interpreter, so that not even this runs: a thread in C waits for the next tick, and ends the
        process if there is none.
        """
        assert self._models is not None  # noqa: S101 (which `begin` has set)
        running_s = self._models.running_s
        if running_s > self._longest_s and not self._hangs:
            self._hangs = True
            log.critical("model.hangs", running_s=round(running_s, 3), stack=self._models.stacks)
            if self._letters is not None:
                self._letters.ask_for_successor()
        if self._all_hang(self._longest_s + (self._succession_s if self._letters else 0.0)):
            os._exit(1)
        stream = self._stacks or sys.__stderr__
        if stream is not None:
            faulthandler.dump_traceback_later(self._longest_s, exit=True, file=stream)
        self._next_tick = self._loop.call_later(self._tick_s, self._tick)


def raise_descriptor_limit() -> None:
    """Take as many descriptors as the system gives: idle connections need one each."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # some systems give fewer than they say
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

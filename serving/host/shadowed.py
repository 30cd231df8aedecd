"""The process in which a shadow lives, as its worker sees it.

It is a process of its own, so that nothing that it does is felt: it gets a core when nobody else
wants it, and is the first to go when memory runs out. A shadow that gives no sign of life for as
long as a model may that answers is taken to hang; the time that it waited for a core does not
count.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from serving.host.letters import Letters
from serving.host.life import HANG_DELAY_S
from serving.host.process import letters_folder, program_environment
from serving.prediction.companion import ShadowDeathError, ShadowRefusalError
from serving.prediction.frames import Channel, Findings, Part
from serving.prediction.shadow import Shadows
from serving.settings import Settings

PROGRAM = "serving.shadowing"
_TICK_S = 0.5
_END_S = 1.0  # in which it ends by itself
_LEAST_IMPORTANT = 19
_FIRST_TO_GO = "1000"


def shadows(settings: Settings) -> Shadows:
    """Give what shadows the models of this worker, in such processes."""
    folder = letters_folder()
    letters = None if folder is None else Letters(folder)
    return Shadows(settings, partial(ShadowProcess, settings), letters)


class ShadowProcess:
    """Such a process."""

    def __init__(self, settings: Settings, served: str, shadow: str) -> None:
        """Start it.

        Raises:
            OSError: it can't be started.
        """
        self._start_timeout_s = settings.start_timeout_s
        self._longest_s = settings.request_timeout_s + HANG_DELAY_S
        ours, theirs = socket.socketpair()
        ours.settimeout(_TICK_S)
        self._channel = Channel(ours)
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 (our own program)
                    [sys.executable, "-m", PROGRAM, str(theirs.fileno()), served, shadow],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env=program_environment(),
                )
        except OSError:
            ours.close()
            raise
        give_way(self._process.pid)

    def begin(self, wait: Callable[[], None]) -> None:
        """Wait until it can be asked.

        Raises:
            ShadowDeathError, ShadowRefusalError: it never will be.
        """
        reason: str = self._told(None, wait, self._start_timeout_s)
        if reason:
            raise ShadowRefusalError(reason)

    def ask(self, frame: list[Part], wait: Callable[[], None]) -> Findings:
        """Give what it finds of rows that were answered.

        Raises:
            ShadowDeathError: it has ended, or hangs and was ended.
        """
        return Findings(*self._told(frame, wait, self._longest_s))

    def _told(self, message: list[Part] | None, wait: Callable[[], None], patience_s: float) -> Any:  # noqa: ANN401 (any message)
        """Send a message, if there is one, and receive the next."""
        waits_since_s: float | None = None

        def wait_on() -> None:
            nonlocal waits_since_s
            wait()
            now_s = self._clock_s()
            if waits_since_s is None:  # most answer before anybody has to ask the system
                waits_since_s = now_s - _TICK_S
            if now_s - waits_since_s > patience_s:
                self._process.kill()
                raise ShadowDeathError(f"it did not answer within {patience_s:g} s, and was ended")

        try:
            if message is not None:
                self._channel.send(message, wait_on)
            return self._channel.receive(wait_on)
        except (EOFError, OSError) as exc:
            raise ShadowDeathError(self._end_of_it()) from exc

    def _clock_s(self) -> float:
        """Tell the time, less what the process waited for a core, where the system tells that."""
        return time.monotonic() - _waited_s(self._process.pid)

    def end(self) -> None:
        """End it: between two frames by itself, if it does so soon."""
        self._channel.close()
        self._end_of_it()

    def _end_of_it(self) -> str:
        """See that it ends, and tell how it has ended."""
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return f"it was ended by {_signal(-code)}" if code < 0 else f"it ended with {code}"


def _waited_s(pid: int) -> float:
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    return 0.0


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of those for real time
        return f"signal {number}"


def give_way(pid: int) -> None:
    """Let all other processes go before this one, and let it go before them if memory runs out."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, _LEAST_IMPORTANT)
    if hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):
            os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(_FIRST_TO_GO)

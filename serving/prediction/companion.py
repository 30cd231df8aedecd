"""A shadow, from when it is wanted until it is no more: started, asked, counted, started again.

It runs in a thread of its own, which waits for the shadow's process and nobody else. Each row that
was chosen ends in one result, whatever becomes of that process.
"""

import os
import time
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol, TypeAlias

from serving.model.about import About
from serving.model.state import Shadow, ShadowLetter
from serving.prediction.findings import Counts
from serving.prediction.frames import FRAME_ROWS, Findings, Part
from serving.prediction.waiting import Waiting
from serving.telemetry import log, stack_trace

GATHER_S = 0.05  # a thread that woke for each request would take its time from answering them
BUSY_S = 0.01  # until the model is looked at again
SHARE_OF_TIME = 0.01  # that the thread may take from those that answer
FRAME_S = 1.0  # that a frame may take, if it is not one row: so one that takes its time hangs
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # before a shadow that has died is started again


class ShadowDeathError(Exception):
    """The process of a shadow has ended, or was ended; the message says why."""


class ShadowRefusalError(Exception):
    """The version can't be a shadow of the one that answers; the message says why."""


class UnwantedError(Exception):
    """The shadow is no more to be."""


class Process(Protocol):
    """The process in which a shadow lives.

    ``wait`` is called again and again while it keeps its caller waiting, and may raise to give up.
    """

    def begin(self, wait: Callable[[], None]) -> None:
        """Wait until the shadow can be asked.

        Raises:
            ShadowDeathError, ShadowRefusalError: it never will be.
        """

    def ask(self, frame: list[Part], wait: Callable[[], None]) -> Findings:
        """Give what the shadow finds of rows that were answered.

        Raises:
            ShadowDeathError: it does not tell.
        """

    def end(self) -> None:
        """End it, if it has not ended."""


class Letters(Protocol):
    """Where it is told what has become of a shadow."""

    def tell_shadow(self, letter: ShadowLetter) -> None:
        """Tell it."""

    def forget_shadow(self, model: str) -> None:
        """Tell that there is none."""


class Desired(NamedTuple):
    """What is wanted of a model by now; nothing, if its shadow is to end."""

    revision: int
    shadow: Shadow | None


Start: TypeAlias = Callable[[str, str], Process]  # of the tag that answers, and of its shadow


class Companion:
    """A shadow of a version that answers."""

    def __init__(
        self,
        about: About,
        desired: Desired,
        is_idle: Callable[[], bool],
        start: Start,
        letters: Letters | None,
        look: Callable[[float], Desired],
    ) -> None:
        """Take the model; ``look`` waits for so many seconds at most, and tells what is wanted."""
        assert desired.shadow is not None  # noqa: S101 (or there were nothing to be)
        self.waiting = Waiting(desired.shadow.share)
        self._about = about
        self._revision, self._shadow = desired.revision, desired.shadow
        self._is_idle = is_idle
        self._start = start
        self._letters = letters
        self._letter: ShadowLetter | None = None
        self._look = look
        self._room = 1  # for rows, in the next frame
        self._counts = Counts(about.name, about.version, self._shadow.version)
        self._tags = tuple(f"{about.name}:{v}" for v in (about.version, self._shadow.version))
        self._named = {"model": about.named, "shadow": self._shadow.version}

    def run(self) -> None:
        """Live until it is unwanted."""
        pause_s, reason = FIRST_PAUSE_S, ""
        try:
            while True:
                began_s = time.monotonic()
                try:
                    self._live(reason)
                except ShadowRefusalError as exc:
                    reason = ""
                    self._refused(str(exc))
                except UnwantedError:
                    raise
                except Exception as exc:  # whatever it is, it is no reason to end
                    reason = str(exc)
                    if not isinstance(exc, ShadowDeathError):
                        reason = f"its worker failed with {type(exc).__name__}"
                        log.error("shadow.failed", **self._named, exception=stack_trace(exc))
                    if time.monotonic() - began_s > LONGEST_PAUSE_S:
                        pause_s = FIRST_PAUSE_S
                    self._died(reason, pause_s)
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        except UnwantedError:
            log.info("shadow.ended", **self._named)
        finally:
            self.waiting.close()
            self._counts.ended("dropped", self.waiting.dropped())
            if self._letters is not None:
                self._letters.forget_shadow(self._about.name)

    def _live(self, reason: str) -> None:
        """Start the process and ask it, until that is over.

        Raises:
            ShadowDeathError, ShadowRefusalError, UnwantedError: it is.
        """
        self._tell("starting", reason)
        try:
            process = self._start(*self._tags)
        except OSError as exc:  # no memory for it, perhaps
            raise ShadowDeathError(f"it can't be started: {exc.strerror or exc}") from exc
        try:
            process.begin(self._heed)
            log.info("shadow.started", **self._named, share=self._shadow.share)
            self._tell("running")
            while True:
                began_s, spent_s = time.monotonic(), time.thread_time()
                self._gather()
                self._ask(process)
                spent_s = time.thread_time() - spent_s
                self._rest_until(began_s + spent_s / SHARE_OF_TIME)
        finally:
            process.end()

    def _gather(self) -> None:
        """Wait until rows do, and the model has nothing to do."""
        if self.waiting.rows < self._room:
            self._heed(GATHER_S)
        while not (self.waiting.rows and self._is_idle()):
            self._heed(BUSY_S if self.waiting.rows else GATHER_S)

    def _ask(self, process: Process) -> None:
        """Ask about a frame of rows, and count them, whatever comes of it."""
        frame = self.waiting.frame(self._room)
        rows = sum(len(part_rows) for _, _, part_rows, _ in frame)
        try:
            findings = process.ask(frame, self._heed)
        except BaseException:
            self._counts.ended("failed", rows)
            raise
        self._counts.found(findings, rows)
        if compared := findings.same + findings.different:
            rows_at_once = FRAME_S * compared / max(findings.seconds, 1e-9)
            self._room = max(1, min(FRAME_ROWS, int(rows_at_once)))

    def _refused(self, reason: str) -> None:
        """Wait until somebody has decided something else."""
        log.error("shadow.refused", **self._named, reason=reason)
        self._tell("refused", reason)
        revision = self._revision
        while self._revision == revision:
            self._heed(GATHER_S)

    def _died(self, reason: str, pause_s: float) -> None:
        """Wait until it may be started again."""
        log.error("shadow.died", **self._named, reason=reason, again_in_s=pause_s)
        self._tell("starting", reason)
        self._rest_until(time.monotonic() + pause_s)

    def _rest_until(self, end_s: float) -> None:
        while (left_s := end_s - time.monotonic()) > 0:
            self._heed(left_s)

    def _tell(self, state: Literal["starting", "running", "refused"], reason: str = "") -> None:
        """Leave word of what has become of it."""
        self._letter = ShadowLetter(
            worker=os.getpid(),
            revision=self._revision,
            model=self._about.name,
            version=self._shadow.version,
            state=state,
            reason=reason,
        )
        if self._letters is not None:
            self._letters.tell_shadow(self._letter)

    def _heed(self, wait_s: float = 0.0) -> None:
        """See what is wanted by now, at the latest after so many seconds.

        Raises:
            UnwantedError: no such shadow.
        """
        desired = self._look(wait_s)
        self._counts.ended("dropped", self.waiting.dropped())
        now = desired.shadow
        if now is None or now.version != self._shadow.version:
            self.waiting.close()  # before it is ended, which may take a moment
            raise UnwantedError
        if now.share != self._shadow.share:
            self.waiting.choose(now.share)
        self._shadow = now
        if desired.revision != self._revision:
            self._revision = desired.revision
            if self._letter is not None:
                self._tell(self._letter.state, self._letter.reason)

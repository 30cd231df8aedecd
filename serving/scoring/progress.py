"""How far a run is: a bar on a terminal, elsewhere a line every ten seconds.

A thread tells it, so that a model that takes its time, or hangs, is told of too.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

LINE_EVERY_S, BAR_EVERY_S = 10.0, 0.2
STILL_S = 60.0  # after which it is told that nothing has come
BAR_CHARS = 30


class Progress:
    """Tells how many rows are done, while its context lasts."""

    def __init__(
        self, program: str, stream: TextIO, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Take what tells the time, and where to write."""
        self._program, self._stream, self._now_s = program, stream, now_s
        self._is_terminal = stream.isatty()
        self._rows, self._share = 0, 0.0
        self._begun_s = self._latest_s = now_s()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> "Progress":
        """Begin to tell."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Tell no more, and leave the line to others."""
        self._ended.set()
        self._thread.join()
        if self._is_terminal:
            self._write("\r\x1b[K")

    def advance(self, rows: int, share: float = 0.0) -> None:
        """Take that so many rows more are done, and which share of the file, if that is known."""
        self._rows += rows
        self._share, self._latest_s = share, self._now_s()

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return self._now_s() - self._begun_s

    @property
    def rate(self) -> str:
        """How many rows a second are done."""
        return f"{self._rows / max(self.seconds, 1e-9):,.0f} rows a second"

    def told(self) -> str:
        """Give the line, without a bar."""
        words = [f"{self._rows:,} rows", self.rate]
        if self._share:
            words.insert(0, f"{self._share:.0%}".replace("%", " %"))
        if (still_s := self._now_s() - self._latest_s) >= STILL_S:
            words.append(f"nothing for {still_s:,.0f} s: Ctrl-C ends it, and keeps what is done")
        return ", ".join(words)

    def bar(self) -> str:
        """Give the line for a terminal."""
        full = int(BAR_CHARS * self._share)
        drawn = f"[{'#' * full}{'.' * (BAR_CHARS - full)}] " if self._share else ""
        return f"\r{drawn}{self.told()}\x1b[K"

    def _run(self) -> None:
        every_s = BAR_EVERY_S if self._is_terminal else LINE_EVERY_S
        while not self._ended.wait(every_s):
            line = self.bar() if self._is_terminal else f"{self._program}: {self.told()}\n"
            self._write(line)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # who read it has gone, which ends no work
            self._ended.set()

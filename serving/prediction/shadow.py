"""Shadows: versions that are asked as well, and answer nobody.

A listener. A request leaves its rows here and goes on. A thread for each model looks at the desired
state; if that names a shadow, it starts a process in which the shadow lives, hands it a frame of
rows at a time, only while the model itself has nothing to do, waits for what the shadow finds, and
counts that. So a shadow may take its time, hang, exit or eat memory: what it can't take is dropped
and counted, and it is started again.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from serving.model.about import About
from serving.model.state import State, StateError, read_state, stamp
from serving.prediction.companion import Companion, Desired, Letters, Start
from serving.prediction.loaded import Loaded
from serving.settings import Settings
from serving.telemetry import Listener, Predicted, log

LOOK_S = 0.5  # at the desired state
_CLOSE_S = 3.0


class Shadows(Listener):
    """The shadows of all models of this worker."""

    def __init__(self, settings: Settings, start: Start, letters: Letters | None) -> None:
        """Take where the desired state is, and what starts the process of a shadow."""
        self._state_file = settings.state_path
        self._start = start
        self._letters = letters
        self._watches: dict[About, Watch] = {}

    def watch(self, loaded: Loaded) -> None:
        """See from now on whether a model is to have a shadow."""
        self._watches[loaded.about] = Watch(
            loaded.about,
            loaded.batcher.is_idle,
            self._state_file,
            self._start,
            self._letters,
        )

    def predicted(self, event: Predicted) -> None:
        """Take what was asked and answered, if there is a shadow."""
        watch = self._watches.get(event.about)
        if watch is not None and (companion := watch.companion) is not None:
            companion.waiting.take(event)

    def close(self) -> None:
        """End all shadows; what they have not told counts as failed, or dropped."""
        for watch in self._watches.values():
            watch.closing.set()
        for watch in self._watches.values():
            watch.thread.join(_CLOSE_S)


class Watch:
    """Gives a model the shadow that is wanted; ``companion`` is there while one is."""

    def __init__(
        self,
        about: About,
        is_idle: Callable[[], bool],
        state_file: Path,
        start: Start,
        letters: Letters | None,
    ) -> None:
        """Start the thread."""
        self.companion: Companion | None = None
        self.closing = threading.Event()
        self._about = about
        self._is_idle = is_idle
        self._state_file = state_file
        self._start = start
        self._letters = letters
        self._seen: object = None  # of the file, when it was read
        self._state = State()
        self._looked_s = -float("inf")
        name = f"shadow of {about.name}"
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.closing.is_set():
            desired = self._look(LOOK_S)
            if desired.shadow is None:
                continue
            self.companion = Companion(
                self._about, desired, self._is_idle, self._start, self._letters, self._look
            )
            self.companion.run()
            self.companion = None

    def _look(self, wait_s: float) -> Desired:
        """Tell what is wanted, after so many seconds at most; the file is read if it is new."""
        if wait_s:
            self.closing.wait(min(wait_s, LOOK_S))
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._read()
        shadow = self._state.of(self._about.name).shadow
        if self.closing.is_set() or (shadow and shadow.version == self._about.version):
            shadow = None
        return Desired(self._state.revision, shadow)

    def _read(self) -> None:
        seen, self._seen = self._seen, stamp(self._state_file)
        if self._seen == seen:
            return
        try:
            self._state = read_state(self._state_file)
        except StateError as exc:  # what was wanted stays
            log.error("shadow.state_unreadable", reason=str(exc))

"""Following: what training has saved is promoted by itself, if settings say so.

By the command that people have for that, which refuses what is worse or would break clients. The
log tells what it says.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Thread
from time import monotonic

from serving.host.process import run_own_program
from serving.model.state import BUSY, CHAMPION, split_alias
from serving.model.stored import ModelError, newest
from serving.settings import Follow, Settings, name_of
from serving.telemetry import log

FOLLOW_S = 2.0  # between looks at the model store


class Following:
    """Looks at the model store, now and then."""

    def __init__(self) -> None:
        """Have seen nothing."""
        self.thread: Thread | None = None  # that promotes
        self._seen: dict[str, str] = {}  # the newest versions, by model
        self._next_s = 0.0

    def look(self, settings: Settings, tags: Sequence[str], served: Mapping[str, str]) -> None:
        """See whether there is a newer version, if that is wanted and none is being promoted."""
        is_busy = self.thread is not None and self.thread.is_alive()
        if settings.follow is Follow.OFF or is_busy or monotonic() < self._next_s:
            return
        self._next_s = monotonic() + FOLLOW_S
        for tag in tags:
            name = name_of(tag)
            if split_alias(tag)[1] not in {"", CHAMPION}:
                continue
            with suppress(ModelError):  # somebody has deleted them all
                if (version := newest(name)) != self._seen.get(name, served[name]):
                    self._seen[name] = version
                    command = (name, version, str(settings.follow_margin))
                    self.thread = Thread(target=self._promote, args=command, daemon=True)
                    self.thread.start()
                    return

    def _promote(self, name: str, version: str, margin: str) -> None:
        """Run `python -m serving.versions`, and log what it says."""
        tag = f"{name}:{version}"
        command = ("promote", tag, "--who", "SERVING_FOLLOW", "--margin", margin)
        done = run_own_program("serving.versions", *command)
        # circus reaps all children, so the exit code is lost; but only a refusal is on stderr.
        refusal = done.stderr.strip()
        if BUSY in refusal:
            del self._seen[name]  # somebody else decides: look again after that
        elif refusal:
            log.warning("follow.refused", model=tag, reason=refusal)
        else:
            log.info("follow.promoted", model=tag)

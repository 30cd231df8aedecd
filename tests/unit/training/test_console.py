"""What a person hears while something long goes on."""

import threading
from collections.abc import Callable

import pytest

from training import console


class _Clock:
    """Time that goes on when someone waits, and stops the wait after some rounds."""

    def __init__(self, rounds: int) -> None:
        self.now_s, self.left = 0.0, rounds
        self.over = threading.Event()

    def wait(self, timeout_s: float) -> bool:
        """Wait without waiting."""
        self.left -= 1
        if self.left < 0:
            self.over.set()
            return True
        self.now_s += timeout_s
        return False

    def set(self) -> None:
        """End, but not before all has been told."""
        assert self.over.wait(10)

    def monotonic(self) -> float:
        """Tell the time."""
        return self.now_s


class _AtOnce:
    """A thread that is over when it has started."""

    def __init__(self, target: Callable[[], None], daemon: bool) -> None:
        assert daemon
        self.start = target


def test_what_takes_long_is_told_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = _Clock(rounds=3)
    monkeypatch.setattr(threading, "Event", lambda: clock)
    monkeypatch.setattr(console, "time", clock)
    monkeypatch.setattr(threading, "Thread", _AtOnce)

    with console.progress("fitting"):
        assert capsys.readouterr().err == "fitting: 10 s\nfitting: 20 s\nfitting: 30 s\n"


def test_what_is_soon_over_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("fitting"):
        pass

    assert capsys.readouterr() == ("", "")

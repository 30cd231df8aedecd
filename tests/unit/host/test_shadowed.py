"""The process of a shadow: out of the way of all others, and whatever it does is told in words."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from serving.host import shadowed as room
from serving.host.process import LETTERS
from serving.host.shadowed import ShadowProcess, give_way, shadows
from serving.prediction.companion import ShadowDeathError, ShadowRefusalError
from serving.prediction.frames import Findings, Part
from serving.settings import Settings

FRAME: list[Part] = [("id-1", [0], [(1.0,)], [("ham", None, None)])]
Begin = Callable[..., ShadowProcess]


class GivenUpError(Exception):
    """Who waited has had enough."""


def wait() -> None:
    """Go on waiting."""


def give_up() -> None:
    """Do not."""
    raise GivenUpError


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """Give what starts a process that does as it is told; all are gone in the end."""
    gave_way: list[int] = []
    monkeypatch.setattr(room, "PROGRAM", "tests.unit.host.puppet")
    monkeypatch.setattr(room, "_TICK_S", 0.01)
    monkeypatch.setattr(room, "_END_S", 60.0)
    monkeypatch.setattr(room, "give_way", gave_way.append)  # not to all other tests, too
    monkeypatch.setattr(room, "HANG_DELAY_S", 0.1)
    started: list[ShadowProcess] = []

    def start(behaviour: str = "answers", **settings: float) -> ShadowProcess:
        patience = Settings(**{"request_timeout_s": 600} | settings)  # type: ignore[arg-type]
        started.append(ShadowProcess(patience, "iris:a", behaviour))
        return started[-1]

    yield start
    assert gave_way == [process._process.pid for process in started]
    for process in started:
        process.end()
        with suppress(psutil.NoSuchProcess):
            assert not psutil.Process(process._process.pid).is_running()


def test_it_answers_without_metrics_of_its_own_until_it_is_ended(begin: Begin) -> None:
    process = begin()
    process.begin(wait)
    found = Findings(1, 2, [3], 4.0, [("iris:a", "none", 1)], 5.0, 6, 7)
    assert process.ask(FRAME, wait) == process.ask(FRAME, wait) == found
    process.end()
    assert process._process.returncode == 1  # by itself, when nobody asks any more


@pytest.mark.parametrize(
    ("behaviour", "patience_s", "told"),
    [
        ("exits", 60.0, "it ended with 7"),
        ("is silent", 0.5, "it did not answer within 0.5 s, and was ended"),
    ],
)
def test_one_that_does_not_come_to_be_is_told(
    begin: Begin, behaviour: str, patience_s: float, told: str
) -> None:
    process = begin(behaviour, start_timeout_s=patience_s)
    with pytest.raises(ShadowDeathError, match=told):
        process.begin(wait)


def test_one_that_can_not_be_is_refused_with_its_reason(begin: Begin) -> None:
    with pytest.raises(ShadowRefusalError, match="it is damaged"):
        begin("refuses").begin(wait)


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        ("is killed", "it was ended by SIGKILL"),
        ("hangs", "it did not answer within 0.2 s, and was ended"),
    ],
)
def test_one_that_does_not_answer_is_told(begin: Begin, behaviour: str, told: str) -> None:
    process = begin(behaviour, **({"request_timeout_s": 0.1} if behaviour == "hangs" else {}))
    process.begin(wait)
    with pytest.raises(ShadowDeathError, match=told):
        process.ask(FRAME, wait)


def test_who_waits_for_one_that_hangs_may_give_up(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_END_S", 0.1)
    process = begin("hangs")
    process.begin(wait)
    with pytest.raises(GivenUpError):
        process.ask(FRAME, give_up)


def test_one_that_does_not_go_is_killed(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_END_S", 0.1)
    process = begin("does not go")
    process.begin(wait)
    process.ask(FRAME, wait)
    process.end()
    assert process._process.returncode == -9


def test_time_that_it_waits_for_a_core_is_no_hang(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = begin()
    process.begin(wait)
    waited = room._waited_s(process._process.pid)
    assert waited >= 0
    assert room._waited_s(2**22 + 1) == 0  # where the system does not tell
    before_s = process._clock_s()
    monkeypatch.setattr(room, "_waited_s", lambda _: waited + 600)
    assert process._clock_s() < before_s - 500


def test_it_gives_way_to_all_others() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        give_way(process.pid)
        assert psutil.Process(process.pid).nice() == 19
        if hasattr(os, "SCHED_IDLE"):
            assert os.sched_getscheduler(process.pid) == os.SCHED_IDLE
            assert Path(f"/proc/{process.pid}/oom_score_adj").read_text().strip() == "1000"
        process.communicate(b"\n")
    give_way(2**22 + 1)  # it has ended before


def test_shadows_tell_where_letters_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(LETTERS, str(tmp_path))
    assert shadows(Settings())._letters.folder == tmp_path  # type: ignore[union-attr]
    monkeypatch.delenv(LETTERS)
    assert shadows(Settings())._letters is None


def test_one_that_can_not_be_started_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(OSError, match="No such file"):
        ShadowProcess(Settings(), "iris:a", "iris:b")

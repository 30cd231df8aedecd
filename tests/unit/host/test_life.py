"""How a worker drains, how it is watched, and what it needs of uvicorn for that."""

import asyncio
import faulthandler
import os
import resource
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from serving.host import life
from serving.host.letters import Letters
from serving.host.life import (
    HANG_DELAY_S,
    RETIRE_SIGNAL,
    STOP_SIGNALS,
    Life,
    raise_descriptor_limit,
)
from serving.host.process import LETTERS
from serving.settings import Settings
from tests.unit.fakes import recorded

DEADLINE_S = 2.0
SETTINGS = Settings(request_timeout_s=DEADLINE_S, drain_delay_s=0.01, drain_timeout_s=7)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Give the lines that are logged."""
    return recorded(monkeypatch, life).lines


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Letters:
    """Give the letters that the worker leaves."""
    folder = tmp_path / "letters"
    folder.mkdir()
    monkeypatch.setenv(LETTERS, str(folder))
    return Letters(folder)


class Exit(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def armed(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """Give for how long the thread in C was told to wait, each time; None when it was let off."""
    calls: list[float | None] = []

    def arm(timeout: float, *, exit: bool, file: Any) -> None:  # noqa: ANN401
        assert exit
        assert file.fileno() >= 0
        calls.append(timeout)

    def leave(code: int) -> None:
        raise Exit(code)

    monkeypatch.setattr(faulthandler, "dump_traceback_later", arm)
    monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", lambda: calls.append(None))
    monkeypatch.setattr(os, "_exit", leave)
    return calls


@dataclass(slots=True)
class Models:
    """Has been running a batch for a while."""

    running_s: float = 0.0
    stacks: str = "in predict"
    others_s: tuple[float, ...] = ()  # for how long batches of other models have run

    @property
    def all(self) -> list[float]:
        """The times of all."""
        return [self.running_s, *self.others_s]

    def hanging(self, longer_than_s: float) -> list[float]:
        """Give those that are longer."""
        return [each for each in self.all if each > longer_than_s]


def in_uvicorn(story: Callable[[uvicorn.Server], Awaitable[None]]) -> None:
    """Be what a worker is while its application starts and runs."""

    async def serve() -> None:
        server = uvicorn.Server(uvicorn.Config("x:y", log_config=None))
        with server.capture_signals():
            await story(server)
            server._captured_signals.clear()

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    asyncio.run(serve())
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (signals set no event)
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_worker_drains_before_uvicorn_hears_of_a_signal(
    lines: list[dict[str, Any]], number: signal.Signals
) -> None:
    told = []

    async def story(server: uvicorn.Server) -> None:
        worker = Life(SETTINGS)
        worker.take_signals()
        worker.begin(Models(), lambda: told.append(server.should_exit))
        assert worker.unready is None
        os.kill(os.getpid(), number)
        await until(lambda: worker.draining)
        assert worker.unready == "the server is shutting down"
        assert not server.should_exit
        os.kill(os.getpid(), number)
        await until(lambda: server.should_exit)
        assert server._captured_signals == [number]
        worker.end()

    in_uvicorn(story)
    assert told == [False], "told once, before uvicorn"
    assert lines == [{"level": "info", "event": "drain.started", "delay_s": 0.01, "timeout_s": 7.0}]


def test_a_worker_that_is_asked_to_end_while_it_starts_hears_of_it_then(
    lines: list[dict[str, Any]],
) -> None:
    told = []

    async def story(server: uvicorn.Server) -> None:
        worker = Life(SETTINGS)
        worker.take_signals()
        signal.raise_signal(signal.SIGTERM)  # while it loads the model
        await until(lambda: worker.draining)  # while it waits for Redis
        worker.begin(Models(), lambda: told.append(True))
        assert told == [True]
        await until(lambda: server.should_exit)
        worker.end()

    in_uvicorn(story)
    assert told == [True]


def test_without_uvicorn_nothing_is_taken_over(armed: list[float | None], letters: Letters) -> None:
    async def story() -> None:
        before = signal.getsignal(signal.SIGTERM)
        worker = Life(SETTINGS)
        worker.take_signals()
        worker.begin(Models(), lambda: None)
        assert signal.getsignal(signal.SIGTERM) is before
        worker.end()

    asyncio.run(story())
    assert armed == []
    assert not letters.has_served


def test_a_worker_is_unready_while_its_model_is_late() -> None:
    worker, models = Life(SETTINGS), Models()
    assert worker.unready is None  # it has not begun
    worker.begin(models, lambda: None)
    assert worker.unready is None
    models.running_s = DEADLINE_S + 0.1
    assert worker.unready == "the model has not answered within a request's deadline"
    assert worker.unready_with(models.running_s) == worker.unready
    models.others_s = (DEADLINE_S,)  # of a model that answers yet
    assert worker.unready is None
    assert worker.unready_with(DEADLINE_S) is None


def test_the_thread_in_c_is_told_again_and_again_and_let_off_at_the_end(
    monkeypatch: pytest.MonkeyPatch, armed: list[float | None], letters: Letters
) -> None:
    monkeypatch.setattr(life, "HANG_DELAY_S", 0.05)

    async def story(_: uvicorn.Server) -> None:
        worker = Life(Settings(request_timeout_s=0.05))
        worker.take_signals()
        worker.begin(Models(), lambda: None)
        assert (letters.folder / f"stacks_{os.getpid()}").exists()
        assert letters.has_served
        await until(lambda: len(armed) > 3)
        worker.end()

    in_uvicorn(story)
    assert armed[-1] is None
    assert armed[:-1] == [0.1] * (len(armed) - 1)
    left = {file.name for file in letters.folder.iterdir()}
    assert left == {"served", f"ready_{os.getpid()}"}


@pytest.mark.parametrize("hangs", [False, True])
def test_a_worker_ends_itself_when_the_model_hangs(
    lines: list[dict[str, Any]], *, hangs: bool
) -> None:
    running_s = DEADLINE_S + HANG_DELAY_S + (0.1 if hangs else -0.1)

    async def story(_: uvicorn.Server) -> None:
        worker = Life(SETTINGS)
        worker.take_signals()
        if hangs:
            with pytest.raises(Exit, match="1"):
                worker.begin(Models(running_s), lambda: None)
        else:
            worker.begin(Models(running_s), lambda: None)
        worker.end()

    in_uvicorn(story)
    told = {"level": "critical", "event": "model.hangs", "running_s": 22.1, "stack": "in predict"}
    assert lines == ([told] if hangs else [])


def test_a_worker_whose_model_hangs_asks_for_a_successor_and_ends_if_none_comes(
    lines: list[dict[str, Any]], letters: Letters
) -> None:
    models = Models(DEADLINE_S + HANG_DELAY_S + 0.1)

    async def story(_: uvicorn.Server) -> None:
        worker = Life(SETTINGS)
        worker.take_signals()
        worker.begin(models, lambda: None)
        assert letters.wants_successor([os.getpid()]) == [os.getpid()]
        models.running_s += SETTINGS.start_timeout_s + HANG_DELAY_S
        with pytest.raises(Exit, match="1"):
            worker._tick()
        worker.end()

    in_uvicorn(story)
    assert [line["event"] for line in lines] == ["model.hangs"]


def test_a_worker_in_which_another_model_answers_goes_on_if_none_comes(letters: Letters) -> None:
    given_up_s = DEADLINE_S + 2 * HANG_DELAY_S + SETTINGS.start_timeout_s + 0.1
    models = Models(given_up_s, others_s=(0.0,))

    async def story(_: uvicorn.Server) -> None:
        worker = Life(SETTINGS)
        worker.take_signals()
        worker.begin(models, lambda: None)
        assert letters.wants_successor([os.getpid()]) == [os.getpid()]
        models.others_s = (given_up_s,)
        with pytest.raises(Exit, match="1"):
            worker._tick()
        worker.end()

    in_uvicorn(story)


def test_a_worker_that_retires_closes_its_door_at_once_and_calls_the_server_no_less_ready() -> None:
    async def story(server: uvicorn.Server) -> None:
        worker = Life(Settings(drain_delay_s=1000))
        worker.take_signals()
        worker.begin(Models(), lambda: None)
        os.kill(os.getpid(), RETIRE_SIGNAL)
        await until(lambda: server.should_exit)
        assert worker.draining
        assert worker.unready is None
        worker.end()

    in_uvicorn(story)


def test_a_worker_that_can_not_serve_leaves_word_of_it_and_no_metrics(
    monkeypatch: pytest.MonkeyPatch,
    lines: list[dict[str, Any]],
    letters: Letters,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    counts = tmp_path / f"counter_{os.getpid()}.db"
    counts.touch()
    with pytest.raises(Exit, match="1"):
        Life(SETTINGS).refuse("it is damaged")
    assert letters.refusal_of(os.getpid()) == "it is damaged"
    assert not counts.exists()
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR")
    monkeypatch.delenv(LETTERS)  # there is nobody to tell
    with pytest.raises(Exit, match="1"):
        Life(SETTINGS).refuse("it is damaged")
    assert lines == [{"level": "critical", "event": "model.refused", "reason": "it is damaged"}] * 2


def test_a_worker_takes_as_many_descriptors_as_it_may_have() -> None:
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), most))
        raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, most)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))

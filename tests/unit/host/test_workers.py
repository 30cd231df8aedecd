"""How workers end, are watched, and are replaced; and what of uvicorn and circus that leans on."""

import asyncio
import faulthandler
import inspect
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bentoml
import circus.watcher  # type: ignore[import-untyped]
import pytest
import uvicorn
from bentoml.serving import create_watcher
from circus.arbiter import Arbiter  # type: ignore[import-untyped]
from circus.controller import Controller  # type: ignore[import-untyped]
from circus.exc import ConflictError  # type: ignore[import-untyped]
from circus.sighandler import SysHandler  # type: ignore[import-untyped]
from serving.host.workers import (
    Life,
    Workers,
    install_workers,
    refusal_file,
    refuse,
    served_file,
    stack_of,
    stacks_file,
)

from serving.host import workers
from serving.settings import Settings
from serving.telemetry import MODEL_THREAD
from tests.unit.fakes import RecordingLog

CHECK_S = 10.0


def moved(joint: str) -> str:
    """Tell what to do when a canary has died."""
    return f"an upgrade has moved {joint}: mend serving/host/workers.py, then this test"


class CriticalLog(RecordingLog):
    """Keeps lines of the highest level too."""

    def critical(self, event: str, **fields: object) -> None:
        """Keep a line."""
        self._keep("critical", event, fields)


@pytest.fixture(autouse=True)
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Give the lines that are logged."""
    recording = CriticalLog()
    monkeypatch.setattr(workers, "log", recording)
    return recording.lines


# A worker's own side


class Exit(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def armed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[float | None]:
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
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    return calls


async def in_uvicorn(story: Callable[[uvicorn.Server], Any]) -> uvicorn.Server:
    """Be what a worker is when its application starts."""
    server = uvicorn.Server(uvicorn.Config("x:y", log_config=None))
    before = {number: signal.getsignal(number) for number in workers.STOP_SIGNALS}
    with server.capture_signals():
        await story(server)
        server._captured_signals.clear()
    assert {number: signal.getsignal(number) for number in before} == before
    return server


def life(running_s: float = 0.0, **values: float) -> Life:
    return Life(Settings(**values), lambda: running_s)  # type: ignore[arg-type]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (signals set no event)
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("number", workers.STOP_SIGNALS)
def test_a_worker_drains_before_uvicorn_hears_of_a_signal(
    armed: list[float | None], lines: list[dict[str, Any]], number: signal.Signals
) -> None:
    told = []

    async def story(server: uvicorn.Server) -> None:
        worker = life(drain_delay_s=0.05, drain_timeout_s=7)
        worker.begin(lambda: told.append(server.should_exit))
        assert server.config.timeout_graceful_shutdown == 7
        assert not worker.draining
        os.kill(os.getpid(), number)
        await until(lambda: worker.draining)
        assert not server.should_exit
        os.kill(os.getpid(), number)
        await until(lambda: server.should_exit)
        assert server._captured_signals == [number]
        worker.end()

    asyncio.run(in_uvicorn(story))
    assert told == [False], "told once, before uvicorn"
    assert lines == [{"level": "info", "event": "drain.started", "delay_s": 0.05, "timeout_s": 7.0}]


def test_a_worker_that_was_asked_to_end_while_it_loaded_is_never_ready(
    armed: list[float | None],
) -> None:
    told = []

    async def story(server: uvicorn.Server) -> None:
        server.handle_exit(signal.SIGTERM, None)
        worker = life()
        worker.begin(lambda: told.append(True))
        assert worker.draining
        worker.end()

    asyncio.run(in_uvicorn(story))
    assert told == [True]


def test_without_uvicorn_nothing_is_taken_over(armed: list[float | None]) -> None:
    async def story() -> None:
        before = signal.getsignal(signal.SIGTERM)
        worker = life()
        worker.begin(lambda: None)
        assert signal.getsignal(signal.SIGTERM) is before
        worker.end()

    asyncio.run(story())
    assert armed == []


def test_the_thread_in_c_is_told_again_and_again_and_let_off_at_the_end(
    armed: list[float | None], tmp_path: Path
) -> None:
    async def story(_: uvicorn.Server) -> None:
        worker = life(request_timeout_s=0.05, hang_delay_s=0.05)
        worker.begin(lambda: None)
        assert stacks_file(tmp_path, os.getpid()).exists()
        await until(lambda: len(armed) > 3)
        worker.end()

    asyncio.run(in_uvicorn(story))
    assert armed[-1] is None
    assert armed[:-1] == [0.1] * (len(armed) - 1)
    assert list(tmp_path.iterdir()) == [served_file(tmp_path)]


@pytest.mark.parametrize("excess_s", [-0.1, 0.1])
def test_a_worker_ends_itself_when_the_model_hangs(
    armed: list[float | None], lines: list[dict[str, Any]], excess_s: float
) -> None:
    ready, enough = threading.Event(), threading.Event()

    def model() -> None:
        secret_of_the_input = 31337
        ready.set()
        enough.wait()
        assert secret_of_the_input

    thread = threading.Thread(target=model, name=MODEL_THREAD)
    thread.start()
    ready.wait()

    async def story(_: uvicorn.Server) -> None:
        worker = life(5 + excess_s, request_timeout_s=2, hang_delay_s=3)
        if excess_s > 0:
            with pytest.raises(Exit, match="1"):
                worker.begin(lambda: None)
        else:
            worker.begin(lambda: None)
        worker.end()

    try:
        asyncio.run(in_uvicorn(story))
    finally:
        enough.set()
        thread.join()
    if excess_s > 0:
        (line,) = lines
        assert (line["level"], line["event"], line["running_s"]) == ("critical", "model.hangs", 5.1)
        assert "in model" in line["stack"]
        assert "31337" not in line["stack"]
    else:
        assert lines == []


def test_a_worker_that_can_not_serve_leaves_word_of_it_and_no_metrics(
    armed: list[float | None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ends: list[object] = []
    monkeypatch.setattr(workers, "end_process", lambda *event, **fields: ends.append(fields))
    (tmp_path / f"counter_{os.getpid()}.db").touch()
    refuse("it is damaged")
    assert ends == [{"reason": "it is damaged"}]
    assert list(tmp_path.iterdir()) == [refusal_file(tmp_path, os.getpid())]
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR")
    refuse("there is nobody to tell")
    assert len(ends) == 2


def test_the_stack_of_a_thread_that_is_not_there_is_empty() -> None:
    assert stack_of("nobody") == ""


def test_a_worker_takes_as_many_descriptors_as_it_may_have(armed: list[float | None]) -> None:
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    lower = min(soft, 512)

    async def story(_: uvicorn.Server) -> None:
        worker = life()
        worker.begin(lambda: None)
        worker.end()

    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lower, most))
        asyncio.run(in_uvicorn(story))
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, most)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))


def test_uvicorn_takes_signals_by_a_bound_method_of_its_server() -> None:
    server = uvicorn.Server(uvicorn.Config("x:y", log_config=None))
    with server.capture_signals():
        for number in workers.STOP_SIGNALS:
            handler: Any = signal.getsignal(number)
            assert handler.__self__ is server, moved("uvicorn.Server.handle_exit")
        handler(signal.SIGTERM, None)
        assert server.should_exit, moved("uvicorn.Server.should_exit")
        server._captured_signals.clear()


# The side of the process that starts workers


class FakeLoop:
    """An event loop of which a test says when it does what is due."""

    def __init__(self) -> None:
        """Have nothing to do."""
        self.due: list[tuple[float, Callable[[], object]]] = []
        self.asyncio_loop = self

    def call_soon_threadsafe(self, call: Callable[[], object]) -> None:
        """Do it now."""
        call()

    def call_later(self, delay_s: float, call: Callable[[], object]) -> None:
        """Do it when the test says."""
        self.due.append((delay_s, call))

    def add_future(self, future: Any, then: Callable[[Any], object]) -> None:  # noqa: ANN401
        """Be told at once."""
        then(future)

    def run(self) -> list[float]:
        """Do what is due; give the delays."""
        due, self.due = self.due, []
        for _, call in due:
            call()
        return [delay_s for delay_s, _ in due]


class FakeArbiter:
    """What of circus's arbiter a watcher leans on."""

    def __init__(self) -> None:
        """Run."""
        self.loop, self.check_delay, self._stopping, self.busy = FakeLoop(), CHECK_S, False, False
        self._exception: BaseException | None = None
        self.ctrl = SimpleNamespace(sys_hdl=SimpleNamespace(quit=None))
        self.sockets = SimpleNamespace(close_all=lambda: self.calls.append("close_all"))
        self.calls: list[str] = []

    def _command(self, name: str) -> Any:  # noqa: ANN401
        if self.busy:
            raise ConflictError(name)
        self.calls.append(name)
        return SimpleNamespace(result=lambda: None)

    def manage_watchers(self) -> Any:  # noqa: ANN401
        """Replace dead workers."""
        return self._command("manage_watchers")

    def stop(self) -> Any:  # noqa: ANN401
        """End."""
        stopped = self._command("stop")
        self._stopping = True
        return stopped


@pytest.fixture
def arbiter() -> Iterator[FakeArbiter]:
    """Give an arbiter; the signal's handler is put back."""
    before = signal.getsignal(signal.SIGCHLD)
    yield FakeArbiter()
    signal.signal(signal.SIGCHLD, before)


def watcher(arbiter: FakeArbiter, folder: Path = Path("nowhere"), **options: Any) -> Any:  # noqa: ANN401
    env = {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    made = Workers(name="service", cmd="true", env=env, **options)
    made.initialize(None, None, arbiter)
    return made


def process(age_s: float, status: object) -> Any:  # noqa: ANN401
    return SimpleNamespace(pid=id(status), age=lambda: age_s, status=status)


def lived(made: Any, *ages_s: float) -> None:  # noqa: ANN401
    """Let workers of these ages be dead, beside one that lives."""
    dead = [process(age_s, circus.watcher.DEAD_OR_ZOMBIE) for age_s in ages_s]
    made.processes = {1000 + number: one for number, one in enumerate(dead)}
    for pid, one in made.processes.items():
        one.pid = pid
    made.processes[1] = SimpleNamespace(pid=1, age=lambda: 1000.0, status=0)


def test_bentoml_starts_workers_through_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circus.watcher, "Watcher", circus.watcher.Watcher)
    install_workers(3, 30)
    made = create_watcher(name="service", args=["x"], numprocesses=1)
    assert isinstance(made, Workers), moved("create_watcher's import of circus's Watcher")
    assert made.graceful_timeout == 3 + 30 + workers.MARGIN_S, moved("graceful_timeout")
    assert made.respawn, moved("respawn")
    assert set(made.hooks) == {"before_stop", "after_reap"}


@pytest.mark.parametrize(("count", "replaced"), [(1, False), (2, True)])
def test_in_a_container_only_one_of_several_is_replaced(
    arbiter: FakeArbiter, count: int, *, replaced: bool
) -> None:
    assert watcher(arbiter, respawn=False, numprocesses=count).respawn is replaced


def test_a_dead_worker_is_replaced_at_once(arbiter: FakeArbiter) -> None:
    made = watcher(arbiter)
    lived(made)
    signal.raise_signal(signal.SIGCHLD)
    assert arbiter.calls == []  # a child of another kind
    lived(made, CHECK_S + 1)
    for _ in range(3):
        signal.raise_signal(signal.SIGCHLD)
    assert arbiter.calls == ["manage_watchers"] * 3


def test_of_workers_that_die_young_only_the_first_is_replaced_at_once(
    arbiter: FakeArbiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    made = watcher(arbiter)
    lived(made, 4.0)
    signal.raise_signal(signal.SIGCHLD)
    assert arbiter.calls == ["manage_watchers"]
    signal.raise_signal(signal.SIGCHLD)
    now_s += CHECK_S - 1
    signal.raise_signal(signal.SIGCHLD)
    assert arbiter.calls == ["manage_watchers"]
    lived(made, 4.0, CHECK_S + 1)  # one of another age beside it
    signal.raise_signal(signal.SIGCHLD)
    assert arbiter.calls == ["manage_watchers"] * 2
    lived(made, 4.0)
    now_s += CHECK_S
    signal.raise_signal(signal.SIGCHLD)
    assert arbiter.calls == ["manage_watchers"] * 3


def test_a_dead_worker_is_replaced_when_circus_is_no_longer_busy(arbiter: FakeArbiter) -> None:
    made = watcher(arbiter)
    lived(made, CHECK_S)
    arbiter.busy = True
    signal.raise_signal(signal.SIGCHLD)
    assert arbiter.loop.run() == [workers.RETRY_S]
    arbiter.busy = False
    arbiter.loop.run()
    assert arbiter.calls == ["manage_watchers"]
    assert arbiter.loop.run() == []


def test_nothing_is_replaced_while_the_server_ends(arbiter: FakeArbiter) -> None:
    made = watcher(arbiter)
    lived(made, CHECK_S)
    arbiter._stopping = True
    signal.raise_signal(signal.SIGCHLD)
    assert arbiter.calls == []


def test_being_asked_to_end_is_not_forgotten_while_circus_is_busy(arbiter: FakeArbiter) -> None:
    watcher(arbiter)
    end: Any = arbiter.ctrl.sys_hdl.quit
    arbiter.busy = True
    end()
    assert arbiter.loop.run() == [workers.RETRY_S]
    arbiter.busy = False
    arbiter.loop.run()
    assert arbiter.calls == ["stop"]
    arbiter.loop.run()
    end()
    assert arbiter.calls == ["stop"]
    assert arbiter.loop.run() == []


def test_the_door_is_closed_when_the_server_ends_and_not_at_a_reload(arbiter: FakeArbiter) -> None:
    made = watcher(arbiter)
    made.drain_delay_s = 3.0
    made.call_hook("before_stop")
    assert arbiter.loop.run() == []
    arbiter._stopping = True
    made.call_hook("before_stop")
    assert arbiter.loop.run() == [3.0]
    assert arbiter.calls == ["close_all"]


def test_the_death_of_a_worker_is_logged_with_the_stacks_that_it_left(
    arbiter: FakeArbiter, lines: list[dict[str, Any]], tmp_path: Path
) -> None:
    made = watcher(arbiter, tmp_path)
    served_file(tmp_path).touch()
    stacks_file(tmp_path, 7).write_text("Thread 1: predict")
    stacks_file(tmp_path, 8).write_text("")
    for pid in (7, 8, 9):
        made.call_hook("after_reap", process_pid=pid, exit_code=1, time=0.0, process_status=None)
    assert list(tmp_path.iterdir()) == [served_file(tmp_path)]
    died = {"level": "error", "event": "worker.died", "exit_code": 1}
    assert lines == [
        {"level": "critical", "event": "model.hangs", "worker": 7, "stack": "Thread 1: predict"},
        *({**died, "worker": pid} for pid in (7, 8, 9)),
    ]
    lines.clear()
    arbiter._stopping = True
    made.call_hook("after_reap", process_pid=9, exit_code=0)
    assert lines == []


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("contained", [False, True])
def test_a_worker_that_dies_before_any_has_served_ends_the_server(
    arbiter: FakeArbiter, tmp_path: Path, count: int, *, contained: bool
) -> None:
    made = watcher(arbiter, tmp_path, respawn=not contained, numprocesses=count)
    refusal_file(tmp_path, 7).write_text("model iris is damaged")
    arbiter.busy = True  # as it is while it reaps
    made.call_hook("after_reap", process_pid=7, exit_code=1)
    assert made.respawn
    arbiter.busy = False
    arbiter.loop.run()
    assert arbiter.calls == ["stop"]
    assert isinstance(arbiter._exception, SystemExit)
    assert arbiter._exception.code == "model iris is damaged"
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_dies_without_a_word_before_any_has_served_ends_the_server(
    arbiter: FakeArbiter, tmp_path: Path
) -> None:
    watcher(arbiter, tmp_path).call_hook("after_reap", process_pid=7, exit_code=-9)
    assert arbiter.calls == ["stop"]
    assert isinstance(arbiter._exception, SystemExit)
    assert "-9" in str(arbiter._exception.code)


def test_once_a_worker_has_served_one_that_can_not_ends_nothing(
    arbiter: FakeArbiter, tmp_path: Path
) -> None:
    made = watcher(arbiter, tmp_path)
    served_file(tmp_path).touch()
    for pid in (7, 8, 9):
        refusal_file(tmp_path, pid).write_text("model iris is damaged")
        made.call_hook("after_reap", process_pid=pid, exit_code=1)
    assert arbiter.calls == []
    assert arbiter._exception is None
    assert list(tmp_path.iterdir()) == [served_file(tmp_path)]


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Arbiter, "stop"),
        (Arbiter, "manage_watchers"),
        (circus.watcher.Watcher, "get_active_processes"),
        (circus.watcher.Watcher, "call_hook"),
        (SysHandler, "quit"),
        (Controller, "_init_syshandler"),
    ],
)
def test_circus_is_as_its_watcher_expects(owner: Any, name: str) -> None:  # noqa: ANN401
    assert hasattr(owner, name), moved(f"{owner.__name__}.{name}")


def test_circus_does_as_its_watcher_expects() -> None:
    calls = {
        Arbiter.stop: ["_stopping = True"],
        Arbiter.manage_watchers: ["if self._stopping", "reap_processes", "manage_processes"],
        Arbiter.start: ["if self._exception is not None", "raise exc"],
        Arbiter.__init__: ["self._stopping = False", "self.check_delay", "self.sockets"],
        circus.watcher.Watcher._stop: ["'before_stop'"],
        circus.watcher.Watcher.reap_process: ['"after_reap"', '"process_pid"', '"exit_code"'],
        SysHandler.handle_term: ["self.quit()"],
        SysHandler.handle_int: ["self.quit()"],
    }
    for function, parts in calls.items():
        source = inspect.getsource(inspect.unwrap(function))
        for part in parts:
            assert part in source, moved(f"{part} in circus's {function.__qualname__}")
    assert "1.4." in bentoml.__version__

"""How soon dead workers are replaced, when the server ends, and what of circus that leans on."""

import inspect
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import circus.watcher  # type: ignore[import-untyped]
import pytest
from _bentoml_impl.worker.service import main
from bentoml.serving import create_watcher
from circus.arbiter import Arbiter  # type: ignore[import-untyped]
from circus.controller import Controller  # type: ignore[import-untyped]
from circus.exc import ConflictError  # type: ignore[import-untyped]
from circus.sighandler import SysHandler  # type: ignore[import-untyped]

from serving.host import supervisor
from serving.host.letters import Letters
from serving.host.process import LETTERS
from serving.host.supervisor import MARGIN_S, RETRY_S, Workers, install_workers
from serving.host.wanted import Wanted
from serving.settings import METRICS_FOLDER, Settings
from tests.unit.fakes import recorded

CHECK_S = 10.0
WATCHER: Any = Workers.__base__  # circus's own, whatever stands in its place by now
SERVED = "served"


def moved(joint: str) -> str:
    """Tell what to do when a canary has died."""
    return f"an upgrade has moved {joint}: mend serving/host/supervisor.py, then this test"


@pytest.fixture(autouse=True)
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Give the lines that are logged."""
    return recorded(monkeypatch, supervisor).lines


class FakeLoop:
    """An event loop of which a test says when it does what is due."""

    def __init__(self) -> None:
        """Have nothing to do."""
        self.due: list[tuple[float, Callable[[], object]]] = []
        self.asyncio_loop = self

    def create_task(self, coroutine: Coroutine[Any, Any, None]) -> Any:  # noqa: ANN401
        """Never begin it."""
        coroutine.close()
        return SimpleNamespace(cancel=lambda: None)

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
        self.ctrl = SimpleNamespace(sys_hdl=SimpleNamespace(quit=None, reload=None))
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
    env = {LETTERS: str(folder), METRICS_FOLDER: str(folder)}
    made = Workers(name="service", cmd="true", env=env, **options)
    made.look = lambda served: Wanted(Settings(), 0, (), ())
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
    install_workers(3, 29.5, lambda served: Wanted(Settings(), 0, (), ()))
    made = create_watcher(name="service", args=["x"], numprocesses=1)
    assert isinstance(made, Workers), moved("create_watcher's import of circus's Watcher")
    assert made.graceful_timeout == 3 + 29.5 + MARGIN_S, moved("graceful_timeout")
    assert made.respawn, moved("respawn")
    assert made.args == ["x", "--timeout-graceful-shutdown", "30"], moved("args")
    understood = [option for parameter in main.params for option in parameter.opts]
    assert "--timeout-graceful-shutdown" in understood, moved("its worker's option")
    assert set(made.hooks) == {"before_stop", "after_spawn", "after_reap"}


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
    assert arbiter.loop.run() == [RETRY_S]
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
    assert arbiter.loop.run() == [RETRY_S]
    arbiter.busy = False
    arbiter.loop.run()
    assert arbiter.calls == ["stop"]
    arbiter.loop.run()
    end()
    assert arbiter.calls == ["stop"]
    assert arbiter.loop.run() == []


def test_the_door_is_closed_when_the_server_ends(arbiter: FakeArbiter) -> None:
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
    Letters(tmp_path).tell_served()
    (tmp_path / "stacks_7").write_text("Thread 1: predict")
    (tmp_path / "stacks_8").write_text("")
    for pid in (7, 8, 9):
        made.call_hook("after_reap", process_pid=pid, exit_code=1, time=0.0, process_status=None)
    assert list(tmp_path.iterdir()) == [tmp_path / SERVED]
    died = {"level": "error", "event": "worker.died", "exit_code": 1}
    assert lines == [
        {"level": "critical", "event": "model.hangs", "worker": 7, "stack": "Thread 1: predict"},
        *({**died, "worker": pid} for pid in (7, 8, 9)),
    ]
    lines.clear()
    arbiter._stopping = True
    made.call_hook("after_reap", process_pid=9, exit_code=0)
    assert lines == []


def test_a_worker_that_dies_after_the_arbiter_has_reaped_is_reaped_too(
    arbiter: FakeArbiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    reaped = []

    def reap(made: Any, pid: int) -> None:  # noqa: ANN401
        reaped.append(made.processes.pop(pid).pid)

    monkeypatch.setattr(WATCHER, "reap_process", reap)
    made = watcher(arbiter, numprocesses=1)
    made._status = "active"
    lived(made, 12.0, 13.0)
    made.manage_processes()
    assert reaped == [1000, 1001]
    assert list(made.processes) == [1]


@pytest.mark.parametrize("contained", [False, True])
@pytest.mark.parametrize("reason", ["model iris is damaged", ""])
def test_a_worker_that_dies_before_any_has_served_ends_the_server(
    arbiter: FakeArbiter, tmp_path: Path, reason: str, *, contained: bool
) -> None:
    made = watcher(arbiter, tmp_path, respawn=not contained)
    (tmp_path / "refusal_7").write_text(reason)
    arbiter.busy = True  # as it is while it reaps
    made.call_hook("after_reap", process_pid=7, exit_code=-9)
    assert made.respawn
    arbiter.busy = False
    arbiter.loop.run()
    assert arbiter.calls == ["stop"]
    assert isinstance(arbiter._exception, SystemExit)
    told = reason or "a worker ended with -9 before it could serve"
    assert arbiter._exception.code == told
    assert list(tmp_path.iterdir()) == []


def test_once_a_worker_has_served_one_that_can_not_ends_nothing(
    arbiter: FakeArbiter, tmp_path: Path
) -> None:
    made = watcher(arbiter, tmp_path)
    Letters(tmp_path).tell_served()
    for pid in (7, 8, 9):
        (tmp_path / f"refusal_{pid}").write_text("model iris is damaged")
        made.call_hook("after_reap", process_pid=pid, exit_code=1)
    assert arbiter.calls == []
    assert arbiter._exception is None
    assert list(tmp_path.iterdir()) == [tmp_path / SERVED]


def test_circus_does_as_its_watcher_expects() -> None:
    calls = {
        Arbiter.stop: ["_stopping = True"],
        Arbiter.manage_watchers: ["if self._stopping", "reap_processes", "manage_processes"],
        Arbiter.start: ["if self._exception is not None", "raise exc"],
        Arbiter.__init__: ["self._stopping = False", "self.check_delay", "self.sockets"],
        WATCHER._stop: ["'before_stop'"],
        WATCHER.reload: ["self._reload("],
        WATCHER.get_active_processes: ["DEAD_OR_ZOMBIE"],
        WATCHER.manage_processes: ["self.processes.pop(process.pid)"],
        WATCHER.reap_process: ['"after_reap"', '"process_pid"', '"exit_code"'],
        SysHandler.handle_term: ["self.quit()"],
        SysHandler.handle_int: ["self.quit()"],
        Controller._init_syshandler: ["self.sys_hdl ="],
    }
    for function, parts in calls.items():
        source = inspect.getsource(inspect.unwrap(function))
        for part in parts:
            assert part in source, moved(f"{part} in circus's {function.__qualname__}")

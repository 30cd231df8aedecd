"""Who takes whose place, and when nobody does."""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from serving.host import succession
from serving.host.letters import Letters, Status
from serving.host.process import MODELS
from serving.host.succession import Succession
from serving.host.wanted import Wanted
from serving.model.state import State, write_state
from serving.model.stored import ModelError
from serving.settings import Settings, name_of
from tests.unit.fakes import recorded

OLD, NEW = ("iris:old",), ("iris:new",)
READY, DIES, HANGS, NO_ROOM = "ready", "dies", "hangs", "no room"


class FakeStaff:
    """Workers that do as a test says."""

    def __init__(self, letters: Letters, count: int) -> None:
        """Have so many, which serve what is old."""
        self._letters = letters
        self.models: dict[int, tuple[str, ...]] = {pid: OLD for pid in range(1, count + 1)}
        self.beside: int | None = None
        self.fates: Iterator[str] = iter(())
        self.most = count
        self.later: tuple[str, ...] = OLD
        self.retired: list[int] = []
        self._next = count + 1
        self._dead: set[int] = set()

    def pids(self) -> list[int]:
        """Give those that live."""
        return [pid for pid in sorted(self.models) if pid != self.beside]

    def serving(self, pid: int) -> tuple[str, ...]:
        """Tell what one serves."""
        return self.models.get(pid, ())

    def start_beside(self, models: Sequence[str]) -> int:
        """Start one, whose fate is the next."""
        fate = next(self.fates, READY)
        if fate == NO_ROOM:
            raise RuntimeError("no worker could be started")
        self.beside = pid = self._next
        self._next += 1
        self.models[pid] = tuple(models)
        self.most = max(self.most, len(self.models))
        match fate:
            case "ready":
                (self._letters.folder / f"ready_{pid}").touch()
            case "dies":
                self._dead.add(pid)
        return pid

    def fate_of(self, pid: int) -> str | None:
        """Tell why one has ended."""
        if pid in self._dead:
            self.models.pop(pid, None)
            return "it is damaged"
        return None

    def dismiss(self, pid: int) -> None:
        """End it."""
        self.models.pop(pid, None)
        self.beside = None

    def settle(self, models: Sequence[str]) -> None:
        """Take it in."""
        self.beside, self.later = None, tuple(models)

    async def retire(self, pid: int) -> None:
        """Let it go."""
        await asyncio.sleep(0)
        self.retired.append(pid)
        del self.models[pid]


class Server:
    """A succession with its staff, and what it is told to want."""

    def __init__(self, folder: Path, workers: int) -> None:
        """Have served already."""
        letters = folder / "letters"
        letters.mkdir()
        self.letters = Letters(letters)
        self.letters.tell_served()
        self.staff = FakeStaff(self.letters, workers)
        self.settings = Settings(state_file=folder / "state.json", start_timeout_s=0.05)
        self.wanted: tuple[str, ...] | BaseException = OLD
        self.tags: tuple[str, ...] = ("iris",)
        self.revision = 0
        self.succession = Succession(self.staff, self.letters, self._look, folder)
        self._turn, self.succession._turn = self.succession._turn, self._counted_turn  # type: ignore[method-assign]
        self._turns = 0

    async def _counted_turn(self) -> None:
        await self._turn()
        self._turns += 1

    def _look(self, served: Mapping[str, str]) -> Wanted:
        if isinstance(self.wanted, BaseException):
            raise self.wanted
        return Wanted(self.settings, self.revision, self.tags, self.wanted)

    def want(self, wanted: tuple[str, ...] | BaseException) -> None:
        """Change the desired state."""
        self.wanted = wanted
        self.revision += 1
        write_state(self.settings.state_path, State(revision=self.revision))

    @property
    def status(self) -> Status:
        """What it tells."""
        status = self.letters.read_status()
        assert status is not None
        return status

    def run(self, *steps: Callable[[], object], until: Callable[[], bool] | None = None) -> None:
        """Take steps, and after each see what follows of it done; or of the first, something."""

        async def story() -> None:
            keeping = asyncio.create_task(self.succession.keep_up())
            await self._until(lambda: self._turns > 1)
            awaited = until
            for step in steps:
                step()
                # Of two turns the first may have begun before.
                await self._until(awaited or partial(self._has_turned, self._turns + 2))
                awaited = None
            keeping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await keeping

        asyncio.run(story())

    def _has_turned(self, times: int) -> bool:
        return self._turns >= times

    @staticmethod
    async def _until(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not holds():  # noqa: ASYNC110 (nobody sets an event)
                await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Give the lines that are logged."""
    return recorded(monkeypatch, succession).lines


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(succession, "LOOK_S", 0.005)
    monkeypatch.setattr(succession, "POLL_S", 0.001)
    monkeypatch.setenv(MODELS, ",".join(OLD))


def events(lines: list[dict[str, Any]]) -> list[str]:
    return [line["event"] for line in lines]


def test_a_server_tells_what_it_serves_and_leaves_all_as_it_is(
    tmp_path: Path, lines: list[dict[str, Any]]
) -> None:
    server = Server(tmp_path, 2)
    server.run()
    assert server.status == Status(
        parent=os.getpid(),
        state_file=str(tmp_path / "state.json"),
        metrics=str(tmp_path),
        tags=("iris",),
        revision=0,
        phase="done",
        models={"iris": "old"},
        workers={"1": {"iris": "old"}, "2": {"iris": "old"}},
    )
    assert (server.staff.retired, lines) == ([], [])


def test_what_is_wanted_takes_over_worker_by_worker_with_never_more_than_one_beside(
    tmp_path: Path, lines: list[dict[str, Any]]
) -> None:
    server = Server(tmp_path, 3)
    server.run(lambda: server.want(NEW))
    assert server.staff.models == {4: NEW, 5: NEW, 6: NEW}
    assert server.staff.retired == [1, 2, 3]
    assert (server.staff.most, server.staff.later) == (4, NEW)
    status = server.status
    assert (status.phase, status.revision, status.models) == ("done", 1, {"iris": "new"})
    assert events(lines) == ["switch.started", "switch.done"]


@pytest.mark.parametrize("wanted", [OLD, NEW])
def test_a_reload_replaces_all_whatever_they_serve(tmp_path: Path, wanted: tuple[str, ...]) -> None:
    server = Server(tmp_path, 2)
    server.wanted = wanted
    server.run(server.succession.reload)
    assert set(server.staff.models.values()) == {wanted}
    assert not {1, 2} & set(server.staff.models)


@pytest.mark.parametrize(
    ("fate", "reason"),
    [
        (DIES, "it is damaged"),
        (NO_ROOM, "no worker could be started"),
        (HANGS, "a new worker was not ready within 0.05 s (SERVING_START_TIMEOUT_S)"),
    ],
)
def test_where_a_new_worker_can_not_serve_the_old_ones_stay(
    tmp_path: Path, lines: list[dict[str, Any]], fate: str, reason: str
) -> None:
    server = Server(tmp_path, 2)
    server.staff.fates = iter([fate])
    server.run(lambda: server.want(NEW))
    assert (server.staff.models, server.staff.later) == ({1: OLD, 2: OLD}, OLD)
    status = server.status
    assert (status.phase, status.reason, status.models) == ("refused", reason, {"iris": "old"})
    assert lines[-1] == {"level": "error", "event": "switch.refused", "reason": reason}


def test_where_a_later_worker_can_not_serve_the_first_gives_its_place_back(tmp_path: Path) -> None:
    server = Server(tmp_path, 2)
    server.staff.fates = iter([READY, DIES])
    server.run(lambda: server.want(NEW))
    assert list(server.staff.models.values()) == [OLD, OLD]
    assert server.staff.retired == [1, 3]
    assert (server.status.phase, server.status.models) == ("refused", {"iris": "old"})
    assert server.staff.later == OLD


def test_what_can_not_be_made_out_from_the_start_is_told_once_and_to_who_asks_for_a_reload(
    tmp_path: Path, lines: list[dict[str, Any]]
) -> None:
    server = Server(tmp_path, 1)
    server.wanted = ModelError("no state of models")
    server.run(lambda: None, server.succession.reload)
    assert events(lines) == ["switch.refused", "reload.refused"]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_not_wanted_any_more_is_not_waited_for(tmp_path: Path, workers: int) -> None:
    server = Server(tmp_path, workers)
    server.settings = Settings(state_file=tmp_path / "state.json")
    server.staff.fates = iter([READY] * (workers - 1) + [HANGS])
    told: list[Status] = []
    server.letters.write_status = told.append  # type: ignore[method-assign, assignment]
    server.run(
        lambda: server.want(NEW),
        lambda: server.want(OLD),
        until=lambda: server.staff.beside == 2 * workers,
    )
    assert list(server.staff.models.values()) == [OLD] * workers
    assert (told[-1].phase, told[-1].revision, told[-1].models) == ("done", 2, {"iris": "old"})
    assert "refused" not in {status.phase for status in told}


def test_a_reload_is_not_forgotten_if_something_else_is_decided_meanwhile(tmp_path: Path) -> None:
    server = Server(tmp_path, 1)
    server.settings = Settings(state_file=tmp_path / "state.json")
    server.staff.fates = iter([HANGS])
    server.run(
        server.succession.reload,
        lambda: server.want(OLD),
        until=lambda: server.staff.beside is not None,
    )
    assert server.staff.retired == [1]


def test_of_a_model_that_goes_it_is_not_told_any_more_that_it_is_served(tmp_path: Path) -> None:
    server = Server(tmp_path, 2)
    server.tags, server.wanted = ("iris", "more"), (*OLD, "more:old")
    told: list[Status] = []
    server.letters.write_status = told.append  # type: ignore[method-assign, assignment]

    def drop() -> None:
        server.tags, server.wanted = ("iris",), OLD
        server.succession.reload()

    server.run(drop)
    assert {("iris", "more"), ("iris",)} <= {status.tags for status in told}
    assert all({*map(name_of, status.tags)} <= status.models.keys() for status in told)


def test_of_models_that_are_refused_it_is_not_told_that_they_are_served(tmp_path: Path) -> None:
    server = Server(tmp_path, 1)
    server.tags, server.wanted = ("iris", "more"), (*OLD, "more:old")
    server.staff.fates = iter([DIES])
    server.run()
    status = server.status
    assert (status.phase, status.tags, status.models) == ("refused", OLD, {"iris": "old"})


@pytest.mark.parametrize("reload", [False, True])
@pytest.mark.parametrize(
    "mistake", [SystemExit("SERVING_THREADS: at least 1"), ModelError("no iris@champion")]
)
def test_what_can_not_be_made_out_changes_nothing(
    tmp_path: Path, lines: list[dict[str, Any]], mistake: BaseException, *, reload: bool
) -> None:
    server = Server(tmp_path, 1)

    def ask() -> None:
        if reload:
            server.wanted = mistake
            server.succession.reload()
        else:
            server.want(mistake)

    server.run(ask)
    assert server.staff.models == {1: OLD}
    assert (server.status.phase, server.status.revision) == ("refused", server.revision)
    event = "reload.refused" if reload else "switch.refused"
    assert lines == [{"level": "error", "event": event, "reason": str(mistake)}]


def test_one_that_dies_while_its_successor_starts_is_replaced_by_circus_and_then_as_the_others(
    tmp_path: Path,
) -> None:
    server = Server(tmp_path, 2)
    retire = server.staff.retire

    async def and_another_dies(pid: int) -> None:
        await retire(pid)
        if pid == 1:
            del server.staff.models[2]
            server.staff.models[99] = OLD

    server.staff.retire = and_another_dies  # type: ignore[method-assign]
    server.run(lambda: server.want(NEW))
    assert set(server.staff.models.values()) == {NEW}
    assert server.staff.retired == [1, 99]


def test_a_worker_whose_model_hangs_gets_a_successor_and_its_neighbours_none(
    tmp_path: Path,
) -> None:
    server = Server(tmp_path, 2)
    server.run((server.letters.folder / "successor_2").touch)
    assert server.staff.models == {1: OLD, 3: OLD}
    assert server.status.phase == "done"


def test_where_a_successor_was_refused_another_is_tried_after_a_while(
    tmp_path: Path, lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tmp_path, 1)
    server.staff.fates = iter([DIES, READY])

    def a_while_later() -> None:
        assert server.staff.models == {1: OLD}
        monkeypatch.setattr(succession, "monotonic", lambda: monotonic() + succession.AGAIN_S)

    server.run((server.letters.folder / "successor_1").touch, a_while_later)
    assert server.staff.models == {3: OLD}
    assert events(lines) == ["successor.refused"]


def test_the_end_of_the_server_ends_who_is_not_ready_yet(tmp_path: Path) -> None:
    server = Server(tmp_path, 1)
    server.settings = Settings(state_file=tmp_path / "state.json")
    server.staff.fates = iter([HANGS])
    server.run(lambda: server.want(NEW), until=lambda: server.staff.beside is not None)
    assert (server.staff.models, server.staff.beside) == ({1: OLD}, None)


def test_before_any_worker_has_served_nobody_takes_a_place(tmp_path: Path) -> None:
    server = Server(tmp_path, 1)
    (server.letters.folder / "served").unlink()
    server.succession.reload()

    async def story() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.succession.keep_up(), 0.05)

    asyncio.run(story())
    assert server.letters.read_status() is None
    assert server.staff.models == {1: OLD}

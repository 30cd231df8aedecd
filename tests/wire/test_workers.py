"""Workers that die or hang are replaced, and take no more with them than what they were doing."""

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import repeat
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from tests.server import ROW, TWO_WORKERS, Server, eventually, running, serving
from tests.wire.conftest import Serve
from tests.wire.estimators import STUCK_AT
from tests.wire.gate import Gate

CLIENTS = 8
CONTAINED = {"BENTOML_CONTAINERIZED": "true"}
MISSED_S = 3.0  # circus looks every 10 s


def workers(server: Server) -> set[int]:
    """Tell the processes that have loaded the model."""
    return {child.pid for child in psutil.Process(server.process.pid).children()}


def deaths(server: Server, exit_code: int) -> int:
    return len([line for line in server.events("worker.died") if line["exit_code"] == exit_code])


class Load:
    """Clients that ask one request after the other, each on a connection of its own."""

    def __init__(self, server: Server) -> None:
        """Start them."""
        self._ended = threading.Event()
        self.failures: list[int] = []
        self.answers = [0] * CLIENTS
        self._threads = [
            threading.Thread(target=self._ask, args=(server, client)) for client in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self, server: Server, client: int) -> None:
        while not self._ended.is_set():
            try:
                assert server.ask_apart(ROW).status_code == 200
                self.answers[client] += 1
            except httpx.TransportError:
                self.failures.append(client)

    def goes_on(self) -> None:
        """Wait until each client has got an answer from now on."""
        before = list(self.answers)
        eventually(
            "an answer for each",
            lambda: all(a > b for a, b in zip(self.answers, before, strict=True)),
        )

    def end(self) -> None:
        """Let all finish."""
        self._ended.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def under_load(server: Server) -> Iterator[Load]:
    load = Load(server)
    try:
        load.goes_on()
        yield load
    finally:
        load.end()


def assert_lost_only_what_was_under_way(load: Load) -> None:
    """Check that no client has lost more than the one request that it had under way."""
    assert len(set(load.failures)) == len(load.failures)


def test_a_killed_worker_is_missed_at_once_and_takes_only_its_requests_under_way_with_it(
    serve: Serve,
) -> None:
    with serve() as server, under_load(server) as load:
        killed = server.worker()
        version = server.ask(ROW).json()["model"]["version"]
        os.kill(killed, signal.SIGKILL)
        killed_s = datetime.now().timestamp()
        server.has_started(2)
        load.goes_on()
        assert_lost_only_what_was_under_way(load)
        (line,) = server.events("worker.died")
        assert (line["worker"], line["exit_code"]) == (killed, -signal.SIGKILL)
        assert datetime.fromisoformat(line["timestamp"]).timestamp() - killed_s < MISSED_S
        body = server.ask(ROW).json()
        assert (body["prediction"], body["model"]["version"]) == ("setosa", version)


def test_of_two_workers_in_a_container_the_other_answers_until_the_killed_one_is_replaced(
    serve: Serve,
) -> None:
    with serve(**TWO_WORKERS, **CONTAINED) as server:
        server.has_started(2)
        with under_load(server) as load:
            os.kill(server.worker(), signal.SIGKILL)
            eventually("its death is seen", lambda: server.events("worker.died"))
            load.goes_on()
            assert server.started() == 2
            server.has_started(3)
            load.goes_on()
            assert_lost_only_what_was_under_way(load)
        assert len(workers(server)) == 2


def test_in_a_container_the_death_of_the_only_worker_ends_the_server(
    home: Path, tmp_path: Path
) -> None:
    with running(home, tmp_path / "output", **CONTAINED) as server:
        os.kill(server.worker(), signal.SIGKILL)
        assert server.ended() != 0
        assert server.started() == 1


def test_workers_whose_model_hangs_or_whose_interpreter_is_held_are_replaced(
    serve: Serve, gate: Gate
) -> None:
    settings = gate.settings | {"SERVING_MODEL": "stuck", "SERVING_REQUEST_TIMEOUT_S": "1"}
    with serve(**settings, **TWO_WORKERS) as server:
        server.has_started(2)
        both = workers(server)
        gate.close()
        assert server.ask_apart(gate.rows(1)[0]).status_code == 504
        # The worker whose model hangs answers at once that it is overloaded or late; the other
        # is stuck, and answers nothing.
        statuses = []
        with pytest.raises(httpx.TransportError):
            statuses += [server.ask_apart([STUCK_AT, 1, 1, 1]).status_code for _ in repeat(None)]
        assert set(statuses) <= {503, 504}
        eventually("both hangs are told", lambda: len(server.events("model.hangs")) == 2)
        gate.open()
        (by_itself,) = (line for line in server.events("model.hangs") if "running_s" in line)
        (by_its_parent,) = (line for line in server.events("model.hangs") if "worker" in line)
        assert by_itself["running_s"] > 20
        assert by_its_parent["worker"] in both
        for line in (by_itself, by_its_parent):
            assert line["level"] == "critical"
            assert "estimators.py" in line["stack"]
        server.has_started(4)
        assert server.ask_apart(ROW).status_code == 200
        (died,) = server.events("worker.died")  # the other had a successor
        assert (died["worker"], died["exit_code"]) == (by_its_parent["worker"], 1)
        eventually("none of both", lambda: not both & workers(server))


# A model store that is lost or damaged while the server serves


@pytest.fixture
def own_home(home: Path, tmp_path: Path) -> Path:
    """Give a copy of the model store, to be damaged."""
    return Path(shutil.copytree(home, tmp_path / "home"))


@contextmanager
def damaged(home: Path) -> Iterator[None]:
    """Damage the default model for a while."""
    (file,) = (home / "models" / "iris").glob("*/saved_model.pkl")
    content = file.read_bytes()
    file.write_bytes(content[:100])
    yield
    file.write_bytes(content)


@contextmanager
def lost(home: Path) -> Iterator[None]:
    """Take the default model away for a while."""
    models = home / "models" / "iris"
    away = models.rename(models.with_name("away"))
    yield
    away.rename(models)


def test_a_server_that_has_served_lives_on_without_a_worker_until_one_can_load_the_model(
    own_home: Path, tmp_path: Path
) -> None:
    with serving(own_home, tmp_path / "output") as server:
        version = server.http.get("/model/info").json()["version"]
        with lost(own_home):
            assert server.ask(ROW).status_code == 200  # what is loaded needs no store
            os.kill(server.worker(), signal.SIGKILL)
            eventually("two failures to load", lambda: len(server.events("model.refused")) > 1)
            for failure in server.events("model.refused"):
                assert failure["level"] == "critical"
                assert f"iris:{version}" in failure["reason"]
            assert not [line for line in server.lines() if "exception" in line]
            with pytest.raises(httpx.ReadTimeout):  # connections wait in line
                server.http.get("/livez", timeout=1)
        eventually("a server that is ready again", server.is_ready)
        assert server.http.get("/model/info").json()["version"] == version
        assert server.ask(ROW).status_code == 200


def test_a_server_whose_reloads_can_not_load_the_model_lives_on_and_ends_well(
    own_home: Path, tmp_path: Path
) -> None:
    with serving(own_home, tmp_path / "output", **TWO_WORKERS) as server:
        server.has_started(2)
        with damaged(own_home):
            server.reload()
            eventually("it is heard", lambda: server.events("Got signal SIG_HUP"))
            server.reload()
            eventually("one of the next dies", lambda: server.events("model.refused"))
            eventually("it is missed", lambda: deaths(server, exit_code=1))
        eventually("one that can", server.is_ready)
        assert server.ask(ROW).status_code == 200
        with damaged(own_home):
            before = deaths(server, exit_code=1)
            server.reload()
            eventually("another is missed", lambda: deaths(server, exit_code=1) > before)
            server.terminate()
            assert server.ended() == 0


@pytest.mark.parametrize("settings", [{}, CONTAINED], ids=["elsewhere", "in a container"])
def test_a_reload_that_can_not_load_the_model_leaves_the_old_worker_where_it_is(
    own_home: Path, tmp_path: Path, settings: dict[str, str]
) -> None:
    with serving(own_home, tmp_path / "output", **settings) as server:
        with damaged(own_home):
            server.reload()
            (refused,) = eventually("a refusal", lambda: server.events("reload.refused"))
            assert "is damaged: saved_model.pkl is not the file saved" in refused["reason"]
            assert server.ask(ROW).status_code == 200
        server.reload()
        eventually("new workers", lambda: server.events("switch.done"))
        assert server.ask_apart(ROW).status_code == 200

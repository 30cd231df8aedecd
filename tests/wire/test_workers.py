"""Workers that die or hang are replaced, and take no more with them than what they were doing."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from tests.server import (
    ROW,
    Server,
    eventually,
    running,
    serving,
)
from tests.wire.conftest import Serve
from tests.wire.estimators import STUCK_AT
from tests.wire.gate import Gate

CLIENTS = 8
TWO_WORKERS = {"BENTOML_CONFIG_OPTIONS": "services.ModelApi.workers=2"}
SHORT = {"SERVING_REQUEST_TIMEOUT_S": "1", "SERVING_HANG_DELAY_S": "1"}


def workers(server: Server) -> set[int]:
    """Tell the processes that have loaded the model."""
    return {child.pid for child in psutil.Process(server.process.pid).children()}


def started(server: Server) -> int:
    return len(server.events("Application startup complete."))


def died(server: Server, exit_code: int) -> bool:
    return any(line["exit_code"] == exit_code for line in server.events("worker.died"))


class Load:
    """Clients that ask one request after the other, each on a connection of its own."""

    def __init__(self, server: Server) -> None:
        """Start them."""
        self._ended = threading.Event()
        self.failures: list[int] = []
        self.answers = [0] * CLIENTS
        self._threads = [
            threading.Thread(target=self._ask, args=(server.url, client))
            for client in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self, url: str, client: int) -> None:
        while not self._ended.is_set():
            try:
                answer = httpx.post(f"{url}/predict", json={"data": ROW}, timeout=60)
                assert answer.status_code == 200
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


def test_a_killed_worker_takes_only_its_requests_under_way_with_it(serve: Serve) -> None:
    with serve() as server, under_load(server) as load:
        killed = server.worker()
        os.kill(killed, signal.SIGKILL)
        eventually("another worker", lambda: started(server) == 2)
        load.goes_on()
        assert_lost_only_what_was_under_way(load)
        (line,) = server.events("worker.died")
        assert (line["worker"], line["exit_code"]) == (killed, -signal.SIGKILL)


def test_of_two_workers_the_other_answers_until_the_killed_one_is_replaced(serve: Serve) -> None:
    with serve(**TWO_WORKERS) as server:
        eventually("two workers", lambda: started(server) == 2)
        with under_load(server) as load:
            os.kill(server.worker(), signal.SIGKILL)
            eventually("its death is seen", lambda: server.events("worker.died"))
            load.goes_on()
            assert started(server) == 2
            eventually("another worker", lambda: started(server) == 3)
            load.goes_on()
            assert_lost_only_what_was_under_way(load)


@pytest.mark.alone  # it compares how long the start and the news of a death take
def test_a_dead_worker_is_missed_at_once(serve: Serve) -> None:
    # circus looks every 10 s after the start; a start takes a fifth of that here.
    with serve() as server:
        began_s = datetime.fromisoformat(server.lines()[0]["timestamp"]).timestamp()
        start_took_s = time.time() - began_s
        os.kill(server.worker(), signal.SIGKILL)
        killed_s = time.time()
        (line,) = eventually("its death is seen", lambda: server.events("worker.died"))
        missed_s = datetime.fromisoformat(line["timestamp"]).timestamp()
        assert missed_s - killed_s < start_took_s / 2
        eventually("another worker", lambda: started(server) == 2)


def test_a_worker_whose_model_hangs_is_replaced(serve: Serve, gate: Gate) -> None:
    with serve(**SHORT, **gate.settings) as server:
        hung = server.worker()
        gate.close()
        answer = server.http.post("/predict", json={"data": [11.0, 1, 1, 1]})
        assert answer.status_code == 504
        (line,) = eventually("the hang is told", lambda: server.events("model.hangs"))
        gate.open()
        assert line["level"] == "critical"
        assert line["running_s"] > 2
        assert "estimators.py" in line["stack"]
        eventually("another worker", lambda: started(server) == 2)
        assert server.worker() != hung
        assert server.http.post("/predict", json={"data": ROW}).status_code == 200
        (line,) = server.events("worker.died")
        assert (line["worker"], line["exit_code"]) == (hung, 1)


def test_a_slow_batch_that_ends_in_time_is_no_hang(serve: Serve, gate: Gate) -> None:
    slow = {"SERVING_REQUEST_TIMEOUT_S": "0.5", "SERVING_HANG_DELAY_S": "60"}
    with serve(**slow, **gate.settings) as server:
        gate.close()
        answer = server.http.post("/predict", json={"data": [11.0, 1, 1, 1]})
        assert answer.status_code == 504
        eventually("unready", lambda: server.http.get("/health").status_code == 503)
        gate.open()
        eventually("ready", lambda: server.http.get("/health").status_code == 200)
        assert started(server) == 1


def test_a_worker_whose_interpreter_is_held_is_replaced_too(serve: Serve) -> None:
    with serve(SERVING_MODEL="stuck", **SHORT) as server:
        stuck = server.worker()
        with pytest.raises(httpx.TransportError):
            server.http.post("/predict", json={"data": [STUCK_AT, 1, 1, 1]})
        (line,) = eventually("the hang is told", lambda: server.events("model.hangs"))
        assert line["level"] == "critical"
        assert line["worker"] == stuck
        assert "estimators.py" in line["stack"]
        eventually("another worker", lambda: started(server) == 2)
        assert server.http.post("/predict", json={"data": ROW}).status_code == 200


def test_in_a_container_the_death_of_the_only_worker_ends_the_server(
    home: Path, tmp_path: Path
) -> None:
    with running(home, tmp_path / "output", BENTOML_CONTAINERIZED="true") as server:
        os.kill(server.worker(), signal.SIGKILL)
        assert server.ended() != 0
        assert started(server) == 1


def test_in_a_container_one_of_several_workers_is_replaced(home: Path, tmp_path: Path) -> None:
    settings = {"BENTOML_CONTAINERIZED": "true"} | TWO_WORKERS
    with serving(home, tmp_path / "output", **settings) as server:
        eventually("two workers", lambda: started(server) == 2)
        os.kill(server.worker(), signal.SIGKILL)
        eventually("another worker", lambda: started(server) == 3)
        assert len(workers(server)) == 2


# A model store that is damaged while the server serves


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


def kill_the_worker(server: Server) -> None:
    os.kill(server.worker(), signal.SIGKILL)


def reload(server: Server) -> None:
    server.process.send_signal(signal.SIGHUP)


def reload_twice(server: Server) -> None:
    reload(server)
    eventually("it is heard", lambda: server.events("Got signal SIG_HUP"))
    reload(server)


@pytest.mark.parametrize(
    ("lose_workers", "count"), [(kill_the_worker, 1), (reload, 1), (reload_twice, 2)]
)
def test_a_server_that_has_served_lives_on_without_a_worker_until_one_can_load_the_model(
    own_home: Path,
    tmp_path: Path,
    lose_workers: Callable[[Server], None],
    count: int,
) -> None:
    settings = {"BENTOML_CONFIG_OPTIONS": f"services.ModelApi.workers={count}"}
    with serving(own_home, tmp_path / "output", **settings) as server:
        eventually("all workers", lambda: started(server) == count)
        with damaged(own_home):
            lose_workers(server)
            eventually("one of the next dies", lambda: server.events("model.refused"))
            eventually("it is missed", lambda: died(server, exit_code=1))
            with pytest.raises(httpx.ReadTimeout):  # connections wait in line
                server.http.get("/livez", timeout=1)
        eventually("one that can", server.is_ready)
        assert server.http.post("/predict", json={"data": ROW}).status_code == 200


def test_a_server_that_can_not_load_its_model_any_more_ends_well_when_it_is_asked_to(
    own_home: Path, tmp_path: Path
) -> None:
    with serving(own_home, tmp_path / "output") as server, damaged(own_home):
        reload(server)
        eventually("its worker is missed", lambda: died(server, exit_code=1))
        server.terminate()
        assert server.ended() == 0


def test_in_a_container_a_reload_that_can_not_load_the_model_ends_the_server(
    own_home: Path, tmp_path: Path
) -> None:
    contained = {"BENTOML_CONTAINERIZED": "true"}
    with running(own_home, tmp_path / "output", **contained) as server, damaged(own_home):
        reload(server)
        assert server.ended() != 0
        assert server.events("model.refused")

"""How a server ends: unready first, then closed to the new, and what is under way is answered."""

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from tests.server import PATIENCE_S, ROW, Server, eventually
from tests.wire.conftest import Serve
from tests.wire.gate import Gate
from tests.wire.problems import assert_problem

DELAY_S = "2"


def ask(server: Server, first_feature: float = 5.1) -> httpx.Response:
    return server.http.post("/predict", json={"data": [first_feature, 3.5, 1.4, 0.2]})


def is_refused(server: Server) -> bool:
    with suppress(ConnectionRefusedError), server.raw():
        return False
    return True


def test_a_server_that_drains_is_unready_but_alive_and_answers_until_it_refuses_connections(
    serve: Serve,
) -> None:
    with serve(SERVING_DRAIN_DELAY_S=DELAY_S) as server:
        assert "connection" not in ask(server).headers
        server.terminate()
        health = server.http.get("/health")
        while health.status_code == 200:
            health = server.http.get("/health")
        assert_problem(server, health, 503, "unavailable")
        assert health.headers["retry-after"]
        assert health.json()["detail"] == "the server is shutting down"
        assert_problem(server, server.http.get("/readyz"), 503, "unavailable")
        assert server.http.get("/livez").status_code == 200
        answer = ask(server)
        assert answer.status_code == 200
        assert answer.headers["connection"] == "close"
        (begun,) = server.events("drain.started")
        assert begun["delay_s"] == float(DELAY_S)
        assert not server.events("Shutting down")
        eventually("connections refused", lambda: is_refused(server))
        assert server.ended() == 0


def test_new_connections_are_refused_while_requests_under_way_are_still_answered(
    serve: Serve, gate: Gate
) -> None:
    with serve(**gate.settings) as server, ThreadPoolExecutor() as threads:
        gate.close()
        running = threads.submit(ask, server, 11.0)
        gate.wait_for(11.0)
        server.terminate()
        eventually("connections refused", lambda: is_refused(server))
        assert server.process.poll() is None
        assert not running.done()
        gate.open()
        assert running.result().status_code == 200
        assert server.ended() == 0


def test_what_is_not_answered_within_the_bound_is_cut_off_with_a_503(
    serve: Serve, gate: Gate
) -> None:
    bounds = {"SERVING_DRAIN_TIMEOUT_S": "1", "SERVING_REQUEST_TIMEOUT_S": "3600"}
    with serve(**bounds, **gate.settings) as server, ThreadPoolExecutor() as threads:
        gate.close()
        running = threads.submit(ask, server, 11.0)
        gate.wait_for(11.0)
        server.terminate()
        answer = running.result()
        assert (answer.status_code, answer.json()["type"]) == (503, "./errors/unavailable")
        assert answer.headers["connection"] == "close"
        assert server.ended() == 0
        assert server.log_of(answer.json()["request_id"])["status"] == 503


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT])
def test_being_asked_to_end_twice_changes_nothing(
    serve: Serve, gate: Gate, again: signal.Signals
) -> None:
    with (
        serve(SERVING_DRAIN_DELAY_S="0.5", **gate.settings) as server,
        ThreadPoolExecutor() as threads,
    ):
        gate.close()
        running = threads.submit(ask, server, 11.0)
        gate.wait_for(11.0)
        server.process.send_signal(signal.SIGINT)
        eventually("the end begins", lambda: server.events("drain.started"))
        server.process.send_signal(again)
        eventually("the end goes on", lambda: server.events("Shutting down"))
        server.process.send_signal(again)
        gate.open()
        assert running.result().status_code == 200
        assert server.ended() == 0


def test_idle_connections_do_not_hold_up_the_end(serve: Serve) -> None:
    with serve() as server:
        with server.raw() as silent, server.raw() as used:
            used.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"\r\n\r\n\n"):  # the body is an empty line
                answer += used.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 ")
            server.terminate()
            assert silent.recv(65536) == used.recv(65536) == b""
        assert server.ended() == 0


def test_a_reload_serves_all_the_while(serve: Serve) -> None:
    with serve() as server:
        first = server.worker()
        server.process.send_signal(signal.SIGHUP)
        statuses = []
        while server.worker() == first or not server.events("service reloaded"):
            statuses.append(httpx.post(f"{server.url}/predict", json={"data": ROW}, timeout=60))
        statuses += [ask(server) for _ in range(10)]
        assert {answer.status_code for answer in statuses} == {200}
        assert server.is_ready()


def test_a_reload_takes_in_new_keys_and_is_refused_with_wrong_ones(
    serve: Serve, tmp_path: Path
) -> None:
    def status(key: str) -> int:
        headers = {"X-API-Key": key}
        return httpx.get(
            f"{server.url}/model/info", headers=headers, timeout=PATIENCE_S
        ).status_code

    file = tmp_path / "keys"
    file.write_text(f"alice:{sha256(b'first').hexdigest()}\n")
    with serve(SERVING_API_KEYS_FILE=str(file)) as server:
        file.write_text("alice:first\n")
        server.process.send_signal(signal.SIGHUP)
        (refused,) = eventually("a refusal", lambda: server.events("reload.refused"))
        assert refused["level"] == "error"
        assert "SERVING_API_KEYS_FILE: entry 1" in refused["reason"]
        assert "first" not in server.text()
        assert (status("first"), status("second")) == (200, 401)
        file.write_text(f"alice:{sha256(b'second').hexdigest()}\n")
        server.process.send_signal(signal.SIGHUP)
        eventually("the new key", lambda: status("second") == 200)
        eventually("the end of the old one", lambda: status("first") == 401)


def test_a_server_that_is_asked_to_end_during_a_reload_ends(serve: Serve, gate: Gate) -> None:
    with serve(**gate.settings) as server, ThreadPoolExecutor() as threads:
        gate.close()
        running = threads.submit(ask, server, 11.0)
        gate.wait_for(11.0)
        server.process.send_signal(signal.SIGHUP)  # lasts until the old worker has ended
        eventually("the old worker drains", lambda: server.events("Shutting down"))
        server.terminate()
        eventually("it is heard", lambda: server.events("Got signal SIG_TERM"))
        gate.open()
        assert running.result().status_code == 200
        assert server.ended() == 0


def test_a_connection_that_was_just_made_may_still_ask(serve: Serve) -> None:
    with serve() as server, server.raw() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.terminate()
        eventually("the end begins", lambda: server.events("Shutting down"))
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert server.ended() == 0

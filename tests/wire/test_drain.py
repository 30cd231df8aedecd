"""How a server ends: unready first, then closed to the new, and what is under way is answered."""

import signal
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import httpx

from tests.server import PATIENCE_S, ROW, eventually
from tests.wire.conftest import Serve
from tests.wire.gate import Gate
from tests.wire.problems import assert_plain_problem, assert_problem
from tests.wire.raw import BODY, GET, assert_alive, at_once, read_all, request

DELAY_S = "1"


def test_a_server_that_drains_is_unready_but_alive_and_answers_until_it_refuses_connections(
    serve: Serve,
) -> None:
    with serve(SERVING_DRAIN_DELAY_S=DELAY_S) as server:
        assert "connection" not in server.ask(ROW).headers
        server.terminate()
        health = server.http.get("/health")
        while health.status_code == 200:
            health = server.http.get("/health")
        answer = server.ask(ROW)
        assert answer.status_code == 200
        assert answer.headers["connection"] == "close"
        assert_problem(server, health, 503, "unavailable")
        assert health.headers["retry-after"]
        assert health.json()["detail"] == "the server is shutting down"
        assert server.http.get("/readyz").status_code == 503
        assert server.http.get("/livez").status_code == 200
        for path in ("/v2/health/ready", "/v2/models/iris/ready"):
            assert_plain_problem(server, server.http.get(path), 503, "unavailable")
        assert server.http.get("/v2/health/live").json() == {"live": True}
        (begun,) = server.events("drain.started")
        assert begun["delay_s"] == float(DELAY_S)
        assert not server.events("Shutting down")
        eventually("connections refused", server.refuses)
        assert server.ended() == 0


def test_requests_under_way_are_answered_while_new_connections_are_refused_and_idle_ones_closed(
    serve: Serve, gate: Gate
) -> None:
    with (
        serve(**gate.settings) as server,
        ThreadPoolExecutor() as threads,
        server.raw() as silent,
        server.raw() as used,
        server.raw() as late,
    ):
        used.sendall(GET + b"\r\n")
        assert_alive(used)
        running = gate.hold(server, threads)
        waiting = [threads.submit(server.ask, row) for row in gate.rows(4)]
        eventually("all five under way", lambda: server.under_way() == 5)
        server.terminate()
        eventually("the end begins", lambda: server.events("Shutting down"))
        at_once(late).sendall(GET + b"\r\n")  # it may still ask, for it was just made
        assert read_all(late).startswith(b"HTTP/1.1 200 ")
        eventually("connections refused", server.refuses)
        assert read_all(silent) == read_all(used) == b""
        assert server.process.poll() is None
        assert not any(answer.done() for answer in [running, *waiting])
        gate.open()
        for answer in [running, *waiting]:
            assert answer.result().status_code == 200
        assert server.ended() == 0


def test_what_is_not_answered_within_the_bound_is_cut_off_with_a_503(
    serve: Serve, gate: Gate
) -> None:
    bounds = {"SERVING_DRAIN_TIMEOUT_S": "1", "SERVING_REQUEST_TIMEOUT_S": "3600"}
    with serve(**bounds, **gate.settings) as server, ThreadPoolExecutor() as threads:
        running = gate.hold(server, threads)
        server.terminate()
        answer = running.result()
        assert (answer.status_code, answer.json()["type"]) == (503, "./errors/unavailable")
        assert answer.headers["connection"] == "close"
        assert server.ended() == 0
        assert server.log_of(answer.json()["request_id"])["status"] == 503


def test_being_asked_to_end_again_and_again_changes_nothing(serve: Serve, gate: Gate) -> None:
    with (
        serve(SERVING_DRAIN_DELAY_S="0.5", **gate.settings) as server,
        ThreadPoolExecutor() as threads,
    ):
        running = gate.hold(server, threads)
        server.process.send_signal(signal.SIGINT)
        eventually("the end begins", lambda: server.events("drain.started"))
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGINT)
        eventually("the end goes on", lambda: server.events("Shutting down"))
        server.process.send_signal(signal.SIGINT)
        server.process.send_signal(signal.SIGTERM)
        gate.open()
        assert running.result().status_code == 200
        assert server.ended() == 0


def test_a_reload_serves_all_the_while_takes_in_new_keys_and_is_refused_with_wrong_ones(
    serve: Serve, tmp_path: Path
) -> None:
    def entry(key: str) -> str:
        return f"{key}:{sha256(key.encode()).hexdigest()}\n"

    def status(key: str) -> int:
        return httpx.post(
            f"{server.url}/predict",
            json={"data": ROW},
            headers={"X-API-Key": key},
            timeout=PATIENCE_S,
        ).status_code

    file = tmp_path / "keys"
    file.write_text(entry("first") + entry("always"))
    with serve(SERVING_API_KEYS_FILE=str(file)) as server:
        file.write_text("alice:first\n")
        server.reload()
        (refused,) = eventually("a refusal", lambda: server.events("reload.refused"))
        assert refused["level"] == "error"
        assert "SERVING_API_KEYS_FILE: entry 1" in refused["reason"]
        assert "alice:first" not in server.text()
        assert (status("first"), status("second"), server.started()) == (200, 401, 1)

        file.write_text(entry("second") + entry("always"))
        server.reload()
        statuses = []
        while not server.events("switch.done"):
            statuses.append(status("always"))
        statuses += [status("always") for _ in range(10)]
        assert set(statuses) == {200}
        assert (status("first"), status("second"), server.started()) == (401, 200, 2)
        assert server.is_ready()


def test_a_server_that_is_asked_to_end_while_an_old_worker_drains_ends(serve: Serve) -> None:
    with serve() as server, server.raw() as slow:
        slow.sendall(request(BODY)[: -len(BODY)])
        eventually("it is under way", lambda: server.under_way() == 1)
        server.reload()  # lasts until the old worker has ended
        eventually("the old worker drains", lambda: server.events("Shutting down"))
        server.terminate()
        eventually("it is heard", lambda: server.events("Got signal SIG_TERM"))
        slow.sendall(BODY)
        assert b" 200 OK\r\n" in read_all(slow)
        assert server.ended() == 0

"""One deadline for a request: 504, its work is dropped, and the service goes on."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse

import pytest

from tests.server import BATCH, ROW, Server, eventually
from tests.wire.conftest import Serve
from tests.wire.gate import Gate
from tests.wire.problems import assert_problem
from tests.wire.raw import POST

TIMEOUT_S = 0.5  # of `hasty`


def test_work_whose_deadline_passed_is_answered_never_asked_about_and_makes_it_unready(
    serve: Serve, gate: Gate
) -> None:
    with (
        # Long enough for all to be in line by then: after it the model hangs, and nobody is taken.
        serve(SERVING_REQUEST_TIMEOUT_S="3", **gate.settings) as server,
        ThreadPoolExecutor(8) as threads,
    ):
        running = gate.hold(server, threads)
        rows = gate.rows(7)
        waiting = [threads.submit(server.ask, row) for row in rows[:5]]
        waiting.append(threads.submit(server.ask, rows[5:], BATCH))
        for answer in [running, *waiting]:
            assert_problem(server, answer.result(), 504, "deadline-exceeded")
        eventually("a 503", lambda: server.http.get("/health").status_code == 503, patience_s=9)
        health = server.http.get("/health")
        assert_problem(server, health, 503, "unavailable")
        assert health.headers["retry-after"]
        assert server.http.get("/readyz").status_code == 503
        assert server.http.get("/livez").status_code == 200
        gate.open()
        eventually("health", lambda: server.http.get("/health").status_code == 200)
        assert server.is_ready()
        (last,) = gate.rows(1)
        assert server.ask(last).status_code == 200
        assert gate.has_seen(last)
        assert not any(gate.has_seen(row) for row in rows)
        assert server.metric("serving_errors_total", type="deadline-exceeded") == 7
        assert server.waiting() == 0
        for answer in [running, *waiting]:
            line = server.log_of(answer.result().headers["x-request-id"])
            assert (line["status"], line["problem"]) == (504, "deadline-exceeded")
        assert server.started() == 1  # what is slow and ends in time is no hang


def test_probes_and_invalid_requests_are_answered_while_the_model_is_busy(
    gated: Server, shared_gate: Gate
) -> None:
    with ThreadPoolExecutor() as threads:
        running = shared_gate.hold(gated, threads)
        for path in ("/livez", "/readyz", "/health", "/metrics", "/model/info"):
            assert gated.http.get(path).status_code == 200
        assert gated.ask([True]).status_code == 422
        assert not running.done()
        shared_gate.open()
        assert running.result().status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"Content-Length: 30\r\n\r\n",
        b'Content-Length: 30\r\n\r\n{"data": [5.1,',
        b"Transfer-Encoding: chunked\r\n\r\n",
        b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"dat',
    ],
    ids=["nothing of a body", "half a body", "no chunk", "half a chunk"],
)
def test_a_body_that_never_comes_is_answered_at_the_deadline(hasty: Server, sent: bytes) -> None:
    with hasty.raw() as connection:
        started = time.monotonic()
        connection.sendall(POST + sent)
        with HTTPResponse(connection, method="POST") as answer:
            answer.begin()
            body = json.load(answer)
        waited_s = time.monotonic() - started
    assert answer.status == 504
    assert body["type"] == "./errors/deadline-exceeded"
    assert waited_s >= TIMEOUT_S
    assert hasty.ask(ROW).status_code == 200


def test_a_body_that_trickles_in_has_the_same_deadline(hasty: Server) -> None:
    with hasty.raw() as connection:
        connection.sendall(POST + b"Content-Length: 1000000\r\n\r\n")
        connection.settimeout(TIMEOUT_S / 10)
        answer = b""
        for _ in range(1000):
            connection.sendall(b" ")
            try:
                answer = connection.recv(65_536)
            except TimeoutError:
                continue
            break
    assert answer.startswith(b"HTTP/1.1 504 ")

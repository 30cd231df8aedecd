"""One deadline for a request: 504, its work is dropped, and the service goes on."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse

import httpx
import pytest

from tests.server import ROW, Server, eventually
from tests.wire.conftest import Serve
from tests.wire.gate import Gate
from tests.wire.problems import assert_problem

TIMEOUT_S = "0.5"


def ask(server: Server, first_feature: float) -> httpx.Response:
    return server.http.post("/predict", json={"data": [first_feature, 1, 1, 1]})


def ask_batch(server: Server, *first_features: float) -> httpx.Response:
    return server.http.post("/predict/batch", json={"data": [[x, 1, 1, 1] for x in first_features]})


def test_work_whose_deadline_passed_is_answered_and_never_reaches_the_model(
    serve: Serve, gate: Gate
) -> None:
    with (
        # Long enough for all to be in line by then: after it the model hangs, and nobody is taken.
        serve(SERVING_REQUEST_TIMEOUT_S="3", **gate.settings) as server,
        ThreadPoolExecutor(8) as threads,
    ):
        gate.close()
        running = threads.submit(ask, server, 11.0)
        gate.wait_for(11.0)
        waiting = [threads.submit(ask, server, 20.0 + number) for number in range(5)]
        waiting.append(threads.submit(ask_batch, server, 30.0, 31.0))
        for answer in [running, *waiting]:
            assert_problem(server, answer.result(), 504, "deadline-exceeded")
        gate.open()
        assert eventually("an answer", lambda: ask(server, 40.0).status_code == 200)
        asked = [value for batch in gate.seen() for value in batch]
        assert 40.0 in asked
        assert not {value for value in asked if 20 <= value < 40}
        assert server.metric("serving_errors_total", type="deadline-exceeded") >= 7
        assert server.metric("serving_waiting_rows") == 0
        for answer in [running, *waiting]:
            line = server.log_of(answer.result().headers["x-request-id"])
            assert (line["status"], line["problem"]) == (504, "deadline-exceeded")


def test_probes_and_invalid_requests_are_answered_while_the_model_is_busy(
    serve: Serve, gate: Gate
) -> None:
    with serve(**gate.settings) as server, ThreadPoolExecutor() as threads:
        gate.close()
        running = threads.submit(ask, server, 11.0)
        gate.wait_for(11.0)
        assert server.http.get("/livez").status_code == 200
        assert server.http.get("/metrics").status_code == 200
        assert server.http.get("/model/info").status_code == 200
        assert server.http.post("/predict", json={"data": [True]}).status_code == 422
        assert not running.done()
        gate.open()
        assert running.result().status_code == 200


def test_a_model_that_hangs_makes_the_server_unready_until_it_goes_on(
    serve: Serve, gate: Gate
) -> None:
    with (
        serve(SERVING_REQUEST_TIMEOUT_S=TIMEOUT_S, **gate.settings) as server,
        ThreadPoolExecutor() as threads,
    ):
        gate.close()
        running = threads.submit(ask, server, 11.0)
        gate.wait_for(11.0)
        assert running.result().status_code == 504
        patience_s = 10 * float(TIMEOUT_S)
        eventually(
            "a 503", lambda: server.http.get("/health").status_code == 503, patience_s=patience_s
        )
        health = server.http.get("/health")
        assert_problem(server, health, 503, "unavailable")
        assert health.headers["retry-after"]
        assert server.http.get("/readyz").status_code == 503
        assert server.http.get("/livez").status_code == 200
        gate.open()
        eventually("health", lambda: server.http.get("/health").status_code == 200)
        assert server.is_ready()


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
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with hasty.raw() as connection:
        started = time.monotonic()
        connection.sendall(head + sent)
        with HTTPResponse(connection, method="POST") as answer:
            answer.begin()
            body = json.load(answer)
        waited_s = time.monotonic() - started
    assert answer.status == 504
    assert body["type"] == "./errors/deadline-exceeded"
    assert waited_s >= float(TIMEOUT_S)
    assert hasty.http.post("/predict", json={"data": ROW}).status_code == 200


def test_a_body_that_trickles_in_has_the_same_deadline(hasty: Server) -> None:
    with hasty.raw() as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000000\r\n\r\n"
        )
        connection.settimeout(float(TIMEOUT_S) / 10)
        answer = b""
        for _ in range(1000):
            connection.sendall(b" ")
            try:
                answer = connection.recv(65_536)
            except TimeoutError:
                continue
            break
    assert answer.startswith(b"HTTP/1.1 504 ")

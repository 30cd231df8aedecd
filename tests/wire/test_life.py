"""How a server ends, comes back, and outlives clients that go away."""

import os
import signal
import socket
import struct
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.server import ROW, Server, eventually
from tests.wire.conftest import Serve
from tests.wire.gate import Gate

HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BODY = b'{"data": [5.1, 3.5, 1.4, 0.2]}'
NEIGHBOURS = 10


def ask(server: Server, first_feature: float) -> httpx.Response:
    return server.http.post("/predict", json={"data": [first_feature, 1, 1, 1]})


def abandon(server: Server, sent: bytes, *, reset: bool) -> None:
    """Send something and go away, politely or with a reset."""
    connection = server.raw()
    connection.sendall(sent)
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_requests_under_way_are_answered_before_a_server_ends(serve: Serve, gate: Gate) -> None:
    with serve(**gate.settings) as server, ThreadPoolExecutor() as threads:
        gate.close()
        running = threads.submit(ask, server, 11.0)
        gate.wait_for(11.0)
        waiting = [threads.submit(ask, server, 20.0 + number) for number in range(4)]
        path = "/predict"
        eventually(
            "all five under way",
            lambda: server.metric("bentoml_service_request_in_progress", endpoint=path) == 5,
        )
        server.terminate()
        eventually("the end begins", lambda: server.events("Shutting down"))
        assert not any(answer.done() for answer in [running, *waiting])
        gate.open()
        for answer in [running, *waiting]:
            assert answer.result().status_code == 200
        assert server.ended() == 0


def test_a_killed_worker_comes_back(serve: Serve) -> None:
    with serve() as server:
        killed = server.worker()
        version = server.http.post("/predict", json={"data": ROW}).json()["model"]["version"]
        os.kill(killed, signal.SIGKILL)
        eventually("another worker", lambda: server.worker() != killed and server.is_ready())
        body = server.http.post("/predict", json={"data": ROW}).json()
        assert (body["prediction"], body["model"]["version"]) == ("setosa", version)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /pre",
        HEAD,
        HEAD + b"Content-Length: 30\r\n\r\n",
        HEAD + b'Content-Length: 30\r\n\r\n{"data": [5',
        HEAD + b'Transfer-Encoding: chunked\r\n\r\n4\r\n{"da',
        HEAD + b"Content-Length: 10000000\r\n\r\n" + b" " * 100_000,
        HEAD + b"Content-Length: 30\r\n\r\n" + BODY,
    ],
    ids=[
        "nothing",
        "half a line",
        "half a head",
        "no body",
        "half a body",
        "half a chunk",
        "much of too much",
        "a whole request",
    ],
)
def test_clients_that_go_away_harm_nobody(server: Server, sent: bytes, *, reset: bool) -> None:
    for _ in range(10):
        abandon(server, sent, reset=reset)
        assert server.http.post("/predict", json={"data": ROW}).json()["prediction"] == "setosa"
    name = "bentoml_service_request_in_progress"
    eventually("nothing under way", lambda: server.metric(name, endpoint="/predict") == 0)
    assert not [line for line in server.lines() if line["level"] in ("error", "critical")]


def test_clients_that_go_away_while_the_model_works_harm_none_of_their_neighbours(
    serve: Serve, gate: Gate
) -> None:
    with serve(**gate.settings) as server, ThreadPoolExecutor(1 + NEIGHBOURS) as threads:
        gate.close()
        first = threads.submit(ask, server, 11.0)
        gate.wait_for(11.0)
        neighbours = []
        for number in range(NEIGHBOURS):
            abandon(server, HEAD + b"Content-Length: 30\r\n\r\n" + BODY, reset=number % 2 == 0)
            neighbours.append(threads.submit(ask, server, 20.0 + number))
        name = "bentoml_service_request_in_progress"
        eventually(
            "the neighbours under way",
            lambda: server.metric(name, endpoint="/predict") == 1 + NEIGHBOURS,
        )
        gate.open()
        assert [answer.result().status_code for answer in [first, *neighbours]] == [200] * (
            1 + NEIGHBOURS
        )
        eventually("nothing under way", lambda: server.metric(name, endpoint="/predict") == 0)
        assert not [line for line in server.lines() if line["level"] in ("error", "critical")]


def test_the_model_is_never_asked_for_a_client_that_has_left(serve: Serve, gate: Gate) -> None:
    with serve(**gate.settings) as server, ThreadPoolExecutor() as threads:
        gate.close()
        first = threads.submit(ask, server, 11.0)
        gate.wait_for(11.0)
        left = {f"left-{number}": 30.0 + number for number in range(6)}
        for request_id, feature in left.items():
            body = b'{"data": [%f, 1, 1, 1]}' % feature
            extra = b"X-Request-ID: %b\r\nContent-Length: %d\r\n\r\n"
            head = HEAD + extra % (request_id.encode(), len(body))
            abandon(server, head + body, reset=feature % 2 == 0)
        for request_id in left:
            assert server.log_of(request_id)["status"] == 499
        stayed = threads.submit(ask, server, 20.0)
        gate.open()
        assert (first.result().status_code, stayed.result().status_code) == (200, 200)
        assert not set(left.values()) & {value for batch in gate.seen() for value in batch}


def test_the_model_is_never_asked_for_what_a_client_that_has_left_had_in_its_pipeline(
    serve: Serve, gate: Gate
) -> None:
    with serve(**gate.settings) as server, ThreadPoolExecutor() as threads:
        gate.close()
        first = threads.submit(ask, server, 11.0)
        gate.wait_for(11.0)
        sent = b""
        for feature in (31, 32, 33):
            body = b'{"data": [%d, 1, 1, 1]}' % feature
            extra = b"X-Request-ID: left-%d\r\nContent-Length: %d\r\n\r\n"
            sent += HEAD + extra % (feature, len(body)) + body
        abandon(server, sent, reset=False)
        assert server.log_of("left-31")["status"] == 499
        gate.open()
        assert first.result().status_code == 200
        assert ask(server, 20.0).status_code == 200
        assert not {31.0, 32.0, 33.0} & {value for batch in gate.seen() for value in batch}

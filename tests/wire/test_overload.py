"""More than the server can answer: refused at once, so that what is begun is answered."""

import socket
import struct
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest

from tests.server import Server, eventually
from tests.wire.conftest import Serve
from tests.wire.gate import Gate
from tests.wire.problems import assert_problem

ROOM = 10
WAITING = "serving_waiting_rows"


def ask(server: Server, first_feature: float) -> httpx.Response:
    return server.http.post("/predict", json={"data": [first_feature, 1, 1, 1]})


def ask_batch(server: Server, *first_features: float) -> httpx.Response:
    return server.http.post("/predict/batch", json={"data": [[x, 1, 1, 1] for x in first_features]})


def settings(gate: Gate) -> dict[str, str]:
    return {
        "SERVING_MAX_QUEUE_ROWS": str(ROOM),
        "SERVING_MAX_BATCH_ROWS": "20",  # so that 3 rows are many
        "SERVING_REQUEST_TIMEOUT_S": "60",
        **gate.settings,
    }


def fill(server: Server, gate: Gate, threads: ThreadPoolExecutor) -> list["Future[httpx.Response]"]:
    """Hold the model at one row, and let as many wait as there is room for."""
    gate.close()
    held = [threads.submit(ask, server, 11.0)]
    gate.wait_for(11.0)
    held += [threads.submit(ask, server, 20.0 + number) for number in range(ROOM)]
    eventually("no more room", lambda: server.metric(WAITING) == ROOM)
    return held


def assert_refused(server: Server, answer: httpx.Response) -> None:
    body = assert_problem(server, answer, 503, "overloaded")
    assert body["detail"] == f"{ROOM} rows wait for the model"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    line = server.log_of(body["request_id"])
    assert (line["level"], line["status"], line["problem"]) == ("info", 503, "overloaded")
    assert line["duration_ms"] < 10_000  # at once, and not at the deadline


def test_what_finds_no_room_is_refused_at_once_and_the_rest_is_answered(
    serve: Serve, gate: Gate
) -> None:
    with serve(**settings(gate)) as server, ThreadPoolExecutor(32) as threads:
        held = fill(server, gate, threads)
        for answer in (ask(server, 40.0), ask_batch(server, 41.0), ask_batch(server, *[42.0] * 5)):
            assert_refused(server, answer)
        assert not any(future.done() for future in held)
        for path in ("/livez", "/readyz", "/health", "/metrics", "/model/info"):
            assert server.http.get(path).status_code == 200
        assert server.http.post("/predict", json={"data": [True]}).status_code == 422
        assert ask_batch(server).status_code == 200  # no rows need no room
        assert server.metric("serving_errors_total", type="overloaded") == 3
        assert server.metric(WAITING) == ROOM
        gate.open()
        for future in held:
            assert future.result().status_code == 200
        assert server.metric(WAITING) == 0
        assert ask(server, 40.0).status_code == 200
        assert ask_batch(server, *[42.0] * 5).status_code == 200
        assert server.metric("serving_errors_total", type="overloaded") == 3
        asked = [value for batch in gate.seen() for value in batch]
        assert asked.count(40.0) == 1
        assert 41.0 not in asked


def test_what_is_known_and_what_is_under_way_is_answered_without_room(
    serve: Serve, gate: Gate
) -> None:
    with serve(**settings(gate)) as server, ThreadPoolExecutor(32) as threads:
        assert ask(server, 5.0).status_code == 200
        held = fill(server, gate, threads)
        assert ask(server, 5.0).headers["cache-status"] == "model-api; hit"
        joined = threads.submit(ask, server, 20.0)
        path = "/predict"
        eventually(
            "one more under way",
            lambda: server.metric("bentoml_service_request_in_progress", endpoint=path) == ROOM + 2,
        )
        assert_refused(server, ask(server, 40.0))
        gate.open()
        assert joined.result().headers["cache-status"] == "model-api; fwd=miss; collapsed"
        assert {future.result().status_code for future in held} == {200}


def test_batches_of_many_rows_leave_a_tenth_of_the_room_to_single_ones(
    serve: Serve, gate: Gate
) -> None:
    with serve(**settings(gate)) as server, ThreadPoolExecutor() as threads:
        gate.close()
        held = [threads.submit(ask, server, 11.0)]
        gate.wait_for(11.0)
        held += [threads.submit(ask_batch, server, *[20.0 + number] * 3) for number in range(3)]
        eventually("nine that wait", lambda: server.metric(WAITING) == 9)
        refused = ask_batch(server, 30.0, 31.0, 32.0)
        assert_problem(server, refused, 503, "overloaded")
        held.append(threads.submit(ask, server, 40.0))
        eventually("the last", lambda: server.metric(WAITING) == ROOM)
        assert_refused(server, ask(server, 41.0))
        gate.open()
        assert {future.result().status_code for future in held} == {200}


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_client_that_leaves_makes_room_for_another(
    serve: Serve, gate: Gate, *, reset: bool
) -> None:
    body = b'{"data": [%d, 1, 1, 1]}'
    with serve(**settings(gate)) as server, ThreadPoolExecutor(32) as threads:
        gate.close()
        held = [threads.submit(ask, server, 11.0)]
        gate.wait_for(11.0)
        leaving = [server.raw() for _ in range(ROOM)]
        for number, connection in enumerate(leaving):
            sent = body % (20 + number)
            connection.sendall(
                b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(sent), sent)
            )
        eventually("no more room", lambda: server.metric(WAITING) == ROOM)
        assert_refused(server, ask(server, 40.0))
        for connection in leaving:
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        eventually("room", lambda: server.metric(WAITING) == 0)
        held.append(threads.submit(ask, server, 41.0))
        eventually("one that waits", lambda: server.metric(WAITING) == 1)
        gate.open()
        assert {future.result().status_code for future in held} == {200}
        asked = {value for batch in gate.seen() for value in batch}
        assert not asked & set(range(20, 20 + ROOM))

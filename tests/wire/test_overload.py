"""More than the server can answer: refused at once, so that what is begun is answered."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.server import BATCH, Server, eventually, serving
from tests.wire.gate import Gate
from tests.wire.problems import assert_plain_problem, assert_problem
from tests.wire.raw import leave, request

ROOM = 10


@pytest.fixture(scope="module")
def narrow_gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """Give the gate of the model."""
    return Gate(tmp_path_factory.mktemp("narrow_gate"))


@pytest.fixture(scope="module")
def narrow(
    home: Path, narrow_gate: Gate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Serve with room for a few rows that wait."""
    settings = {
        "SERVING_MAX_QUEUE_ROWS": str(ROOM),
        "SERVING_MAX_BATCH_ROWS": "20",  # so that 3 rows are many
        "SERVING_REQUEST_TIMEOUT_S": "60",
        **narrow_gate.settings,
    }
    with serving(home, tmp_path_factory.mktemp("narrow") / "output", **settings) as running:
        yield running


def fill(
    server: Server, rows: list[list[float]], gate: Gate, threads: ThreadPoolExecutor
) -> list["Future[httpx.Response]"]:
    """Hold the model at one row, and let as many wait as there is room for."""
    held = [gate.hold(server, threads)]
    held += [threads.submit(server.ask, row) for row in rows]
    eventually("no more room", lambda: server.waiting() == ROOM)
    return held


def assert_refused(server: Server, answer: httpx.Response) -> None:
    body = assert_problem(server, answer, 503, "overloaded")
    assert body["detail"] == f"{ROOM} rows wait for the model"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    line = server.log_of(body["request_id"])
    assert (line["level"], line["status"], line["problem"]) == ("info", 503, "overloaded")
    assert line["duration_ms"] < 10_000  # at once, and not at the deadline


def test_what_finds_no_room_is_refused_at_once_and_the_rest_is_answered(
    narrow: Server, narrow_gate: Gate
) -> None:
    (known, single), many, rows = (narrow_gate.rows(amount) for amount in (2, 5, ROOM))
    assert narrow.ask(known).status_code == 200
    before = narrow.metric("serving_errors_total", type="overloaded")
    with ThreadPoolExecutor(32) as threads:
        held = fill(narrow, rows, narrow_gate, threads)
        for answer in (
            narrow.ask(single),
            narrow.ask(many[:1], BATCH),
            narrow.ask(many, BATCH),
        ):
            assert_refused(narrow, answer)
        tensor = {"name": "x", "shape": [5, 4], "datatype": "FP64", "data": many}
        infer = narrow.http.post("/v2/models/gated/infer", json={"inputs": [tensor]})
        assert_plain_problem(narrow, infer, 503, "overloaded")
        assert not any(future.done() for future in held)
        for path in ("/livez", "/readyz", "/health", "/metrics", "/model/info"):
            assert narrow.http.get(path).status_code == 200
        assert narrow.ask([True]).status_code == 422
        assert narrow.ask([], BATCH).status_code == 200  # no rows need no room
        assert narrow.metric("serving_errors_total", type="overloaded") == before + 4
        # What is known, and what is under way, needs no room either.
        assert narrow.ask(known).headers["cache-status"] == "model-api; hit"
        joined = threads.submit(narrow.ask, rows[0])
        eventually("one more under way", lambda: narrow.under_way() == ROOM + 2)
        assert narrow.waiting() == ROOM
        narrow_gate.open()
        assert {future.result().status_code for future in held} == {200}
        assert joined.result().headers["cache-status"] == "model-api; fwd=miss; collapsed"
        assert narrow.waiting() == 0
    assert narrow.ask(single).status_code == 200
    assert narrow.ask(many, BATCH).status_code == 200
    asked = [value for batch in narrow_gate.seen() for value in batch]
    assert asked.count(single[0]) == 1


def test_batches_of_many_rows_leave_a_tenth_of_the_room_to_single_ones(
    narrow: Server, narrow_gate: Gate
) -> None:
    with ThreadPoolExecutor() as threads:
        held = [narrow_gate.hold(narrow, threads)]
        held += [threads.submit(narrow.ask, narrow_gate.rows(3), BATCH) for _ in range(3)]
        eventually("nine that wait", lambda: narrow.waiting() == 9)
        refused = narrow.ask(narrow_gate.rows(3), BATCH)
        assert_problem(narrow, refused, 503, "overloaded")
        (last, too_late) = narrow_gate.rows(2)
        held.append(threads.submit(narrow.ask, last))
        eventually("the last", lambda: narrow.waiting() == ROOM)
        assert_refused(narrow, narrow.ask(too_late))
        narrow_gate.open()
        assert {future.result().status_code for future in held} == {200}


def test_clients_that_leave_make_room_for_others(narrow: Server, narrow_gate: Gate) -> None:
    (refused, comes) = narrow_gate.rows(2)
    with ThreadPoolExecutor(32) as threads:
        held = [narrow_gate.hold(narrow, threads)]
        rows = narrow_gate.rows(ROOM)
        leaving = [narrow.raw() for _ in rows]
        for row, connection in zip(rows, leaving, strict=True):
            connection.sendall(request(json.dumps({"data": row}).encode()))
        eventually("no more room", lambda: narrow.waiting() == ROOM)
        assert_refused(narrow, narrow.ask(refused))
        for number, connection in enumerate(leaving):
            leave(connection, reset=number % 2 == 0)
        eventually("room", lambda: narrow.waiting() == 0)
        held.append(threads.submit(narrow.ask, comes))
        eventually("one that waits", lambda: narrow.waiting() == 1)
        narrow_gate.open()
        assert {future.result().status_code for future in held} == {200}
    assert not any(narrow_gate.has_seen(row) for row in rows)

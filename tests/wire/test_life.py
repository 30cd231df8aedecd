"""How a server outlives clients that go away, and what it spares itself for them."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.server import ROW, Server, eventually
from tests.wire.gate import Gate
from tests.wire.raw import BODY, POST, abandon, request

NEIGHBOURS = 10
PARTS = {
    "nothing": b"",
    "half a line": b"POST /pre",
    "half a head": POST,
    "no body": POST + b"Content-Length: 30\r\n\r\n",
    "half a body": POST + b'Content-Length: 30\r\n\r\n{"data": [5',
    "half a chunk": POST + b'Transfer-Encoding: chunked\r\n\r\n4\r\n{"da',
    "much of too much": POST + b"Content-Length: 10000000\r\n\r\n" + b" " * 100_000,
    "a whole request": request(BODY),
}


def left(row: list[float], name: str) -> bytes:
    """Write a request of somebody who is going to leave."""
    return request(json.dumps({"data": row}).encode(), b"X-Request-ID: %b\r\n" % name.encode())


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("sent", PARTS.values(), ids=PARTS)
def test_clients_that_go_away_harm_nobody(server: Server, sent: bytes, *, reset: bool) -> None:
    for _ in range(10):
        abandon(server, sent, reset=reset)
        assert server.ask(ROW).json()["prediction"] == "setosa"
    eventually("nothing under way", lambda: server.under_way() == 0)
    assert not [line for line in server.lines() if line["level"] in ("error", "critical")]


def test_clients_that_go_away_while_the_model_works_harm_none_of_their_neighbours(
    gated: Server, shared_gate: Gate
) -> None:
    with ThreadPoolExecutor(1 + NEIGHBOURS) as threads:
        neighbours = [shared_gate.hold(gated, threads)]
        for number, row in enumerate(shared_gate.rows(NEIGHBOURS)):
            abandon(gated, request(BODY), reset=number % 2 == 0)
            neighbours.append(threads.submit(gated.ask, row))
        eventually("the neighbours under way", lambda: gated.under_way() == 1 + NEIGHBOURS)
        shared_gate.open()
        assert {answer.result().status_code for answer in neighbours} == {200}
    eventually("nothing under way", lambda: gated.under_way() == 0)
    assert not [line for line in gated.lines() if line["level"] in ("error", "critical")]


def test_the_model_is_never_asked_for_a_client_that_has_left(
    gated: Server, shared_gate: Gate
) -> None:
    with ThreadPoolExecutor() as threads:
        first = shared_gate.hold(gated, threads)
        rows = dict(zip(("left-0", "left-1", "left-2", "left-3"), shared_gate.rows(4), strict=True))
        for number, (name, row) in enumerate(rows.items()):
            abandon(gated, left(row, name), reset=number % 2 == 0)
        for name in rows:
            assert gated.log_of(name)["status"] == 499
        # Nor for what it had in its pipeline.
        piped = shared_gate.rows(3)
        abandon(gated, b"".join(left(row, f"piped-{row[0]}") for row in piped), reset=False)
        assert gated.log_of(f"piped-{piped[0][0]}")["status"] == 499
        (row,) = shared_gate.rows(1)
        stayed = threads.submit(gated.ask, row)
        shared_gate.open()
        assert (first.result().status_code, stayed.result().status_code) == (200, 200)
        (row,) = shared_gate.rows(1)
        assert gated.ask(row).status_code == 200
    assert not any(shared_gate.has_seen(row) for row in [*rows.values(), *piped])

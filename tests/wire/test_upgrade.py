"""Requests that ask for another protocol are answered in this one, whole and once."""

import socket

import pytest

from tests.server import Server
from tests.wire.raw import BODY, at_once, read_all

UPGRADES = {
    # What Java's HttpClient sends with its first request.
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n",
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "two connection headers": b"Connection: Upgrade\r\nConnection: keep-alive\r\nUpgrade: h2c\r\n",
    "proxy": b"Proxy-Connection: Upgrade\r\nUpgrade: h2c\r\n",
    "anything": b"connection: keep-alive, upgrade\r\nupgrade: anything/1\r\n",
}


def head(upgrade: bytes, line: bytes = b"POST /predict HTTP/1.1", length: int = len(BODY)) -> bytes:
    """Write the head of a request for an upgrade."""
    return (
        line + b"\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n%b\r\n" % (length, upgrade)
    )


def answers(connection: socket.socket, count: int) -> list[bytes]:
    """Read so many answers."""
    read = b""
    found: list[bytes] = []
    while len(found) < count:
        data = connection.recv(65536)
        assert data, read
        read += data
        found = read.split(b"HTTP/1.1 ")[1:]
        if not found[-1].endswith(b"}"):
            found.pop()
    return found


@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES)
def test_a_request_for_an_upgrade_is_answered_as_if_it_had_none(
    server: Server, upgrade: bytes
) -> None:
    request, body_at = head(upgrade) + BODY, len(head(upgrade))
    for place in (body_at, 10, body_at + 10, body_at - 2, len(request)):
        # Cut before the body, within the method, the body or the end of the head; or not at all.
        with server.raw() as connection:
            at_once(connection).sendall(request[:place])
            if place < len(request):
                connection.sendall(request[place:])
            (answer,) = answers(connection, 1)
            assert answer.startswith(b"200 ")
            assert b'"prediction":"setosa"' in answer
            # The connection goes on.
            connection.sendall(head(b"") + BODY)
            (answer,) = answers(connection, 1)
            assert answer.startswith(b"200 ")


def test_a_body_is_never_taken_for_the_next_request(server: Server) -> None:
    inner = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: smuggled\r\n\r\n"
    with server.raw() as connection:
        connection.sendall(head(UPGRADES["h2c"], length=len(inner)))
        connection.sendall(inner)
        (answer,) = answers(connection, 1)
        assert answer.startswith(b"400 ")
        connection.sendall(head(b"") + BODY)
        (answer,) = answers(connection, 1)
        assert answer.startswith(b"200 ")
    assert "smuggled" not in server.text()


def test_what_comes_after_the_last_request_harms_nothing(server: Server) -> None:
    closing = b"Connection: close, Upgrade\r\nUpgrade: h2c\r\n"
    with server.raw() as connection:
        connection.sendall(head(closing) + BODY + b"\r\n")
        (answer,) = answers(connection, 1)
    assert answer.startswith(b"200 ")


def test_pipelined_requests_after_an_upgrade_are_answered_in_order(server: Server) -> None:
    first = head(UPGRADES["h2c"]) + BODY
    second = head(b"", b"POST /predict/batch HTTP/1.1") + BODY
    with server.raw() as connection:
        connection.sendall(first + second + first)
        one, two, three = answers(connection, 3)
    assert (one[:3], two[:3], three[:3]) == (b"200", b"422", b"200")


@pytest.mark.parametrize("target", [b"localhost:80", b"/predict"])
def test_a_tunnel_is_refused(server: Server, target: bytes) -> None:
    with server.raw() as connection:
        connection.sendall(b"CONNECT %b HTTP/1.1\r\nHost: localhost:80\r\n\r\n" % target)
        read = read_all(connection)
    assert read.startswith(b"HTTP/1.1 400 ")
    assert server.http.get("/health").status_code == 200


def test_a_great_many_upgrades_at_once_are_all_answered(server: Server) -> None:
    request = (
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    )
    count, read = 2000, b""
    with server.raw() as connection:
        connection.sendall(request * count)
        while read.count(b"HTTP/1.1 200 ") < count:
            data = connection.recv(65536)
            assert data, read.count(b"HTTP/1.1 200 ")
            read += data

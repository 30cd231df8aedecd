"""What no HTTP client would send, over bare connections, and how its answers are read."""

import socket
import struct

from tests.server import Server

GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BODY = b'{"data": [5.1, 3.5, 1.4, 0.2]}'


def request(body: bytes, headers: bytes = b"") -> bytes:
    """Write a whole request for a prediction."""
    return POST + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body


def at_once(connection: socket.socket) -> socket.socket:
    """Let a connection send each part when it is given, and not wait for more."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_all(connection: socket.socket) -> bytes:
    """Read to the end, which the server must make."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def read_until(connection: socket.socket, end: bytes) -> bytes:
    """Read until what was read ends so."""
    read = b""
    while not read.endswith(end):
        data = connection.recv(65536)
        assert data, read
        read += data
    return read


def assert_alive(connection: socket.socket) -> None:
    """Read the answer to `GET`, whose body is an empty line."""
    assert read_until(connection, b"\r\n\r\n\n").startswith(b"HTTP/1.1 200 ")


def leave(connection: socket.socket, *, reset: bool) -> None:
    """Go away, politely or with a reset."""
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def abandon(server: Server, sent: bytes, *, reset: bool) -> None:
    """Send something and go away."""
    connection = server.raw()
    connection.sendall(sent)
    leave(connection, reset=reset)

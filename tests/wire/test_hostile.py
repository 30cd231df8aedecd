"""Clients that mean harm: each has a decided answer, and the others go on being served."""

import math
import resource
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import psutil  # type: ignore[import-untyped]
import pytest

from tests.server import BATCH, PATIENCE_S, ROW, Server, eventually
from tests.wire.conftest import Serve
from tests.wire.raw import BODY, GET, POST, assert_alive, at_once, read_all, read_until

LIMIT = 65_536  # of a head


def is_served(server: Server) -> bool:
    return bool(server.ask(ROW).json()["prediction"] == "setosa")


def send(connection: socket.socket, data: bytes) -> None:
    """Send as much as the server takes."""
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(data)


# Time


def test_connections_without_a_whole_head_are_closed_in_time(hasty: Server) -> None:
    begun = [b"", b"\r\n", b"G", b"GET /livez HTTP/1.1\r\n", GET, GET + b"X-A: b"]
    with ExitStack() as stack:
        connections = [stack.enter_context(hasty.raw()) for _ in begun]
        for connection, sent in zip(connections, begun, strict=True):
            connection.sendall(sent)
        assert [read_all(connection) for connection in connections] == [b""] * len(begun)
    assert is_served(hasty)


def test_a_client_that_does_not_read_its_answers_is_let_go(hasty: Server) -> None:
    worker = psutil.Process(hasty.worker())
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", hasty.port))
        connection.setblocking(False)
        own_port = connection.getsockname()[1]
        with suppress(BlockingIOError):
            for _ in range(2000):
                connection.sendall(b"GET /docs.json HTTP/1.1\r\nHost: x\r\n\r\n")

        def is_held() -> bool:
            return any(
                peer.raddr and peer.raddr.port == own_port for peer in worker.net_connections()
            )

        eventually("the connection is held", is_held)  # the worker has taken it from the system
        eventually("the connection is let go", lambda: not is_held())
        connection.settimeout(PATIENCE_S)
        read = b""
        with suppress(ConnectionError):
            read = read_all(connection)
        assert b"HTTP/1.1 500" not in read  # uvicorn's own, for an answer that was not sent
    assert is_served(hasty)


def assert_closed_while_sending(connection: socket.socket, data: bytes) -> None:
    """Send byte after byte, until the server has closed the connection without a word."""
    connection.settimeout(0.02)
    for byte in data:
        try:
            connection.sendall(bytes([byte]))
            assert connection.recv(65536) == b""
        except TimeoutError:
            continue
        except ConnectionError:
            pass
        return
    raise AssertionError("the connection was never closed")


@pytest.mark.parametrize("first", [b"", GET + b"\r\n"], ids=["at first", "after an answer"])
@pytest.mark.parametrize("trickle", [b"\r\n" * 500, GET + b"a" * 1000], ids=["blank", "head"])
def test_a_head_that_trickles_in_gets_no_more_time(
    hasty: Server, first: bytes, trickle: bytes
) -> None:
    with hasty.raw() as connection:
        if first:
            connection.sendall(first)
            assert_alive(connection)
        assert_closed_while_sending(connection, trickle)
    assert is_served(hasty)


def test_the_rest_of_a_refused_body_may_not_trickle_in_for_ever(hasty: Server) -> None:
    with hasty.raw() as connection:
        connection.sendall(POST + b"Content-Length: 99999999\r\n\r\n")
        assert read_until(connection, b"}").startswith(b"HTTP/1.1 413 ")
        assert_closed_while_sending(connection, b" " * 1000)
    assert is_served(hasty)


def test_a_head_that_comes_in_parts_but_in_time_is_answered(server: Server) -> None:
    with server.raw() as connection:
        at_once(connection)
        for _ in range(2):
            for byte in GET + b"\r\n":
                connection.sendall(bytes([byte]))
            assert_alive(connection)


def test_a_pipeline_that_is_read_late_is_not_taken_for_a_silent_client(hasty: Server) -> None:
    count = 20_000  # more than is read at once, so that a head is cut, and more than 0.5 s of work
    answers = bytearray()
    with hasty.raw() as connection, ThreadPoolExecutor() as threads:
        sent = threads.submit(connection.sendall, (GET + b"\r\n") * count)
        while answers.count(b"HTTP/1.1 200 ") < count:
            data = connection.recv(1 << 20)
            assert data, answers.count(b"HTTP/1.1 200 ")
            answers += data
        sent.result()


# Size


def long_headers(size: int) -> bytes:
    """Give a head of so many bytes, in headers of a hundred each."""
    count = max(0, math.ceil((size - 200 - len(GET)) / 100))
    head = GET + b"".join(b"X-%06d: " % number + b"a" * 88 + b"\r\n" for number in range(count))
    return head + b"X-End: " + b"a" * (size - len(head) - 11) + b"\r\n\r\n"


HUGE = {
    "many headers": long_headers(100_000),
    "a long header": GET + b"X-A: " + b"a" * 100_000 + b"\r\n\r\n",
    "a long name": GET + b"a" * 100_000 + b": x\r\n\r\n",
    "a long URL": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "an upgrade": GET
    + b"Connection: Upgrade\r\nUpgrade: h2c\r\nX: "
    + b"a" * 100_000
    + b"\r\n\r\n",
    "three megabytes": long_headers(3_000_000),
    "no end": GET + b"X-A: " + b"a" * 1_000_000,
    "one byte too many": long_headers(LIMIT + 1),
    "a trailer": POST
    + b"Transfer-Encoding: chunked\r\n\r\n1e\r\n"
    + BODY
    + b"\r\n0\r\nX-A: "
    + b"a" * 3_000_000,
}


@pytest.mark.parametrize("head", HUGE.values(), ids=HUGE)
def test_a_head_beyond_the_limit_is_refused(server: Server, head: bytes) -> None:
    for before in (b"", GET + b"\r\n"):
        with server.raw() as connection:
            connection.sendall(before)
            if before:
                assert_alive(connection)
            send(connection, head)
            answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
        assert b"content-type: text/plain" in answer
        assert b"connection: close" in answer
        assert answer.count(b"HTTP/1.1") == 1
    assert is_served(server)


@pytest.mark.parametrize("parts", [1, 3])
def test_the_limit_of_a_head_is_exact(server: Server, parts: int) -> None:
    head = long_headers(LIMIT)
    assert len(head) == LIMIT
    size = len(head) // parts + 1
    with server.raw() as connection:
        at_once(connection)
        for start in range(0, len(head), size):
            connection.sendall(head[start : start + size])
        assert_alive(connection)


def test_a_body_in_many_small_chunks_is_no_head(server: Server) -> None:
    with server.raw() as connection:
        at_once(connection)
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 20_000)
        for _ in range(3):
            connection.sendall(b"8000\r\n")
            connection.sendall(b" " * 0x8000 + b"\r\n")
        connection.sendall(b"1e\r\n" + BODY + b"\r\n0\r\nX-Trailer: a\r\n\r\n")
        assert read_until(connection, b"}").startswith(b"HTTP/1.1 200 ")
        connection.sendall(GET + b"\r\n")
        assert_alive(connection)


# Number


@contextmanager
def descriptors(soft: int) -> Iterator[int]:
    """Set how many descriptors this process, and what it starts, may have; give the most."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))
    try:
        yield most
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


def test_two_thousand_idle_connections_keep_nobody_else_out(serve: Serve) -> None:
    with ExitStack() as stack:
        with descriptors(1024) as most:
            if most < 3000:
                pytest.skip(f"the system gives {most} descriptors")
            server = stack.enter_context(serve(SERVING_REQUEST_TIMEOUT_S="30"))
        stack.enter_context(descriptors(most))
        worker = psutil.Process(server.worker())
        before = worker.num_fds()
        with ExitStack() as idle:
            for _ in range(2000):
                idle.enter_context(server.raw())
            eventually("all are taken", lambda: worker.num_fds() >= before + 2000)
            for _ in range(50):
                assert is_served(server)
        eventually("all are given back", lambda: worker.num_fds() <= before + 5)
        assert is_served(server)


def test_ten_thousand_unknown_paths_leave_one_series_and_no_memory(server: Server) -> None:
    worker = psutil.Process(server.worker())

    def ask(paths: range) -> None:
        with server.raw() as connection:
            for start in range(paths.start, paths.stop, 100):
                heads = (
                    b"GET /unknown/%d HTTP/1.1\r\nHost: x\r\n\r\n" % path
                    for path in range(start, start + 100)
                )
                connection.sendall(b"".join(heads))
                read = b""
                while read.count(b"HTTP/1.1 404 ") < 100 or not read.endswith(b"}"):
                    read += connection.recv(1 << 20)

    def series() -> int:
        return len([one for one in server.metrics() if "unmatched" in one.labels.values()])

    ask(range(5000))
    before, size = series(), worker.memory_info().rss
    ask(range(5000, 15_000))
    assert series() == before
    assert worker.memory_info().rss - size < 5_000_000


# Lies


@pytest.mark.parametrize(
    "request_id",
    [
        b"a%0d%0aSet-Cookie:%20b=c",
        b"a\\r\\nSet-Cookie: b=c",
        b"a%E5%98%8A%E5%98%8DSet-Cookie:b",
        "a\u560a\u560dSet-Cookie:b".encode(),
        b"a\tSet-Cookie:b",
        b"a" * 8000,
    ],
)
def test_no_request_id_can_make_a_header(server: Server, request_id: bytes) -> None:
    with server.raw() as connection:
        connection.sendall(GET + b"X-Request-ID: " + request_id + b"\r\nConnection: close\r\n\r\n")
        answer = read_all(connection)
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"http/1.1 200 ")
    assert b"cookie" not in head
    (made,) = [line for line in head.split(b"\r\n") if line.startswith(b"x-request-id: ")]
    assert len(made) == len("x-request-id: ") + 32


@pytest.mark.parametrize("bad", [b"a\rSet-Cookie: b", b"a\x00b", b"a\r\n Set-Cookie: b=c"])
def test_a_header_that_is_none_is_refused_by_the_parser(server: Server, bad: bytes) -> None:
    with server.raw() as connection:
        connection.sendall(GET + b"X-Request-ID: " + bad + b"\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Client-IP"])
def test_who_a_client_says_it_is_is_not_believed(server: Server, name: str) -> None:
    answer = server.http.get("/livez", headers={name: "203.0.113.9"})
    assert server.log_of(answer.headers["x-request-id"])["client"] == "127.0.0.1"


def test_what_a_trusted_proxy_says_of_a_client_is_believed(configured: Server) -> None:
    def client(said: str) -> str:
        headers = {"X-Forwarded-For": said, "X-Forwarded-Proto": "https"}
        answer = configured.http.get("/livez", headers=headers)
        return str(configured.log_of(answer.headers["x-request-id"])["client"])

    assert client("203.0.113.9, 198.51.100.7") == "203.0.113.9"
    assert client("192.0.2.1, 203.0.113.9") == "203.0.113.9"  # the first is the client's own word
    assert len(client("x" * 5000)) <= 64


@pytest.mark.parametrize("path", ["/predict", BATCH, "/model/info", "/metrics", "/"])
def test_a_line_break_behind_a_path_makes_another_path(server: Server, path: str) -> None:
    for method in ("GET", "POST"):
        answer = server.http.request(method, f"{path}%0A", json={"data": ROW})
        assert answer.status_code == 404
        assert answer.json()["type"].endswith("/errors/not-found")

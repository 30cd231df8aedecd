"""The protocol's limits and what it tells of lost connections, on uvicorn's own classes."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http import auto
from uvicorn.server import ServerState

from serving.door.edge import CLIENT_GONE
from serving.host.protocol import (
    GOODBYE_S,
    MAX_HEAD_BYTES,
    MAX_JOINED_BYTES,
    HttpProtocol,
    JoinedWrites,
    install_protocol,
)

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
TIMEOUT_S = 10.0
MAX_BYTES = 1000


class Timer:
    """A call that is due later."""

    def __init__(self, delay_s: float, call: Callable[[], None]) -> None:
        """Be due."""
        self.delay_s, self.call, self.cancelled = delay_s, call, False

    def cancel(self) -> None:
        """Be due no longer."""
        self.cancelled = True


class Loop:
    """An event loop whose time only a test moves; tasks are real."""

    def __init__(self) -> None:
        """Start with nothing due."""
        self.timers: list[Timer] = []

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Keep a call."""
        self.timers.append(Timer(delay_s, call))
        return self.timers[-1]

    def call_soon(self, callback: Any) -> None:  # noqa: ANN401
        """Call in the next turn."""
        asyncio.get_running_loop().call_soon(callback)

    def create_task(self, coroutine: Any) -> asyncio.Task[None]:  # noqa: ANN401
        """Run it."""
        return asyncio.get_running_loop().create_task(coroutine)

    def due(self, delay_s: float = TIMEOUT_S) -> list[Timer]:
        """Give the calls of one delay that nobody has cancelled."""
        return [timer for timer in self.timers if timer.delay_s == delay_s and not timer.cancelled]


class Transport(asyncio.Transport):
    """A connection that keeps what is written."""

    def __init__(self) -> None:
        """Be open."""
        super().__init__()
        self.written = b""
        self.sendings = 0
        self.closed = self.half_closed = self.paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """Know nothing."""
        return default

    def write(self, data: Any) -> None:  # noqa: ANN401
        """Keep."""
        assert not self.half_closed
        assert not self.closed
        self.written += data
        self.sendings += 1

    def writelines(self, parts: Any) -> None:  # noqa: ANN401
        """Keep all of them at once."""
        self.write(b"".join(parts))

    def can_write_eof(self) -> bool:
        """Be no TLS."""
        return True

    def write_eof(self) -> None:
        """Say no more."""
        self.half_closed = True

    def is_closing(self) -> bool:
        """Tell."""
        return self.closed

    def close(self) -> None:
        """Close."""
        self.closed = True

    def pause_reading(self) -> None:
        """Read no more."""
        self.paused = True

    def resume_reading(self) -> None:
        """Read on."""
        self.paused = False


class Connection:
    """A client's connection to an application that answers when it is told to."""

    def __init__(self, *, starts: bool = False, body: bytes = b"") -> None:
        """Connect."""
        install_protocol(TIMEOUT_S)
        self.loop, self.transport = Loop(), Transport()
        self.asked: list[str] = []
        self.gone: list[str] = []
        self.may_answer = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
            self.asked.append(scope["path"])
            scope[CLIENT_GONE] = lambda: self.gone.append(scope["path"])
            headers = [(b"content-length", b"%d" % len(body))] if body else []
            status = 200 if body else 204
            start = {"type": "http.response.start", "status": status, "headers": headers}
            if starts:
                await send(start)
            await self.may_answer.wait()
            if not starts:
                await send(start)
            await send({"type": "http.response.body", "body": body})

        config = uvicorn.Config(app, http=auto.AutoHTTPProtocol, lifespan="off", log_config=None)
        chosen: Any = auto.AutoHTTPProtocol
        self.protocol = chosen(
            config=config, server_state=ServerState(), app_state={}, _loop=self.loop
        )
        self.protocol.max_head_bytes = MAX_BYTES
        self.protocol.connection_made(self.transport)

    async def send(self, data: bytes) -> None:
        """Send, and let what follows from it happen."""
        self.protocol.data_received(data)
        await turn()

    async def answer(self) -> None:
        """Let the application answer."""
        self.may_answer.set()
        await turn()


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def on_loop(story: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on an event loop of its own."""

    @wraps(story)
    def test(*args: Any, **named: Any) -> None:  # noqa: ANN401
        asyncio.run(story(*args, **named))

    return test


def test_the_protocol_is_the_one_that_bentomls_server_chooses() -> None:
    install_protocol(3.0)
    config = uvicorn.Config(lambda _: None, log_config=None)  # as BentoML makes it
    config.load()
    chosen: Any = config.http_protocol_class
    assert issubclass(chosen, HttpProtocol), "uvicorn has moved AutoHTTPProtocol"
    assert (chosen.head_timeout_s, chosen.max_head_bytes) == (3.0, MAX_HEAD_BYTES)


@on_loop
async def test_a_head_that_arrives_whole_arms_no_timer() -> None:
    client = Connection()
    assert len(client.loop.due()) == 1
    await client.send(HEAD + b"\r\n")
    assert client.loop.due() == []
    await client.answer()
    for _ in range(3):
        await client.send(HEAD + b"\r\n")
    assert len(client.asked) == 4
    assert len([timer for timer in client.loop.timers if timer.delay_s == TIMEOUT_S]) == 1


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("parts", [[b"\r\n"] * 3, [b"G"], [b"G", b"ET /"]])
@on_loop
async def test_a_head_that_comes_in_parts_has_one_timer(
    parts: list[bytes], *, answered: bool
) -> None:
    client = Connection()
    if answered:
        await client.send(HEAD + b"\r\n")
        await client.answer()
    for part in parts:
        await client.send(part)
        (timer,) = client.loop.due()
    timer.call()
    assert client.transport.closed


@on_loop
async def test_the_timer_ends_with_the_head_and_with_the_connection() -> None:
    client = Connection()
    await client.send(HEAD)
    await client.send(b"\r\n")
    assert client.asked == ["/"]
    assert client.loop.due() == []
    await client.answer()
    await client.send(HEAD)
    client.protocol.connection_lost(None)
    assert client.loop.due() == []


@on_loop
async def test_while_it_is_not_reading_the_server_does_not_call_a_head_late() -> None:
    client = Connection()
    await client.send((HEAD + b"\r\n") * 2 + HEAD)
    assert client.transport.paused
    (timer,) = client.loop.due()
    timer.cancelled = True  # as one that has gone off
    timer.call()
    assert not client.transport.closed
    (timer,) = client.loop.due()
    await client.answer()
    timer.call()
    assert client.transport.closed


@pytest.mark.parametrize("extra", [b"X: " + b"a" * 1000, b"X: a\r\n" * 200, b"a" * 1000 + b": x"])
@pytest.mark.parametrize("size", [7, 100_000])
@on_loop
async def test_a_head_that_is_too_large_is_refused_and_what_follows_is_dropped(
    extra: bytes, size: int
) -> None:
    client = Connection()
    head = HEAD + extra.removesuffix(b"\r\n") + b"\r\n\r\n"
    for start in range(0, len(head), size):
        await client.send(head[start : start + size])
    assert client.transport.written.startswith(b"HTTP/1.1 431 ")
    assert client.transport.half_closed
    await client.send(HEAD + b"\r\n")
    assert client.asked == []
    (timer,) = client.loop.due()
    timer.call()
    assert client.transport.closed


@on_loop
async def test_who_goes_on_sending_after_a_refusal_has_no_more_time_than_for_a_head() -> None:
    client = Connection()
    await client.send(HEAD + b"\r\n")
    await client.answer()
    await client.send(HEAD + b"X: " + b"a" * 1000 + b"\r\n\r\n")
    assert client.transport.half_closed
    assert len(client.loop.due()) == 1


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("before", [HEAD, CHUNKED + b"0\r\n"], ids=["head", "trailer"])
@on_loop
async def test_what_has_no_end_is_refused_when_it_has_become_too_large(before: bytes) -> None:
    client = Connection()
    await client.send(before + b"X: ")
    for _ in range(10):
        await client.send(b"a" * 100)
    assert client.transport.written == b""
    await client.send(b"a")
    assert client.transport.written.startswith(b"HTTP/1.1 431 ")


@on_loop
async def test_each_head_and_trailer_is_measured_by_itself() -> None:
    client = Connection()
    client.may_answer.set()
    for _ in range(10):
        await client.send(HEAD + b"X: ")
        await client.send(b"a" * 600)
        await client.send(b"\r\n\r\n")
    for _ in range(10):
        await client.send(CHUNKED + b"0\r\nX: ")
        await client.send(b"a" * 600)
        await client.send(b"\r\n\r\n")
    await client.send(b"\r\n" * 1000 + HEAD + b"\r\n")
    assert client.transport.written.count(b"HTTP/1.1 204 ") == 21


@on_loop
async def test_a_body_in_chunks_is_not_measured_wherever_it_is_cut() -> None:
    client = Connection()
    client.may_answer.set()
    await client.send(CHUNKED + b"7d0\r\n")
    for _ in range(5):
        await client.send(b"a" * 2000 + b"\r\n7d0\r\n")
    await client.send(b"a" * 2000 + b"\r\n0\r\n")
    await client.send(b"\r\n")
    await client.send((HEAD + b"\r\n") * 100)
    for _ in range(100):
        await turn()
    assert client.transport.written.count(b"HTTP/1.1 204 ") == 101


@on_loop
async def test_a_refusal_under_an_answer_that_has_begun_says_nothing_more() -> None:
    client = Connection(starts=True)
    await client.send(HEAD + b"\r\n")
    await client.send(HEAD + b"X: " + b"a" * 2000 + b"\r\n\r\n")
    assert client.transport.closed
    assert b"431" not in client.transport.written
    assert client.gone == ["/"]


@on_loop
async def test_the_head_and_the_body_of_an_answer_are_sent_at_once() -> None:
    client = Connection(body=b"hello")
    await client.send(HEAD + b"\r\n")
    await client.answer()
    assert client.transport.written.endswith(b"\r\n\r\nhello")
    assert client.transport.sendings == 1


@on_loop
async def test_what_is_large_is_sent_without_waiting_for_more() -> None:
    transport = Transport()
    joined = JoinedWrites(transport, asyncio.get_running_loop())
    joined.write(b"head")
    assert transport.sendings == 0
    joined.write(b"x" * (MAX_JOINED_BYTES + 1))
    assert (transport.sendings, len(transport.written)) == (1, MAX_JOINED_BYTES + 5)
    await turn()
    assert transport.sendings == 1


@pytest.mark.parametrize("end", ["close", "write_eof"])
@on_loop
async def test_nothing_is_lost_where_a_connection_ends_in_the_turn_of_its_answer(end: str) -> None:
    transport = Transport()
    joined = JoinedWrites(transport, asyncio.get_running_loop())
    joined.write(b"last words")
    getattr(joined, end)()
    assert transport.written == b"last words"
    assert transport.closed or transport.half_closed
    await turn()
    assert transport.sendings == 1


@on_loop
async def test_a_connection_over_tls_is_closed_at_once() -> None:
    client = Connection()
    client.transport.can_write_eof = lambda: False  # type: ignore[method-assign]
    await client.send(HEAD + b"X: " + b"a" * 2000 + b"\r\n\r\n")
    assert client.transport.written.startswith(b"HTTP/1.1 431 ")
    assert client.transport.closed


@pytest.mark.parametrize(("unread", "aborted"), [(0, True), (1, False)])
@on_loop
async def test_over_tls_a_client_that_does_not_say_goodbye_is_left(
    unread: int, *, aborted: bool
) -> None:
    transport, loop, left = Transport(), Loop(), []
    transport.get_extra_info = lambda name, default=None: name  # type: ignore[method-assign]
    transport.get_write_buffer_size = lambda: unread  # type: ignore[method-assign]
    transport.abort = lambda: left.append(True)  # type: ignore[method-assign]
    JoinedWrites(transport, loop).close()  # type: ignore[arg-type]
    assert transport.closed
    (timer,) = loop.due(GOODBYE_S)
    timer.call()
    assert bool(left) is aborted


@on_loop
async def test_another_protocol_that_is_asked_for_is_not_spoken_and_the_body_is_read() -> None:
    client = Connection()
    client.may_answer.set()
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    await client.send(HEAD + upgrade + b"Content-Length: 21\r\n\r\n" + b"GET /b HTTP/1.1\r\nX: y")
    await client.send(HEAD + b"\r\n")
    assert client.asked == ["/", "/"]
    assert client.transport.written.count(b"HTTP/1.1 204 ") == 2


@pytest.mark.parametrize(
    "request_", [b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", b"what is this?\r\n\r\n"]
)
@on_loop
async def test_what_is_no_request_of_ours_is_refused(request_: bytes) -> None:
    client = Connection()
    await client.send(request_)
    assert client.transport.written.startswith(b"HTTP/1.1 400 ")
    assert client.asked == []


@on_loop
async def test_a_lost_connection_is_told_to_the_request_under_way_alone() -> None:
    client = Connection()
    paths = (b"/a", b"/b", b"/c")
    heads = [b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths]
    await client.send(b"".join(heads))
    assert client.asked == ["/a"]
    client.protocol.connection_lost(None)
    await client.answer()
    assert client.gone == ["/a"]
    assert client.asked == ["/a"], "uvicorn begins pipelined requests of lost connections"
    assert client.transport.written == b""


@on_loop
async def test_a_lost_connection_is_not_told_to_a_request_that_is_answered() -> None:
    client = Connection()
    await client.send(HEAD + b"\r\n")
    await client.answer()
    client.protocol.connection_lost(None)
    assert client.gone == []


@on_loop
async def test_at_the_end_an_idle_connection_has_a_moment_to_ask() -> None:
    client = Connection()
    client.protocol.shutdown()
    assert not client.transport.closed
    await client.send(HEAD + b"\r\n")
    (timer,) = client.loop.due(0.1)
    timer.call()
    assert not client.transport.closed
    await client.answer()
    assert b"connection: close" in client.transport.written
    assert client.transport.closed

    silent = Connection()
    silent.protocol.shutdown()
    (timer,) = silent.loop.due(0.1)
    timer.call()
    assert silent.transport.closed

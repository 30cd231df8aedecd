"""The HTTP/1.1 protocol of a worker: uvicorn's own, with limits, and without upgrades.

A server may ignore an Upgrade that it does not speak (RFC 9110, 7.8), and this one speaks none.
Java's HttpClient, for one, asks for h2c with its first request. The parser ends a message at such a
head and takes the body for the next request; so the head is read again without the Upgrade.

uvicorn itself waits for a head for as long as a client likes, and keeps as much of it as is sent.
Here a head has to be there in time and is no larger than is set, and so are the fields after a
chunked body. Who waits for an answer is told when its client has left.

The head and the body of an answer leave together: uvicorn sends each by itself, and a system call
that wakes a client is a good part of what a small answer costs.
"""

import asyncio
import socket
from http import HTTPStatus
from socket import AF_INET, AF_INET6, IPPROTO_TCP
from typing import Any

import httptools
from uvicorn.protocols.http import auto
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from serving.door.edge import CLIENT_GONE

# RFC 5482: what is sent has to be received in time, or the connection ends. Not on all systems.
TCP_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
MAX_HEAD_BYTES = 65_536
MAX_JOINED_BYTES = 65_536
GOODBYE_S = 1.0
LAST_CALL_S = 0.1  # as long as uvicorn itself waits when it has asked its connections to close


class JoinedWrites:
    """A transport that sends an answer's head and body at once, and others' with them."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Take the transport, of which all but writing and ending stays as it is."""
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401, D105 (a transport's own)
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send in this turn; what is large at once, so that not too much waits."""
        if not self._waiting:
            self._loop.call_soon(self.flush)
        self._waiting.append(data)
        if len(data) > MAX_JOINED_BYTES:
            self.flush()

    def write_eof(self) -> None:
        """End after what is written."""
        self.flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Close after what is written, over TLS without waiting for long until the client agrees.

        It need not answer (RFC 8446, 6.1), and most do not before they ask again.
        """
        self.flush()
        self._transport.close()
        if self._transport.get_extra_info("ssl_object") is not None:
            self._loop.call_later(GOODBYE_S, self._leave)

    def _leave(self) -> None:
        if self._transport.get_write_buffer_size() == 0:  # else the client still reads its answer
            self._transport.abort()

    def flush(self) -> None:
        """Send what waits, if anything does."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self._transport.writelines(waiting)


class HttpProtocol(HttpToolsProtocol):
    """Reads every request as plain HTTP/1.1."""

    head_timeout_s = 10.0
    max_head_bytes = MAX_HEAD_BYTES

    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0  # so far, of a head or trailer that comes in parts, without the first of them
    _goes_on = False  # what is read now has begun with more of a head or trailer
    _may_be_too_large = False
    _is_too_large = False
    _in_trailer = False  # or before the first byte of a chunk; and then, until there is a body
    _refused = False
    _running: RequestResponseCycle | None = None  # `cycle` is the one that was read last

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head, but not for ever, nor for one who does not read answers."""
        super().connection_made(transport)
        self._writes = JoinedWrites(transport, self.loop)
        self.transport = self._writes  # type: ignore[assignment]
        connection = transport.get_extra_info("socket")
        is_tcp = connection is not None and connection.family in (AF_INET, AF_INET6)
        if is_tcp and TCP_USER_TIMEOUT is not None:
            connection.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, int(self.head_timeout_s * 1000))
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request under way; those behind it in a pipeline will not be begun."""
        self._stop_timer()
        self._drop_running()
        super().connection_lost(exc)

    def _drop_running(self) -> None:
        """Tell the request under way that nobody will read its answer."""
        cycle = self._running
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            if (gone := cycle.scope.get(CLIENT_GONE)) is not None:
                gone()  # type: ignore[operator]

    def shutdown(self) -> None:
        """Close when uvicorn asks for it, but not between a client's connect and its request."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LAST_CALL_S, super().shutdown)
        else:
            super().shutdown()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Send the answer now if no other is under way that might go out with it."""
        if len(self.tasks) == 1:
            self._writes.flush()
        super().on_response_complete()

    def _should_upgrade(self) -> bool:
        """Keep uvicorn's callbacks off a head that will be read again; asked at upgrades alone."""
        return True

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and see whether the client keeps to the limits."""
        if self._refused:
            return  # uvicorn would read it; the client has its answer
        self._unset_keepalive_if_required()
        scope = self.scope
        in_head = self._in_head
        self._goes_on = in_head or self._in_trailer
        self._may_be_too_large = in_head or len(data) > self.max_head_bytes
        self._feed(data)
        if self._refused or self.transport.is_closing():
            return
        in_head = self._in_head
        if in_head or self._in_trailer:
            if self._goes_on and self.scope is scope:
                self._head_bytes += len(data)
            else:  # it may have begun at the end of much else
                self._head_bytes = 0
            if self._head_bytes > self.max_head_bytes:
                self._refuse_head()
                return
        if in_head or self.cycle is None or self.cycle.response_complete:
            self._expect_head()  # complete: blank lines, or the rest of a body that was refused
        elif self._head_timer is not None:
            self._stop_timer()

    @property
    def _in_head(self) -> bool:
        """Whether part of a head has been read: uvicorn makes a cycle when it is whole."""
        return self.scope is not None and (self.cycle is None or self.cycle.scope is not self.scope)

    def _feed(self, data: bytes) -> None:
        """Feed the parser, and a new one after each head that asks for an upgrade."""
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as exc:
                if self.parser.get_method() == b"CONNECT":  # what follows would be no HTTP
                    self.send_400_response("Tunnels are not supported.")
                    return
                data = self._head_without_upgrade() + data[exc.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                # As uvicorn sets it on its own.
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            except httptools.HttpParserError:
                if self._is_too_large:
                    self._refuse_head()
                    return
                self.logger.warning("Invalid HTTP request received.")
                self.send_400_response("Invalid HTTP request received.")
                return

    def on_headers_complete(self) -> None:
        """Begin a request, unless its head is too large."""
        if self._may_be_too_large and self._head_size() > self.max_head_bytes:
            self._is_too_large = True
            raise ValueError("the head is too large")  # stops the parser
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """Note that a chunk begins; if it is the last, a trailer follows instead of a body."""
        self._in_trailer = True

    def on_body(self, body: bytes) -> None:
        """Hand on a part of the body."""
        self._in_trailer = self._goes_on = False
        super().on_body(body)

    def _expect_head(self) -> None:
        """Give the client its time, if that does not run yet."""
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_timeout_s, self._head_is_late)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.flow.read_paused:  # it is we who don't read on, while answers are due
            self._expect_head()
        else:
            self.transport.close()

    def _head_size(self) -> int:
        """Tell how many bytes a head takes, blanks apart."""
        lines = sum(len(name) + len(value) + 4 for name, value in self.headers)
        return len(self.parser.get_method()) + len(self.url) + len("  HTTP/1.1\r\n\r\n") + lines

    def _refuse_head(self) -> None:
        """Answer 431 (RFC 6585, 5), and read and drop the rest: a reset would take it away."""
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        text = f"The request head is larger than {self.max_head_bytes} bytes."
        self.logger.warning("Request head too large.")
        self._refused = True
        answering = self._running is not None and not self._running.response_complete
        self._drop_running()
        if answering and self._running.response_started:  # type: ignore[union-attr]
            self.transport.close()
            return
        self.transport.write(
            STATUS_LINE[status] + b"content-type: text/plain; charset=utf-8\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(text), text.encode())
        )
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._expect_head()
        else:
            self.transport.close()

    def _head_without_upgrade(self) -> bytes:
        """Write the head that was read last."""
        method, version = self.scope["method"], self.scope["http_version"]
        lines = [b"%b %b HTTP/%b" % (method.encode(), self.url, version.encode())]
        lines += [b"%b: %b" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join((*lines, b"", b""))


def install_protocol(head_timeout_s: float) -> None:
    """Make uvicorn's choice of a protocol, which BentoML leaves to it, fall on this one."""
    limits = {"head_timeout_s": head_timeout_s}
    auto.AutoHTTPProtocol = type("LimitedHttpProtocol", (HttpProtocol,), limits)

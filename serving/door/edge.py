"""The door: every request comes in and every answer goes out here.

Gives each request its id and record, finds its route, bounds it by the deadline, asks for a key and
counts it before its body is read, turns every exception into a problem, and tells the listeners
when the answer is out. Drops the work of a client that is gone. Never raises: what goes wrong
further in ends here.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from secrets import token_hex
from typing import cast

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.door.auth import Keyring
from serving.door.quotas import Quotas
from serving.door.routes import UNMATCHED, Found, Route, Routes
from serving.door.streamed import Streamed
from serving.problems import DEADLINE_EXCEEDED, UNAVAILABLE, Problem, Wording, from_status
from serving.telemetry import Listeners, RequestRecord, open_record

CLIENT_GONE = "serving.client_gone"  # in a request's scope: what is to be called when it has left
EXCHANGE = "serving.exchange"
CLIENT_CLOSED_REQUEST = 499  # as nginx logs a request that got no answer; nobody receives it
MAX_CLIENT_CHARS = 64  # a trusted proxy's X-Forwarded-For may hold anything
_SANE_ID = re.compile(rb"[A-Za-z0-9._:+/=~-]{1,128}")
_EXPOSED_HEADERS = (
    "X-Request-ID",
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    "Cache-Status",
    "WWW-Authenticate",
)
_ALLOWED_HEADERS = (
    "Content-Type",
    "Content-Encoding",
    "X-Request-ID",
    "Authorization",
    "X-API-Key",
)


class Edge:
    """Answers all requests, as one ASGI application."""

    def __init__(
        self,
        routes: Routes,
        keyring: Keyring | None,
        quotas: Quotas,
        listeners: Listeners,
        timeout_s: float,
        cors_origins: Sequence[str] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Take what is served, and to whom: without a keyring, to all."""
        self._routes = routes
        self._keyring = keyring
        self._quotas = quotas
        self._listeners = listeners
        self._timeout_s = timeout_s
        self._clock = clock
        self.draining = False
        self._answer: ASGIApp = self._bounded
        if cors_origins:
            told = [tells for route in routes for tells in route.tells.values()]
            self._answer = _Cors(
                self._bounded,
                allow_origins=cors_origins,
                allow_methods=("GET", "POST"),
                allow_headers=_each_once(_ALLOWED_HEADERS, *[tells.heeds for tells in told]),
                expose_headers=_each_once(_EXPOSED_HEADERS, *[tells.headers for tells in told]),
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, from its id to its log line."""
        started_s = self._clock()
        request_id = _request_id(scope)
        found = self._routes.find(scope["path"])
        client = scope.get("client")
        record = RequestRecord(
            id=request_id.decode("ascii"),
            method=scope["method"],
            route=UNMATCHED if found is None else found.template,
            client=client[0][:MAX_CLIENT_CHARS] if client else None,
        )
        open_record(record)
        self._listeners.started(record.route)
        exchange = scope[EXCHANGE] = _Exchange(self, record, found, request_id, send)
        try:
            await self._answer(scope, receive, exchange.send)
        except asyncio.CancelledError:
            pass  # while the problem was sent: there is no more to do
        finally:
            # Both lead back to the scope: circles, which the garbage collector would have to find.
            del scope[EXCHANGE]
            scope.pop(CLIENT_GONE, None)
            status = exchange.status
            if exchange.client_left or not status:
                status = CLIENT_CLOSED_REQUEST
            self._listeners.answered(record.answered(status, self._clock() - started_s))

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer within the deadline, and whatever is raised further in."""
        exchange: _Exchange = scope[EXCHANGE]
        deadline = exchange.end_early(scope, self._timeout_s)
        # Nothing may escape from here to the server.
        try:
            try:
                route = await self._admit(exchange, scope)
                response = await route.answer(Request(scope, receive))
                exchange.streamed = response if isinstance(response, Streamed) else None
                await response(scope, receive, send)
            finally:
                deadline.cancel()
        except asyncio.CancelledError:
            if exchange.client_left or exchange.is_begun:
                return  # there is nobody who reads an answer, or the rest of it
            if exchange.is_late:
                detail = f"the answer was not ready within {self._timeout_s:g} s"
                problem = Problem(DEADLINE_EXCEEDED, detail)
            else:  # the server ends what still runs when its time to shut down is over
                problem = Problem(UNAVAILABLE, "the server is shutting down")
            await exchange.end_with(exchange.refusal(problem, scope), scope, receive, send)
        except Exception as exc:
            answer = exchange.answer_to(exc, scope)
            if answer is None or exchange.is_begun:
                exchange.record.exception = exc
            if not exchange.is_begun:
                answer = answer or exchange.refusal(from_status(500), scope)
                await exchange.end_with(answer, scope, receive, send)

    def wording_of(self, policy: Route | None, path: str) -> Wording:
        """Tell how a request to a path is refused."""
        return self._routes.wording_at(path) if policy is None else policy.wording

    async def _admit(self, exchange: "_Exchange", scope: Scope) -> Route:
        """Ask for a key, and count the request, where that is due; give the route.

        Raises:
            Problem: 401, 404, 405 or 429.
        """
        found, key = exchange.found, None
        route = None if found is None else found.routes.get(scope["method"])
        policy = found.any if found is not None and route is None else route
        exchange.policy = policy
        if found is not None and policy is not None:
            exchange.record.model = policy.model(found.parts)
        if self._keyring is not None and (policy is None or not policy.is_open):
            key = self._keyring.identify(scope["headers"])
            exchange.record.api_key = key.name
        if found is None or policy is None:
            raise from_status(404)
        if policy.counts:
            exchange.headers = await self._quotas.count(exchange.record.client, key)
        if route is None:
            raise found.not_allowed()
        scope["path_params"] = found.parts
        return route


class _Exchange:
    """A request under way, and what is known of its answer."""

    __slots__ = (
        "_edge",
        "_request_id",
        "_send",
        "client_left",
        "found",
        "headers",
        "is_late",
        "policy",
        "record",
        "status",
        "streamed",
    )

    def __init__(
        self,
        edge: Edge,
        record: RequestRecord,
        found: Found | None,
        request_id: bytes,
        send: Send,
    ) -> None:
        self._edge = edge
        self.record = record
        self.found = found
        self.policy: Route | None = None  # who may ask at its path, once that is known
        self.headers: Sequence[tuple[bytes, bytes]] = ()  # of the answer, beside its id
        self.status = 0
        self.streamed: Streamed | None = None  # the answer, if it goes out part by part
        self.client_left = False
        self.is_late = False  # the deadline has passed
        self._request_id = request_id
        self._send = send

    async def send(self, message: Message) -> None:
        """Send a part of the answer; the first with the headers that all answers have."""
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), (b"x-request-id", self._request_id)]
            headers += self.headers
            if self._edge.draining:  # what the client asks next is for another server
                headers.append((b"connection", b"close"))
            message["headers"] = headers
            await self._send(message)  # waits for a client that does not read what came before
            self.status = message["status"]
        else:
            await self._send(message)

    def end_early(self, scope: Scope, timeout_s: float) -> asyncio.TimerHandle:
        """Let this request's task end when its connection is lost, or its time is over.

        The deadline is a bare timer, since both end alike: `asyncio.timeout` takes twice as long.
        """
        task = cast("asyncio.Task[None]", asyncio.current_task())

        def drop() -> None:
            if not self.is_begun:
                self.client_left = True
                task.cancel()

        def expire() -> None:
            self.is_late = True
            task.cancel()

        scope[CLIENT_GONE] = drop  # for the protocol
        return task.get_loop().call_later(timeout_s, expire)

    @property
    def is_begun(self) -> bool:
        """Whether the answer goes out by now, and nothing can be said in its place, or behind."""
        return self.status != 0 and self.streamed is None

    async def end_with(self, answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a refusal, as the last line if there were others before it."""
        if self.status and self.streamed is not None:
            await self.streamed.break_off(bytes(answer.body), send)
        else:
            await answer(scope, receive, send)

    def answer_to(self, exc: Exception, scope: Scope) -> Response | None:
        """Give the answer to what was raised further in, if it was raised to be answered."""
        if isinstance(exc, Problem):
            return self.refusal(exc, scope)
        if isinstance(exc, HTTPException):
            return self.refusal(from_status(exc.status_code, exc.headers), scope)
        if isinstance(exc, ClientDisconnect):
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        return None

    def refusal(self, problem: Problem, scope: Scope) -> Response:
        """Write a problem as the answer to the request, and note it."""
        self.record.problem = problem.kind.slug
        wording = self._edge.wording_of(self.policy, scope["path"])
        path = scope["raw_path"].decode("ascii")  # where an encoded slash is none yet
        return Response(
            wording.body(problem, self.record.id, path),
            status_code=wording.status(problem.kind),
            headers=problem.headers,
            media_type=wording.media_type,
        )


class _Cors(CORSMiddleware):
    """Answers preflights; a refused one is told by the headers that it lacks, not by an error."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Tell a browser what it may send: it goes by the headers alone (Fetch, 4.8)."""
        headers = dict(super().preflight_response(request_headers).headers)
        del headers["content-length"], headers["content-type"]
        return Response(status_code=204, headers=headers)


def _each_once(*names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(chain.from_iterable(names)))


def _request_id(scope: Scope) -> bytes:
    """Keep the client's request id when it is sane, otherwise make one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            if _SANE_ID.fullmatch(value):
                return value  # type: ignore[no-any-return]
            break
    return token_hex(16).encode()

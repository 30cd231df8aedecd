"""The door: every request comes in and every answer goes out here.

Outermost of all. Gives each request its id and record, bounds it by the deadline, asks for a key
and counts it before its body is read, turns every exception into a problem+json answer, and writes
the one log line and the metrics when the answer is out. Drops the work of a client that is gone.
Never raises: what goes wrong further in ends here.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from functools import cache
from secrets import token_hex
from typing import cast

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.door.auth import Keyring
from serving.door.quotas import Quotas
from serving.host.protocol import CLIENT_GONE
from serving.metrics import ServiceMetrics
from serving.problems import DEADLINE_EXCEEDED, MEDIA_TYPE, UNAVAILABLE, Problem, from_status
from serving.settings import Settings
from serving.telemetry import RequestRecord, current_record, log, open_record, stack_trace

UNMATCHED = "unmatched"
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


class RouteTable:
    """Finds the template of a path, so that metrics and logs never have a series for each path."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        """Learn the routes of the application."""
        self._exact: set[str] = set()
        self._patterns: list[tuple[re.Pattern[str], str]] = []
        for route in routes:
            if isinstance(route, Mount):
                self._patterns.append((route.path_regex, f"{route.path}/{{path}}"))
            elif isinstance(route, Route) and route.param_convertors:
                self._patterns.append((route.path_regex, route.path))
            elif isinstance(route, Route):
                self._exact.add(route.path)

    def template(self, path: str) -> str:
        """Give the template that a path belongs to, or `UNMATCHED`."""
        if path in self._exact:
            return path
        for pattern, template in self._patterns:
            if pattern.match(path):
                return template
        return UNMATCHED


class Edge:
    """Wraps the whole application as one ASGI application."""

    def __init__(
        self,
        app: ASGIApp,
        routes: RouteTable,
        metrics: ServiceMetrics,
        settings: Settings,
        keyring: Keyring,
        quotas: Quotas,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Take the application, what is asked of its clients, and what is noted about requests."""
        self._app = app
        self._routes = routes
        self._metrics = metrics
        self._timeout_s = settings.request_timeout_s
        self._needs_key = cache(settings.needs_key)
        self._is_limited = cache(settings.is_limited)
        self._keyring = keyring
        self._quotas = quotas
        self._clock = clock
        self.model_version: str | None = None
        self.draining = False
        self._answer: ASGIApp = self._bounded
        if settings.cors_origins:
            self._answer = _Cors(
                self._bounded,
                allow_origins=settings.cors_origins,
                allow_methods=("GET", "POST"),
                allow_headers=_ALLOWED_HEADERS,
                expose_headers=_EXPOSED_HEADERS,
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, from its id to its log line."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._clock()
        request_id = _request_id(scope)
        client = scope.get("client")
        record = RequestRecord(
            id=request_id.decode("ascii"),
            method=scope["method"],
            route=self._routes.template(scope["path"]),
            client=client[0][:MAX_CLIENT_CHARS] if client else None,
        )
        open_record(record)
        in_progress = self._metrics.in_progress(record.route)
        in_progress.inc()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), (b"x-request-id", request_id)]
                headers += record.headers
                if self.draining:  # what the client asks next is for another server
                    headers.append((b"connection", b"close"))
                message["headers"] = headers
                await send(message)  # waits for a client that does not read what came before
                record.status = message["status"]
            else:
                await send(message)

        try:
            await self._answer(scope, receive, send_with_id)
        except asyncio.CancelledError:
            pass  # while the problem was sent: there is no more to do
        finally:
            in_progress.dec()
            record.status = record.status or CLIENT_CLOSED_REQUEST
            self._write_down(record, self._clock() - started)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer within the deadline, and whatever is raised further in."""
        record = current_record()
        deadline = _end_early(scope, record, self._timeout_s)
        # Nothing may escape from here to the server.
        try:
            try:
                await self._admit(scope, record)
                await self._app(scope, receive, send)
            finally:
                deadline.cancel()
        except asyncio.CancelledError:
            if record.status or record.client_left:
                return  # there is nobody who reads an answer, or the rest of it
            if record.is_late:
                detail = f"the answer was not ready within {self._timeout_s:g} s"
                problem = Problem(DEADLINE_EXCEEDED, detail)
            else:  # the server ends what still runs when its time to shut down is over
                problem = Problem(UNAVAILABLE, "the server is shutting down")
            await answer_problem(problem, scope)(scope, receive, send)
        except Exception as exc:
            answer = _answer_to(exc, scope)
            if answer is None or record.status:
                record.exception = exc
            if not record.status:
                await (answer or answer_problem(from_status(500), scope))(scope, receive, send)

    async def _admit(self, scope: Scope, record: RequestRecord) -> None:
        """Ask for a key, and count the request, where that is due; refuse an unknown path.

        Raises:
            Problem: 401, 404 or 429.
        """
        key = None
        if self._needs_key(record.route):
            key = self._keyring.identify(scope["headers"])
            record.api_key = key.name
        if record.route == UNMATCHED:  # what is not known here must not be found further in
            raise from_status(404)
        if self._is_limited(record.route):
            await self._quotas.count(record, key)

    def _write_down(self, record: RequestRecord, duration_s: float) -> None:
        """Write the log line and the metrics of an answered request."""
        self._metrics.request_finished(record, duration_s)
        write = log.info if record.exception is None else log.error
        write(
            "request.finished",
            request_id=record.id,
            method=record.method,
            route=record.route,
            status=record.status,
            duration_ms=round(duration_s * 1000, 3),
            client=record.client,
            api_key=record.api_key,
            model_version=self.model_version,
            cache=record.cache,
            rows=record.rows,
            unusual=sum(record.unusual.values()) or None,
            problem=record.problem,
            exception=stack_trace(record.exception) if record.exception else None,
        )


class _Cors(CORSMiddleware):
    """Answers preflights; a refused one is told by the headers that it lacks, not by an error."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Tell a browser what it may send: it goes by the headers alone (Fetch, 4.8)."""
        headers = dict(super().preflight_response(request_headers).headers)
        del headers["content-length"], headers["content-type"]
        return Response(status_code=204, headers=headers)


def _answer_to(exc: Exception, scope: Scope) -> Response | None:
    """Give the answer to what was raised further in, if it was raised to be answered."""
    if isinstance(exc, Problem):
        return answer_problem(exc, scope)
    if isinstance(exc, HTTPException):
        headers = exc.headers
        if exc.status_code == 405:  # RFC 9110, 15.5.6: Allow is due; StaticFiles leaves it out
            headers = {"Allow": "GET, HEAD", **(headers or {})}
        return answer_problem(from_status(exc.status_code, headers), scope)
    if isinstance(exc, ClientDisconnect):
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    return None


def answer_problem(problem: Problem, scope: Scope) -> Response:
    """Write a problem as the answer to a request, and note it."""
    record = current_record()
    record.problem = problem.kind.slug
    path = scope["raw_path"].decode("ascii")  # where an encoded slash is none yet
    return Response(
        problem.body(record.id, path),
        status_code=problem.kind.status,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )


def _end_early(scope: Scope, record: RequestRecord, timeout_s: float) -> asyncio.TimerHandle:
    """Let this request's task end when its connection is lost, or its time is over.

    The deadline is a bare timer, since both end alike: `asyncio.timeout` takes twice as long.
    """
    task = cast("asyncio.Task[None]", asyncio.current_task())

    def drop() -> None:
        if not record.status:
            record.client_left = True
            task.cancel()

    def expire() -> None:
        record.is_late = True
        task.cancel()

    scope[CLIENT_GONE] = drop  # for the protocol
    return task.get_loop().call_later(timeout_s, expire)


def _request_id(scope: Scope) -> bytes:
    """Keep the client's request id when it is sane, otherwise make one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            if _SANE_ID.fullmatch(value):
                return value  # type: ignore[no-any-return]
            break
    return token_hex(16).encode()

"""The door: an id, a deadline, one error shape, one log line and one count for each request."""

import asyncio
import gc
import re
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.door.auth import Keyring
from serving.door.edge import UNMATCHED, Edge, RouteTable
from serving.door.quotas import Quotas
from serving.keys import ApiKey
from serving.metrics import ServiceMetrics
from serving.problems import INVALID_INPUT, FieldError, Problem
from serving.settings import MEMORY, Settings
from serving.telemetry import current_record
from tests.unit.fakes import Answer, Headers, ask, http_scope, lifespan, sample, service_labels

LONG_S = 600.0  # a deadline that no test lives to see
INPUT = "31415926"  # a value that must not be told

Lines = list[dict[str, Any]]
MakeEdge = Callable[..., Edge]


class SteppingClock:
    """Each look at it is a quarter of a second later."""

    def __init__(self) -> None:
        """Start anywhere."""
        self.now_s = 100.0

    def __call__(self) -> float:
        """Tell the time in seconds."""
        self.now_s += 0.25
        return self.now_s


async def ok(_: Request) -> Response:
    """Answer at once."""
    return PlainTextResponse("fine")


async def note(_: Request) -> Response:
    """Note something on the record."""
    current_record().rows = 3
    current_record().unusual = {"length": 2, "colour": 1}
    return PlainTextResponse("fine")


async def refuse(_: Request) -> Response:
    """Refuse the input."""
    errors = [FieldError("/data/3", "expected a number, got a string")]
    raise Problem(INVALID_INPUT, "1 problem in the request body", errors=errors)


async def crash(_: Request) -> Response:
    """Have a defect, with an input value in its message."""
    try:
        raise KeyError(INPUT)
    except KeyError as exc:
        raise ZeroDivisionError(INPUT) from exc


async def teapot(_: Request) -> Response:
    """Raise a status that has no kind of its own."""
    raise HTTPException(418, INPUT, {"X-Pot": "tea"})


async def refuses_method(_: Request) -> Response:
    """Refuse a method as Starlette's static files do: without an Allow header."""
    raise HTTPException(405)


async def read(request: Request) -> Response:
    """Wait for the whole body."""
    return Response(await request.body())


async def never(_: Request) -> Response:
    """Wait for what does not come."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def times_out_inside(_: Request) -> Response:
    """Raise a timeout that is not the request's deadline."""
    raise TimeoutError(INPUT)


APP = Starlette(
    routes=[
        Route("/ok", ok),
        Route("/note", note, methods=["POST"]),
        Route("/refuse", refuse),
        Route("/crash", crash),
        Route("/teapot", teapot),
        Route("/refuses-method", refuses_method),
        Route("/read", read, methods=["POST"]),
        Route("/never", never),
        Route("/times-out-inside", times_out_inside),
        Route("/errors/{slug}", ok),
        Route("/predict", read, methods=["POST"]),
        Route("/predict/batch", refuse, methods=["POST"]),
        Route("/health", ok),
        Route("/metrics", ok),
        Mount("/static", Starlette(routes=[Route("/a/b.js", ok)])),
    ]
)
APP.middleware_stack = APP.router  # as the seam to BentoML leaves it


@pytest.fixture
def make_edge(metrics: ServiceMetrics, lines: Lines) -> MakeEdge:
    """Give a way to put the edge around an application."""

    def make(
        app: ASGIApp = APP,
        timeout_s: float = LONG_S,
        cors_origins: tuple[str, ...] = (),
        keys: tuple[ApiKey, ...] = (),
        **others: object,
    ) -> Edge:
        named = {"request_timeout_s": timeout_s, "cors_origins": cors_origins, "api_keys": keys}
        settings = Settings.model_validate(named | others)
        return Edge(
            app,
            RouteTable(APP.routes),
            metrics,
            settings,
            Keyring(settings.clients),
            Quotas(settings.rate_limit, MEMORY),
            clock=SteppingClock(),
        )

    return make


@pytest.fixture
def edge(make_edge: MakeEdge) -> Edge:
    """Give the edge around the application."""
    return make_edge()


def get(app: ASGIApp, path: str, headers: Headers = (), method: str = "GET") -> Answer:
    """Send one request without a body."""
    return asyncio.run(ask(app, path, headers=headers, method=method))


def assert_problem(answer: Answer, status: int, slug: str) -> None:
    """Check that an answer has the one error shape."""
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    assert document["type"].endswith(f"/errors/{slug}" if slug else "about:blank")
    assert document["request_id"] == answer.headers["x-request-id"]


# The request id


@pytest.mark.parametrize(
    "sane", [b"a", b"7f9c-42", b"a.b_c:d+e/f=g~h", b"Root=1-5759e988-bd862e3fe1be46a994272793"]
)
def test_a_sane_request_id_is_kept(edge: Edge, lines: Lines, sane: bytes) -> None:
    answer = get(edge, "/ok", [(b"X-Request-ID", sane)])
    assert answer.headers["x-request-id"] == sane.decode()
    assert lines[0]["request_id"] == sane.decode()


def test_a_request_id_may_be_128_characters_long(edge: Edge) -> None:
    assert get(edge, "/ok", [(b"X-Request-ID", b"x" * 128)]).headers["x-request-id"] == "x" * 128


@pytest.mark.parametrize(
    "insane",
    [
        b"",
        b" ",
        b"x" * 129,
        b"a b",
        b"a\r\nSet-Cookie: b=c",
        b"a\n",
        b"\x00",
        b'"quoted"',
        b"{json}",
        b"<script>",
        "ünï".encode(),
        b"\xff",
    ],
)
def test_any_other_request_id_is_replaced(edge: Edge, lines: Lines, insane: bytes) -> None:
    answer = get(edge, "/ok", [(b"X-Request-ID", insane)])
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert lines[0]["request_id"] == answer.headers["x-request-id"]


def test_a_request_without_an_id_gets_one_of_its_own(edge: Edge) -> None:
    made = {get(edge, "/ok").headers["x-request-id"] for _ in range(50)}
    assert len(made) == 50


@pytest.mark.parametrize("path", ["/ok", "/refuse", "/crash", "/teapot", "/nowhere"])
def test_every_answer_carries_the_id_once(edge: Edge, path: str) -> None:
    answer = get(edge, path, [(b"X-Request-ID", b"mine")])
    assert [v for n, v in answer.raw_headers if n.lower() == b"x-request-id"] == [b"mine"]


# The log line and the metrics


def test_each_request_gives_one_line_that_tells_all(edge: Edge, lines: Lines) -> None:
    edge.model_version = "v7"
    asyncio.run(ask(edge, "/note", method="POST", headers=[(b"X-Request-ID", b"mine")]))
    assert lines == [
        {
            "level": "info",
            "event": "request.finished",
            "request_id": "mine",
            "method": "POST",
            "route": "/note",
            "status": 200,
            "duration_ms": 250.0,
            "client": "192.0.2.7",
            "api_key": None,
            "model_version": "v7",
            "cache": None,
            "rows": 3,
            "unusual": 3,
            "problem": None,
            "exception": None,
        }
    ]


def test_a_request_in_which_nothing_is_unusual_is_logged_without_a_count(
    edge: Edge, lines: Lines
) -> None:
    get(edge, "/ok")
    assert [line["unusual"] for line in lines] == [None]  # what is None is left out of a line


def test_values_unlike_training_are_counted_when_the_answer_is_out(edge: Edge) -> None:
    before = sample("serving_unusual_values_total", feature="colour")
    asyncio.run(ask(edge, "/note", method="POST"))
    assert sample("serving_unusual_values_total", feature="colour") == before + 1


def test_a_request_without_a_client_address_is_logged_without(edge: Edge, lines: Lines) -> None:
    async def without(scope: Scope, receive: Receive, send: Send) -> None:
        await edge({**scope, "client": None}, receive, send)

    assert get(without, "/ok").status == 200
    assert lines[0]["client"] is None


def test_a_problem_is_named_in_the_log_without_being_an_error(edge: Edge, lines: Lines) -> None:
    get(edge, "/refuse")
    (line,) = lines
    assert (line["level"], line["status"], line["problem"]) == ("info", 422, "invalid-input")


def test_requests_are_counted_by_template_and_status(
    edge: Edge, request: pytest.FixtureRequest
) -> None:
    common = service_labels(request.node.name)
    refused_before = sample("serving_errors_total", type="invalid-input")
    for path in ("/ok", "/ok", "/refuse", "/errors/a", "/errors/b"):
        get(edge, path)
    total = "bentoml_service_request_total"
    seconds = "bentoml_service_request_duration_seconds_sum"
    for endpoint, code, count in (
        ("/ok", "200", 2),
        ("/refuse", "422", 1),
        ("/errors/{slug}", "200", 2),
    ):
        labels = {"endpoint": endpoint, "http_response_code": code, **common}
        assert sample(total, **labels) == count
        assert sample(seconds, **labels) == 0.25 * count
    assert sample("serving_errors_total", type="invalid-input") == refused_before + 1


def test_a_request_is_in_progress_until_it_is_answered(
    make_edge: MakeEdge, request: pytest.FixtureRequest
) -> None:
    seen: list[float] = []

    def in_progress() -> float:
        labels = service_labels(request.node.name)
        return sample("bentoml_service_request_in_progress", endpoint="/ok", **labels)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(in_progress())
        await APP(scope, receive, send)

    get(make_edge(app), "/ok")
    assert [*seen, in_progress()] == [1.0, 0.0]


def test_unknown_paths_share_one_template(edge: Edge, lines: Lines) -> None:
    for number in range(50):
        assert_problem(get(edge, f"/unknown/{number}"), 404, "not-found")
    assert {line["route"] for line in lines} == {UNMATCHED}


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/ok", "/ok"),
        ("/ok/", UNMATCHED),
        ("/OK", UNMATCHED),
        ("/", UNMATCHED),
        ("", UNMATCHED),
        ("/errors/{slug}", "/errors/{slug}"),
        ("/errors/anything", "/errors/{slug}"),
        ("/errors/a/b", UNMATCHED),
        ("/static/a/b.js", "/static/{path}"),
        ("/static/nowhere", "/static/{path}"),
    ],
)
def test_a_path_belongs_to_a_template(path: str, template: str) -> None:
    assert RouteTable(APP.routes).template(path) == template


def test_a_route_of_another_protocol_is_no_template() -> None:
    assert RouteTable([WebSocketRoute("/ws", never)]).template("/ws") == UNMATCHED


# What goes wrong


def test_a_problem_becomes_the_answer_that_it_describes(edge: Edge) -> None:
    answer = get(edge, "/refuse")
    assert_problem(answer, 422, "invalid-input")
    assert answer.json()["errors"] == [
        {"pointer": "/data/3", "detail": "expected a number, got a string"}
    ]


def test_an_unknown_path_is_a_problem(edge: Edge) -> None:
    assert_problem(get(edge, "/nowhere"), 404, "not-found")
    # Where Starlette would find something at it, and routes of our own would not be known.
    assert_problem(get(edge, "/ok\n"), 404, "not-found")


def test_a_wrong_method_is_a_problem_that_names_the_right_ones(edge: Edge) -> None:
    answer = get(edge, "/ok", method="DELETE")
    assert_problem(answer, 405, "method-not-allowed")
    assert {method.strip() for method in answer.headers["allow"].split(",")} == {"GET", "HEAD"}


def test_a_status_raised_inside_keeps_its_headers_and_loses_its_text(edge: Edge) -> None:
    answer = get(edge, "/teapot")
    assert_problem(answer, 418, "")
    assert answer.headers["x-pot"] == "tea"
    assert INPUT.encode() not in answer.body


def test_a_defect_is_told_to_the_log_and_not_to_the_client(edge: Edge, lines: Lines) -> None:
    answer = get(edge, "/crash")
    assert_problem(answer, 500, "internal-error")
    (line,) = lines
    assert (line["level"], line["status"], line["problem"]) == ("error", 500, "internal-error")
    trace = line["exception"]
    assert "in crash" in trace
    assert trace.index("KeyError") < trace.index("ZeroDivisionError")
    for told in (trace, str(line), answer.body.decode()):
        assert INPUT not in told
    assert "Traceback" not in answer.body.decode()
    assert "crash" not in answer.body.decode()


@pytest.mark.parametrize("kind", [ZeroDivisionError, TimeoutError])
def test_what_no_handler_catches_is_answered_all_the_same(
    make_edge: MakeEdge, lines: Lines, kind: type[Exception]
) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise kind(INPUT)

    assert_problem(get(make_edge(broken), "/ok"), 500, "internal-error")
    assert kind.__name__ in lines[0]["exception"]


def test_a_request_that_gets_no_answer_at_all_is_written_down(
    make_edge: MakeEdge, lines: Lines
) -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        """Do nothing."""

    get(make_edge(silent), "/ok")
    assert [line["status"] for line in lines] == [499]


def test_an_answer_that_breaks_off_midway_is_logged_as_an_error(
    make_edge: MakeEdge, lines: Lines
) -> None:
    async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    assert get(make_edge(breaks), "/ok").status == 200
    (line,) = lines
    assert (line["level"], line["status"]) == ("error", 200)
    assert "ZeroDivisionError" in line["exception"]


def test_the_deadline_is_answered_and_its_work_is_cancelled(
    make_edge: MakeEdge, lines: Lines
) -> None:
    cancelled: list[bool] = []

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    answer = get(make_edge(waits, timeout_s=0.001), "/ok")
    assert_problem(answer, 504, "deadline-exceeded")
    assert answer.json()["detail"] == "the answer was not ready within 0.001 s"
    assert cancelled == [True]
    assert (lines[0]["level"], lines[0]["status"]) == ("info", 504)


def test_the_deadline_holds_inside_the_whole_application_too(make_edge: MakeEdge) -> None:
    assert_problem(get(make_edge(timeout_s=0.001), "/never"), 504, "deadline-exceeded")


def test_a_body_that_does_not_arrive_ends_at_the_deadline(make_edge: MakeEdge) -> None:
    async def story() -> Answer:
        scope = http_scope("POST", "/read")
        sent: list[Any] = []

        async def receive() -> Any:  # noqa: ANN401 (never)
            await asyncio.Event().wait()

        async def send(message: Any) -> None:  # noqa: ANN401 (an ASGI message)
            sent.append(message)

        await make_edge(timeout_s=0.001)(scope, receive, send)
        return Answer(sent[0]["status"], sent[0]["headers"], sent[1]["body"])

    assert_problem(asyncio.run(story()), 504, "deadline-exceeded")


def test_a_timeout_inside_is_a_defect_and_not_the_deadline(edge: Edge) -> None:
    assert_problem(get(edge, "/times-out-inside"), 500, "internal-error")


def test_a_client_that_leaves_while_sending_gets_no_answer_and_is_no_error(
    edge: Edge, lines: Lines
) -> None:
    asyncio.run(ask(edge, "/read", method="POST", body=b"{", leaves=True))
    (line,) = lines
    assert (line["level"], line["status"], line["exception"]) == ("info", 499, None)


def test_a_request_that_the_server_ends_at_shutdown_is_answered(edge: Edge, lines: Lines) -> None:
    async def story() -> Answer:
        task = asyncio.create_task(ask(edge, "/never"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        return await task

    answer = asyncio.run(story())
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    assert [line["problem"] for line in lines] == ["unavailable"]


def test_a_request_ended_midway_gets_no_second_answer(make_edge: MakeEdge, lines: Lines) -> None:
    async def begins(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    async def story() -> Answer:
        task = asyncio.create_task(ask(make_edge(begins), "/ok"))
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert asyncio.run(story()).body == b""
    assert [line["status"] for line in lines] == [200]


def test_concurrent_requests_do_not_mix_their_records(make_edge: MakeEdge, lines: Lines) -> None:
    gate = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        mine = int(dict(scope["headers"])[b"x-request-id"])
        current_record().rows = mine
        await gate.wait()
        assert current_record().rows == mine
        await APP(scope, receive, send)

    async def story() -> None:
        edge = make_edge(app)
        requests = [
            asyncio.create_task(ask(edge, "/ok", headers=[(b"X-Request-ID", str(n).encode())]))
            for n in range(20)
        ]
        await asyncio.sleep(0)
        gate.set()
        answers = await asyncio.gather(*requests)
        assert [answer.headers["x-request-id"] for answer in answers] == list(map(str, range(20)))

    asyncio.run(story())
    assert sorted((line["rows"], line["request_id"]) for line in lines) == [
        (n, str(n)) for n in range(20)
    ]


def test_a_finished_request_leaves_nothing_behind(make_edge: MakeEdge) -> None:
    async def story() -> int:
        edge = make_edge()
        await ask(edge, "/ok")
        gc.collect()
        loop = asyncio.get_running_loop()
        return sum(not handle.cancelled() for handle in loop._scheduled)  # type: ignore[attr-defined]

    assert asyncio.run(story()) == 0


# Other protocols, and browsers


def test_the_lifespan_goes_through_without_a_line(edge: Edge, lines: Lines) -> None:
    async def story() -> None:
        async with lifespan(edge):
            pass

    asyncio.run(story())
    assert lines == []


ORIGIN = "https://shop.example"
PREFLIGHT = (
    (b"Origin", ORIGIN.encode()),
    (b"Access-Control-Request-Method", b"POST"),
    (b"Access-Control-Request-Headers", b"content-type, x-request-id"),
)


def test_without_origins_no_browser_may_call(edge: Edge) -> None:
    assert "access-control-allow-origin" not in get(edge, "/ok", PREFLIGHT[:1]).headers


def test_a_preflight_of_an_allowed_origin_is_answered(make_edge: MakeEdge, lines: Lines) -> None:
    answer = get(make_edge(cors_origins=(ORIGIN,)), "/note", PREFLIGHT, "OPTIONS")
    assert answer.status == 204
    assert answer.body == b""
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "x-request-id" in answer.headers
    assert [line["route"] for line in lines] == ["/note"]


def test_a_preflight_of_another_origin_is_refused_by_what_it_lacks(make_edge: MakeEdge) -> None:
    other = ((b"Origin", b"https://other.example"), *PREFLIGHT[1:])
    answer = get(make_edge(cors_origins=(ORIGIN,)), "/note", other, "OPTIONS")
    assert (answer.status, answer.body) == (204, b"")
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        ((b"Access-Control-Request-Method", b"DELETE"), "access-control-allow-methods"),
        ((b"Access-Control-Request-Headers", b"x-strange"), "access-control-allow-headers"),
    ],
    ids=["method", "header"],
)
def test_a_preflight_for_too_much_is_told_what_is_allowed(
    make_edge: MakeEdge, asked: tuple[bytes, bytes], allowed: str
) -> None:
    preflight = [*(header for header in PREFLIGHT if header[0] != asked[0]), asked]
    answer = get(make_edge(cors_origins=(ORIGIN,)), "/note", preflight, "OPTIONS")
    assert (answer.status, answer.body) == (204, b"")
    assert asked[1].decode() not in answer.headers[allowed].lower()


def test_a_method_that_a_mount_refuses_is_a_problem_that_names_the_right_ones(edge: Edge) -> None:
    answer = get(edge, "/refuses-method")
    assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/ok", "/refuse", "/crash", "/nowhere", "/never"])
def test_an_allowed_origin_may_read_every_answer_and_its_id(make_edge: MakeEdge, path: str) -> None:
    answer = get(make_edge(cors_origins=(ORIGIN,), timeout_s=0.05), path, PREFLIGHT[:1])
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()


def test_another_origin_may_not_read_the_answer(make_edge: MakeEdge) -> None:
    other = [(b"Origin", b"https://other.example")]
    answer = get(make_edge(cors_origins=(ORIGIN,)), "/ok", other)
    assert "access-control-allow-origin" not in answer.headers


# Clients that go away


class LeavingClient:
    """A request whose client goes away when the test says so."""

    def __init__(self, edge: Edge) -> None:
        """Begin it."""
        self.sent: list[Message] = []
        self.scope = http_scope("GET", "/ok")
        self.task = asyncio.create_task(edge(self.scope, self._receive, self._send))

    async def _receive(self) -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    def leave(self) -> None:
        """Do as the protocol does when a connection is lost."""
        self.scope["serving.client_gone"]()


class Waiting:
    """An application that waits before its answer, or within it; it notes what is cancelled."""

    def __init__(self, *, within: bool = False) -> None:
        """Close the gate."""
        self.gate = asyncio.Event()
        self.cancelled = 0
        self._within = within

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer when the gate is open."""
        start = {"type": "http.response.start", "status": 200, "headers": []}
        if self._within:
            await send(start)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if not self._within:
            await send(start)
        await send({"type": "http.response.body", "body": b"fine"})


async def turns(count: int = 5) -> None:
    """Let the event loop run what is due."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("cors_origins", [(), ("https://shop.example",)], ids=["", "with CORS"])
def test_the_work_for_a_client_that_leaves_is_dropped_and_its_neighbours_go_on(
    make_edge: MakeEdge,
    lines: Lines,
    request: pytest.FixtureRequest,
    cors_origins: tuple[str, ...],
) -> None:
    async def story() -> None:
        app = Waiting()
        edge = make_edge(app, cors_origins=cors_origins)
        leaving, staying = LeavingClient(edge), LeavingClient(edge)
        await turns()
        leaving.leave()
        await leaving.task
        assert leaving.sent == []
        assert app.cancelled == 1
        labels = service_labels(request.node.name)
        assert sample("bentoml_service_request_in_progress", endpoint="/ok", **labels) == 1
        app.gate.set()
        await staying.task
        assert [message["type"] for message in staying.sent] == [
            "http.response.start",
            "http.response.body",
        ]
        assert app.cancelled == 1
        assert sample("bentoml_service_request_in_progress", endpoint="/ok", **labels) == 0

    asyncio.run(story())
    assert [(line["level"], line["status"]) for line in lines] == [("info", 499), ("info", 200)]
    assert [(line["problem"], line["exception"]) for line in lines] == [(None, None)] * 2


def test_a_client_may_be_said_to_have_left_twice(make_edge: MakeEdge, lines: Lines) -> None:
    async def story() -> None:
        app = Waiting()
        leaving = LeavingClient(make_edge(app))
        await turns()
        leaving.leave()
        leaving.leave()
        await leaving.task
        leaving.leave()
        await turns()
        assert leaving.sent == []

    asyncio.run(story())
    assert [line["status"] for line in lines] == [499]


def test_a_client_that_leaves_within_its_answer_stops_nothing(
    make_edge: MakeEdge, lines: Lines
) -> None:
    async def story() -> None:
        app = Waiting(within=True)
        leaving = LeavingClient(make_edge(app))
        await turns()
        leaving.leave()
        await turns()
        assert not leaving.task.done()
        app.gate.set()
        await leaving.task
        assert app.cancelled == 0
        assert len(leaving.sent) == 2

    asyncio.run(story())
    assert [line["status"] for line in lines] == [200]


def test_a_client_that_leaves_after_its_answer_harms_no_later_request_of_the_task(
    make_edge: MakeEdge, lines: Lines
) -> None:
    async def story() -> None:
        app = Waiting()
        app.gate.set()
        edge = make_edge(app)
        first, later = LeavingClient(edge), LeavingClient(edge)
        await asyncio.gather(first.task, later.task)
        first.leave()
        await turns()
        assert app.cancelled == 0

    asyncio.run(story())
    assert [line["status"] for line in lines] == [200, 200]


def test_a_client_that_leaves_and_a_deadline_that_passes_together_are_one_end(
    make_edge: MakeEdge, lines: Lines
) -> None:
    class Both(asyncio.Future[None]):
        """Is cancelled by the deadline, and the client leaves before the work can notice."""

        def cancel(self, msg: object = None) -> bool:
            first = super().cancel(msg)
            if first:
                clients[0].leave()
            return first

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        await Both()

    clients: list[LeavingClient] = []

    async def story() -> None:
        clients.append(LeavingClient(make_edge(waits, timeout_s=0.001)))
        await clients[0].task
        assert clients[0].sent == []

    asyncio.run(story())
    assert [line["status"] for line in lines] == [499]


def test_a_deadline_that_passes_within_an_answer_gives_no_second_one(
    make_edge: MakeEdge, lines: Lines
) -> None:
    async def story() -> None:
        client = LeavingClient(make_edge(Waiting(within=True), timeout_s=0.001))
        await client.task
        assert [message["type"] for message in client.sent] == ["http.response.start"]

    asyncio.run(story())
    assert [(line["status"], line["problem"]) for line in lines] == [(200, None)]


def test_a_shutdown_is_answered_to_those_who_have_not_left(
    make_edge: MakeEdge, lines: Lines
) -> None:
    async def story() -> None:
        app = Waiting()
        edge = make_edge(app)
        leaving, staying = LeavingClient(edge), LeavingClient(edge)
        await turns()
        leaving.leave()
        for client in (leaving, staying):
            client.task.cancel()
        await asyncio.gather(leaving.task, staying.task)
        assert leaving.sent == []
        assert staying.sent[0]["status"] == 503

    asyncio.run(story())
    assert [line["status"] for line in lines] == [499, 503]
    assert [line["problem"] for line in lines] == [None, "unavailable"]


def test_answers_of_a_server_that_drains_close_their_connections(edge: Edge) -> None:
    assert "connection" not in get(edge, "/ok").headers
    edge.draining = True
    for path in ("/ok", "/refuse", "/crash", "/nowhere"):
        answer = get(edge, path)
        assert answer.headers["connection"] == "close"
        assert answer.headers["x-request-id"]


# Keys and quotas

SECRET = b"wonderland"
ALICE = ApiKey("alice", sha256(SECRET).digest())
GUEST = ApiKey("guest", sha256(b"rabbit").digest(), "1/minute")
KEY = (b"Authorization", b"Bearer " + SECRET)
GUEST_KEY = (b"X-API-Key", b"rabbit")


class Unread:
    """A body that must not be read before a request is let in."""

    async def __call__(self) -> Message:
        """Fail."""
        raise AssertionError("the body was read")


def post(app: ASGIApp, path: str = "/predict", headers: Headers = ()) -> Answer:
    """Send a request with a body."""
    return asyncio.run(ask(app, path, method="POST", headers=headers, body=b"body"))


def post_unread(app: ASGIApp, path: str, headers: Headers = ()) -> Answer:
    """Send a request whose body must not be read."""

    async def story() -> Answer:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        await app(http_scope("POST", path, headers), Unread(), send)
        return Answer(sent[0]["status"], sent[0]["headers"], sent[1]["body"])

    return asyncio.run(story())


@pytest.mark.parametrize("headers", [(), ((KEY[0], b"Bearer nonsense"),)], ids=["no", "unknown"])
@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/note", "/nowhere", "/ok"])
def test_without_a_known_key_nothing_is_read_and_nothing_is_begun(
    make_edge: MakeEdge, lines: Lines, path: str, headers: Headers
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("the application was asked")

    answer = post_unread(make_edge(app, keys=(ALICE,)), path, headers)
    assert_problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer realm=")
    (line,) = lines
    assert (line["level"], line["status"], line["problem"]) == ("info", 401, "unauthorized")
    assert line["api_key"] is None
    assert "nonsense" not in str(line)


def test_with_a_key_a_request_is_answered_and_logged_by_its_name(
    make_edge: MakeEdge, lines: Lines
) -> None:
    edge = make_edge(keys=(ALICE, GUEST))
    assert post(edge, headers=[KEY]).body == b"body"
    assert post(edge, headers=[GUEST_KEY]).status == 200
    assert [line["api_key"] for line in lines] == ["alice", "guest"]
    assert SECRET.decode() not in str(lines)


@pytest.mark.parametrize("needed", [False, True])
def test_probes_and_pages_of_problems_need_no_key_and_metrics_do_if_it_is_set(
    make_edge: MakeEdge, *, needed: bool
) -> None:
    edge = make_edge(keys=(ALICE,), metrics_need_key=needed)
    assert get(edge, "/health").status == 200
    assert get(edge, "/errors/unauthorized").status == 200
    assert get(edge, "/metrics").status == (401 if needed else 200)
    assert get(edge, "/metrics", [KEY]).status == 200


def test_a_request_without_a_key_counts_against_no_quota(make_edge: MakeEdge) -> None:
    edge = make_edge(keys=(ALICE, GUEST), rate_limit="2/minute")
    for _ in range(5):
        answer = post(edge)
        assert_problem(answer, 401, "unauthorized")
        assert not [name for name in answer.headers if name.startswith("ratelimit")]
    assert [post(edge, headers=[KEY]).status for _ in range(3)] == [200, 200, 429]


def rate_limit(answer: Answer) -> tuple[str, str]:
    """Give what a client is told of its quota, without the time."""
    return answer.headers["ratelimit-policy"], answer.headers["ratelimit"].rpartition(";t=")[0]


def test_a_client_is_told_its_quota_whatever_it_is_answered(
    make_edge: MakeEdge, lines: Lines
) -> None:
    edge = make_edge(rate_limit="3/minute")
    answers = [post(edge), post(edge, "/predict/batch"), get(edge, "/predict"), post(edge)]
    assert [answer.status for answer in answers] == [200, 422, 405, 429]
    policy = '"default";q=3;w=60'
    assert [rate_limit(answer) for answer in answers] == [
        (policy, f'"default";r={left}') for left in (2, 1, 0, 0)
    ]
    assert_problem(answers[-1], 429, "quota-exceeded")
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert "retry-after" not in answers[0].headers
    assert [line["problem"] for line in lines][-1] == "quota-exceeded"


def test_what_is_beyond_a_quota_is_not_read_and_other_paths_are_not_counted(
    make_edge: MakeEdge,
) -> None:
    edge = make_edge(rate_limit="1/minute")
    assert post(edge).status == 200
    assert post_unread(edge, "/predict").status == 429
    for path in ("/ok", "/health", "/metrics", "/nowhere", "/errors/x"):
        answer = get(edge, path)
        assert answer.status in {200, 404}
        assert "ratelimit" not in answer.headers


def test_each_key_has_its_own_quota(make_edge: MakeEdge, lines: Lines) -> None:
    edge = make_edge(keys=(ALICE, GUEST), rate_limit="2/minute")
    asked: Sequence[tuple[bytes, bytes]] = (GUEST_KEY, GUEST_KEY, KEY, KEY, KEY)
    answers = [post(edge, headers=[key]) for key in asked]
    assert [answer.status for answer in answers] == [200, 429, 200, 200, 429]
    assert rate_limit(answers[1]) == ('"key";q=1;w=60', '"key";r=0')
    assert rate_limit(answers[2]) == ('"default";q=2;w=60', '"default";r=1')
    assert [line["api_key"] for line in lines] == ["guest"] * 2 + ["alice"] * 3


def test_off_is_off(make_edge: MakeEdge) -> None:
    edge = make_edge(rate_limit="off")
    answers = [post(edge) for _ in range(150)]
    assert {answer.status for answer in answers} == {200}
    assert not any("ratelimit" in answer.headers for answer in answers)


def test_the_wait_for_a_quota_has_the_deadline_too(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never_counts(_: object, __: object) -> None:
        await asyncio.Event().wait()

    edge = make_edge(timeout_s=0.001)
    monkeypatch.setattr(edge._quotas, "count", never_counts)
    assert_problem(post(edge), 504, "deadline-exceeded")


def test_a_preflight_needs_no_key_and_counts_against_no_quota(
    make_edge: MakeEdge, lines: Lines
) -> None:
    edge = make_edge(cors_origins=(ORIGIN,), keys=(ALICE,), rate_limit="1/minute")
    with_key = (b"Access-Control-Request-Headers", b"authorization, x-api-key, content-type")
    for _ in range(3):
        answer = get(edge, "/predict", (*PREFLIGHT[:2], with_key), "OPTIONS")
        assert answer.status == 204
        allowed = answer.headers["access-control-allow-headers"].lower()
        assert "authorization" in allowed
        assert "x-api-key" in allowed
        assert "ratelimit" not in answer.headers
    assert post(edge, headers=[KEY]).status == 200
    assert [line["status"] for line in lines] == [204, 204, 204, 200]


def test_a_browser_may_read_that_it_lacks_a_key_or_has_used_its_quota_up(
    make_edge: MakeEdge,
) -> None:
    edge = make_edge(cors_origins=(ORIGIN,), keys=(ALICE,), rate_limit="1/minute")
    origin = PREFLIGHT[0]
    answers = [post(edge, headers=headers) for headers in ([origin], *([[origin, KEY]] * 2))]
    assert [answer.status for answer in answers] == [401, 200, 429]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        exposed = answer.headers["access-control-expose-headers"].lower()
        for name in ("ratelimit", "ratelimit-policy", "retry-after", "cache-status"):
            assert name in exposed.replace(" ", "").split(",")


def test_an_options_request_that_is_no_preflight_needs_a_key(make_edge: MakeEdge) -> None:
    edge = make_edge(cors_origins=(ORIGIN,), keys=(ALICE,))
    assert_problem(get(edge, "/ok", PREFLIGHT[:1], "OPTIONS"), 401, "unauthorized")
    assert_problem(get(edge, "/ok", PREFLIGHT[1:], "OPTIONS"), 401, "unauthorized")


@pytest.mark.parametrize("draining", [False, True])
def test_what_rooms_note_for_the_answer_stands_in_its_head(
    make_edge: MakeEdge, *, draining: bool
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        current_record().headers.append((b"cache-status", b"model-api; hit"))
        current_record().cache = "hit"
        await APP(scope, receive, send)

    edge = make_edge(app, rate_limit="5/minute")
    edge.draining = draining
    answer = post(edge)
    assert answer.headers["cache-status"] == "model-api; hit"
    assert rate_limit(answer) == ('"default";q=5;w=60', '"default";r=4')
    assert ("connection" in answer.headers) == draining
    names = [name for name, _ in answer.raw_headers]
    assert len(names) == len(set(names))

"""The door: an id, a deadline, one error shape, one log line and one count for each request."""

import asyncio
import gc
import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.auth import Keyring
from serving.edge import UNMATCHED, Edge, RouteTable, on_exception
from serving.errors import INVALID_INPUT, FieldError, Problem
from serving.quotas import Quotas
from serving.settings import MEMORY, ApiKey, Settings
from serving.telemetry import ServiceMetrics, current_record
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
        Mount("/static", Starlette(routes=[Route("/a/b.js", ok)])),
    ]
)
for exception in (Problem, HTTPException, ClientDisconnect, Exception):
    APP.add_exception_handler(exception, on_exception)


@pytest.fixture
def make_edge(metrics: ServiceMetrics, lines: Lines) -> MakeEdge:
    """Give a way to put the edge around an application."""

    def make(
        app: ASGIApp = APP,
        timeout_s: float = LONG_S,
        cors_origins: tuple[str, ...] = (),
        keys: tuple[ApiKey, ...] = (),
    ) -> Edge:
        settings = Settings(request_timeout_s=timeout_s, cors_origins=cors_origins, api_keys=keys)
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
    assert document["type"] == (f"/errors/{slug}" if slug else "about:blank")
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

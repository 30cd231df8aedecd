"""The edge: an id, a record, one error shape and one event for each request."""

import asyncio
import re
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.door.edge import MAX_CLIENT_CHARS
from serving.door.routes import UNMATCHED, Route
from serving.model.about import About
from serving.problems import INVALID_INPUT, Problem, Wording
from serving.telemetry import Answered, Listener, current_record
from tests.unit.door.doors import (
    INPUT,
    PLAIN,
    api_key,
    assert_problem,
    before,
    door,
    fine,
    get,
    read,
    refuse,
)
from tests.unit.fakes import Answer, Heard, ask
from tests.unit.samples import description

MAIL = About(description(), "v1")


async def teapot(_: Request) -> Response:
    """Raise a status that has no kind of its own."""
    raise HTTPException(418, INPUT, {"X-Pot": "tea"})


LOUD = Wording("Loud", "text/loud", {422: 400}, {"shout": lambda problem: f"{problem.kind.slug}!"})
ROUTES = (
    *PLAIN,
    Route("GET", "/teapot", teapot),
    Route("GET", "/errors/{slug}", fine),
    Route("POST", "/read", read),
    Route("POST", "/loud/{name}", refuse, wording=LOUD),
)


# The request id


@pytest.mark.parametrize(
    "sane",
    ["a", "7f9c-42", "a.b_c:d+e/f=g~h", "Root=1-5759e988-bd862e3fe1be46a994272793", "x" * 128],
)
def test_a_sane_request_id_is_kept(sane: str) -> None:
    heard = Heard()
    answer = get(door(listeners=[heard]), headers=[(b"X-Request-ID", sane.encode())])
    assert answer.headers["x-request-id"] == sane
    assert heard.answers[0].request_id == sane


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
def test_any_other_request_id_is_replaced(insane: bytes) -> None:
    heard = Heard()
    answer = get(door(listeners=[heard]), headers=[(b"X-Request-ID", insane)])
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert heard.answers[0].request_id == answer.headers["x-request-id"]


def test_a_request_without_an_id_gets_one_of_its_own() -> None:
    edge = door()
    assert len({get(edge).headers["x-request-id"] for _ in range(10)}) == 10


@pytest.mark.parametrize("path", ["/ok", "/refuse", "/crash", "/teapot", "/nowhere"])
def test_every_answer_carries_the_id_once(path: str) -> None:
    answer = get(door(*ROUTES), path, [(b"X-Request-ID", b"mine")])
    assert [v for n, v in answer.raw_headers if n.lower() == b"x-request-id"] == [b"mine"]


# What is told to listeners


class Ticks:
    """Each look at it is a quarter of a second later."""

    def __init__(self) -> None:
        """Start anywhere."""
        self.now_s = 100.0

    def __call__(self) -> float:
        """Tell the time in seconds."""
        self.now_s += 0.25
        return self.now_s


def test_each_request_is_told_of_once_with_all_that_was_noted_further_in() -> None:
    async def note(_: Request) -> Response:
        assert heard.routes == ["/ok"]  # it is under way
        record = current_record()
        record.rows, record.unusual, record.cache = 3, {"length": 2}, "hit"
        record.explained = 3
        return Response()

    heard = Heard()
    route = Route("GET", "/ok", note, model=lambda parts: MAIL)
    edge = door(route, listeners=[heard], clock=Ticks(), keys=[api_key("alice", "secret")])
    get(edge, headers=[(b"X-Request-ID", b"mine"), (b"X-API-Key", b"secret")])
    assert heard.answers == [
        Answered(
            request_id="mine",
            method="GET",
            route="/ok",
            status=200,
            duration_s=0.25,
            client="192.0.2.7",
            api_key="alice",
            model=MAIL,
            rows=3,
            unusual={"length": 2},
            cache="hit",
            explained=3,
            problem=None,
            exception=None,
        )
    ]
    assert "secret" not in str(heard.answers)


def test_which_model_a_request_is_for_is_told_even_if_it_is_refused() -> None:
    heard = Heard()
    model = {"mail": MAIL}
    route = Route("POST", "/of/{name}", read, model=lambda parts: model.get(parts["name"]))
    edge = door(route, listeners=[heard], keys=[api_key("alice", "secret")])
    asked = [("POST", "/of/mail"), ("GET", "/of/mail"), ("POST", "/of/post"), ("POST", "/nowhere")]
    for method, path in asked:
        get(edge, path, method=method)
    assert [(event.status, event.model) for event in heard.answers] == [
        (401, MAIL),
        (401, MAIL),
        (401, None),
        (401, None),
    ]


@pytest.mark.parametrize(
    ("client", "told"),
    [(None, None), (("x" * 9999, 0), "x" * MAX_CLIENT_CHARS)],
    ids=["none", "whatever a proxy tells"],
)
def test_the_address_of_a_client_is_told_as_far_as_there_is_one(
    client: object, told: str | None
) -> None:
    heard = Heard()
    edge = door(listeners=[heard])

    async def from_there(scope: Scope, receive: Receive, send: Send) -> None:
        await edge({**scope, "client": client}, receive, send)

    assert get(from_there).status == 200
    assert heard.answers[0].client == told


def test_requests_are_told_by_the_template_of_their_route_and_unknown_ones_by_one() -> None:
    heard = Heard()
    edge = door(*ROUTES, listeners=[heard])
    for path in ("/ok", "/errors/a", "/errors/b", "/unknown/1", "/unknown/2"):
        get(edge, path)
    templates = ["/ok", "/errors/{slug}", "/errors/{slug}", UNMATCHED, UNMATCHED]
    assert heard.routes == templates
    assert [event.route for event in heard.answers] == templates


def test_a_listener_that_raises_is_logged_once_and_harms_nobody(
    lines: list[dict[str, Any]],
) -> None:
    class Broken(Listener):
        def answered(self, event: Answered) -> None:
            raise ZeroDivisionError(INPUT)

    heard = Heard()
    edge = door(listeners=[Broken(), heard])
    assert [get(edge).body for _ in range(3)] == [b"fine"] * 3
    assert [event.status for event in heard.answers] == [200] * 3
    assert [(line["level"], line["event"]) for line in lines] == [("error", "listener.failed")]
    assert INPUT not in str(lines)


def test_concurrent_requests_do_not_mix_their_records() -> None:
    gate = asyncio.Event()

    async def wait(request: Request) -> Response:
        current_record().rows = int(request.headers["x-request-id"])
        await gate.wait()
        assert current_record().rows == int(request.headers["x-request-id"])
        return Response()

    async def story() -> None:
        requests = [
            asyncio.create_task(ask(edge, "/ok", headers=[(b"X-Request-ID", b"%d" % number)]))
            for number in range(20)
        ]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*requests)

    heard = Heard()
    edge = before(wait, listeners=[heard])
    asyncio.run(story())
    assert sorted((event.rows, event.request_id) for event in heard.answers) == [
        (number, str(number)) for number in range(20)
    ]


# What is answered


def test_a_handler_is_given_what_stands_in_its_route_s_template() -> None:
    async def slug(request: Request) -> Response:
        return Response(request.path_params["slug"])

    assert get(door(Route("GET", "/errors/{slug}", slug)), "/errors/some").body == b"some"


def test_a_head_request_is_answered_as_a_get_and_told_as_itself() -> None:
    heard = Heard()
    answer = get(door(listeners=[heard]), method="HEAD")
    assert (answer.status, answer.headers["content-length"]) == (200, "4")
    assert (heard.answers[0].method, heard.answers[0].status) == ("HEAD", 200)


def test_an_unknown_path_is_a_problem() -> None:
    edge = door(*ROUTES)
    assert_problem(get(edge, "/nowhere"), 404, "not-found")
    assert_problem(get(edge, "/ok\n"), 404, "not-found")


def test_a_wrong_method_is_a_problem_that_names_the_right_ones() -> None:
    answer = get(door(*ROUTES), "/ok", method="DELETE")
    assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "GET, HEAD"


def test_a_problem_becomes_the_answer_that_it_describes_and_no_error() -> None:
    heard = Heard()
    answer = get(door(*ROUTES, listeners=[heard]), "/refuse")
    assert_problem(answer, 422, "invalid-input")
    assert answer.json()["errors"] == [
        {"pointer": "/data/3", "detail": "expected a number, got a string"}
    ]
    (event,) = heard.answers
    assert (event.status, event.problem, event.exception) == (422, "invalid-input", None)


def test_the_page_of_a_problem_is_named_as_seen_from_the_path_as_it_came() -> None:
    async def encoded(scope: Scope, receive: Receive, send: Send) -> None:
        await edge({**scope, "raw_path": b"/a%2Fb/c"}, receive, send)

    edge = door()
    assert get(encoded, "/a/b/c").json()["type"] == "../errors/not-found"


def test_all_refusals_of_a_route_and_of_what_is_not_beside_it_are_in_its_words() -> None:
    heard = Heard()
    edge = door(*ROUTES, keys=[api_key("alice", "secret")], listeners=[heard])
    key = (b"X-API-Key", b"secret")
    answers = [
        get(edge, "/loud/a", (), "POST"),
        get(edge, "/loud/a", [key], "GET"),
        get(edge, "/loud/a", [key], "POST"),
        get(edge, "/loud", [key]),
        get(edge, "/loud/a/b/c"),
    ]
    told = [
        (401, "unauthorized!"),
        (405, "method-not-allowed!"),
        (400, "invalid-input!"),
        (404, "not-found!"),
        (401, "unauthorized!"),
    ]
    assert [(answer.status, answer.json()["shout"]) for answer in answers] == told
    assert [answer.json()["status"] for answer in answers] == [status for status, _ in told]
    assert {answer.headers["content-type"] for answer in answers} == {"text/loud; charset=utf-8"}
    # What is logged and counted is the kind of problem that it is everywhere.
    assert [event.status for event in heard.answers] == [status for status, _ in told]
    assert heard.answers[2].problem == "invalid-input"
    assert_problem(get(edge, "/lou", [key]), 404, "not-found")


def test_a_status_raised_inside_keeps_its_headers_and_loses_its_text() -> None:
    answer = get(door(*ROUTES), "/teapot")
    assert_problem(answer, 418, "")
    assert answer.headers["x-pot"] == "tea"
    assert INPUT.encode() not in answer.body


@pytest.mark.parametrize("kind", [ZeroDivisionError, TimeoutError])  # no deadline of ours
def test_a_defect_is_told_to_listeners_and_not_to_the_client(kind: type[Exception]) -> None:
    async def fail(_: Request) -> Response:
        raise defect

    defect, heard = kind(INPUT), Heard()
    answer = get(before(fail, listeners=[heard]))
    assert_problem(answer, 500, "internal-error")
    (event,) = heard.answers
    assert (event.status, event.problem, event.exception) == (500, "internal-error", defect)
    assert not re.search(f"{INPUT}|Traceback|{kind.__name__}", answer.body.decode())


class Sending(Response):
    """An answer that sends no more than it is told, or has a defect while it does."""

    def __init__(self, *statuses: int, defect: Exception | None = None) -> None:
        """Take what to send: the status, if any."""
        super().__init__()
        self._statuses = statuses
        self._defect = defect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        for status in self._statuses:
            await send({"type": "http.response.start", "status": status, "headers": []})
        if self._defect is not None:
            raise self._defect


def giving(response: Response, heard: Heard) -> Answer:
    """Ask an edge before a handler that gives this response."""

    async def give(_: Request) -> Response:
        return response

    return get(before(give, listeners=[heard]))


@pytest.mark.parametrize("defect", [ZeroDivisionError(), Problem(INVALID_INPUT, "")], ids=repr)
def test_an_answer_that_breaks_off_midway_is_an_error_and_stays_as_it_began(
    defect: Exception,
) -> None:
    heard = Heard()
    assert giving(Sending(200, defect=defect), heard).status == 200
    assert [(event.status, event.exception) for event in heard.answers] == [(200, defect)]


def test_a_request_that_gets_no_answer_at_all_is_told_of() -> None:
    heard = Heard()
    giving(Sending(), heard)
    assert [event.status for event in heard.answers] == [499]


def test_a_client_that_leaves_while_sending_gets_no_answer_and_is_no_error() -> None:
    heard = Heard()
    edge = door(*ROUTES, listeners=[heard])
    asyncio.run(ask(edge, "/read", method="POST", body=b"{", leaves=True))
    assert [(event.status, event.exception) for event in heard.answers] == [(499, None)]
    giving(Sending(defect=ClientDisconnect()), heard)
    assert [(event.status, event.exception) for event in heard.answers][1:] == [(499, None)]


def test_answers_of_a_server_that_drains_close_their_connections() -> None:
    edge = door(*ROUTES)
    assert "connection" not in get(edge, "/ok").headers
    edge.draining = True
    for path in ("/ok", "/refuse", "/crash", "/nowhere"):
        answer = get(edge, path)
        assert answer.headers["connection"] == "close"
        assert answer.headers["x-request-id"]

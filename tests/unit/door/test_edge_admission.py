"""The edge: whom it lets in (keys, quotas), and what browsers are told of that."""

import asyncio
from collections.abc import Sequence

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from serving.door.routes import Route
from tests.unit.door.doors import (
    PLAIN,
    api_key,
    ask_unread,
    assert_problem,
    door,
    fine,
    get,
    read,
    refuse,
)
from tests.unit.fakes import Answer, Headers, Heard, ask

ROUTES = (
    *PLAIN,
    Route("GET", "/open", fine, is_open=True),
    Route("POST", "/counted", read, counts=True),
    Route("POST", "/counted/refuse", refuse, counts=True),
)
ALICE = api_key("alice", "wonderland")
GUEST = api_key("guest", "rabbit", "1/minute")
KEY = (b"Authorization", b"Bearer wonderland")
GUEST_KEY = (b"X-API-Key", b"rabbit")


@pytest.mark.parametrize("headers", [(), ((KEY[0], b"Bearer nonsense"),)], ids=["no", "unknown"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/ok"),
        ("HEAD", "/ok"),
        ("DELETE", "/ok"),
        ("POST", "/counted"),
        ("GET", "/nowhere"),
        ("POST", "/open/nowhere"),
    ],
)
def test_with_keys_all_but_the_open_routes_need_one_before_anything_is_read(
    method: str, path: str, headers: Headers
) -> None:
    heard = Heard()
    edge = door(*ROUTES, keys=[ALICE], listeners=[heard])
    answer = asyncio.run(ask_unread(edge, method, path, headers))
    assert_problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer realm=")
    (event,) = heard.answers
    assert (event.status, event.problem, event.exception) == (401, "unauthorized", None)
    assert event.api_key is None
    assert "nonsense" not in str(event)


def test_an_open_route_needs_no_key_and_asks_for_none() -> None:
    edge = door(*ROUTES, keys=[ALICE])
    assert get(edge, "/open").status == 200
    assert get(edge, "/open", [(KEY[0], b"Bearer nonsense")]).status == 200
    assert_problem(get(edge, "/open", method="DELETE"), 405, "method-not-allowed")


def post(app: ASGIApp, path: str = "/counted", *headers: tuple[bytes, bytes]) -> Answer:
    """Send a request with a body."""
    return asyncio.run(ask(app, path, method="POST", headers=headers, body=b"body"))


def rate_limit(answer: Answer) -> tuple[str, str]:
    """Give what a client is told of its quota, without the time."""
    return answer.headers["ratelimit-policy"], answer.headers["ratelimit"].rpartition(";t=")[0]


def test_a_client_is_told_its_quota_whatever_it_is_answered() -> None:
    heard = Heard()
    edge = door(*ROUTES, rate_limit="3/minute", listeners=[heard])
    answers = [post(edge), post(edge, "/counted/refuse"), get(edge, "/counted"), post(edge)]
    assert [answer.status for answer in answers] == [200, 422, 405, 429]
    assert [rate_limit(answer) for answer in answers] == [
        ('"default";q=3;w=60', f'"default";r={left}') for left in (2, 1, 0, 0)
    ]
    assert_problem(answers[-1], 429, "quota-exceeded")
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert "retry-after" not in answers[0].headers
    assert heard.answers[-1].problem == "quota-exceeded"


def test_what_is_beyond_a_quota_is_not_read_and_other_routes_are_not_counted() -> None:
    edge = door(*ROUTES, rate_limit="1/minute")
    assert post(edge).body == b"body"
    assert asyncio.run(ask_unread(edge, "POST", "/counted")).status == 429
    for path, status in (("/ok", 200), ("/refuse", 422), ("/nowhere", 404), ("/open", 200)):
        answer = get(edge, path)
        assert answer.status == status
        assert "ratelimit" not in answer.headers


def test_each_key_has_its_own_quota_and_who_has_none_spends_none() -> None:
    heard = Heard()
    edge = door(*ROUTES, keys=[ALICE, GUEST], rate_limit="2/minute", listeners=[heard])
    for _ in range(3):
        answer = post(edge)
        assert_problem(answer, 401, "unauthorized")
        assert "ratelimit" not in answer.headers
    asked: Sequence[tuple[bytes, bytes]] = (GUEST_KEY, GUEST_KEY, KEY, KEY, KEY)
    answers = [post(edge, "/counted", key) for key in asked]
    assert [answer.status for answer in answers] == [200, 429, 200, 200, 429]
    assert rate_limit(answers[1]) == ('"key";q=1;w=60', '"key";r=0')
    assert rate_limit(answers[2]) == ('"default";q=2;w=60', '"default";r=1')
    assert [event.api_key for event in heard.answers[3:]] == ["guest"] * 2 + ["alice"] * 3


def test_headers_of_a_handler_a_quota_and_a_drain_stand_side_by_side() -> None:
    async def cached(_: Request) -> Response:
        return Response(headers={"cache-status": "model-api; hit"})

    edge = door(Route("POST", "/counted", cached, counts=True), rate_limit="5/minute")
    edge.draining = True
    answer = post(edge)
    assert answer.headers["cache-status"] == "model-api; hit"
    assert rate_limit(answer) == ('"default";q=5;w=60', '"default";r=4')
    assert answer.headers["connection"] == "close"
    names = [name for name, _ in answer.raw_headers]
    assert len(names) == len(set(names))


# Browsers

ORIGIN = "https://shop.example"
PREFLIGHT = (
    (b"Origin", ORIGIN.encode()),
    (b"Access-Control-Request-Method", b"POST"),
    (b"Access-Control-Request-Headers", b"content-type, x-request-id, authorization, x-api-key"),
)
OTHER_ORIGIN = (b"Origin", b"https://other.example")


def test_without_origins_no_browser_may_call() -> None:
    edge = door(*ROUTES)
    assert "access-control-allow-origin" not in get(edge, "/ok", PREFLIGHT[:1]).headers
    assert_problem(get(edge, "/counted", PREFLIGHT, "OPTIONS"), 405, "method-not-allowed")


def test_a_preflight_of_an_allowed_origin_needs_no_key_and_counts_against_no_quota() -> None:
    heard = Heard()
    edge = door(
        *ROUTES, cors_origins=[ORIGIN], keys=[ALICE], rate_limit="1/minute", listeners=[heard]
    )
    for _ in range(2):
        answer = get(edge, "/counted", PREFLIGHT, "OPTIONS")
        assert (answer.status, answer.body) == (204, b"")
        assert not {"content-length", "content-type"} & set(answer.headers)  # RFC 9110, 8.6
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "POST" in answer.headers["access-control-allow-methods"]
        allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
        assert {"content-type", "x-request-id", "authorization", "x-api-key"} <= set(allowed)
        assert "x-request-id" in answer.headers
        assert "ratelimit" not in answer.headers
    assert post(edge, "/counted", KEY).status == 200
    assert [event.route for event in heard.answers] == ["/counted"] * 3


def test_a_preflight_of_another_origin_is_refused_by_what_it_lacks() -> None:
    edge = door(*ROUTES, cors_origins=[ORIGIN])
    answer = get(edge, "/counted", (OTHER_ORIGIN, *PREFLIGHT[1:]), "OPTIONS")
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
    asked: tuple[bytes, bytes], allowed: str
) -> None:
    preflight = [*(header for header in PREFLIGHT if header[0] != asked[0]), asked]
    answer = get(door(*ROUTES, cors_origins=[ORIGIN]), "/counted", preflight, "OPTIONS")
    assert (answer.status, answer.body) == (204, b"")
    assert asked[1].decode() not in answer.headers[allowed].lower()


def test_an_options_request_that_is_no_preflight_needs_a_key() -> None:
    edge = door(*ROUTES, cors_origins=[ORIGIN], keys=[ALICE])
    for headers in (PREFLIGHT[:1], PREFLIGHT[1:]):
        assert_problem(get(edge, "/ok", headers, "OPTIONS"), 401, "unauthorized")


def test_an_allowed_origin_may_read_every_answer_and_what_its_headers_tell() -> None:
    edge = door(*ROUTES, cors_origins=[ORIGIN], keys=[ALICE], rate_limit="1/minute")
    origin = PREFLIGHT[0]
    answers = [get(edge, path, [origin, KEY]) for path in ("/ok", "/refuse", "/crash", "/nowhere")]
    answers += [post(edge, "/counted", origin, *key) for key in ((), (KEY,), (KEY,))]
    assert [answer.status for answer in answers] == [200, 422, 500, 404, 401, 200, 429]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
        for name in ("x-request-id", "ratelimit", "ratelimit-policy", "retry-after"):
            assert name in exposed
        assert {"cache-status", "www-authenticate"} <= set(exposed)


def test_another_origin_may_not_read_the_answer() -> None:
    answer = get(door(*ROUTES, cors_origins=[ORIGIN]), "/ok", [OTHER_ORIGIN])
    assert "access-control-allow-origin" not in answer.headers

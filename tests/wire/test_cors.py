"""Browsers may call from the origins that the operator names, and from no other."""

from tests.server import ROW, Server
from tests.wire.conftest import ORIGIN
from tests.wire.problems import assert_problem

THEIRS = "https://other.example"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type, content-encoding, x-request-id",
}


def test_a_preflight_from_a_named_origin_is_answered(configured: Server) -> None:
    answer = configured.http.options("/predict", headers={"Origin": ORIGIN, **PREFLIGHT})
    assert answer.status_code in (200, 204)
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    assert {"content-type", "content-encoding", "x-request-id"} <= set(allowed)
    assert configured.log_of(answer.headers["x-request-id"])["method"] == "OPTIONS"


def test_a_preflight_from_another_origin_allows_it_nothing(configured: Server) -> None:
    answer = configured.http.options("/predict", headers={"Origin": THEIRS, **PREFLIGHT})
    assert "access-control-allow-origin" not in answer.headers
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"


def test_answers_and_problems_can_be_read_by_a_named_origin(configured: Server) -> None:
    headers = {"Origin": ORIGIN}
    good = configured.ask(ROW, headers=headers)
    bad = configured.ask([True], headers=headers)
    unknown = configured.http.get("/nothing", headers=headers)
    assert good.status_code == 200
    assert_problem(configured, bad, 422, "invalid-input")
    assert_problem(configured, unknown, 404, "not-found")
    for answer in (good, bad, unknown):
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()


def test_without_the_setting_no_origin_is_named(server: Server) -> None:
    answer = server.ask(ROW, headers={"Origin": ORIGIN})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    preflight = server.http.options("/predict", headers={"Origin": ORIGIN, **PREFLIGHT})
    assert_problem(server, preflight, 405, "method-not-allowed")

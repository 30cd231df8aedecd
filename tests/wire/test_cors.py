"""Browsers may call from the origins that the operator names, and from no other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import ROW, Server, serving
from tests.wire.problems import assert_problem

OURS, THEIRS = "https://app.example", "https://other.example"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type, content-encoding, x-request-id",
}


@pytest.fixture(scope="module")
def open_server(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve to pages of one origin."""
    output = tmp_path_factory.mktemp("cors") / "output"
    with serving(home, output, SERVING_CORS_ORIGINS=OURS) as running:
        yield running


def test_a_preflight_from_a_named_origin_is_answered(open_server: Server) -> None:
    answer = open_server.http.options("/predict", headers={"Origin": OURS, **PREFLIGHT})
    assert answer.status_code in (200, 204)
    assert answer.headers["access-control-allow-origin"] == OURS
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    assert {"content-type", "content-encoding", "x-request-id"} <= set(allowed)
    assert open_server.log_of(answer.headers["x-request-id"])["method"] == "OPTIONS"


def test_a_preflight_from_another_origin_allows_it_nothing(open_server: Server) -> None:
    answer = open_server.http.options("/predict", headers={"Origin": THEIRS, **PREFLIGHT})
    assert "access-control-allow-origin" not in answer.headers
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"


def test_answers_and_problems_can_be_read_by_a_named_origin(open_server: Server) -> None:
    headers = {"Origin": OURS}
    good = open_server.http.post("/predict", json={"data": ROW}, headers=headers)
    bad = open_server.http.post("/predict", json={"data": [True]}, headers=headers)
    unknown = open_server.http.get("/nothing", headers=headers)
    assert good.status_code == 200
    assert_problem(open_server, bad, 422, "invalid-input")
    assert_problem(open_server, unknown, 404, "not-found")
    for answer in (good, bad, unknown):
        assert answer.headers["access-control-allow-origin"] == OURS
        assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()


def test_without_the_setting_no_origin_is_named(server: Server) -> None:
    answer = server.http.post("/predict", json={"data": ROW}, headers={"Origin": OURS})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    preflight = server.http.options("/predict", headers={"Origin": OURS, **PREFLIGHT})
    assert_problem(server, preflight, 405, "method-not-allowed")

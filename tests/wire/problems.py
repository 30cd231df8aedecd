"""What every answer outside 2xx must be, whoever makes it."""

from typing import Any
from urllib.parse import urljoin

import httpx

from tests.server import Server


def assert_problem(server: Server, answer: httpx.Response, status: int, slug: str) -> Any:  # noqa: ANN401 (any JSON)
    """Check an answer against RFC 9457 and the contract; give its body."""
    assert answer.headers["content-type"] == "application/problem+json"
    return _assert_told(server, answer, status, slug)


def assert_plain_problem(server: Server, answer: httpx.Response, status: int, slug: str) -> Any:  # noqa: ANN401 (any JSON)
    """Check an answer to clients of KServe, which look for its ``error`` in plain JSON."""
    assert answer.headers["content-type"] == "application/json"
    body = _assert_told(server, answer, status, slug, "error")
    assert body["error"].startswith(body["detail"])
    assert all(place["detail"] in body["error"] for place in body.get("errors", ())[:3])
    return body


def _assert_told(server: Server, answer: httpx.Response, status: int, slug: str, *more: str) -> Any:  # noqa: ANN401 (any JSON)
    assert answer.status_code == status, answer.text
    body = answer.json()
    members = ["type", "title", "status", "detail", *more, "request_id"]
    if slug == "invalid-input":
        members.insert(4, "errors")
    assert list(body) == members
    kind = urljoin(str(answer.url), body["type"])
    assert kind == f"{server.url}/errors/{slug}"
    assert body["status"] == status
    assert isinstance(body["detail"], str)
    assert body["detail"]
    assert body["request_id"] == answer.headers["x-request-id"]
    page = server.http.get(kind)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert body["title"] in page.text
    return body

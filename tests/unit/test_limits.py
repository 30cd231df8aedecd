"""What a request may bring: JSON, plain, and no more of it than the limit."""

import asyncio
from collections.abc import Iterable

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from serving.errors import Problem
from serving.limits import read_json_body
from tests.unit.fakes import Headers, ask

LIMIT = 10
JSON_TYPE = (b"Content-Type", b"application/json")


def read(
    body: bytes | Iterable[bytes] = b"{}",
    headers: Headers = (JSON_TYPE,),
    *,
    leaves: bool = False,
) -> bytes:
    """Read the body of a request, as it comes from a server."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_json_body(Request(scope, receive), LIMIT)
        await Response(body)(scope, receive, send)

    return asyncio.run(ask(app, "/", method="POST", headers=headers, body=body, leaves=leaves)).body


def refusal(body: bytes | Iterable[bytes] = b"{}", headers: Headers = (JSON_TYPE,)) -> Problem:
    """Read a body that is refused."""
    with pytest.raises(Problem) as caught:
        read(body, headers)
    return caught.value


@pytest.mark.parametrize(
    "media_type",
    [
        b"application/json",
        b"application/json; charset=utf-8",
        b"application/json;charset=utf-8",
        b"Application/JSON",
        b" application/json ",
    ],
)
def test_json_is_read(media_type: bytes) -> None:
    assert read(b"{}", [(b"Content-Type", media_type)]) == b"{}"


@pytest.mark.parametrize(
    "media_type",
    [
        b"",
        b"text/plain",
        b"text/json",
        b"application/json5",
        b"application/jsonx; charset=utf-8",
        b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=x",
        b"application/vnd.bentoml+pickle",
        b"text/plain; application/json",
    ],
)
def test_another_media_type_is_refused(media_type: bytes) -> None:
    problem = refusal(headers=[(b"Content-Type", media_type)])
    assert problem.kind.slug == "unsupported-media-type"
    assert problem.headers == {"Accept-Post": "application/json"}


def test_a_body_without_a_media_type_is_refused() -> None:
    assert refusal(headers=()).kind.slug == "unsupported-media-type"


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"deflate", b"gzip, identity"])
def test_a_compressed_body_is_refused(encoding: bytes) -> None:
    problem = refusal(headers=[JSON_TYPE, (b"Content-Encoding", encoding)])
    assert problem.kind.slug == "unsupported-media-type"
    assert problem.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("encoding", [b"identity", b"Identity"])
def test_a_body_that_is_said_not_to_be_compressed_is_read(encoding: bytes) -> None:
    assert read(b"{}", [JSON_TYPE, (b"Content-Encoding", encoding)]) == b"{}"


@pytest.mark.parametrize(
    "chunks", [[b"0123456789"], [b"01234", b"56789"], [b"", b"0123456789", b""]], ids=len
)
def test_a_body_of_the_limit_is_read_whole(chunks: list[bytes]) -> None:
    assert read(chunks) == b"0123456789"


def test_a_body_over_the_limit_is_refused() -> None:
    problem = refusal(b"x" * (LIMIT + 1))
    assert problem.kind.slug == "body-too-large"
    assert problem.detail == "the body is larger than 10 bytes"


@pytest.mark.parametrize("length", [b"11", b"99999999999999999999"])
def test_a_body_that_announces_too_much_is_refused_unread(length: bytes) -> None:
    received: list[Message] = []

    async def receive() -> Message:
        received.append({"type": "http.request", "body": b"", "more_body": False})
        return received[-1]

    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(b"content-type", b"application/json"), (b"content-length", length)],
    }
    with pytest.raises(Problem, match="larger than 10 bytes"):
        asyncio.run(read_json_body(Request(scope, receive), LIMIT))
    assert received == []


def test_no_more_is_read_than_is_needed_to_refuse() -> None:
    chunks = (part for part in [b"01234", b"56789", b"x", b"never read"])
    received: list[bytes] = []

    async def receive() -> Message:
        received.append(next(chunks))
        return {"type": "http.request", "body": received[-1], "more_body": True}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}
    with pytest.raises(Problem, match="larger than 10 bytes"):
        asyncio.run(read_json_body(Request(scope, receive), LIMIT))
    assert received == [b"01234", b"56789", b"x"]


def test_a_length_that_was_a_lie_does_not_open_the_door() -> None:
    headers = [JSON_TYPE, (b"Content-Length", b"5")]
    assert refusal([b"01234", b"567890"], headers).kind.slug == "body-too-large"


def test_a_client_that_leaves_is_no_problem() -> None:
    with pytest.raises(ClientDisconnect):
        read(b"{", leaves=True)

"""What a request may bring: a body of its media type, plain or gzipped, of limited size."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Iterable, Sequence

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from serving.door.bodies import read_body
from serving.problems import JSON_MEDIA_TYPE, Problem
from tests.unit.fakes import Headers, ask

LIMIT, LIMIT_OF_GZIP, LIMIT_OF_BOMB = 10, 1000, 50_000
JSON_TYPE = (b"Content-Type", b"application/json")
GZIPPED: Headers = (JSON_TYPE, (b"Content-Encoding", b"gzip"))


def read(
    body: bytes | Iterable[bytes] = b"{}",
    headers: Headers = (JSON_TYPE,),
    *,
    limit: int = LIMIT,
    media_types: Sequence[str] = (JSON_MEDIA_TYPE,),
    leaves: bool = False,
) -> bytes:
    """Read the body of a request, as it comes from a server."""
    return read_as(body, headers, limit=limit, media_types=media_types, leaves=leaves)[0]


def read_as(
    body: bytes | Iterable[bytes],
    headers: Headers,
    *,
    limit: int = LIMIT,
    media_types: Sequence[str] = (JSON_MEDIA_TYPE,),
    leaves: bool = False,
) -> tuple[bytes, str]:
    """Read a body, and what it is declared to be."""
    told: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body, media_type = await read_body(Request(scope, receive), media_types, limit)
        told.append(media_type)
        await Response(body)(scope, receive, send)

    answer = ask(app, "/", method="POST", headers=headers, body=body, leaves=leaves)
    return asyncio.run(answer).body, told[0]


def refusal(
    body: bytes | Iterable[bytes] = b"{}", headers: Headers = (JSON_TYPE,), *, limit: int = LIMIT
) -> Problem:
    """Read a body that is refused."""
    with pytest.raises(Problem) as caught:
        read(body, headers, limit=limit)
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
    assert read_as(b"{}", [(b"Content-Type", media_type)]) == (b"{}", "application/json")


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
    assert problem.detail == "the body must be application/json"
    assert problem.headers == {"Accept-Post": "application/json"}


def test_a_body_without_a_media_type_is_refused() -> None:
    assert refusal(headers=()).kind.slug == "unsupported-media-type"


SEVERAL = ("text/csv", "application/x-npy", "")


@pytest.mark.parametrize("media_type", ["text/csv", "application/x-npy"])
def test_of_several_media_types_the_one_that_is_declared_is_told(media_type: str) -> None:
    declared = [(b"Content-Type", media_type.upper().encode() + b"; header=present")]
    assert read_as(b"1,2", declared, media_types=SEVERAL) == (b"1,2", media_type)
    with pytest.raises(Problem, match=r"must be text/csv or application/x-npy$") as caught:
        read(b"{}", media_types=SEVERAL)
    assert caught.value.headers == {"Accept-Post": "text/csv, application/x-npy"}


def test_a_body_that_is_not_declared_is_read_where_that_is_taken() -> None:
    for headers in ([], [(b"Content-Type", b"")], [(b"Content-Type", b"; charset=utf-8")]):
        assert read_as(b"1,2", headers, media_types=SEVERAL) == (b"1,2", "")


def test_where_no_media_type_is_named_every_body_is_read_and_coded_ones_as_everywhere() -> None:
    for declared in ("", "text/html", "application/octet-stream"):
        headers = [(b"Content-Type", declared.encode())]
        assert read_as(b"{}", headers, media_types=()) == (b"{}", declared)
    with pytest.raises(Problem, match="compressed by gzip"):
        read(b"{}", [(b"Content-Encoding", b"br")], media_types=())


@pytest.mark.parametrize(
    "encodings",
    [[b"br"], [b"deflate"], [b"zstd"], [b"gzip, gzip"], [b"gzip", b"gzip"], [b"br, gzip"], [b"*"]],
)
def test_a_body_that_is_compressed_otherwise_than_by_gzip_once_is_refused(
    encodings: list[bytes],
) -> None:
    headers = [JSON_TYPE, *((b"Content-Encoding", encoding) for encoding in encodings)]
    problem = refusal(gzip.compress(b"{}"), headers)
    assert problem.kind.slug == "unsupported-media-type"
    assert problem.headers == {"Accept-Encoding": "gzip"}


@pytest.mark.parametrize("encoding", [b"identity", b"Identity", b"", b" , "])
def test_a_body_that_is_said_not_to_be_compressed_is_read(encoding: bytes) -> None:
    assert read(b"{}", [JSON_TYPE, (b"Content-Encoding", encoding)]) == b"{}"


@pytest.mark.parametrize("encoding", [b"gzip", b"GZip", b" x-gzip ", b"gzip, identity"])
def test_a_gzip_body_is_inflated(encoding: bytes) -> None:
    body = gzip.compress(b"{}")
    assert read(body, [JSON_TYPE, (b"Content-Encoding", encoding)], limit=99) == b"{}"


@pytest.mark.parametrize("cut", [1, 5, 21, 22, 23, 40, None])
def test_a_gzip_body_in_members_is_whole_however_it_comes(cut: int | None) -> None:
    body = gzip.compress(b"01234", 9) + gzip.compress(b"") + gzip.compress(b"56789", 0)
    chunks = [body[:cut], body[cut:]] if cut else [bytes([byte]) for byte in body]
    assert read(chunks, GZIPPED, limit=len(body)) == b"0123456789"


def test_what_a_gzip_body_holds_has_the_limit_of_a_plain_one() -> None:
    for size in (LIMIT_OF_GZIP - 1, LIMIT_OF_GZIP):
        assert len(read(gzip.compress(b"0" * size), GZIPPED, limit=LIMIT_OF_GZIP)) == size
    for one, other in ((LIMIT_OF_GZIP + 1, 0), (LIMIT_OF_GZIP, 1)):
        body = gzip.compress(b"0" * one) + gzip.compress(b"0" * other)
        problem = refusal(body, GZIPPED, limit=LIMIT_OF_GZIP)
        assert problem.detail == f"the body is larger than {LIMIT_OF_GZIP} bytes"


def test_empty_members_without_end_have_the_limit_too() -> None:
    members = [gzip.compress(b"")] * LIMIT_OF_GZIP
    assert refusal(members, GZIPPED, limit=LIMIT_OF_GZIP).kind.slug == "body-too-large"


def test_a_bomb_takes_no_more_memory_than_the_limit() -> None:
    bomb = gzip.compress(bytes(20_000_000), 9)
    assert len(bomb) < LIMIT_OF_BOMB
    tracemalloc.start()
    try:
        problem = refusal(bomb, GZIPPED, limit=LIMIT_OF_BOMB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert problem.kind.slug == "body-too-large"
    assert peak < 4 * LIMIT_OF_BOMB


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "ends too early"),
        (gzip.compress(b"{}")[:-1], "ends too early"),
        (gzip.compress(b"{}") * 2 + gzip.compress(b"{}")[:5], "ends too early"),
        (b"{}", "is not, or is damaged"),
        (zlib.compress(b"{}"), "is not, or is damaged"),
        (gzip.compress(b"{}")[:-8] + bytes(8), "is not, or is damaged"),
        (gzip.compress(b"{}") + b"{}", "is not, or is damaged"),
    ],
    ids=["nothing", "cut", "cut in a member", "plain", "zlib", "another checksum", "more behind"],
)
def test_what_is_declared_as_gzip_and_is_not_is_malformed(body: bytes, detail: str) -> None:
    problem = refusal(body, GZIPPED, limit=99)
    assert problem.kind.slug == "malformed-body"
    assert detail in problem.detail


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
        asyncio.run(read_body(Request(scope, receive), [JSON_MEDIA_TYPE], LIMIT))
    assert received == []


def test_no_more_is_read_than_is_needed_to_refuse() -> None:
    chunks = (part for part in [b"01234", b"56789", b"x", b"never read"])
    received: list[bytes] = []

    async def receive() -> Message:
        received.append(next(chunks))
        return {"type": "http.request", "body": received[-1], "more_body": True}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}
    with pytest.raises(Problem, match="larger than 10 bytes"):
        asyncio.run(read_body(Request(scope, receive), [JSON_MEDIA_TYPE], LIMIT))
    assert received == [b"01234", b"56789", b"x"]


def test_a_length_that_was_a_lie_does_not_open_the_door() -> None:
    headers = [JSON_TYPE, (b"Content-Length", b"5")]
    assert refusal([b"01234", b"567890"], headers).kind.slug == "body-too-large"


def test_a_client_that_leaves_is_no_problem() -> None:
    with pytest.raises(ClientDisconnect):
        read(b"{", leaves=True)

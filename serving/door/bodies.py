"""What a request may bring: a body of limited size, as it is or compressed by gzip.

Refuses with 413 and 415, and with 400 what is declared as gzip and is not.
"""

import zlib
from collections.abc import Sequence

from starlette.requests import ClientDisconnect, Request

from serving.problems import (
    BODY_TOO_LARGE,
    MALFORMED_BODY,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
)

GZIP = ("gzip", "x-gzip")  # two names of one coding (RFC 9110, 8.4.1.3)
GZIP_WINDOW_BITS = 31  # zlib's way to say: with gzip's header and checksum, and nothing else
PIECE_BYTES = 4096  # what follows a member is copied with each, so that there must not be much


def declared(request: Request) -> str:
    """Give the media type that a body is declared to be, in lower case and without parameters."""
    content_type: str = request.headers.get("content-type", "")
    return content_type.partition(";")[0].strip().lower()


async def read_body(
    request: Request, media_types: Sequence[str], max_body_bytes: int
) -> tuple[bytes, str]:
    """Read the body of a request, never more of it than the limit, and inflate it if need be.

    Give it with the media type that it is declared to be, in lower case and without parameters. Of
    ``media_types``, an empty one stands for a body that is not declared; without any, all are read.

    A client that goes away while sending raises Starlette's ``ClientDisconnect``.

    Raises:
        Problem: 413 as soon as the body is known to be too large, 415 when it is not declared to
            be of a media type that is read, plain or compressed by gzip, and 400 when it can't be
            inflated.
    """
    content_type = length = b""
    codings: list[str] = []
    for name, value in request.scope["headers"]:
        if name == b"content-type":
            content_type = value
        elif name == b"content-length":
            length = value
        elif name == b"content-encoding":
            codings += _codings(value)
    if codings and (len(codings) > 1 or codings[0] not in GZIP):
        raise Problem(
            UNSUPPORTED_MEDIA_TYPE,
            "the body must be plain, or compressed by gzip, once",
            headers={"Accept-Encoding": "gzip"},
        )
    media_type = content_type.partition(b";")[0].strip().lower().decode("latin-1")
    if media_types and media_type not in media_types:
        raise _unread([each for each in media_types if each])
    if length and int(length) > max_body_bytes:
        raise _too_large(max_body_bytes)
    gzip = _Gzip(max_body_bytes) if codings else None
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await request.receive()  # its stream() takes twice as long
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(chunk)
        if size > max_body_bytes:
            raise _too_large(max_body_bytes)
        chunks.append(chunk if gzip is None else gzip.inflated(chunk))
    if gzip is not None:
        gzip.end()
    return chunks[0] if len(chunks) == 1 else b"".join(chunks), media_type


class _Gzip:
    """A gzip body (RFC 1952: one member or more), inflated as it comes and as far as the limit."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = self._left_bytes = max_bytes
        self._member = zlib.decompressobj(GZIP_WINDOW_BITS)

    def inflated(self, chunk: bytes) -> bytes:
        """Give what a chunk adds."""
        parts: list[bytes] = []
        for start in range(0, len(chunk), PIECE_BYTES):
            piece = chunk[start : start + PIECE_BYTES]
            while piece:
                if self._member.eof:
                    self._member = zlib.decompressobj(GZIP_WINDOW_BITS)
                try:
                    part = self._member.decompress(piece, self._left_bytes + 1)
                except zlib.error:
                    detail = "the body is declared as gzip, but is not, or is damaged"
                    raise Problem(MALFORMED_BODY, detail) from None
                self._left_bytes -= len(part)
                if self._left_bytes < 0:
                    raise _too_large(self._max_bytes)
                parts.append(part)
                piece = self._member.unused_data
        return b"".join(parts)

    def end(self) -> None:
        """See that nothing is missing."""
        if not self._member.eof:
            raise Problem(MALFORMED_BODY, "the gzip body ends too early")


def _codings(value: bytes) -> list[str]:
    """Read one Content-Encoding header (RFC 9110, 8.4); identity stands for nothing done."""
    codings = (coding.strip().lower() for coding in value.decode("latin-1").split(","))
    return [coding for coding in codings if coding not in {"", "identity"}]


def _unread(media_types: Sequence[str]) -> Problem:
    return Problem(
        UNSUPPORTED_MEDIA_TYPE,
        f"the body must be {' or '.join(media_types)}",
        headers={"Accept-Post": ", ".join(media_types)},
    )


def _too_large(max_body_bytes: int) -> Problem:
    return Problem(BODY_TOO_LARGE, f"the body is larger than {max_body_bytes} bytes")

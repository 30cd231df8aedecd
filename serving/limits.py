"""What a request may bring: a JSON body of limited size. Refuses with 413 and 415."""

from starlette.requests import Request

from serving.errors import BODY_TOO_LARGE, JSON_MEDIA_TYPE, UNSUPPORTED_MEDIA_TYPE, Problem

_JSON = JSON_MEDIA_TYPE.encode()


async def read_json_body(request: Request, max_body_bytes: int) -> bytes:
    """Read the body of a request, never more of it than the limit.

    A client that goes away while sending raises Starlette's ``ClientDisconnect``.

    Raises:
        Problem: 413 as soon as the body is known to be too large, 415 when it is not declared as
            plain JSON.
    """
    content_type = length = b""
    for name, value in request.scope["headers"]:
        if name == b"content-type":
            content_type = value
        elif name == b"content-length":
            length = value
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise Problem(
                UNSUPPORTED_MEDIA_TYPE,
                "the body must not be compressed",
                headers={"Accept-Encoding": "identity"},
            )
    if content_type.partition(b";")[0].strip().lower() != _JSON:
        raise Problem(UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")
    if length and int(length) > max_body_bytes:
        raise _too_large(max_body_bytes)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_body_bytes:
            raise _too_large(max_body_bytes)
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(max_body_bytes: int) -> Problem:
    return Problem(BODY_TOO_LARGE, f"the body is larger than {max_body_bytes} bytes")

"""Probes: whether this server can predict, and whether it lives."""

from collections.abc import Callable, Iterator

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from serving.door.routes import Operation, Route, answer_of
from serving.model.about import About
from serving.model.domains import Schema, closed
from serving.problems import JSON_MEDIA_TYPE, UNAVAILABLE, Problem


def probes(unready: Callable[[], str | None], about: About) -> Iterator[Route]:
    """Give the probes, which are open; ``unready`` tells why clients should ask another server.

    No worker listens before its model is loaded and has answered a warm-up prediction.
    """
    told = {"status": "ok", "model": about.named}
    body = orjson.dumps(told)

    async def health(_: Request) -> Response:
        _refuse(unready())
        return Response(body, media_type=JSON_MEDIA_TYPE)

    async def ready(_: Request) -> Response:
        _refuse(unready())
        return PlainTextResponse("\n")

    async def alive(_: Request) -> Response:
        return PlainTextResponse("\n")

    model = closed({"name": {"const": about.name}, "version": {"const": about.version}})
    tells = Operation(
        "Operations",
        "health",
        "Whether this server can predict",
        answer_of(
            "Success", JSON_MEDIA_TYPE, {"$ref": "#/components/schemas/Health"}, example=told
        ),
        "200 once the model is loaded and has answered a warm-up prediction.",
        (UNAVAILABLE,),
        schemas={"Health": closed({"status": {"const": "ok"}, "model": model})},
    )
    yield Route("GET", "/health", health, {"/health": tells}, is_open=True)
    for name, summary, answer in (
        ("livez", "Liveness probe", alive),
        ("readyz", "Readiness probe", ready),
        ("healthz", "Liveness probe, under its older name", alive),
    ):
        problems = (UNAVAILABLE,) if answer is ready else ()
        tells = Operation("Operations", name, summary, _YES, problems=problems)
        yield Route("GET", f"/{name}", answer, {f"/{name}": tells}, is_open=True)


_YES: Schema = answer_of("Yes", "text/plain", {"type": "string"})


def _refuse(reason: str | None) -> None:
    if reason:
        raise Problem(UNAVAILABLE, reason)

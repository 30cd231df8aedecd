"""What stands from the start on: the pages for people, and how documents go out.

The pages are the OpenAPI document in a browser, and what each problem type means. Nothing in them
comes from another host: Swagger UI is the copy that BentoML ships. Documents of some size are
compressed once, for who asks for that. Predictions are not: it would take the event loop a quarter
as long again to answer a large batch, and whoever comes next would wait for it.
"""

import gzip
import html
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from serving.door.negotiation import weights
from serving.door.routes import Operation, Route, answer_of, page_answer
from serving.exposition import MEDIA_TYPE as METRICS_MEDIA_TYPE
from serving.exposition import exposition
from serving.model.domains import Schema
from serving.problems import (
    JSON_MEDIA_TYPE,
    NOT_FOUND,
    PROBLEM_TYPES,
    Problem,
    ProblemType,
)

# What a page may load: only what this service serves (Swagger UI styles elements inline).
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HTML_MEDIA_TYPE = "text/html"
MIN_COMPRESSED_BYTES = 1024  # what is smaller takes one packet anyhow
STATIC_FOLDER = Path(__file__).with_name("static")


class Document:
    """A document that is always the same."""

    def __init__(self, content: bytes, media_type: str, headers: Mapping[str, str] = {}) -> None:
        """Compress it, if it is large."""
        self._content = content
        self._media_type = media_type
        self._headers = dict(headers)
        self._compressed = None
        if len(content) > MIN_COMPRESSED_BYTES:
            self._compressed = gzip.compress(content, mtime=0)
            varies = ("Accept-Encoding", self._headers.get("vary"))
            self._headers["vary"] = ", ".join(filter(None, varies))

    def answer(self, request: Request) -> Response:
        """Answer a request for it, compressed if that is asked for."""
        content, headers = self._content, self._headers
        if self._compressed is not None and _wants_gzip(request):
            content, headers = self._compressed, {**headers, "content-encoding": "gzip"}
        return Response(content, media_type=self._media_type, headers=headers)


def _wants_gzip(request: Request) -> bool:
    """Tell whether a client takes gzip, and likes it no less than a plain answer.

    See RFC 9110, 12.5.3: a coding with the weight 0 is not taken.
    """
    wanted = weights(request.headers.getlist("accept-encoding"))
    taken = next((wanted[name] for name in ("gzip", "x-gzip", "*") if name in wanted), 0.0)
    return taken > 0 and taken >= wanted.get("identity", 0.0)


def page(content: str, headers: Mapping[str, str] = {}) -> Document:
    """Make a page a document."""
    headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, **headers}
    return Document(content.encode(), HTML_MEDIA_TYPE, headers)


def pages(
    openapi: Callable[[], Document],
    schema: Schema,
    alive: Mapping[str, Any] | None = None,
) -> Iterator[Route]:
    """Give what stands from the start on of the API.

    ``openapi`` gives the OpenAPI document, which tells of all routes, when it is asked for; and
    ``schema`` is what BentoML's own client reads. ``alive`` is the JSON at ``/`` for programs that
    ask there whether the service lives, if any do.
    """
    path = "/errors/{slug}"
    yield Route("GET", path, _problem_type, {path: _PROBLEM_TYPE}, is_open=True)

    async def document(request: Request) -> Response:
        return openapi().answer(request)

    tells = Operation("Documents", "openapi", "This document", _object("OpenAPI 3.1"))
    yield Route("GET", "/docs.json", document, {"/docs.json": tells})
    yield fixed(
        "/schema.json",
        Document(orjson.dumps(schema), JSON_MEDIA_TYPE),
        Operation(
            "Documents",
            "bentomlSchema",
            "The description that BentoML's own client reads",
            _object("BentoML's description of its APIs"),
        ),
    )
    yield _root(alive)
    yield fixed("/docs.js", Document((STATIC_FOLDER / "docs.js").read_bytes(), "text/javascript"))


def assets(folder: Path) -> Iterator[Route]:
    """Give what pages load from a folder."""
    files = StaticFiles(directory=folder)

    async def asset(request: Request) -> Response:
        return await files.get_response(request.path_params["path"], request.scope)

    yield Route("GET", "/static_content/{path:path}", asset)


def metrics_page(*, is_open: bool) -> Route:
    """Give the metrics of all worker processes, which takes a while to add up."""

    async def answer(_: Request) -> Response:
        text = await run_sync(exposition)
        return Response(text, headers={"content-type": METRICS_MEDIA_TYPE})

    tells = Operation(
        "Operations",
        "metrics",
        "Prometheus metrics",
        answer_of("The metrics", "text/plain", {"type": "string"}),
        "Text exposition format, for all worker processes of this server.",
    )
    return Route("GET", "/metrics", answer, {"/metrics": tells}, is_open=is_open)


def fixed(
    path: str, document: Document, tells: Operation | None = None, *, is_open: bool = False
) -> Route:
    """Give a route to what is always the same."""

    async def answer(request: Request) -> Response:
        return document.answer(request)

    return Route("GET", path, answer, {} if tells is None else {path: tells}, is_open=is_open)


def _root(alive: Mapping[str, Any] | None) -> Route:
    """Give the OpenAPI document as a page; to who says what it takes, but no pages, ``alive``.

    Browsers name what pages are. Who says nothing may be a person's program.
    """
    tells = Operation("Documents", "docs", "This document as a page", page_answer())
    text = (STATIC_FOLDER / "docs.html").read_text("utf-8")
    if alive is None:
        return fixed("/", page(text), tells)
    varies = {"vary": "Accept"}
    for_people, for_all = page(text, varies), Document(orjson.dumps(alive), JSON_MEDIA_TYPE, varies)
    answer = page_answer("A page; for programs, that the service lives")
    answer["content"][JSON_MEDIA_TYPE] = {"schema": {"const": alive}}

    async def for_each(request: Request) -> Response:
        accepted = weights(request.headers.getlist("accept"))
        is_page = not accepted or accepted.get(HTML_MEDIA_TYPE, 0) > 0
        return (for_people if is_page else for_all).answer(request)

    return Route("GET", "/", for_each, {"/": replace(tells, answer=answer)})


def _object(description: str) -> Schema:
    return answer_of(description, JSON_MEDIA_TYPE, {"type": "object"})


_PROBLEM_TYPE = Operation(
    "Documents",
    "problemType",
    "What a problem type means and what to do",
    page_answer(),
    "Every `type` in a problem links here.",
    (NOT_FOUND,),
    parameters={"slug": {"type": "string", "enum": list(PROBLEM_TYPES)}},
)


async def _problem_type(request: Request) -> Response:
    kind = PROBLEM_TYPES.get(request.path_params["slug"])
    if kind is None:
        raise Problem(NOT_FOUND, "there is no such problem type")
    return page(_problem_page(kind)).answer(request)


def _problem_page(kind: ProblemType) -> str:
    """Write the page of a problem type."""
    title, cause, remedy = (html.escape(text) for text in (kind.title, kind.cause, kind.remedy))
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f"<title>{kind.status} {title}</title>\n"
        f"<style>body {{ font: 1rem/1.5 system-ui; margin: 3rem auto; max-width: 40rem }}</style>\n"
        f"<h1>{kind.status} {title}</h1>\n"
        f"<h2>What it means</h2>\n<p>{cause}</p>\n<h2>What to do</h2>\n<p>{remedy}</p>\n"
        f'<p><a href="../">The API of this service</a></p>\n</html>\n'
    )

"""What stands from the start on: the pages for people, and how documents go out.

The pages are the OpenAPI document in a browser, and what each problem type means. Nothing in them
comes from another host: Swagger UI is the copy that BentoML ships. Documents of some size are
compressed once, for who asks for that. Predictions are not: it would take the event loop a quarter
as long again to answer a large batch, and whoever comes next would wait for it.
"""

import gzip
import html
import re
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from serving.problems import ProblemType

# What a page may load: only what this service serves (Swagger UI styles elements inline).
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
MIN_COMPRESSED_BYTES = 1024  # what is smaller takes one packet anyhow
_FOLDER = Path(__file__).with_name("static")
_WEIGHT = re.compile(r"\s*(?:;\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?")


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
            self._headers["vary"] = "Accept-Encoding"

    def answer(self, request: Request) -> Response:
        """Answer a request for it, compressed if that is asked for."""
        content, headers = self._content, self._headers
        if self._compressed is not None and _wants_gzip(request):
            content, headers = self._compressed, {**headers, "content-encoding": "gzip"}
        return Response(content, media_type=self._media_type, headers=headers)


def _wants_gzip(request: Request) -> bool:
    """Tell whether a client takes gzip, and likes it no less than a plain answer.

    See RFC 9110, 12.5.3: a coding with the weight 0 is not taken, and what can't be read is not
    asked for.
    """
    weights: dict[str, float] = {}
    for header in request.headers.getlist("accept-encoding"):
        for item in header.lower().split(","):
            coding, *parameters = item.partition(";")
            weight = _WEIGHT.fullmatch("".join(parameters))
            weights[coding.strip()] = float(weight[1] or 1) if weight else 0.0
    taken = next((weights[name] for name in ("gzip", "x-gzip", "*") if name in weights), 0.0)
    return taken > 0 and taken >= weights.get("identity", 0.0)


def page(content: str) -> Document:
    """Make a page a document."""
    headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
    return Document(content.encode(), "text/html", headers)


def docs_page() -> str:
    """Give the page that shows ``/docs.json``."""
    return (_FOLDER / "docs.html").read_text("utf-8")


def docs_script() -> str:
    """Give the script that starts Swagger UI on the page."""
    return (_FOLDER / "docs.js").read_text("utf-8")


def problem_page(kind: ProblemType) -> str:
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

"""The pages for people: all from this host, and all problem types explained."""

import gzip
import html
import re
from html.parser import HTMLParser

import pytest
from starlette.requests import Request
from starlette.responses import Response

from serving.door.pages import (
    CONTENT_SECURITY_POLICY,
    MIN_COMPRESSED_BYTES,
    Document,
    docs_page,
    docs_script,
    problem_page,
)
from serving.problems import PROBLEM_TYPES, ProblemType

ANYWHERE = re.compile(r"(?:https?:)?//[\w.]")


class Balance(HTMLParser):
    """Keeps the text, and refuses elements that are not closed in order."""

    void = frozenset({"meta", "link"})

    def __init__(self) -> None:
        """Start with nothing open."""
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open an element."""
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the one that was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.text += data


def read(page: str) -> str:
    """Read a well-formed page."""
    assert page.startswith("<!doctype html>")
    balance = Balance()
    balance.feed(page)
    balance.close()
    assert balance.open == []
    return balance.text


@pytest.mark.parametrize("kind", PROBLEM_TYPES.values(), ids=lambda kind: kind.slug)
def test_the_page_of_a_problem_tells_what_it_means_and_what_to_do(kind: ProblemType) -> None:
    text = read(problem_page(kind))
    for told in (f"{kind.status} {kind.title}", kind.cause, kind.remedy):
        assert told in text


def test_what_is_told_cannot_break_the_page() -> None:
    sly = ProblemType("sly", 400, "<b>", "a & b < c", "</p><script>")
    page = problem_page(sly)
    assert "<script>" not in page
    assert html.escape(sly.remedy) in page
    assert sly.cause in read(page)


def test_no_page_names_another_host() -> None:
    for text in (docs_page(), docs_script(), *map(problem_page, PROBLEM_TYPES.values())):
        assert not ANYWHERE.search(text)


def test_links_of_pages_lead_on_whatever_prefix_a_proxy_has_taken() -> None:
    for text in (docs_page(), *map(problem_page, PROBLEM_TYPES.values())):
        for reference in re.findall(r"""(?:src|href)=["']([^"']+)""", text):
            assert not reference.startswith("/")


LARGE = b"0" * (MIN_COMPRESSED_BYTES + 1)


def asked(document: Document, *accepted: str) -> Response:
    """Answer a request with these headers Accept-Encoding."""
    headers = [(b"accept-encoding", value.encode()) for value in accepted]
    return document.answer(Request({"type": "http", "headers": headers}))


@pytest.mark.parametrize(
    "accepted",
    [
        ("gzip",),
        ("GZIP",),
        ("gzip, deflate, br",),
        ("br", "gzip"),
        ("br;q=1, gzip;q=0.001",),
        ("gzip ; q=1.000",),
        ("x-gzip",),
        ("*",),
        ("identity;q=0.5, *;q=0.5",),
    ],
)
def test_a_large_document_is_compressed_for_who_asks(accepted: tuple[str, ...]) -> None:
    answer = asked(Document(LARGE, "text/plain", {"X-Own": "kept"}), *accepted)
    assert gzip.decompress(answer.body) == LARGE
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-length"] == str(len(answer.body))
    assert (answer.headers["vary"], answer.headers["x-own"]) == ("Accept-Encoding", "kept")


@pytest.mark.parametrize(
    "accepted",
    [
        (),
        ("",),
        ("identity",),
        ("br, deflate, zstd",),
        ("gzip;q=0",),
        ("gzip; q=0.000, *",),
        ("*;q=0",),
        ("gzip;q=0.5, identity",),
        ("gzip;q=2",),
        ("gzip;level=1",),
        ("gzipped",),
    ],
)
def test_a_large_document_is_plain_for_all_others(accepted: tuple[str, ...]) -> None:
    answer = asked(Document(LARGE, "text/plain"), *accepted)
    assert answer.body == LARGE
    assert "content-encoding" not in answer.headers
    assert answer.headers["vary"] == "Accept-Encoding"


def test_a_small_document_is_never_compressed() -> None:
    answer = asked(Document(LARGE[1:], "text/plain"), "gzip")
    assert answer.body == LARGE[1:]
    assert not {"content-encoding", "vary"} & set(answer.headers)


def test_the_page_of_the_document_runs_no_script_but_those_it_loads() -> None:
    assert not re.search(r"<script(?![^>]*\bsrc=)", docs_page())
    assert "docs.json" in docs_script()


def test_pages_load_nothing_from_elsewhere_and_run_nothing_inline() -> None:
    policy = dict(part.split(maxsplit=1) for part in CONTENT_SECURITY_POLICY.split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    allowed = {source for sources in policy.values() for source in sources.split()}
    assert allowed == {"'none'", "'self'", "'unsafe-inline'", "data:"}

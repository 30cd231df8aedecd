"""What stands from the start on: pages for people, all from this host, and how documents go out."""

import gzip
import html
import re
from html.parser import HTMLParser
from pathlib import Path

import orjson
import pytest
from starlette.requests import Request
from starlette.responses import Response

from serving.door.edge import Edge
from serving.door.pages import (
    CONTENT_SECURITY_POLICY,
    MIN_COMPRESSED_BYTES,
    Document,
    assets,
    metrics_page,
    pages,
)
from serving.problems import PROBLEM_TYPES, ProblemType
from tests.unit.door.doors import api_key, assert_problem, door, get

ANYWHERE = re.compile(r"(?:https?:)?//[\w.]")
OPENAPI = Document(b'{"openapi": "3.1.0"}', "application/json")
PAGES = ("/", *(f"/errors/{slug}" for slug in PROBLEM_TYPES))
GZIPPED = [(b"Accept-Encoding", b"gzip")]


@pytest.fixture(scope="module")
def edge() -> Edge:
    """Serve all pages."""
    return door(*pages(lambda: OPENAPI, {"name": "ModelApi"}))


class Balance(HTMLParser):
    """Keeps the text, and refuses elements that are not closed in order."""

    void = frozenset({"meta", "link", "input"})

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


# What is there


def test_the_document_and_what_bentoml_s_client_reads_stand_there(edge: Edge) -> None:
    assert get(edge, "/docs.json").json() == {"openapi": "3.1.0"}
    assert get(edge, "/schema.json").json() == {"name": "ModelApi"}


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_whole_and_loads_nothing_from_elsewhere(edge: Edge, path: str) -> None:
    answer = get(edge, path)
    page = answer.body.decode()
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert read(page)
    assert not ANYWHERE.search(page)
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    for reference in re.findall(r"""(?:src|href)=["']([^"']+)""", page):
        assert not reference.startswith("/")  # whatever prefix a proxy has taken


def test_pages_load_nothing_from_elsewhere_and_run_nothing_inline() -> None:
    policy = dict(part.split(maxsplit=1) for part in CONTENT_SECURITY_POLICY.split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    allowed = {source for sources in policy.values() for source in sources.split()}
    assert allowed == {"'none'", "'self'", "'unsafe-inline'", "data:"}


def test_the_script_of_the_page_reads_the_document_of_this_service(edge: Edge) -> None:
    answer = get(edge, "/docs.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert b'url: "docs.json"' in answer.body
    assert not ANYWHERE.search(answer.body.decode())


@pytest.mark.parametrize("kind", PROBLEM_TYPES.values(), ids=lambda kind: kind.slug)
def test_the_page_of_a_problem_tells_what_it_means_and_what_to_do(
    edge: Edge, kind: ProblemType
) -> None:
    text = read(get(edge, f"/errors/{kind.slug}").body.decode())
    for told in (f"{kind.status} {kind.title}", kind.cause, kind.remedy):
        assert told in text


def test_a_problem_that_there_is_not_has_no_page(edge: Edge) -> None:
    assert_problem(get(edge, "/errors/nothing"), 404, "not-found")


def test_what_is_told_cannot_break_a_page(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    sly = ProblemType("sly", 400, "<b>", "a & b < c", "</p><script>")
    monkeypatch.setattr("serving.door.pages.PROBLEM_TYPES", {"sly": sly})
    page = get(edge, "/errors/sly").body.decode()
    assert "<script>" not in page
    assert html.escape(sly.remedy) in page
    assert sly.cause in read(page)


def test_with_keys_the_pages_of_problems_alone_are_open() -> None:
    routes = pages(lambda: OPENAPI, {})
    assert [route.path for route in routes if route.is_open] == ["/errors/{slug}"]


ALIVE = {"status": "alive"}


@pytest.fixture(scope="module")
def lively() -> Edge:
    """Serve all pages, where programs ask at the root whether the service lives."""
    return door(*pages(lambda: OPENAPI, {}, ALIVE))


@pytest.mark.parametrize(
    "accepted", ["*/*", "application/json", "text/*", "text/html;q=0, */*", "text/plain"]
)
def test_who_says_what_it_takes_but_no_page_learns_that_the_service_lives(
    lively: Edge, edge: Edge, accepted: str
) -> None:
    headers = [(b"Accept", accepted.encode())]
    answer = get(lively, "/", headers)
    assert (answer.headers["content-type"], answer.json()) == ("application/json", ALIVE)
    assert answer.headers["vary"] == "Accept"
    assert get(edge, "/", headers).headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("accepted", [None, "", "text/html", "application/json, Text/HTML;q=0.1"])
def test_who_takes_a_page_or_says_nothing_gets_the_page(
    lively: Edge, edge: Edge, accepted: str | None
) -> None:
    headers = [] if accepted is None else [(b"Accept", accepted.encode())]
    answer = get(lively, "/", headers)
    assert answer.body == get(edge, "/").body
    assert answer.headers["vary"] == "Accept"
    assert "content-security-policy" in answer.headers


# What pages load, and metrics


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with a file to load, beside one that is nobody's business."""
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "a.css").write_text("p {}")
    (tmp_path / "secret.txt").write_text("secret")
    return tmp_path / "static"


def test_what_pages_load_comes_from_its_folder(folder: Path) -> None:
    answer = get(door(*assets(folder)), "/static_content/a.css")
    assert (answer.status, answer.body) == (200, b"p {}")
    assert answer.headers["content-type"].startswith("text/css")


@pytest.mark.parametrize(
    "path", ["b.css", "", "..", "../secret.txt", "{root}/secret.txt", "a.css/b", "\x00"]
)
def test_nothing_else_is_loaded(folder: Path, path: str) -> None:
    there = path.replace("{root}", str(folder.parent))
    answer = get(door(*assets(folder)), f"/static_content/{there}")
    assert_problem(answer, 404, "not-found")


@pytest.mark.parametrize("is_open", [False, True])
def test_metrics_are_open_if_they_are_said_to_be(*, is_open: bool) -> None:
    edge = door(metrics_page(is_open=is_open), keys=[api_key("alice", "secret")])
    assert get(edge, "/metrics").status == (200 if is_open else 401)
    answer = get(edge, "/metrics", [(b"X-API-Key", b"secret")])
    assert answer.headers["content-type"].startswith("text/plain; version=")


# How documents go out

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
        ("gzip;q=.5",),
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
        ("gzip;q=some",),
        ("gzipped",),
    ],
)
def test_a_large_document_is_plain_for_all_others(accepted: tuple[str, ...]) -> None:
    answer = asked(Document(LARGE, "text/plain"), *accepted)
    assert answer.body == LARGE
    assert "content-encoding" not in answer.headers
    assert answer.headers["vary"] == "Accept-Encoding"


def test_what_an_answer_varies_by_is_told_beside_the_coding() -> None:
    answer = asked(Document(LARGE, "text/plain", {"vary": "Accept"}), "gzip")
    assert answer.headers["vary"] == "Accept-Encoding, Accept"


def test_a_small_document_is_never_compressed() -> None:
    answer = asked(Document(LARGE[1:], "text/plain"), "gzip")
    assert answer.body == LARGE[1:]
    assert not {"content-encoding", "vary"} & set(answer.headers)


def test_documents_that_are_served_are_compressed_for_who_asks() -> None:
    large = {"name": "m" * MIN_COMPRESSED_BYTES}
    answer = get(door(*pages(lambda: OPENAPI, large)), "/schema.json", GZIPPED)
    assert orjson.loads(gzip.decompress(answer.body)) == large
    assert answer.headers["content-encoding"] == "gzip"

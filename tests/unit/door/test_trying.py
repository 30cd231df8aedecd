"""The page to try the models, its script, and the ways to it."""

import re
from urllib.parse import quote, urljoin

import pytest

from serving.door.edge import Edge
from serving.door.pages import CONTENT_SECURITY_POLICY
from serving.door.trying import try_page
from tests.unit.door.doors import api_key, door, get
from tests.unit.door.test_pages import ANYWHERE, read

MOST_BYTES = 30_000  # of both: they come over slow lines, and are read by people
NAMESPACE = "http://www.w3.org/"  # which is asked for nothing
KEPT = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Storage|cookie")


@pytest.fixture(scope="module")
def edge() -> Edge:
    """Serve the page where keys are asked for."""
    return door(*try_page(), keys=[api_key("alice", "secret")])


def test_the_page_is_whole_and_open_to_who_has_no_key_yet(edge: Edge) -> None:
    answer = get(edge, "/try")
    page = answer.body.decode()
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "Features" in read(page)
    assert not ANYWHERE.search(page)
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=", page)
    assert get(edge, "/try.js").headers["content-type"].startswith("text/javascript")


def test_the_page_and_its_script_are_small(edge: Edge) -> None:
    assert len(get(edge, "/try").body) + len(get(edge, "/try.js").body) < MOST_BYTES


def test_the_script_makes_no_markup_of_texts_keeps_nothing_and_asks_no_other_host(
    edge: Edge,
) -> None:
    script = get(edge, "/try.js").body.decode()
    assert not KEPT.search(script)
    assert not ANYWHERE.search(script.replace(NAMESPACE, ""))
    assert not re.search(
        r"""(call|fetch|href =|URL)\W*/\w""", script
    )  # whatever prefix a proxy has taken


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/model/try", "/try"),
        ("/models/iris/try", "/try#model=iris"),
        ("/models/a#b/try", "/try#model=a%23b"),
    ],
)
def test_from_where_a_model_is_shown_a_link_leads_to_the_page_below_any_prefix(
    edge: Edge, path: str, there: str
) -> None:
    answer = get(edge, path)
    assert answer.status == 303
    at = f"http://host/prefix{quote(path)}"
    assert urljoin(at, answer.headers["location"]) == f"http://host/prefix{there}"

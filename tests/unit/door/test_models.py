"""What is told of models: which there are, and of each what it is, for programs and for people."""

import pytest

from serving.door.edge import Edge
from serving.door.models import models
from serving.door.pages import CONTENT_SECURITY_POLICY
from serving.model.about import About
from serving.prediction.shelf import Shelf
from tests.unit.door.doors import FakeLoaded, api_key, assert_problem, door, get
from tests.unit.fakes import Heard
from tests.unit.samples import regression

MAIL = FakeLoaded()
POST = FakeLoaded(
    About(regression("weight", name="post"), "v2"),
    card="<!doctype html>\n<title>post</title>\n",
    info={"name": "post"},
)
SHELF = Shelf([MAIL.as_loaded, POST.as_loaded])


@pytest.fixture
def heard() -> Heard:
    """Give who hears of requests."""
    return Heard()


@pytest.fixture
def edge(heard: Heard) -> Edge:
    """Serve what is told of two models."""
    return door(*models(SHELF), listeners=[heard])


def test_the_models_are_told_the_default_one_first(edge: Edge) -> None:
    assert get(edge, "/models").json() == {
        "models": [
            {"name": "mail", "version": "v1", "task": "classification", "default": True},
            {"name": "post", "version": "v2", "task": "regression", "default": False},
        ]
    }


@pytest.mark.parametrize(
    ("path", "told"), [("/model", MAIL), ("/models/mail", MAIL), ("/models/post", POST)]
)
def test_what_a_model_is_stands_there_for_programs_and_for_people(
    edge: Edge, heard: Heard, path: str, told: FakeLoaded
) -> None:
    info, card = get(edge, f"{path}/info"), get(edge, f"{path}/card")
    assert (info.headers["content-type"], info.json()) == ("application/json", told.info)
    assert card.headers["content-type"] == "text/html; charset=utf-8"
    assert card.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert card.body.decode() == told.card
    assert [event.model for event in heard.answers] == [told.about] * 2


@pytest.mark.parametrize("path", ["/models/fax/info", "/models/fax/card"])
def test_there_is_no_other_model(edge: Edge, heard: Heard, path: str) -> None:
    answer = get(edge, path)
    assert_problem(answer, 404, "not-found")
    assert answer.json()["detail"] == "there is no such model"
    assert [(event.route, event.model) for event in heard.answers] == [
        (path.replace("fax", "{model}"), None)
    ]


def test_all_of_it_needs_a_key_where_others_do_and_counts_against_no_quota() -> None:
    guarded = door(*models(SHELF), keys=[api_key("alice", "secret")])
    for route in models(SHELF):
        assert not route.counts
        path = route.path.replace("{model}", "post")
        assert get(guarded, path).status == 401
        assert get(guarded, path, [(b"X-API-Key", b"secret")]).status == 200

"""What dialects tell beside predictions: of all models or one, and whether they are ready."""

from collections.abc import Sequence
from typing import Any

import pytest

from serving.dialects.dialect import Dialect, Telling
from serving.door.edge import Edge
from serving.door.routes import Operation, Route
from serving.door.telling import telling
from serving.model.about import About
from serving.prediction.loaded import Loaded
from serving.prediction.shelf import Shelf
from serving.problems import (
    INVALID_INPUT,
    NOT_FOUND,
    UNAVAILABLE,
    Problem,
    Wording,
)
from tests.unit.door.doors import FakeLoaded, api_key, assert_problem, door, get
from tests.unit.samples import description

TEXT = {"type": "string"}
LOUD = Wording("Loud", "text/loud", {422: 400})


def names(models: Sequence[About]) -> Any:  # noqa: ANN401 (any JSON)
    """Tell which models there are."""
    return [f"{about.name} {about.version}" for about in models]


def refuse(models: Sequence[About]) -> Any:  # noqa: ANN401 (any JSON)
    """Refuse to do it."""
    raise Problem(INVALID_INPUT, f"{len(models)} can't be unloaded")


TOLD = Dialect(
    tells=[
        Telling("/all", "all", "Tell of all", names, {"type": "array"}),
        Telling("/of/{model}", "of", "Tell of one", names, {"type": "array"}, is_open=True),
        Telling("/of/{model}/{version}", "of", "Tell of one", names, {"type": "array"}, ready=True),
        Telling("/text", "text", "Tell", lambda _: "2.0", TEXT, media_type="text/plain"),
        Telling("/unload/{model}", "unload", "No", refuse, None, method="POST", wording=LOUD),
    ]
)
PATHS = ("/all", "/of/mail", "/of/mail/v1", "/text")


def routes(reason: str | None = None) -> list[Route]:
    """Give the routes of a server that is ready, or is not for a reason."""
    return list(telling(TOLD, Shelf([FakeLoaded().as_loaded]), lambda _: reason))


@pytest.fixture
def edge() -> Edge:
    """Serve them."""
    return door(*routes())


@pytest.mark.parametrize("path", PATHS[:3])
def test_what_is_told_is_json_of_all_models_or_of_the_one_in_the_path(
    edge: Edge, path: str
) -> None:
    answer = get(edge, path)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == ["mail v1"]


def test_a_text_may_be_told(edge: Edge) -> None:
    answer = get(edge, "/text")
    assert answer.body == b"2.0"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("path", ["/of/male", "/of/male/v1", "/of/mail/v2"])
def test_another_model_or_version_is_not_found(edge: Edge, path: str) -> None:
    assert_problem(get(edge, path), 404, "not-found")


def test_what_is_only_refused_is_refused_in_the_words_of_its_dialect(edge: Edge) -> None:
    answer = get(edge, "/unload/mail", method="POST")
    assert (answer.status, answer.json()["detail"]) == (400, "1 can't be unloaded")
    assert answer.headers["content-type"].startswith("text/loud")
    assert get(edge, "/unload/male", method="POST").json()["detail"] == "there is no such model"


def test_who_is_unready_says_so_where_that_is_asked_and_tells_the_rest() -> None:
    edge = door(*routes("it is shutting down"))
    assert {path: get(edge, path).status for path in PATHS} == {
        "/all": 200,
        "/of/mail": 200,
        "/of/mail/v1": 503,
        "/text": 200,
    }
    answer = get(edge, "/of/mail/v1")
    assert_problem(answer, 503, "unavailable")
    assert answer.json()["detail"] == "it is shutting down"
    assert answer.headers["retry-after"]
    assert_problem(get(edge, "/of/mail/v2"), 404, "not-found")  # that will not change


def test_one_model_may_be_unready_while_the_server_and_its_neighbours_are_ready() -> None:
    post = FakeLoaded(About(description(name="post"), "v2")).as_loaded
    tells = [
        Telling("/all", "all", "Tell", names, {}, ready=True),
        Telling("/of/{model}", "of", "Tell", names, {}, ready=True),
        Telling("/default", "default", "Tell", names, {}, ready=True, of_default=True),
    ]

    def edge_of(hangs: Loaded) -> Edge:
        def unready(loaded: Loaded | None) -> str | None:
            return "it hangs" if loaded is hangs else None

        return door(*telling(Dialect(tells=tells), Shelf([mail, post]), unready))

    mail = FakeLoaded().as_loaded
    paths = ("/all", "/of/mail", "/of/post", "/default")
    assert [get(edge_of(post), path).status for path in paths] == [200, 200, 503, 200]
    assert [get(edge_of(mail), path).status for path in paths] == [200, 503, 200, 503]
    answers = [get(edge_of(mail), path).json() for path in ("/all", "/of/post")]
    assert answers == [["mail v1", "post v2"], ["post v2"]]
    assert get(edge_of(post), "/default").json() == ["mail v1"]


def test_with_keys_only_what_is_open_is_told_without_one() -> None:
    edge = door(*routes(), keys=[api_key("alice", "secret")])
    assert [get(edge, path).status for path in PATHS] == [401, 200, 401, 401]
    assert not any(route.counts for route in routes())


def told() -> list[Operation]:
    """Give what the routes tell the OpenAPI document."""
    return [tells for route in routes() for tells in route.tells.values()]


def test_the_document_is_told_of_each_with_an_example() -> None:
    assert [each.name for each in told()] == ["all", "of", "ofOfVersion", "text", "unload"]
    assert [each.tag for each in told()] == ["Model", "Operations", "Model", "Model", "Model"]
    assert [each.answer and each.answer["content"] for each in told()] == [
        *[{"application/json": {"schema": {"type": "array"}, "example": ["mail v1"]}}] * 3,
        {"text/plain": {"schema": TEXT, "example": "2.0"}},
        None,
    ]
    assert [set(each.problems) for each in told()] == [
        set(),
        {NOT_FOUND},
        {NOT_FOUND, UNAVAILABLE},
        set(),
        {NOT_FOUND, INVALID_INPUT},
    ]
    assert [path for route in routes() for path in route.tells] == [
        "/all",
        "/of/mail",
        "/of/mail/v1",
        "/text",
        "/unload/mail",
    ]

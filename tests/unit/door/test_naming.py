"""Paths that name a model: whom a request is for, and what the document shows of each."""

import pytest

from serving.door.naming import found, meant_at, misnamed, of_each_model, shown
from serving.door.routes import Operation, answer_of
from serving.model.about import About
from serving.prediction.loaded import Loaded
from serving.prediction.shelf import Shelf
from serving.problems import NOT_FOUND, Problem
from tests.unit.door.doors import FakeLoaded, fine
from tests.unit.samples import description

MAIL = FakeLoaded().as_loaded
POST, FAX = (
    FakeLoaded(About(description(name=name), version)).as_loaded
    for name, version in (("post", "v2"), ("fax", "v3"))
)
SHELF = Shelf([MAIL, POST, FAX])
REFERENCE = {"$ref": "#/components/schemas/Own"}


def described(loaded: Loaded) -> Operation:
    """Describe a model by a schema that refers to itself; two of them alike."""
    of = "fax" if loaded is FAX else "any"
    own = {"type": "object", "title": of, "properties": {"more": {"anyOf": [REFERENCE]}}}
    schemas = {"Own": own}
    return Operation("Tag", "ask", "Ask", answer_of("Yes", "a/b", REFERENCE), schemas=schemas)


@pytest.mark.parametrize(
    ("parts", "loaded"),
    [
        ({}, MAIL),
        ({"model": "mail"}, MAIL),
        ({"model": "post"}, POST),
        ({"model": "post", "version": "v2"}, POST),
    ],
)
def test_a_request_is_for_the_model_that_its_path_names_or_for_the_default(
    parts: dict[str, str], loaded: Loaded
) -> None:
    assert found(SHELF, parts) is loaded
    path = "/of/{model}" if parts else "/of"
    assert meant_at(path, SHELF)(parts) is loaded.about


@pytest.mark.parametrize("parts", [{"model": "wire"}, {"model": "post", "version": "v1"}])
def test_a_request_for_a_model_that_is_not_there_is_for_none(parts: dict[str, str]) -> None:
    assert meant_at("/of/{model}", SHELF)(parts) is None
    with pytest.raises(Problem) as caught:
        found(SHELF, parts)
    assert caught.value.kind is NOT_FOUND


@pytest.mark.parametrize("path", ["/v1/models/post:predict", "/v1/models/post", "/models/post/ask"])
def test_a_path_of_a_platform_that_names_another_model_than_it_means_is_refused(path: str) -> None:
    assert misnamed(["/predict", path], SHELF) == (
        f"{path}, a path of the platform, would mean the first model, mail: "
        "name post first, or choose another path"
    )


def test_one_that_names_the_model_that_it_means_or_one_that_is_not_there_is_taken() -> None:
    dialects = "/v1/models/{model}:predict", "/v1/models/mail:predict", "/v1/models/letter:predict"
    assert misnamed(dialects, SHELF) is None


def test_a_path_without_a_name_is_shown_once_with_what_the_default_takes() -> None:
    assert shown("/ask", SHELF, described) == {"/ask": described(MAIL)}


def test_a_path_with_a_name_is_shown_for_each_with_names_of_its_own() -> None:
    told = shown("/of/{model}/at/{version}:ask", SHELF, described)
    assert {path: tells.name for path, tells in told.items()} == {
        "/of/mail/at/v1:ask": "askOfVersion",
        "/of/post/at/v2:ask": "askOfVersion.post",
        "/of/fax/at/v3:ask": "askOfVersion.fax",
    }
    mail, post, fax = told.values()
    assert mail.schemas == post.schemas == described(MAIL).schemas  # which are alike
    reference = {"$ref": "#/components/schemas/fax.Own"}
    assert fax.answer == answer_of("Yes", "a/b", reference)
    assert fax.schemas["fax.Own"]["properties"] == {"more": {"anyOf": [reference]}}


def test_what_is_told_of_each_is_told_of_the_default_without_its_name_too() -> None:
    def describe(loaded: Loaded, path: str) -> Operation:
        return Operation("Tag", "modelPart", loaded.about.name, None, f"It is at {path}.")

    default, each = of_each_model("part", SHELF, fine, describe)
    assert (default.path, each.path) == ("/model/part", "/models/{model}/part")
    assert [tells.description for tells in default.tells.values()] == ["It is at /model/part."]
    assert {path: (tells.summary, tells.name) for path, tells in each.tells.items()} == {
        "/models/mail/part": ("mail", "partOfModel"),
        "/models/post/part": ("post", "partOfModel.post"),
        "/models/fax/part": ("fax", "partOfModel.fax"),
    }
    for path, tells in each.tells.items():
        assert tells.description == f"It is at {path}."
        assert NOT_FOUND in tells.problems
    assert (default.model({}), each.model({"model": "fax"})) == (MAIL.about, FAX.about)

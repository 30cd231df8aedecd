"""Every answer outside 2xx has one shape, and every kind of problem means something."""

import json
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.problems import (
    BATCH_TOO_LARGE,
    BODY_TOO_LARGE,
    INVALID_INPUT,
    NOT_EXPLAINED,
    NOT_FOUND,
    OVERLOADED,
    PROBLEM_JSON,
    PROBLEM_TYPES,
    UNAVAILABLE,
    FieldError,
    Problem,
    ProblemType,
    Wording,
    from_status,
    pointer,
)

KINDS = list(PROBLEM_TYPES.values())


def written(problem: Problem, words: Wording = PROBLEM_JSON) -> dict[str, Any]:
    """Write a problem, and read it."""
    document: dict[str, Any] = json.loads(words.body(problem, "id-1", "/predict"))
    return document


def test_a_problem_is_written_as_rfc_9457_says() -> None:
    errors = [FieldError("/data/3", "expected a number, got a string")]
    problem = Problem(INVALID_INPUT, "1 problem in the request body", errors=errors)
    assert written(problem) == {
        "type": "./errors/invalid-input",
        "title": "Invalid input",
        "status": 422,
        "detail": "1 problem in the request body",
        "errors": [{"pointer": "/data/3", "detail": "expected a number, got a string"}],
        "request_id": "id-1",
    }


def test_a_problem_without_places_has_no_errors_member() -> None:
    assert "errors" not in written(Problem(INVALID_INPUT, "none"))


def test_other_words_have_members_of_their_own_and_statuses_that_stand_for_others() -> None:
    errors = [FieldError(f"/inputs/{number}", "missing") for number in range(5)]
    problem = Problem(INVALID_INPUT, "5 problems", errors=errors)
    members = {"error": lambda each: each.sentence, "code": lambda each: each.kind.slug.upper()}
    words = Wording("Own", "application/json", {422: 400}, members)
    plain, own = written(problem), written(problem, words)
    assert list(own) == [*list(plain)[:-1], "error", "code", "request_id"]
    assert own | plain | {"status": 400} == own
    assert (words.status(INVALID_INPUT), words.status(NOT_FOUND)) == (400, 404)
    assert own["code"] == "INVALID-INPUT"
    # As many places as a line may show.
    assert own["error"] == "5 problems; /inputs/0: missing; /inputs/1: missing; /inputs/2: missing"
    assert Problem(NOT_FOUND, "no such model").sentence == "no such model"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.slug)
def test_every_kind_tells_what_happened_and_what_to_do(kind: ProblemType) -> None:
    assert PROBLEM_TYPES[kind.slug] is kind
    assert kind.reference("/predict") == f"./errors/{kind.slug}"
    assert 400 <= kind.status <= 599
    for text in (kind.cause, kind.remedy):
        assert text.endswith(".")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.slug)
def test_a_status_gives_its_kind(kind: ProblemType) -> None:
    general = {
        BATCH_TOO_LARGE: BODY_TOO_LARGE,
        NOT_EXPLAINED: INVALID_INPUT,
        OVERLOADED: UNAVAILABLE,
    }
    assert from_status(kind.status).kind is general.get(kind, kind)


@pytest.mark.parametrize("status", [403, 409, 418, 501, 505])
def test_a_status_without_a_kind_is_about_blank(status: int) -> None:
    assert written(from_status(status)) == {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": HTTPStatus(status).phrase,
        "request_id": "id-1",
    }


@pytest.mark.parametrize("status", [499, 599])
def test_a_status_that_no_standard_knows_is_still_a_problem(status: int) -> None:
    assert written(from_status(status))["status"] == status


@pytest.mark.parametrize("status", [405, 418])
def test_headers_go_with_a_status(status: int) -> None:
    assert from_status(status, {"Allow": "GET"}).headers == {"Allow": "GET"}


def test_who_is_unavailable_says_when_to_try_again() -> None:
    assert Problem(UNAVAILABLE, "starting").headers == {"Retry-After": "1"}
    later = Problem(UNAVAILABLE, "draining", headers={"Retry-After": "5"})
    assert later.headers == {"Retry-After": "5"}


def test_a_problem_does_not_share_the_headers_that_it_was_given() -> None:
    given_headers = {"Allow": "GET"}
    Problem(UNAVAILABLE, "starting", headers=given_headers)
    assert given_headers == {"Allow": "GET"}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((), ""),
        (("",), "/"),
        (("data", 3), "/data/3"),
        (("a/b",), "/a~1b"),
        (("m~n",), "/m~0n"),
        (("~1",), "/~01"),
        ((" ", "ünï"), "/ /ünï"),
    ],
)
def test_a_pointer_is_escaped_as_rfc_6901_says(parts: tuple[str | int, ...], expected: str) -> None:
    assert pointer(*parts) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/predict",
        "/predict/",
        "/predict/batch",
        "/predict//batch",
        "//predict",
        "/a/b/c/",
        "/a%2Fb/c",
        "/a/./b",
        "/a/../b",
        "/a/..",
        "/a:b/c",
    ],
)
@pytest.mark.parametrize("prefix", ["", "/iris", "/models/iris"])
def test_the_type_leads_to_its_page_whatever_stands_before_the_path(path: str, prefix: str) -> None:
    reference = NOT_FOUND.reference(path)
    assert reference.endswith("/errors/not-found")
    assert resolved(prefix + path, reference) == f"{prefix}/errors/not-found"


def resolved(base: str, reference: str) -> str:
    """Resolve a relative path as RFC 3986 has it in 5.2 (Python drops empty segments)."""
    kept: list[str] = []
    for segment in (base.rpartition("/")[0] + "/" + reference).split("/")[1:]:
        if segment == "..":
            kept[-1:] = []
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept)


@given(st.lists(st.text()))
def test_the_parts_of_a_pointer_can_be_read_back(parts: list[str]) -> None:
    read_back = [
        part.replace("~1", "/").replace("~0", "~") for part in pointer(*parts).split("/")[1:]
    ]
    assert read_back == parts

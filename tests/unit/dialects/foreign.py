"""How the tests of other servers' dialects ask, and what the models of each task answer."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

from serving.dialects.dialect import Answer, Asked, Conversation, Sent
from serving.model.about import About
from serving.model.outputs import Prediction
from serving.model.rows import Rows
from serving.problems import INVALID_INPUT, JSON_MEDIA_TYPE, Problem
from tests.unit.pointers import assert_points_into
from tests.unit.samples import EACH_TASK, MIXED, PROBABILITIES, description, number

MAX_ROWS = 5
NAMES = ("length", "a/b ~c")
IGNORED = ("kind", "id/~")
ROW = [1.5, 2.0]
NAMED = dict(zip(NAMES, ROW, strict=True))
ABOUT = About(description(asked=PROBABILITIES), "v7")
ROWS = Rows([number(name) for name in NAMES], MAX_ROWS, IGNORED)
MIXED_ABOUT = About(description(features=MIXED, ignored=IGNORED, asked=PROBABILITIES), "v7")
MIXED_ROWS = Rows(MIXED, MAX_ROWS, IGNORED)
MIXED_ROW = [feature.example for feature in MIXED]
AWKWARD = 0.1 + 0.2  # a double with 17 digits

PREDICTIONS: dict[str, list[Prediction]] = {
    "one label": [Prediction("ham", [1 - AWKWARD, AWKWARD]), Prediction("spam", [5e-324, 1.0])],
    "one label, no scores": [Prediction("ham"), Prediction("spam")],
    "one label, scores by class": [Prediction("ham", scores=[AWKWARD, -AWKWARD])],
    "one label, scores in a list": [Prediction("c", scores=[0.5, -AWKWARD, 2.0])],
    "several labels": [Prediction([1, "c"], [[0.25, 0.75], [0.5, AWKWARD, 0.25]])],
    "one number": [Prediction(AWKWARD), Prediction(-1.7976931348623157e308)],
    "several numbers": [Prediction([AWKWARD, -2.0])],
    "clusters": [Prediction(0), Prediction(7)],
    "outliers": [Prediction("inlier", scores=AWKWARD), Prediction("outlier", scores=-0.5)],
}
assert PREDICTIONS.keys() == EACH_TASK.keys()

# By task: what each method gives, said once more, for each of the predictions above.
GIVEN: dict[str, dict[str, list[Any]]] = {
    "one label": {
        "predict": ["ham", "spam"],
        "predict_proba": [[1 - AWKWARD, AWKWARD], [5e-324, 1.0]],
    },
    "one label, no scores": {"predict": ["ham", "spam"]},
    "one label, scores by class": {"predict": ["ham"], "decision_function": [-AWKWARD]},
    "one label, scores in a list": {"predict": ["c"], "decision_function": [[0.5, -AWKWARD, 2.0]]},
    "several labels": {
        "predict": [[1, "c"]],
        "predict_proba": [[[0.25, 0.75], [0.5, AWKWARD, 0.25]]],
    },
    "one number": {"predict": [AWKWARD, -1.7976931348623157e308]},
    "several numbers": {"predict": [[AWKWARD, -2.0]]},
    "clusters": {"predict": [0, 7]},
    "outliers": {"predict": ["inlier", "outlier"], "decision_function": [AWKWARD, -0.5]},
}
METHODS = ("predict", "predict_proba", "decision_function")


def sent(
    document: object,
    media_type: str = JSON_MEDIA_TYPE,
    wanted: str = JSON_MEDIA_TYPE,
    headers: Mapping[str, str] = {},
) -> Sent:
    """Send a body as it is, or JSON by Python's own writer."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Sent(body, media_type, wanted, headers)


def asked(
    conversation: Conversation, told: Sent, about: About = ABOUT, rows: Rows = ROWS
) -> list[Any]:
    """Give the rows that a request asks for."""
    return conversation.read(told, about, rows).question.rows


def refusal(
    conversation: Conversation, told: Sent, about: About = ABOUT, rows: Rows = ROWS
) -> Problem:
    """Ask what is refused with 400."""
    with pytest.raises(Problem) as caught:
        conversation.read(told, about, rows)
    assert conversation.wording.status(caught.value.kind) == 400
    return caught.value


def places(problem: Problem) -> list[str]:
    """Give where mistakes are."""
    return [error.pointer for error in problem.errors]


def assert_taken_or_refused(
    conversation: Conversation, document: object, about: About, rows: Rows
) -> None:
    """Check that any JSON is a question, or a problem whose places are in it."""
    try:
        question = conversation.read(sent(document), about, rows).question
    except Problem as problem:
        assert bool(problem.errors) == (problem.kind is INVALID_INPUT)  # noqa: PT017 (or it is none)
        for error in problem.errors:
            assert_points_into(document, error)
    else:
        assert all(type(row) is tuple and len(row) == len(rows.features) for row in question.rows)
        for warning in question.warnings:
            assert_points_into(document, warning)


def answered(request: Asked, task: str) -> Answer:
    """Answer a request with the predictions of a task."""
    return request.write(PREDICTIONS[task], "id-1")


def validator(schema: object, told: Mapping[str, object]) -> OAS31Validator:
    """Check by a schema that refers to others."""
    whole: Any = {"allOf": [schema], "components": {"schemas": told}}
    OAS31Validator.check_schema(whole)
    return OAS31Validator(whole)

"""KServe's V1 protocol: instances in, predictions out, by whatever method is asked for."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.dialects.dialect import Conversation
from serving.dialects.v1 import conversation, dialect
from serving.model.about import About
from serving.model.rows import Rows
from serving.problems import BATCH_TOO_LARGE, Problem
from serving.settings import Settings
from tests.unit.dialects.foreign import (
    ABOUT,
    GIVEN,
    IGNORED,
    MAX_ROWS,
    METHODS,
    MIXED_ABOUT,
    MIXED_ROWS,
    NAMED,
    PREDICTIONS,
    ROW,
    ROWS,
    answered,
    asked,
    assert_taken_or_refused,
    places,
    refusal,
    sent,
    validator,
)
from tests.unit.drawn import instances, json_values
from tests.unit.samples import EACH_TASK, MIXED

V1 = dialect(Settings())
PREDICT: Conversation = V1.conversations["/v1/models/{model}:predict"]


def test_instances_are_lists_or_objects_under_either_name() -> None:
    for name in ("instances", "inputs"):
        assert asked(PREDICT, sent({name: [ROW, NAMED | {"kind": "x"}]})) == [tuple(ROW)] * 2
    assert asked(PREDICT, sent({"instances": [], "signature_name": "x", "id": None})) == []


def test_a_body_says_once_what_its_instances_are() -> None:
    for wrong in ({}, {"instances": [ROW], "inputs": [ROW]}, {"data": [ROW]}):
        (error,) = refusal(PREDICT, sent(wrong)).errors
        assert error.detail == "expected either instances or inputs"
    assert refusal(PREDICT, sent([ROW])).errors[0].detail.endswith("got an array")


def test_a_gap_is_null_or_the_word_that_pandas_writes() -> None:
    row = [None if feature.nullable else feature.example for feature in MIXED]
    for body in (sent({"instances": [row]}), sent({"instances": [row]} | {"index": float("nan")})):
        assert asked(PREDICT, body, MIXED_ABOUT, MIXED_ROWS) == [tuple(row)]
    gaps = json.dumps({"instances": [row]}).replace("null", "NaN").encode()
    assert asked(PREDICT, sent(gaps), MIXED_ABOUT, MIXED_ROWS) == [tuple(row)]
    assert places(refusal(PREDICT, sent(b'{"instances": [[NaN, 1]]}'))) == ["/instances/0/0"]


def test_all_that_is_wrong_with_instances_is_told_at_its_place() -> None:
    wrong = [["x", 2.0], {"length": 1, "other": 2}, [1], 7]
    expected = ["/0/0", "/1/a~1b ~0c", "/1/other", "/2", "/3"]
    for name in ("instances", "inputs"):
        assert places(refusal(PREDICT, sent({name: wrong}))) == [f"/{name}{p}" for p in expected]
    problem = refusal(PREDICT, sent({"instances": [["x", 2.0]]}))
    assert json.loads(PREDICT.wording.body(problem, "id-1", "/v1/models/mail:predict")) == {
        "type": "../../errors/invalid-input",
        "title": "Invalid input",
        "status": 400,
        "detail": "1 problem in the request body",
        "errors": [{"pointer": "/instances/0/0", "detail": "expected a number, got a string"}],
        "error": "1 problem in the request body; /instances/0/0: expected a number, got a string",
        "request_id": "id-1",
    }


@pytest.mark.parametrize("member", ["instances", "parameters", "signature_name"])
def test_a_number_that_no_double_holds_is_refused_wherever_it_stands(member: str) -> None:
    good: dict[str, Any] = {"instances": [ROW], "parameters": {}, "signature_name": ""}
    body = json.dumps(good | {member: {"deep": ["huge"]}}).replace('"huge"', "1e400").encode()
    assert refusal(PREDICT, sent(body)).kind.slug == "malformed-body"


def test_more_instances_than_a_batch_takes_are_too_many() -> None:
    assert len(asked(PREDICT, sent({"instances": [ROW] * MAX_ROWS}))) == MAX_ROWS
    with pytest.raises(Problem) as caught:
        PREDICT.read(sent({"instances": [ROW] * (MAX_ROWS + 1)}), ABOUT, ROWS)
    assert PREDICT.wording.status(caught.value.kind) == BATCH_TOO_LARGE.status


# By method


@pytest.mark.parametrize("task", EACH_TASK)
@pytest.mark.parametrize("method", METHODS)
def test_a_model_says_what_the_method_gives_that_it_has(task: str, method: str) -> None:
    about = About(EACH_TASK[task], "v7")
    body = sent({"instances": [ROW], "parameters": {"predict_method": method, "other": 1}})
    if method in GIVEN[task]:
        answer = answered(PREDICT.read(body, about, ROWS), task)
        assert answer.media_type == "application/json"
        assert json.loads(answer.body) == {"predictions": GIVEN[task][method]}
    else:
        (error,) = refusal(PREDICT, body, about).errors
        assert error.pointer == "/parameters/predict_method"
        assert error.detail == f"expected one of {', '.join(GIVEN[task])}"


@pytest.mark.parametrize("parameters", [None, {}, {"predict_method": None}, {"x": 1}])
def test_what_is_not_said_is_predict(parameters: object) -> None:
    request = PREDICT.read(sent({"instances": [ROW], "parameters": parameters}), ABOUT, ROWS)
    assert json.loads(answered(request, "one label").body) == {"predictions": ["ham", "spam"]}


def test_parameters_are_an_object_and_a_method_is_a_name() -> None:
    wrong: object
    for wrong in ([], 1, "predict_proba"):
        assert places(refusal(PREDICT, sent({"instances": [], "parameters": wrong}))) == [
            "/parameters"
        ]
    for wrong in (1, ["predict"], {}, "fit"):
        parameters: object = {"predict_method": wrong}
        assert places(refusal(PREDICT, sent({"instances": [], "parameters": parameters}))) == [
            "/parameters/predict_method"
        ]


# Whatever comes

BODIES = json_values | st.fixed_dictionaries(
    {},
    optional={
        "instances": json_values | st.lists(instances(MIXED, IGNORED), max_size=3),
        "inputs": json_values | st.lists(instances(MIXED, IGNORED), max_size=3),
        "parameters": json_values | st.fixed_dictionaries({"predict_method": json_values}),
        "x": json_values,
    },
)


@settings(max_examples=100)
@given(BODIES)
def test_any_json_is_taken_or_refused_at_its_places_as_is_described(document: object) -> None:
    assert_taken_or_refused(PREDICT, document, MIXED_ABOUT, MIXED_ROWS)
    told = PREDICT.describe(MIXED_ABOUT, PREDICTIONS["one label"][0], MAX_ROWS)
    body = validator(told.bodies["application/json"]["schema"], told.schemas)
    try:
        PREDICT.read(sent(document), MIXED_ABOUT, MIXED_ROWS)
    except Problem:
        assert not body.is_valid(document)
    else:
        assert body.is_valid(document)


@given(st.binary())
def test_any_bytes_are_taken_or_refused(body: bytes) -> None:
    with pytest.raises(Problem):
        PREDICT.read(sent(body), ABOUT, ROWS)


# What is told


@pytest.mark.parametrize("task", EACH_TASK)
def test_what_is_asked_and_answered_is_described(task: str) -> None:
    about, example = About(EACH_TASK[task], "v7"), PREDICTIONS[task][0]
    told = PREDICT.describe(about, example, MAX_ROWS)
    bodies, answers = told.bodies["application/json"], told.answers["application/json"]
    body, answer = (validator(each["schema"], told.schemas) for each in (bodies, answers))
    assert list(bodies["examples"]) == list(answers["examples"]) == list(GIVEN[task])
    for name in GIVEN[task]:
        asks, says = bodies["examples"][name]["value"], answers["examples"][name]["value"]
        assert body.is_valid(asks)
        assert answer.is_valid(says)
        request = PREDICT.read(sent(asks), about, Rows(about.description.features, MAX_ROWS))
        written = request.write([example] * len(request.question.rows), "id-1").body
        assert json.loads(written) == says
        assert answer.is_valid({"predictions": GIVEN[task][name]})
    assert not answer.is_valid({"predictions": [None]})
    assert not answer.is_valid({"predictions": GIVEN[task]["predict"], "more": 1})


def test_models_are_listed_and_are_ready() -> None:
    models, model = V1.tells
    assert (models.path, models.is_open, models.ready) == ("/v1/models", False, False)
    assert models.tell([ABOUT]) == {"models": ["mail"]}
    assert (model.path, model.is_open, model.ready) == ("/v1/models/{model}", True, True)
    assert model.tell([ABOUT]) == {"name": "mail", "ready": True}
    for each in V1.tells:
        assert validator(each.schema, {}).is_valid(each.tell([ABOUT]))


def test_another_path_may_have_the_conversation_with_another_wording() -> None:
    other = conversation(PREDICT.wording, "other")
    assert other.describe(ABOUT, PREDICTIONS["one label"][0], MAX_ROWS).name == "other"
    assert other.reads == ()

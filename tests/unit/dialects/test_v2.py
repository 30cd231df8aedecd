"""What the Open Inference Protocol tells of server and models, and the document of it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator

from serving import __version__
from serving.dialects.dialect import Telling
from serving.dialects.tensors import DATATYPES
from serving.dialects.v2 import dialect, metadata
from serving.model.about import About
from serving.model.outputs import Prediction
from serving.model.rows import Rows
from serving.problems import Problem
from serving.settings import Settings
from tests.tensors import LENGTH_HEADER
from tests.unit.dialects.foreign import (
    ABOUT,
    IGNORED,
    MAX_ROWS,
    MIXED_ABOUT,
    MIXED_ROW,
    MIXED_ROWS,
    PREDICTIONS,
    sent,
    validator,
)
from tests.unit.drawn import json_values
from tests.unit.samples import EACH_TASK, MIXED, boolean, description, integer, number

V2 = dialect(Settings())
MODEL, VERSION = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
INFER = V2.conversations[f"{MODEL}/infer"]
TELLS: dict[str, Telling] = {f"{told.method} {told.path}": told for told in V2.tells}
OPEN = {
    "GET /v2/health/live",
    "GET /v2/health/ready",
    f"GET {MODEL}/ready",
    f"GET {VERSION}/ready",
}


# What is told


@pytest.mark.parametrize(
    ("at", "document"),
    [
        ("GET /v2/health/live", {"live": True}),
        ("GET /v2/health/ready", {"live": True, "ready": True}),
        (f"GET {MODEL}/ready", {"name": "mail", "ready": True}),
        (f"GET {VERSION}/ready", {"name": "mail", "ready": True}),
        ("GET /v2/models", {"models": ["mail"]}),
        (
            "POST /v2/repository/index",
            [{"name": "mail", "version": "v7", "state": "READY", "reason": ""}],
        ),
        ("POST /v2/repository/models/{model}/load", {}),
        *(
            (
                f"GET {path}",
                {
                    "name": "model-api",
                    "version": __version__,
                    "extensions": ["binary_tensor_data", "model_repository"],
                },
            )
            for path in ("/v2", "/v2/")
        ),
    ],
)
def test_what_is_told_is_told_as_described(at: str, document: object) -> None:
    told = TELLS[at].tell([ABOUT])
    assert told == document
    assert TELLS[at].schema is not None
    assert validator(TELLS[at].schema, {}).is_valid(told)


def test_all_is_told_in_plain_json_and_some_of_it_to_who_has_no_key() -> None:
    assert {at for at, told in TELLS.items() if told.is_open} == OPEN
    assert {at for at, told in TELLS.items() if told.ready} == OPEN - {"GET /v2/health/live"}
    for wording in (INFER.wording, *(told.wording for told in V2.tells)):
        assert wording.media_type == "application/json"
        assert (wording.statuses, list(wording.members)) == ({422: 400}, ["error"])


def test_a_model_is_not_unloaded() -> None:
    unload = TELLS["POST /v2/repository/models/{model}/unload"]
    with pytest.raises(Problem) as caught:
        unload.tell([ABOUT])
    assert unload.wording.status(caught.value.kind) == 400
    assert unload.wording.body(caught.value, "id-1", "/").count(b"models are not unloaded") == 2


# Metadata

OUTPUTS: dict[str, list[tuple[str, str, list[int]]]] = {
    "one label": [("predict", "BYTES", [-1, 1]), ("predict_proba", "FP64", [-1, 2])],
    "one label, no scores": [("predict", "BYTES", [-1, 1])],
    "one label, scores by class": [
        ("predict", "BYTES", [-1, 1]),
        ("decision_function", "FP64", [-1]),
    ],
    "one label, scores in a list": [
        ("predict", "BYTES", [-1, 1]),
        ("decision_function", "FP64", [-1, -1]),
    ],
    "several labels": [
        ("predict_0", "INT64", [-1, 1]),
        ("predict_1", "BYTES", [-1, 1]),
        ("predict_proba_0", "FP64", [-1, 2]),
        ("predict_proba_1", "FP64", [-1, 3]),
    ],
    "one number": [("predict", "FP64", [-1, 1])],
    "several numbers": [("predict", "FP64", [-1, 2])],
    "clusters": [("predict", "INT64", [-1, 1])],
    "outliers": [("predict", "BYTES", [-1, 1]), ("score", "FP64", [-1])],
}


def listed(*tensors: tuple[str, str, list[int]]) -> list[dict[str, Any]]:
    """Give tensors as metadata has them."""
    return [{"name": name, "datatype": kind, "shape": shape} for name, kind, shape in tensors]


@pytest.mark.parametrize("task", EACH_TASK)
def test_a_model_of_each_task_tells_its_tensors_and_answers_so(task: str) -> None:
    about = About(EACH_TASK[task], "v7")
    told = metadata([about])
    classes = {
        "one label, scores in a list": '["a","b","c"]',
        "several labels": '[[0,1],["a","b","c"]]',
    }.get(task, '["ham","spam"]' if "label" in task else "")
    assert told == {
        "name": "mail",
        "versions": ["v7"],
        "platform": "sklearn_joblib",
        "inputs": listed(("input-0", "FP64", [-1, 2])),
        "outputs": listed(*OUTPUTS[task]),
        "properties": {"classes": classes} if classes else {},
    }
    matrix = {"name": "input-0", "datatype": "FP64", "shape": [0, 2], "data": []}
    request = INFER.read(
        sent({"inputs": [matrix]}), about, Rows(about.description.features, MAX_ROWS)
    )
    answer = json.loads(request.write(PREDICTIONS[task], "id-1").body)
    for promised, given_ in zip(told["outputs"], answer["outputs"], strict=True):
        assert (promised["name"], promised["datatype"]) == (given_["name"], given_["datatype"])
        assert len(promised["shape"]) == len(given_["shape"])
        assert all(
            wide in {-1, is_} for wide, is_ in zip(promised["shape"], given_["shape"], strict=True)
        )


def test_features_that_are_no_numbers_have_an_input_each_of_the_datatype_that_suits() -> None:
    assert metadata([MIXED_ABOUT])["inputs"] == listed(
        ("length", "FP64", [-1, 1]),
        ("count", "FP64", [-1, 1]),  # which may be missing
        ("is a/b ~c", "BOOL", [-1, 1]),
        ("colour", "BYTES", [-1, 1]),
        ("shape", "BYTES", [-1, 1]),
        ("ünï", "BYTES", [-1, 1]),
    )
    some = About(description(features=(integer("n"), boolean("b"))), "v7")
    assert metadata([some])["inputs"] == listed(("n", "INT64", [-1, 1]), ("b", "BOOL", [-1, 1]))
    whole = About(description(features=(integer("n"), number("x", nullable=True))), "v7")
    assert metadata([whole])["inputs"] == listed(("input-0", "FP64", [-1, 2]))


# The document


def described(about: About, example: Prediction) -> tuple[OAS31Validator, OAS31Validator, Any]:
    """Give what checks requests and answers, and all that is told."""
    told = INFER.describe(about, example, MAX_ROWS)
    bodies, answers = told.bodies["application/json"], told.answers["application/json"]
    return (
        validator(bodies["schema"], told.schemas),
        validator(answers["schema"], told.schemas),
        told,
    )


@pytest.mark.parametrize("task", EACH_TASK)
def test_what_a_model_answers_is_described_and_its_examples_are_taken(task: str) -> None:
    about, example = About(EACH_TASK[task], "v7"), PREDICTIONS[task][0]
    rows = Rows(about.description.features, MAX_ROWS)
    requests, answers, told = described(about, example)
    assert answers.is_valid(told.answers["application/json"]["example"])
    for shown in told.bodies["application/json"]["examples"].values():
        assert requests.is_valid(shown["value"])
        for parameters in ({}, {"binary_data_output": True}, {"content_type": "np"}):
            asked = INFER.read(sent({**shown["value"], "parameters": parameters}), about, rows)
            assert asked.question.rows == [about.description.example]
            answer = asked.write([example], "id-1")
            length = answer.headers.get(LENGTH_HEADER)
            wrong = json.loads(answer.body[: None if length is None else int(length)])
            assert answers.is_valid(wrong)
    assert "At most 5 rows" in told.description
    for member in wrong:
        assert not answers.is_valid({name: wrong[name] for name in wrong if name != member})
    assert not answers.is_valid({**wrong, "outputs": [{**wrong["outputs"][0], "name": "other"}]})


def test_the_two_paths_of_a_model_are_one_conversation() -> None:
    assert V2.conversations == {f"{path}/infer": INFER for path in (MODEL, VERSION)}


KINDS = ("FP64", "INT64", "BOOL", "BYTES", "BYTES", "BYTES")
COLUMNS: list[dict[str, Any]] = [
    {"name": feature.name, "shape": [1], "datatype": datatype, "data": [value]}
    for feature, datatype, value in zip(MIXED, KINDS, MIXED_ROW, strict=True)
]
AS_JSON = [
    {**column, "datatype": "BYTES", "data": [json.dumps(*column["data"])]} for column in COLUMNS
]
MATRIX = {
    "name": "x",
    "shape": [1, 6],
    "datatype": "BYTES",
    "data": [*map(json.dumps, MIXED_ROW)],
}
PD_JSON = {"parameters": {"content_type": "pd_json"}}
TAKEN: dict[str, dict[str, Any]] = {
    "columns": {"inputs": COLUMNS},
    "nested": {"inputs": [{**each, "shape": [1, 1], "data": [each["data"]]} for each in COLUMNS]},
    "whole numbers": {
        "inputs": [
            {**each, "datatype": "INT8", "data": [1]} if each["datatype"] != "BYTES" else each
            for each in COLUMNS
        ]
    },
    "no rows": {"inputs": [{**each, "shape": [0], "data": []} for each in COLUMNS]},
    "columns of JSON": {"inputs": AS_JSON, **PD_JSON},
    "of JSON each": {"inputs": [{**each, **PD_JSON} for each in AS_JSON]},
    "a matrix of JSON": {"inputs": [MATRIX], **PD_JSON},
    "ignored columns": {
        "inputs": [{"name": IGNORED[0], "shape": [0], "datatype": "BOOL", "data": []}, *COLUMNS]
    },
    "nulls": {"inputs": COLUMNS, "id": None, "parameters": None, "outputs": None},
    "outputs": {"inputs": COLUMNS, "outputs": [{"name": "predict", "parameters": {"x": 1}}]},
}


def is_taken(document: object) -> bool:
    """Tell whether a request is read."""
    try:
        INFER.read(sent(document), MIXED_ABOUT, MIXED_ROWS)
    except Problem:
        return False
    return True


@pytest.mark.parametrize("form", TAKEN)
def test_all_forms_of_a_request_are_taken_and_described(form: str) -> None:
    requests, _, _ = described(MIXED_ABOUT, PREDICTIONS["one label"][0])
    assert is_taken(TAKEN[form])
    assert requests.is_valid(TAKEN[form])


@st.composite
def changed(draw: st.DrawFn) -> Any:  # noqa: ANN401 (any JSON)
    """Draw a request that is taken, but for one change."""
    document = draw(st.sampled_from([*TAKEN.values()]))
    values = json_values | st.sampled_from(
        [
            PD_JSON["parameters"],
            *DATATYPES,
            *IGNORED,
            [1, 1],
            [1, 6],
            ["red"],
            [0.5],
            [None],
            [True],
        ]
    )
    if draw(st.booleans()):
        return {
            **document,
            draw(st.sampled_from([*document, "id", "parameters", "x"])): draw(values),
        }
    inputs = [*document["inputs"]]
    index = draw(st.integers(0, len(inputs) - 1))
    if draw(st.booleans()):
        names = [*inputs[index], "parameters", "x"]
        inputs[index] = {**inputs[index], draw(st.sampled_from(names)): draw(values)}
    else:
        inputs[index] = draw(st.sampled_from(inputs) | values)
    return {**document, "inputs": draw(st.permutations(inputs))}


@settings(max_examples=300)
@given(changed())
def test_what_is_taken_is_described(document: Any) -> None:  # noqa: ANN401
    requests, _, _ = described(MIXED_ABOUT, PREDICTIONS["one label"][0])
    assert not is_taken(document) or requests.is_valid(document)


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {},
        {"inputs": []},
        {"inputs": [MATRIX, MATRIX]},
        {"inputs": [{**MATRIX, "shape": [1, 5]}]},
        {"inputs": [{**MATRIX, "datatype": "FP64"}]},
        {"inputs": [{**COLUMNS[0], "name": "other"}, *COLUMNS[1:]]},
        {"inputs": COLUMNS[1:]},
        {"inputs": COLUMNS, "outputs": [{"name": "score"}]},
        {"inputs": [*COLUMNS[:5], {**COLUMNS[5], "data": [None]}]},
        {"inputs": COLUMNS, "id": 1},
        {"inputs": COLUMNS, "parameters": {"predict_method": "decision_function"}},
    ],
    ids=lambda wrong: str(wrong)[:40],
)
def test_what_a_schema_can_tell_of_a_wrong_request_it_tells(wrong: object) -> None:
    requests, _, _ = described(MIXED_ABOUT, PREDICTIONS["one label"][0])
    assert not is_taken(wrong)
    assert not requests.is_valid(wrong)


@pytest.mark.parametrize("element", ["1.5", None, True])
def test_an_element_of_a_matrix_is_described_by_its_datatype(element: object) -> None:
    requests, _, _ = described(ABOUT, PREDICTIONS["one label"][0])
    matrix = {"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1.5, 2]}
    assert requests.is_valid({"inputs": [matrix]})
    assert not requests.is_valid({"inputs": [{**matrix, "data": [1.5, element]}]})
    nested = {**matrix, "data": [[element, 2]]}
    assert not requests.is_valid({"inputs": [nested]})

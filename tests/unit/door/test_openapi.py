"""The OpenAPI document says exactly what is accepted and answered."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import bentoml
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from serving.dialects.ours import AnswerWriter
from serving.door.openapi import openapi_document
from serving.host.bento import BatchOutput, InstanceOutput
from serving.keys import ApiKey
from serving.model.description import Description, Label
from serving.model.features import Feature
from serving.model.outputs import Prediction
from serving.model.rows import RequestSchema
from serving.model.store import ARTIFACT, VerifiedModel, model_info
from serving.problems import PROBLEM_TYPES, FieldError, Problem
from serving.settings import Settings
from tests.unit.samples import (
    EACH_TASK,
    LIMIT,
    MIXED,
    PROBABILITIES,
    boolean,
    category,
    closed_category,
    description,
    integer,
    number,
    text,
)

PREDICTIONS: dict[str, list[Prediction]] = {
    "one label": [Prediction("ham", [0.75, 0.25]), Prediction("spam", [0.0, 1.0])],
    "one label, no scores": [Prediction("ham"), Prediction("spam")],
    "one label, scores by class": [Prediction("ham", scores=[0.5, -0.5])],
    "one label, scores in a list": [Prediction("c", scores=[0.5, -0.5, 2.0])],
    "several labels": [Prediction([1, "c"], [[0.25, 0.75], [0.5, 0.25, 0.25]])],
    "one number": [Prediction(1.5), Prediction(-3)],
    "several numbers": [Prediction([1.5, -2.0])],
    "clusters": [Prediction(0), Prediction(7)],
    "outliers": [Prediction("inlier", scores=0.5), Prediction("outlier", scores=-0.5)],
}
# Of each task, predictions that would be answers of another model.
STRANGE: dict[str, list[Any]] = {
    "one label": ["eggs", 1, None, ["ham"]],
    "one label, no scores": ["eggs"],
    "one label, scores by class": ["eggs"],
    "one label, scores in a list": ["d"],
    "several labels": [1, [1], [1, "d"], ["c", 1], [1, "c", 0]],
    "one number": ["1.5", True, [1.5]],
    "several numbers": [1.5, [1.5], [1.5, 2.5, 3.5], ["1", "2"]],
    "clusters": [1.5, "0", [0]],
    "outliers": ["ham", 1, -1],
}
WARNING = FieldError("/data/0", "outside of the range seen in training, 0.0 to 9.0")


def document(described: Description, example: Prediction) -> dict[str, Any]:
    """Describe a small service."""
    answer = AnswerWriter(described, "v7").document(example)
    return openapi_document(described, "v7", Settings(max_batch_rows=5), answer)


def of_task(task: str) -> tuple[Description, dict[str, Any]]:
    """Describe a small service of a task."""
    described = EACH_TASK[task]
    return described, document(described, PREDICTIONS[task][0])


IGNORED = ("kind", "id/~")
MIXED_MODEL = description(features=MIXED, ignored=IGNORED, asked=PROBABILITIES)
DOCUMENT = document(MIXED_MODEL, Prediction("ham", [1.0, 0.0]))
SCHEMA = RequestSchema(MIXED, 5, IGNORED)


def conforms(body: object, schema: str, to: dict[str, Any] = DOCUMENT) -> bool:
    """Tell whether a body is what a schema of the document describes."""
    reference = {"$ref": f"#/components/schemas/{schema}", "components": to["components"]}
    return bool(OAS31Validator(reference).is_valid(body))


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    """Give the path, the method and the description of every operation."""
    return [
        (path, method, operation)
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    ]


@pytest.mark.parametrize("task", EACH_TASK)
def test_the_document_is_valid_and_its_answers_are_real_ones_for_every_task(task: str) -> None:
    described, told = of_task(task)
    validate(told)
    writer = AnswerWriter(described, "v7")
    for warnings in ([], [WARNING]):
        for prediction in PREDICTIONS[task]:
            answer = json.loads(writer.instance(prediction, "id-1", warnings))
            assert conforms(answer, "PredictAnswer", told)
        batch = json.loads(writer.batch(PREDICTIONS[task], "id-1", warnings))
        assert conforms(batch, "BatchAnswer", told)


@pytest.mark.parametrize("task", EACH_TASK)
def test_what_the_model_does_not_answer_is_not_described(task: str) -> None:
    described, told = of_task(task)
    answer = json.loads(AnswerWriter(described, "v7").instance(PREDICTIONS[task][0], "id-1"))
    for strange in STRANGE[task]:
        assert not conforms({**answer, "prediction": strange}, "PredictAnswer", told)
    assert not conforms({**answer, "surprise": 1}, "PredictAnswer", told)
    for member in answer:
        rest = {name: value for name, value in answer.items() if name != member}
        assert not conforms(rest, "PredictAnswer", told)


@pytest.mark.parametrize("member", ["probabilities", "scores", "score"])
@pytest.mark.parametrize("task", EACH_TASK)
def test_only_the_scores_that_the_model_gives_are_described(task: str, member: str) -> None:
    described, told = of_task(task)
    given_ = AnswerWriter(described, "v7").document(PREDICTIONS[task][0])
    for schema in ("Prediction", "PredictAnswer"):
        described_ = told["components"]["schemas"][schema]["properties"]
        assert (member in described_) == (member in given_)


@pytest.mark.parametrize(
    "classes",
    [("ham", "spam"), (0, 1), (0.5, 1.0), (False, True), (2**53 + 1, 2**53 + 2)],
    ids=["str", "int", "float", "bool", "large"],
)
def test_the_document_is_valid_for_every_type_of_label(classes: tuple[Label, ...]) -> None:
    described = description(classes, asked=PROBABILITIES)
    told = document(described, Prediction(classes[0], [1.0, 0.0]))
    validate(told)
    writer = AnswerWriter(described, "v7")
    for label in classes:
        answer = json.loads(writer.instance(Prediction(label, [0.25, 0.75]), "id-1"))
        assert conforms(answer, "PredictAnswer", told)
    assert not conforms({**answer, "prediction": "eggs"}, "PredictAnswer", told)


@pytest.mark.parametrize("task", EACH_TASK)
def test_what_is_told_of_the_model_is_as_described(task: str, tmp_path: Path) -> None:
    (tmp_path / ARTIFACT).write_bytes(b"123")
    described = EACH_TASK[task].model_copy(update={"features": MIXED})
    info = model_info(VerifiedModel(bentoml.Tag("mail", "v7"), tmp_path, described))
    _, told = of_task(task)
    assert conforms(info, "ModelInfo", told)
    assert info["size_bytes"] == 3
    for private in ("asked", "artifact_sha256"):
        assert private not in told["components"]["schemas"]["ModelInfo"]["properties"]
        assert not conforms({**info, private: ""}, "ModelInfo", told)
    for member in info:
        rest = {name: value for name, value in info.items() if name != member}
        assert not conforms(rest, "ModelInfo", told)


def test_it_can_be_written_as_json() -> None:
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT


strings = st.sampled_from(["red", "blue", "rare", "green"]) | st.text(max_size=32)
values: st.SearchStrategy[object] = (
    st.floats(-2 * LIMIT, 2 * LIMIT)
    | st.integers(-3, 3)
    | st.sampled_from([LIMIT, -LIMIT, 10**6, 10**6 + 1, 5.0, 5.5, None, True, [], {}])
    | strings
)
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "number": st.floats(-LIMIT, LIMIT) | st.integers(-3, 3),
    "integer": st.integers(-(10**6), 10**6) | st.integers(-3, 3).map(float) | st.none(),
    "boolean": st.booleans(),
    "category": st.sampled_from(["red", "blue", "rare", "green"]),
    "text": st.text(max_size=32),
}
good = [BY_TYPE[feature.type] for feature in MIXED]
names = [feature.name for feature in MIXED]
nearly_good = [usual | values for usual in good]
instances = st.one_of(
    st.tuples(*good).map(list),
    st.tuples(*nearly_good).map(list),
    st.fixed_dictionaries(dict(zip(names, good, strict=True))),
    st.fixed_dictionaries(dict(zip(names, nearly_good, strict=True)), optional={"x": values}),
    st.fixed_dictionaries(dict(zip(names, good, strict=True)), optional={"kind": values}),
    st.lists(values, max_size=7),
    st.dictionaries(st.sampled_from([*names, *IGNORED, "x"]), values, max_size=7),
)


@given(
    st.fixed_dictionaries({"data": instances | values}, optional={"x": values}),
    st.fixed_dictionaries(
        {"data": st.lists(instances, max_size=5) | values}, optional={"x": values}
    ),
)
def test_it_accepts_what_the_service_accepts_and_nothing_else(
    one: dict[str, object], many: dict[str, object]
) -> None:
    for read, body, schema in (
        (SCHEMA.instance, one, "PredictBody"),
        (SCHEMA.batch, many, "BatchBody"),
    ):
        try:
            read(json.dumps(body).encode())
        except Problem:
            accepted = False
        else:
            accepted = True
        assert conforms(body, schema) == accepted


def test_columns_that_are_ignored_are_listed_as_such_and_no_other_name_is_taken() -> None:
    named = DOCUMENT["components"]["schemas"]["Named"]
    listed = {name for name, value in named["properties"].items() if value.get("title")}
    assert listed == set(IGNORED)
    assert named["required"] == [feature.name for feature in MIXED]
    row = {feature.name: feature.example for feature in MIXED}
    whole = row | {"kind": ["any", {"thing": None}], "id/~": 7}
    assert conforms({"data": whole}, "PredictBody")
    assert not conforms({"data": whole | {"kinds": 1}}, "PredictBody")
    assert not conforms({"data": [*row.values(), "ham"]}, "PredictBody")


def test_the_document_is_the_place_that_paths_are_relative_to() -> None:
    (server,) = DOCUMENT["servers"]
    assert urljoin("http://host/models/iris/docs.json", server["url"]) == "http://host/models/iris/"


@pytest.mark.parametrize("body", [{}, {"x": 1}, [], None, {"data": {}}])
def test_it_accepts_no_body_without_its_data(body: object) -> None:
    assert not conforms(body, "PredictBody")
    assert not conforms(body, "BatchBody")


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        (number("x"), {"type": "number", "minimum": -LIMIT, "maximum": LIMIT, "examples": [4.5]}),
        (
            integer("x", nullable=True),
            {
                "type": ["integer", "null"],
                "minimum": -(10**6),
                "maximum": 10**6,
                "examples": [9],
            },
        ),
        (boolean("x"), {"type": "boolean", "examples": [False]}),
        (
            category("x"),
            {
                "type": "string",
                "minLength": 0,
                "maxLength": 20,
                "description": "Seen in training: red, blue, 1 in few rows. "
                "Others are answered with a warning.",
                "examples": ["red"],
            },
        ),
        (
            category("x", named=()),
            {
                "type": "string",
                "minLength": 0,
                "maxLength": 20,
                "description": "Seen in training: 1 in few rows. "
                "Others are answered with a warning.",
                "examples": ["blue"],
            },
        ),
        (
            closed_category("x"),
            {
                "type": "string",
                "description": "Seen in training: red, blue, 1 in few rows. Others are refused.",
                "examples": ["red"],
            },
        ),
        (
            closed_category("x", values=("red", "blue"), nullable=True),
            {
                "type": ["string", "null"],
                "enum": ["red", "blue", None],
                "description": "Seen in training: red, blue. Others are refused.",
                "examples": ["red"],
            },
        ),
        (text("x"), {"type": "string", "minLength": 0, "maxLength": 30, "examples": ["xx"]}),
    ],
    ids=lambda value: str(value.get("type")) if isinstance(value, dict) else "",
)
def test_each_type_of_feature_is_described(feature: Feature, expected: dict[str, Any]) -> None:
    described = document(description(features=(feature,)), Prediction("ham"))
    validate(described)
    schemas = described["components"]["schemas"]
    assert schemas["Named"]["properties"] == {"x": expected}
    assert schemas["Values"]["prefixItems"] == [{"title": "x", **expected}]


def test_bentoml_s_own_client_is_told_of_all_that_an_answer_may_have() -> None:
    schemas = [of_task(task)[1]["components"]["schemas"] for task in EACH_TASK]
    for name, output in (("PredictAnswer", InstanceOutput), ("BatchAnswer", BatchOutput)):
        members = {member for schema in schemas for member in schema[name]["properties"]}
        assert members == set(output.model_fields)


def test_the_model_card_is_a_page() -> None:
    responses = DOCUMENT["paths"]["/model/card"]["get"]["responses"]
    assert list(responses["200"]["content"]) == ["text/html"]


def test_its_examples_are_what_it_describes() -> None:
    examples = 0
    for _, _, operation in operations():
        contents = [operation["responses"]["200"]["content"]]
        contents.append(operation.get("requestBody", {}).get("content", {}))
        for media_type in (media for content in contents for media in content.values()):
            told = [example["value"] for example in media_type.get("examples", {}).values()]
            told += [media_type["example"]] if "example" in media_type else []
            for example in told:
                examples += 1
                assert conforms(example, media_type["schema"]["$ref"].rpartition("/")[2])
    assert examples >= 6


def test_every_operation_tells_which_problems_it_may_answer_with() -> None:
    for path, method, operation in operations():
        statuses = set(operation["responses"])
        assert {"200", "405", "500", "504"} <= statuses
        assert ({"400", "413", "415", "422"} <= statuses) == (method == "post"), path
        for status, response in operation["responses"].items():
            if status != "200":
                slug = response["$ref"].rpartition("/")[2]
                assert PROBLEM_TYPES[slug].status == int(status)


def test_every_problem_is_problem_json_and_conforms() -> None:
    for slug, response in DOCUMENT["components"]["responses"].items():
        assert list(response["content"]) == ["application/problem+json"]
        written = json.loads(Problem(PROBLEM_TYPES[slug], "detail").body("id-1", "/predict"))
        assert conforms(written, "Problem")


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)


def test_everything_that_is_referred_to_is_there_and_everything_there_is_referred_to() -> None:
    referred = set(re.findall(r'"#/components/(\w+/[\w-]+)"', json.dumps(DOCUMENT)))
    there = {
        f"{section}/{name}"
        for section, components in DOCUMENT["components"].items()
        for name in components
    }
    assert referred == there


def test_the_limit_on_rows_is_told() -> None:
    assert "at most 5" in DOCUMENT["paths"]["/predict/batch"]["post"]["description"]


GUARDED_ALWAYS = {"/predict", "/predict/batch", "/model/info", "/model/card", "/docs.json", "/"}
OPEN = {"/health", "/livez", "/readyz", "/healthz", "/errors/{slug}"}
KEYS = (ApiKey("alice", b"digest"),)


def guarded(**settings: Any) -> dict[str, Any]:  # noqa: ANN401 (settings of any type)
    """Describe a small service with other settings, and check that what it says is valid."""
    answer = AnswerWriter(MIXED_MODEL, "v7").document(Prediction("ham", [1.0, 0.0]))
    told = openapi_document(MIXED_MODEL, "v7", Settings(**settings), answer)
    validate(told)
    return told


def those_with(told: dict[str, Any], status: str) -> set[str]:
    """Name the paths with an operation that may answer with a status."""
    return {
        path
        for path, methods in told["paths"].items()
        for operation in methods.values()
        if status in operation["responses"]
    }


def secured(told: dict[str, Any]) -> set[str]:
    """Name the paths with an operation that asks for a key."""
    return {
        path
        for path, methods in told["paths"].items()
        if any("security" in operation for operation in methods.values())
    }


def test_without_keys_none_is_asked_for() -> None:
    told = guarded()
    assert "securitySchemes" not in told["components"]
    assert "unauthorized" not in told["components"]["responses"]
    assert (secured(told), those_with(told, "401")) == (set(), set())


@pytest.mark.parametrize("metrics_need_key", [False, True])
def test_with_keys_every_operation_that_needs_one_says_so(metrics_need_key: bool) -> None:
    told = guarded(api_keys=KEYS, metrics_need_key=metrics_need_key)
    assert told["components"]["securitySchemes"] == {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    asked = secured(told)
    assert asked == those_with(told, "401")
    assert asked >= GUARDED_ALWAYS
    assert not asked & OPEN
    assert ("/metrics" in asked) is metrics_need_key
    assert told["paths"]["/predict"]["post"]["security"] == [{"bearer": []}, {"header": []}]


@pytest.mark.parametrize(
    ("settings", "limited"),
    [
        ({}, True),
        ({"rate_limit": "off"}, False),
        ({"rate_limit": "off", "api_keys": KEYS}, False),
        ({"rate_limit": "off", "api_keys": (ApiKey("alice", b"digest", "5/second"),)}, True),
    ],
)
def test_quotas_are_described_where_there_are_some(settings: dict[str, Any], limited: bool) -> None:
    told = guarded(**settings)
    assert those_with(told, "429") == ({"/predict", "/predict/batch"} if limited else set())
    assert ("quota-exceeded" in told["components"]["responses"]) is limited
    for path in ("/predict", "/predict/batch"):
        headers = told["paths"][path]["post"]["responses"]["200"]["headers"]
        assert ({"RateLimit", "RateLimit-Policy"} <= headers.keys()) is limited
    if limited:
        refused = told["components"]["responses"]["quota-exceeded"]["headers"]
        assert {"Retry-After", "RateLimit", "RateLimit-Policy"} <= refused.keys()
    else:
        assert "RateLimit" not in told["components"]["headers"]

"""The OpenAPI document says exactly what is accepted and answered."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from serving.description import Label
from serving.errors import PROBLEM_TYPES, Problem
from serving.openapi import openapi_document
from serving.schemas import AnswerWriter, Prediction, RequestSchema
from serving.settings import Settings
from tests.unit.samples import description

NAMES = ("length", "a/b ~c")
LIMIT = 1e12


def document(classes: tuple[Label, ...] = ("ham", "spam")) -> dict[str, Any]:
    """Describe a small service."""
    answer = AnswerWriter(classes, "mail", "v7").document(Prediction(classes[0], [1.0, 0.0]))
    return openapi_document(description(classes), "v7", Settings(max_batch_rows=5), answer)


DOCUMENT = document()
SCHEMA = RequestSchema(description().features, 5)


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


@pytest.mark.parametrize(
    "classes",
    [("ham", "spam"), (0, 1), (0.5, 1.5), (False, True)],
    ids=["str", "int", "float", "bool"],
)
def test_the_document_is_valid_for_every_type_of_label(classes: tuple[Label, ...]) -> None:
    described = document(classes)
    validate(described)
    writer = AnswerWriter(classes, "mail", "v7")
    for label in classes:
        answer = json.loads(writer.instance(Prediction(label, [0.25, 0.75]), "id-1"))
        assert conforms(answer, "PredictAnswer", described)
    assert not conforms({**answer, "prediction": "eggs"}, "PredictAnswer", described)


def test_it_can_be_written_as_json() -> None:
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT


values: st.SearchStrategy[object] = (
    st.floats(-2 * LIMIT, 2 * LIMIT)
    | st.integers(-3, 3)
    | st.sampled_from([LIMIT, -LIMIT, None, True, "1", [], {}])
)
instances = st.lists(values, max_size=3) | st.dictionaries(
    st.sampled_from([*NAMES, "x"]), values, max_size=3
)


@given(
    st.dictionaries(st.sampled_from(["data", "x"]), instances | values, max_size=2),
    st.dictionaries(st.sampled_from(["data", "x"]), st.lists(instances, max_size=5) | values),
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
        written = json.loads(Problem(PROBLEM_TYPES[slug], "detail").body("id-1"))
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

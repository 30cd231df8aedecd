"""The OpenAPI document says what is served, and nothing else.

`openapi.json` holds the whole of it for a small model: an operation or a component a line, so that
a diff shows what clients will be told otherwise. What bodies, answers and features look like is
tested where that is decided, in `test_ours` and `test_features`.
"""

import json
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urljoin

import bentoml
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate
from starlette.requests import Request
from starlette.responses import Response

from serving.dialects import ours, v1, v2, vertex
from serving.dialects.dialect import Dialect
from serving.door.drift import drift_routes
from serving.door.models import models
from serving.door.openapi import header, openapi_document
from serving.door.pages import Document, assets, metrics_page, pages
from serving.door.predicting import Predicting
from serving.door.probes import probes
from serving.door.routes import Operation, Route, answer_of, page_answer
from serving.door.telling import telling
from serving.door.trying import try_page
from serving.host.bento import BatchOutput, InstanceOutput
from serving.model.about import About
from serving.model.facts import model_info
from serving.model.outputs import Prediction
from serving.model.rows import Rows
from serving.model.stored import ARTIFACT, VerifiedModel
from serving.prediction.drift import Drift
from serving.prediction.loaded import Loaded
from serving.prediction.shelf import Shelf
from serving.problems import (
    DEADLINE_EXCEEDED,
    INTERNAL_ERROR,
    INVALID_INPUT,
    MALFORMED_BODY,
    METHOD_NOT_ALLOWED,
    OVERLOADED,
    PROBLEM_JSON,
    PROBLEM_TYPES,
    UNAVAILABLE,
    FieldError,
    Problem,
    Wording,
)
from serving.settings import Settings
from tests.unit.samples import (
    EACH_TASK,
    EXPLAINED,
    MIXED,
    PROBABILITIES,
    closed_category,
    description,
    number,
    regression,
)

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("openapi.json").read_text("utf-8"))
SMALL = description(
    features=(number("length"), closed_category("shape", ("red", "blue"), nullable=True)),
    ignored=("kind",),
    asked=PROBABILITIES,
    explained=EXPLAINED,
)
ABOUT = About(SMALL, "v7")


def served(*abouts: About, dialects: Sequence[Dialect] = ()) -> list[Route]:
    """Give all routes of a service, as service.py does."""
    shelf = Shelf([loaded_of(about) for about in abouts])
    predicting = Predicting(shelf, 1000)
    return [
        *predicting.routes(ours.DIALECT),
        *chain.from_iterable(predicting.routes(dialect) for dialect in dialects),
        *chain.from_iterable(telling(dialect, shelf, lambda _: None) for dialect in dialects),
        *models(shelf),
        *pages(lambda: Document(b"", ""), {}),
        *try_page(),
        *drift_routes(cast("Drift", SimpleNamespace(of=lambda _: None)), shelf),
        *probes(lambda: None, abouts[0]),
        metrics_page(is_open=True),
        *assets(Path(__file__).parent),
    ]


def loaded_of(about: About) -> Loaded:
    """Give what of a loaded version is told."""
    of_task = {"classification": Prediction("ham", [0.75, 0.25]), "regression": Prediction(1.5)}
    return cast(
        "Loaded",
        SimpleNamespace(
            about=about,
            example=of_task[about.description.task],
            rows=Rows(about.description.features, 5, about.description.ignored),
            keeps_predictions=True,
            explains=not isinstance(about.description.explained, str),
            info={},
            card="",
        ),
    )


def test_the_whole_document_is_the_one_that_clients_know() -> None:
    document = openapi_document(served(ABOUT), [ABOUT], asks_for_keys=True, has_quotas=True)
    assert json.loads(json.dumps(document)) == GOLDEN


def test_the_document_is_valid_and_has_all_that_it_refers_to_and_nothing_else() -> None:
    validate(GOLDEN)
    assert referred_to(GOLDEN) == components_of(GOLDEN)


def conforms(body: object, schema: str, document: dict[str, Any] = GOLDEN) -> bool:
    """Tell whether a body is what a schema of the document describes."""
    reference = {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
    return bool(OAS31Validator(reference).is_valid(body))


def referred_to(document: dict[str, Any]) -> set[str]:
    """Name the components that a document refers to."""
    return set(re.findall(r'"#/components/(\w+/[\w.-]+)"', json.dumps(document)))


def components_of(document: dict[str, Any]) -> set[str]:
    """Name the components that it has."""
    components = document["components"]
    sections = components.keys() - {"securitySchemes"}
    return {f"{section}/{name}" for section in sections for name in components[section]}


def operations(document: dict[str, Any] = GOLDEN) -> list[dict[str, Any]]:
    """Give the description of every operation."""
    return [operation for methods in document["paths"].values() for operation in methods.values()]


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for operation in operations()]
    assert len(set(names)) == len(names)


def examples_of(document: dict[str, Any]) -> int:
    """Check each example against what is described, and count them."""
    examples = 0
    for operation in operations(document):
        if "200" not in operation["responses"]:  # it only refuses
            continue
        contents = [operation["responses"]["200"]["content"]]
        contents.append(operation.get("requestBody", {}).get("content", {}))
        for media_type in (media for content in contents for media in content.values()):
            told = [example["value"] for example in media_type.get("examples", {}).values()]
            told += [media_type["example"]] if "example" in media_type else []
            for example in told:
                examples += 1
                told_as = {**media_type["schema"], "components": document["components"]}
                assert OAS31Validator(told_as).is_valid(example)
    return examples


def test_its_examples_are_what_it_describes() -> None:
    assert examples_of(GOLDEN) == 20


def test_every_problem_is_problem_json_and_conforms() -> None:
    errors = [FieldError("/data", "missing")]
    for slug, response in GOLDEN["components"]["responses"].items():
        assert list(response["content"]) == ["application/problem+json"]
        for problem in (
            Problem(PROBLEM_TYPES[slug], "detail"),
            Problem(PROBLEM_TYPES[slug], "detail", errors=errors),
        ):
            body = PROBLEM_JSON.body(problem, "id-1", "/predict")
            assert conforms(json.loads(body), "Problem")


def test_the_document_is_the_place_that_paths_are_relative_to() -> None:
    (server,) = GOLDEN["servers"]
    assert urljoin("http://host/models/iris/docs.json", server["url"]) == "http://host/models/iris/"


@pytest.mark.parametrize("task", EACH_TASK)
def test_what_is_told_of_a_model_is_as_described(task: str, tmp_path: Path) -> None:
    (tmp_path / ARTIFACT).write_bytes(b"123")
    described = EACH_TASK[task].model_copy(update={"features": MIXED})
    info = model_info(VerifiedModel(bentoml.Tag("mail", "v7"), tmp_path, described))
    assert conforms(info, "ModelInfo")
    assert info["size_bytes"] == 3
    for private in ("asked", "artifact_sha256", "compiled"):
        assert not conforms({**info, private: ""}, "ModelInfo")
    for member in info:
        assert not conforms({name: info[name] for name in info if name != member}, "ModelInfo")


def test_bentoml_s_own_client_is_told_of_all_that_an_answer_may_have() -> None:
    scores = {
        "one label": Prediction("ham", [0.75, 0.25]),
        "one label, scores by class": Prediction("ham", scores=[0.5, -0.5]),
        "outliers": Prediction("inlier", scores=0.5),
    }
    one: set[str] = set()
    for task, example in scores.items():
        schemas = ours.one.describe(About(EACH_TASK[task], "v7"), example, 5).schemas
        one |= schemas["PredictAnswer"]["properties"].keys()
    assert one == set(InstanceOutput.model_fields)
    many = GOLDEN["components"]["schemas"]["BatchAnswer"]["properties"]
    assert many.keys() == BatchOutput.model_fields.keys()


# Of several models

POST = About(regression("weight", name="post", features=(number("pages"),)), "v2")
V = (v2, v1, vertex)
SEVERAL = openapi_document(
    served(ABOUT, POST, dialects=[room.dialect(Settings()) for room in V]),
    [ABOUT, POST],
    asks_for_keys=False,
    has_quotas=False,
)


def test_of_several_models_the_document_is_whole_and_its_examples_true() -> None:
    validate(SEVERAL)
    assert referred_to(SEVERAL) == components_of(SEVERAL)
    names = [operation["operationId"] for operation in operations(SEVERAL)]
    assert len(set(names)) == len(names)
    assert examples_of(SEVERAL) > 40
    assert SEVERAL["info"]["title"] == "Model API: mail, post"
    assert "`post` (regression, version v2)" in SEVERAL["info"]["description"]


@pytest.mark.parametrize(
    ("mail", "post"),
    [
        ("/models/mail/predict", "/models/post/predict"),
        ("/models/mail/predict/batch", "/models/post/predict/batch"),
        ("/v1/models/mail:predict", "/v1/models/post:predict"),
        ("/v2/models/mail/infer", "/v2/models/post/infer"),
        ("/v2/models/mail/versions/v7/infer", "/v2/models/post/versions/v2/infer"),
    ],
)
def test_each_model_has_paths_of_its_own_that_say_what_it_takes(mail: str, post: str) -> None:
    fields = (("length", mail), ("pages", post))
    for field, path in fields:
        operation = SEVERAL["paths"][path]["post"]
        assert not [each for each in operation.get("parameters", ()) if each["in"] == "path"]
        told = json.dumps(_resolved(operation["requestBody"]))
        assert [name for name, _ in fields if f'"{name}"' in told] == [field]


def _resolved(told: Any) -> Any:  # noqa: ANN401 (any JSON)
    """Put what is referred to in its place."""
    if isinstance(told, dict):
        if "$ref" in told:
            return _resolved(SEVERAL["components"]["schemas"][told["$ref"].rpartition("/")[2]])
        return {key: _resolved(value) for key, value in told.items()}
    return list(map(_resolved, told)) if isinstance(told, list) else told


def test_what_the_default_model_is_described_by_has_the_names_that_it_has_alone() -> None:
    alone = openapi_document(served(ABOUT), [ABOUT], asks_for_keys=False, has_quotas=False)
    several = openapi_document(
        served(ABOUT, POST), [ABOUT, POST], asks_for_keys=False, has_quotas=False
    )
    schemas = several["components"]["schemas"]
    assert alone["components"]["schemas"].items() <= schemas.items()
    others = schemas.keys() - alone["components"]["schemas"].keys()
    assert {name.partition(".")[0] for name in others} == {"post"}
    assert "post.PredictAnswer" in others
    assert "post.ModelInfo" not in others  # which is described alike
    told = {path: told for path, told in several["paths"].items() if "post" not in path}
    assert told.keys() == alone["paths"].keys()


# Of any routes


async def _answer(_: Request) -> Response:
    return Response()


COUNTED = Route(
    "POST",
    "/ask",
    _answer,
    {
        "/ask": Operation(
            "Asking",
            "ask",
            "Ask",
            answer_of("Success", "text/plain", {"$ref": "#/components/schemas/Own"}),
            problems=(OVERLOADED, UNAVAILABLE),
            heeds={"X-Heeded": "What it goes by."},
            headers={"X-Own": header("Its own.")},
            schemas={"Own": {"type": "string"}},
        )
    },
    counts=True,
)
FORM = Operation("Asking", "form", "A form", page_answer())
GUARDED = Route("GET", "/ask", _answer, {"/ask": FORM})
OPEN = Route(
    "GET",
    "/up",
    _answer,
    {"/up": Operation("Probes", "up", "Whether it is up", page_answer())},
    is_open=True,
)
SILENT = Route("GET", "/script.js", _answer)
PARTS = Route(
    "GET",
    "/of/{one}/{others:path}",
    _answer,
    {
        "/of/{one}/{others:path}": Operation(
            "Parts",
            "of",
            "Of",
            page_answer(),
            parameters={"one": {"enum": ["a", "b"]}},
            query={"much": {"description": "How much.", "schema": {"type": "integer"}}},
        )
    },
)
LOUD = Wording("Loud", "text/loud", {422: 400}, {"error": lambda problem: problem.sentence})
ONLY_REFUSES = Route(
    "POST",
    "/loud",
    _answer,
    {"/loud": Operation("Refusing", "loud", "No", None, problems=[MALFORMED_BODY, INVALID_INPUT])},
    is_open=True,
    wording=LOUD,
)


def of_routes(*, asks_for_keys: bool = False, has_quotas: bool = False) -> dict[str, Any]:
    """Describe a service of a few routes, and check that what is said of it is valid."""
    document = openapi_document(
        [COUNTED, GUARDED, OPEN, SILENT, PARTS, ONLY_REFUSES],
        [ABOUT],
        asks_for_keys=asks_for_keys,
        has_quotas=has_quotas,
    )
    validate(document)
    return document


def told_by(document: dict[str, Any], member: str) -> set[str]:
    """Name the operations that have a member, or a response of that status."""
    return {
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
        if member in operation or member in operation["responses"]
    }


def test_routes_are_told_of_by_path_and_method_if_they_tell_anything() -> None:
    paths = of_routes()["paths"]
    assert {path: list(methods) for path, methods in paths.items()} == {
        "/ask": ["post", "get"],
        "/up": ["get"],
        "/of/{one}/{others}": ["get"],
        "/loud": ["post"],
    }


def test_what_may_stand_in_a_path_and_behind_it_is_told_and_is_any_text_otherwise() -> None:
    *told, query = of_routes()["paths"]["/of/{one}/{others}"]["get"]["parameters"]
    assert [(p["name"], p["in"], p["required"], p["schema"]) for p in told] == [
        ("one", "path", True, {"enum": ["a", "b"]}),
        ("others", "path", True, {"type": "string"}),
    ]
    assert query == {
        "name": "much",
        "in": "query",
        "description": "How much.",
        "schema": {"type": "integer"},
    }


def test_the_headers_that_an_operation_heeds_are_told() -> None:
    assert of_routes()["paths"]["/ask"]["post"]["parameters"] == [
        {
            "name": "X-Heeded",
            "in": "header",
            "schema": {"type": "string"},
            "description": "What it goes by.",
        }
    ]


def test_what_is_refused_in_other_words_is_described_as_such_and_beside_the_usual() -> None:
    document = of_routes()
    told, components = document["paths"]["/loud"]["post"]["responses"], document["components"]
    slugs = {status: response["$ref"].rpartition("/")[2] for status, response in told.items()}
    assert slugs == {
        "400": "malformed-body-Loud",
        "405": "method-not-allowed-Loud",
        "500": "internal-error-Loud",
        "504": "deadline-exceeded-Loud",
    }
    for slug in slugs.values():
        reference = {"$ref": "#/components/schemas/Loud"}
        assert components["responses"][slug]["content"] == {"text/loud": {"schema": reference}}
    schema = {"$ref": "#/components/schemas/Loud", "components": components}
    for words, is_valid in ((LOUD, True), (PROBLEM_JSON, False)):
        body = words.body(Problem(INVALID_INPUT, "no"), "id-1", "/loud")
        assert OAS31Validator(schema).is_valid(json.loads(body)) is is_valid


def test_an_operation_answers_with_its_own_problems_and_those_of_all() -> None:
    paths = of_routes()["paths"]
    assert set(paths["/ask"]["post"]["responses"]) == {"200", "405", "500", "503", "504"}
    assert set(paths["/up"]["get"]["responses"]) == {"200", "405", "500", "504"}
    for operation in (paths["/ask"]["post"], paths["/up"]["get"]):
        for status, response in operation["responses"].items():
            if status != "200":
                slug = response["$ref"].rpartition("/")[2]
                assert PROBLEM_TYPES[slug].status == int(status)


def test_an_operation_s_own_headers_and_schemas_are_components() -> None:
    document = of_routes()
    assert list(document["paths"]["/ask"]["post"]["responses"]["200"]["headers"]) == [
        "X-Request-ID",
        "X-Own",
    ]
    assert document["components"]["headers"]["X-Own"] == header("Its own.")
    assert document["components"]["schemas"]["Own"] == {"type": "string"}


def test_a_status_has_one_response_and_what_none_may_answer_with_is_not_told() -> None:
    usual = {METHOD_NOT_ALLOWED, INTERNAL_ERROR, UNAVAILABLE, DEADLINE_EXCEEDED}
    loud = {MALFORMED_BODY, METHOD_NOT_ALLOWED, INTERNAL_ERROR, DEADLINE_EXCEEDED}
    told = {kind.slug for kind in usual} | {f"{kind.slug}-Loud" for kind in loud}
    assert set(of_routes()["components"]["responses"]) == told


def test_without_keys_none_is_asked_for() -> None:
    document = of_routes()
    assert "securitySchemes" not in document["components"]
    assert told_by(document, "401") == told_by(document, "security") == set()
    assert "WWW-Authenticate" not in document["components"]["headers"]


def test_with_keys_every_operation_that_needs_one_says_so() -> None:
    document = of_routes(asks_for_keys=True)
    assert document["components"]["securitySchemes"].keys() == {"bearer", "header"}
    assert told_by(document, "401") == told_by(document, "security") == {"ask", "form", "of"}
    assert document["paths"]["/ask"]["get"]["security"] == [{"bearer": []}, {"header": []}]
    refused = document["components"]["responses"]["unauthorized"]["headers"]
    assert refused.keys() == {"X-Request-ID", "WWW-Authenticate"}


@pytest.mark.parametrize("limited", [True, False])
def test_quotas_are_described_where_there_are_some(limited: bool) -> None:
    document = of_routes(has_quotas=limited)
    components = document["components"]
    assert told_by(document, "429") == ({"ask"} if limited else set())
    answer = document["paths"]["/ask"]["post"]["responses"]["200"]["headers"]
    for headers in (answer, components["headers"]):
        assert ({"RateLimit", "RateLimit-Policy"} <= headers.keys()) is limited
    if limited:
        refused = components["responses"]["quota-exceeded"]["headers"]
        assert {"Retry-After", "RateLimit", "RateLimit-Policy"} <= refused.keys()
    else:
        assert "quota-exceeded" not in components["responses"]

"""The OpenAPI document is true: valid, complete, and what the service really does."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from tests.server import BIN, Server

OPERATIONS = {
    "/predict": {"post"},
    "/predict/batch": {"post"},
    "/model/info": {"get"},
    "/model/drift": {"get"},
    "/models": {"get"},
    "/models/iris/predict": {"post"},
    "/models/iris/predict/batch": {"post"},
    "/models/iris/info": {"get"},
    "/models/iris/card": {"get"},
    "/models/iris/drift": {"get"},
    "/health": {"get"},
    "/livez": {"get"},
    "/readyz": {"get"},
    "/metrics": {"get"},
    "/errors/{slug}": {"get"},
    "/docs.json": {"get"},
    "/v2": {"get"},
    "/v2/health/live": {"get"},
    "/v2/health/ready": {"get"},
    "/v2/models": {"get"},
    "/v2/models/iris": {"get"},
    "/v2/models/iris/ready": {"get"},
    "/v2/models/iris/infer": {"post"},
    "/v2/repository/index": {"post"},
    "/v2/repository/models/iris/load": {"post"},
    "/v2/repository/models/iris/unload": {"post"},
    "/": {"get"},
}


@pytest.fixture
def document(server: Server) -> Any:  # noqa: ANN401 (any JSON)
    """Fetch the document."""
    answer = server.http.get("/docs.json")
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def request_examples(document: Any, path: str) -> dict[str, Any]:  # noqa: ANN401
    content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    return {name: example["value"] for name, example in content["examples"].items()}


def instances(value: object) -> list[Any]:
    """Take the instances out of an example: the one of a single body, or all of a batch."""
    data = value["data"]  # type: ignore[index]
    return data if isinstance(data, list) and isinstance(data[0], list | dict) else [data]


def test_the_document_is_valid_openapi(document: Any) -> None:  # noqa: ANN401
    assert document["openapi"].startswith("3.")
    validate(document)


def test_all_endpoints_of_the_contract_are_in_it(document: Any) -> None:  # noqa: ANN401
    version = document["info"]["version"]
    infer = f"/v2/models/iris/versions/{version}/infer"
    for path, methods in (OPERATIONS | {infer: {"post"}}).items():
        assert document["paths"][path].keys() == methods, path


def path_of(template: str, operation: Any) -> str:  # noqa: ANN401 (any JSON)
    """Fill a path with the first of what may stand in it."""
    parameters = operation.get("parameters", ())
    values = {
        each["name"]: each["schema"]["enum"][0] for each in parameters if each["in"] == "path"
    }
    return template.format(**values)


def bodies(operation: Any) -> list[Any]:  # noqa: ANN401 (any JSON)
    """Give examples of what an operation is asked; nothing, if it takes no body."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return [each["value"] for each in content.get("examples", {}).values()] or [None]


def test_every_path_in_it_is_there(server: Server, document: Any) -> None:  # noqa: ANN401
    for template, operations in document["paths"].items():
        for method, operation in operations.items():
            assert method in ("get", "post")
            path = path_of(template, operation)
            told = operation["responses"].get("200")
            for body in bodies(operation):
                answer = server.http.request(method, path, json=body)
                if told is None:  # it is always refused
                    assert answer.status_code == 400, path
                    continue
                assert answer.status_code == 200, (method, path)
                media_type = answer.headers["content-type"].partition(";")[0]
                assert media_type in told["content"]


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_its_examples_are_the_served_models_features_and_are_answered(
    server: Server,
    document: Any,  # noqa: ANN401
    path: str,
) -> None:
    features = server.http.get("/model/info").json()["features"]
    by_order = [feature["example"] for feature in features]
    by_name = {feature["name"]: feature["example"] for feature in features}
    examples = request_examples(document, path)
    assert examples
    shown = [instance for example in examples.values() for instance in instances(example)]
    assert all(instance in (by_order, by_name) for instance in shown)
    assert by_order in shown
    assert by_name in shown
    for example in examples.values():
        assert server.http.post(path, json=example).status_code == 200


def test_the_example_answers_are_those_of_the_served_model(
    server: Server,
    document: Any,  # noqa: ANN401
) -> None:
    content = document["paths"]["/predict"]["post"]["responses"]["200"]["content"]
    shown = content["application/json"]["example"]
    for example in request_examples(document, "/predict").values():
        answer = server.http.post("/predict", json=example).json()
        assert {**answer, "request_id": ""} == {**shown, "request_id": ""}


def test_numbers_have_the_models_domain(server: Server, document: Any) -> None:  # noqa: ANN401
    domain = {
        feature["name"]: feature["domain"]
        for feature in server.http.get("/model/info").json()["features"]
    }
    named = document["components"]["schemas"]["Named"]
    shown = {name: named["properties"][name] for name in named["required"]}
    assert shown.keys() == domain.keys()
    for name, schema in shown.items():
        assert {"minimum": schema["minimum"], "maximum": schema["maximum"]} == domain[name]


def test_every_operation_tells_its_problems(document: Any) -> None:  # noqa: ANN401
    wanted = {
        "/predict": {"400", "405", "413", "415", "422", "500", "503", "504"},
        "/predict/batch": {"400", "405", "406", "413", "415", "422", "500", "503", "504"},
        "/v2/models/iris/infer": {"400", "404", "405", "413", "415", "500", "503", "504"},
        "/v2/models/iris/ready": {"404", "405", "500", "503", "504"},
        "/model/drift": {"405", "406", "422", "500", "504"},
        "/errors/{slug}": {"404", "405", "500", "504"},
        "/health": {"405", "500", "503", "504"},
    }
    for path, statuses in wanted.items():
        (operation,) = document["paths"][path].values()
        assert statuses <= operation["responses"].keys(), path
    for name, response in document["components"]["responses"].items():
        is_plain = name.endswith("-JsonProblem")
        media_type = "application/json" if is_plain else "application/problem+json"
        assert list(response["content"]) == [media_type], name


def test_schemathesis_finds_nothing(
    server: Server,
    document: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [
            BIN / "schemathesis",
            f"--config-file={Path(__file__).with_name('schemathesis.toml')}",
            "--no-color",
            "run",
            f"{server.url}/docs.json",
            "--max-examples=50",
            "--seed=1",
            "--generation-deterministic",
        ],
        cwd=tmp_path,
        env=os.environ | {"SCHEMATHESIS_HOOKS": str(Path(__file__).with_name("tables.py"))},
        capture_output=True,
        text=True,
    )
    found = "\n".join(line[:300] for line in (done.stdout + done.stderr).splitlines())
    assert done.returncode == 0, found
    operations = sum(map(len, document["paths"].values()))
    assert re.search(rf"Tested: +{operations}\b", found), found


def test_the_page_refers_to_no_other_host(server: Server) -> None:
    page = server.http.get("/", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    references = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)
    assert references
    for reference in references:
        assert "//" not in reference
        if not reference.startswith("data:"):
            assert server.http.get("/" + reference.removeprefix("/")).status_code == 200

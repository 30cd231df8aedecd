"""Several models in one server: each reached by its name, and harmed by none of its neighbours."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from tests.server import BATCH, Server, eventually, refused, serving
from tests.tensors import LENGTH_HEADER, outputs_of
from tests.trained import copy_of
from tests.wire import test_every_kind
from tests.wire.estimators import FAILS_ABOVE
from tests.wire.gate import Gate
from tests.wire.problems import assert_problem
from tests.wire.test_openapi import bodies, path_of
from tests.zoo import assert_alike

OF_EACH_TASK = (
    "KNeighborsRegressor of several targets",
    "RandomForestClassifier of several targets",
    "KMeans",
    "IsolationForest",
)
DEADLINE_S = 1.0
IRIS_ROW = [5.2, 3.5, 1.4, 0.2]  # for models of the same data that misbehave


@pytest.fixture(scope="module")
def store(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a store with a model of each task, what these say in process, and the bad models."""
    zoo = copy_of(test_every_kind.fit, "zoo", tmp_path_factory.mktemp("several"))
    shutil.copytree(home / "models", zoo / "models", dirs_exist_ok=True, symlinks=True)
    return zoo


@pytest.fixture(scope="module")
def told(store: Path) -> list[dict[str, Any]]:
    """Give of each model its name, rows, and what it says of them in process."""
    by_kind = json.loads((store / "told.json").read_text())
    return [by_kind[kind] for kind in OF_EACH_TASK]


@pytest.fixture(scope="module")
def several(
    store: Path, told: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Serve a model of each task."""
    names = ",".join(each["model"] for each in told)
    output = tmp_path_factory.mktemp("served") / "output"
    with serving(store, output, SERVING_MODELS=names) as server:
        yield server


def test_they_are_listed_in_all_languages_the_default_one_first(
    several: Server, told: list[dict[str, Any]]
) -> None:
    names = [each["model"] for each in told]
    models = several.http.get("/models").json()["models"]
    assert [each["name"] for each in models] == names
    assert [each["default"] for each in models] == [True, False, False, False]
    assert {each["task"] for each in models} == {
        "regression",
        "classification",
        "clustering",
        "outlier-detection",
    }
    assert several.http.get("/v1/models").json() == {"models": names}
    assert several.http.get("/v2/models").json() == {"models": names}
    index = several.http.post("/v2/repository/index").json()
    versions = {each["name"]: each["version"] for each in models}
    assert [(each["name"], each["version"]) for each in index] == list(versions.items())
    assert several.http.get("/health").json()["model"]["name"] == names[0]


@pytest.mark.parametrize("at", range(len(OF_EACH_TASK)))
def test_each_answers_as_its_estimator_by_its_name_in_every_language(
    several: Server, told: list[dict[str, Any]], at: int
) -> None:
    name, rows, answers = (told[at][member] for member in ("model", "rows", "answers"))
    version = several.http.get(f"/models/{name}/info").json()["version"]
    batch = several.ask(rows, f"/models/{name}{BATCH}").raise_for_status().json()
    one = several.ask(rows[0], f"/models/{name}/predict").raise_for_status().json()
    assert batch["model"] == one["model"] == {"name": name, "version": version}
    assert_alike({member: one[member] for member in answers[0]}, answers[0])
    for answer, wanted in zip(batch["predictions"], answers, strict=True):
        assert_alike(answer, wanted)
    known = [answer["prediction"] for answer in batch["predictions"]]
    v1 = several.http.post(f"/v1/models/{name}:predict", json={"instances": rows})
    assert v1.raise_for_status().json()["predictions"] == known
    tensor = {"name": "x", "shape": [len(rows), len(rows[0])], "datatype": "FP64", "data": rows}
    for path in (f"/v2/models/{name}", f"/v2/models/{name}/versions/{version}"):
        body = {"inputs": [tensor], "parameters": {"predict_method": "predict"}}
        v2 = several.http.post(f"{path}/infer", json=body).raise_for_status()
        assert (v2.json()["model_name"], v2.json()["model_version"]) == (name, version)
        (elements,) = outputs_of(v2.content, v2.headers.get(LENGTH_HEADER)).values()
        assert elements == [leaf for each in known for leaf in _leaves(each)]
    for path in (f"/v1/models/{name}", f"/v2/models/{name}", f"/v2/models/{name}/ready"):
        assert several.http.get(path).raise_for_status().json()["name"] == name
    assert several.http.get(f"/models/{name}/card").status_code == 200
    assert several.http.get(f"/models/{name}/drift").json()["model"]["name"] == name
    assert several.http.get("/v2/models/other").status_code == 404


def _leaves(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def test_where_none_is_named_the_first_answers(several: Server, told: list[dict[str, Any]]) -> None:
    first = told[0]
    one = several.ask(first["rows"][0]).json()
    assert one["model"]["name"] == first["model"]
    assert_alike({member: one[member] for member in first["answers"][0]}, first["answers"][0])
    table = {"instances": first["rows"]}
    assert several.http.post("/invocations", json=table).json() == {
        "predictions": [answer["prediction"] for answer in first["answers"]]
    }
    assert several.http.get("/model/info").json()["name"] == first["model"]
    assert several.http.get("/model/drift").json()["model"]["name"] == first["model"]


def test_each_has_a_log_line_metrics_and_a_cache_of_its_own(
    several: Server, told: list[dict[str, Any]]
) -> None:
    for each in told:
        name, width = each["model"], len(each["rows"][0])
        labels = {"model_name": name}
        counted = ("serving_cache_lookups_total", "bentoml_service_request_total")
        before = [several.metric(metric, **labels) for metric in counted]
        lookups = [
            several.ask([0.5] * width, f"/models/{name}/predict").headers["cache-status"]
            for _ in range(2)
        ]
        assert lookups == ["model-api; fwd=miss; stored", "model-api; hit"]
        after = [several.metric(metric, **labels) for metric in counted]
        assert [now - then for now, then in zip(after, before, strict=True)] == [2, 2]
    answer = several.ask([0.5], f"/models/{name}/predict")
    line = several.log_of(assert_problem(several, answer, 422, "invalid-input")["request_id"])
    assert (line["route"], line["model_name"]) == ("/models/{model}/predict", name)
    assert several.metric("serving_errors_total", type="invalid-input", model_name=name) == 1
    answer = several.ask([0.5], "/models/other/predict")
    body = assert_problem(several, answer, 404, "not-found")
    assert body["detail"] == "there is no such model"
    assert several.log_of(body["request_id"])["model_name"] == told[0]["model"]  # the default
    assert several.metric("serving_model_info") == len(told)


def test_the_document_tells_what_each_takes_and_all_of_it_is_there(
    several: Server, told: list[dict[str, Any]]
) -> None:
    document = several.http.get("/docs.json").json()
    validate(document)
    for each in told:
        assert each["model"] in document["info"]["title"]
        assert f"/models/{each['model']}/predict" in document["paths"]
    for template, operations in document["paths"].items():
        for method, operation in operations.items():
            wanted = 200 if "200" in operation["responses"] else 400  # it is always refused
            for body in bodies(operation):
                answer = several.http.request(method, path_of(template, operation), json=body)
                assert answer.status_code == wanted, (method, template, answer.text)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Give the gate of the model that hangs."""
    folder = tmp_path / "gate"
    folder.mkdir()
    return Gate(folder)


def test_one_that_raises_and_one_that_hangs_harm_no_other(
    store: Path, told: list[dict[str, Any]], gate: Gate, tmp_path: Path
) -> None:
    sound = told[1]
    path = f"/models/{sound['model']}{BATCH}"
    names = f"gated,{sound['model']},fragile"
    settings = {**gate.settings, "SERVING_MODELS": names, "SERVING_CACHE_ENTRIES": "0"}
    del settings["SERVING_MODEL"]
    settings["SERVING_REQUEST_TIMEOUT_S"] = str(DEADLINE_S)
    with serving(store, tmp_path / "output", **settings) as server, ThreadPoolExecutor(1) as one:

        def others_answer() -> None:
            batch = server.ask(sound["rows"], path).raise_for_status().json()["predictions"]
            for answer, wanted in zip(batch, sound["answers"], strict=True):
                assert_alike(answer, wanted)
            assert server.ask(IRIS_ROW, "/models/fragile/predict").status_code == 200
            raised = server.ask([FAILS_ABOVE + 1, 1, 1, 1], "/models/fragile/predict")
            assert raised.status_code == 500

        def ready(name: str) -> set[int]:
            paths = (f"/v1/models/{name}", f"/v2/models/{name}/ready")
            return {server.http.get(path).status_code for path in paths}

        others_answer()
        held = gate.hold(server, one)  # by /predict: it is the default
        others_answer()
        assert held.result().status_code == 504
        eventually("one that hangs", lambda: ready("gated") == {503})
        assert ready("fragile") == ready(sound["model"]) == {200}
        for probe in ("/health", "/readyz", "/v2/health/ready"):
            assert server.http.get(probe).status_code == 200
        others_answer()
        assert server.metric("serving_errors_total", model_name=sound["model"]) == 0
        assert server.metric("serving_errors_total", model_name="gated") > 0
        gate.open()
        eventually("that it comes back", lambda: ready("gated") == {200})
        assert server.started() == 1


@pytest.mark.parametrize("damaged", ["unloadable", "nothing"])
def test_a_model_that_can_not_be_loaded_is_refused_at_the_start_with_its_name(
    store: Path, told: list[dict[str, Any]], damaged: str
) -> None:
    refusal = refused(store, SERVING_MODELS=f"{told[0]['model']},{damaged}")
    assert refusal.exit_code != 0
    (complaint,) = refusal.complaints
    assert damaged in complaint
    assert told[0]["model"] not in complaint


def test_a_model_named_twice_and_two_ways_to_name_them_are_refused(store: Path) -> None:
    twice = refused(store, SERVING_MODELS="fragile,fragile:latest")
    assert "SERVING_MODELS: fragile is named twice" in twice.complaints[0]
    both = refused(store, SERVING_MODELS="fragile", SERVING_MODEL="gated")
    assert both.complaints[0].startswith("SERVING_MODELS: ")

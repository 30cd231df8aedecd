"""The service in this process: all its rooms together, on a model that was really fitted."""

import asyncio
import gc
import importlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import bentoml
import numpy as np
import orjson
import pytest
from bentoml._internal.configuration.containers import BentoMLContainer
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serving.door.edge import Edge
from serving.door.pages import CONTENT_SECURITY_POLICY
from serving.keys import ApiKey
from serving.model.store import ModelError, save
from serving.prediction.cache import PredictionCache
from serving.problems import OVERLOADED, Problem
from tests.unit.fakes import (
    Answer,
    Headers,
    RecordingLog,
    StillClock,
    ask,
    lifespan,
    restored_logging,
    sample,
)
from tests.unit.samples import PROBABILITIES, description, number

ROOT = Path(__file__).parents[2]
JSON_TYPE: Headers = [(b"Content-Type", b"application/json")]
ROW = [5.1, 3.5, 1.4, 0.2]
INPUT = "31415926"  # a value that must not be told
CARD = "<!doctype html>\n<title>iris</title>\n<p>Three species, ünd no more.\n"

Ask = Callable[..., Answer]
Foreign = Any  # scikit-learn and BentoML's decorators have no type for it


def save_iris() -> None:
    """Fit a model of irises, and save it."""
    iris = load_iris()
    estimator = make_pipeline(StandardScaler(), LogisticRegression())
    estimator.fit(iris.data, iris.target_names[iris.target])
    ranges = zip(iris.data.min(axis=0).tolist(), iris.data.max(axis=0).tolist(), strict=True)
    described = description(
        tuple(estimator.classes_.tolist()),
        tuple(map(number, iris.feature_names, ranges)),
        name="iris",
        targets=("species",),
        asked=PROBABILITIES,
    )
    save(estimator, described, CARD)


@pytest.fixture(scope="module")
def module() -> Iterator[ModuleType]:
    """Import the service as BentoML does, with a fitted model in the store."""
    save_iris()
    environment = dict(os.environ)
    os.environ |= {"SERVING_RATE_LIMIT": "off", "SERVING_CACHE_ENTRIES": "0"}
    with restored_logging():
        yield importlib.import_module("service")
    BentoMLContainer.prometheus_multiproc_dir.reset()
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture(scope="module")
def loop(module: ModuleType) -> Iterator[asyncio.Runner]:
    """Give the event loop in which the service lives."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def app(module: ModuleType, loop: asyncio.Runner) -> Iterator[Edge]:
    """Start the service."""
    application = module.ModelApi.to_asgi()
    living = lifespan(application)
    loop.run(living.__aenter__())
    yield application
    loop.run(living.__aexit__(None, None, None))
    gc.unfreeze()


@pytest.fixture
def request_(app: Edge, loop: asyncio.Runner) -> Ask:
    """Give a way to send requests to the service."""

    def send(path: str, **request: Foreign) -> Answer:
        return loop.run(ask(app, path, **request))

    return send


@pytest.fixture
def post(request_: Ask) -> Ask:
    """Give a way to post JSON."""

    def send(path: str, document: object, headers: Headers = ()) -> Answer:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return request_(path, method="POST", headers=[*JSON_TYPE, *headers], body=body)

    return send


@pytest.fixture(scope="module")
def instance(app: Edge) -> Foreign:
    """Give the service's instance."""
    return bentoml.get_current_service()


@pytest.fixture(scope="module")
def estimator(module: ModuleType) -> Foreign:
    """Load the served estimator as any user of BentoML would."""
    return bentoml.sklearn.load_model("iris:latest")


@pytest.fixture
def openapi(request_: Ask) -> dict[str, Any]:
    """Read the OpenAPI document."""
    document: dict[str, Any] = request_("/docs.json").json()
    return document


def assert_conforms(document: object, schema: str, openapi: dict[str, Any]) -> None:
    """Check a body against a schema of the OpenAPI document."""
    OAS31Validator(
        {"$ref": f"#/components/schemas/{schema}", "components": openapi["components"]}
    ).validate(document)


def assert_problem(answer: Answer, status: int, slug: str, openapi: dict[str, Any]) -> None:
    """Check that an answer has the one error shape."""
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"].endswith(f"/errors/{slug}")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert_conforms(answer.json(), "Problem", openapi)


# Predictions


def test_one_instance_has_one_prediction(
    post: Ask, estimator: Foreign, openapi: dict[str, Any]
) -> None:
    answer = post("/predict", {"data": ROW}, [(b"X-Request-ID", b"mine")])
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    (probabilities,) = estimator.predict_proba([ROW]).tolist()
    assert answer.json() == {
        "prediction": "setosa",
        "probabilities": dict(zip(estimator.classes_.tolist(), probabilities, strict=True)),
        "model": {"name": "iris", "version": bentoml.models.get("iris:latest").tag.version},
        "request_id": "mine",
    }
    assert_conforms(answer.json(), "PredictAnswer", openapi)


def test_an_instance_by_name_has_the_same_prediction(post: Ask, request_: Ask) -> None:
    names = [feature["name"] for feature in request_("/model/info").json()["features"]]
    by_name = post("/predict", {"data": dict(zip(names, ROW, strict=True))}).json()
    by_place = post("/predict", {"data": ROW}).json()
    assert by_name["probabilities"] == by_place["probabilities"]


def test_a_batch_has_its_predictions_in_order(
    post: Ask, estimator: Foreign, openapi: dict[str, Any]
) -> None:
    rows = np.random.default_rng(0).uniform(0, 8, size=(300, 4))
    answer = post("/predict/batch", {"data": rows.tolist()})
    assert answer.status == 200
    predictions = answer.json()["predictions"]
    assert [p["prediction"] for p in predictions] == estimator.predict(rows).tolist()
    np.testing.assert_allclose(
        [list(p["probabilities"].values()) for p in predictions],
        estimator.predict_proba(rows),
        rtol=1e-12,
        atol=1e-12,
    )
    assert_conforms(answer.json(), "BatchAnswer", openapi)


def test_what_is_unlike_training_is_answered_with_a_warning(
    post: Ask, estimator: Foreign, openapi: dict[str, Any]
) -> None:
    unusual = [5.1, 3.5, 9.0, 0.2]
    detail = "outside of the range seen in training, 1.0 to 6.9"
    answer = post("/predict", {"data": unusual})
    assert answer.status == 200
    assert answer.json()["prediction"] == estimator.predict([unusual])[0]
    assert answer.json()["warnings"] == [{"pointer": "/data/2", "detail": detail}]
    assert_conforms(answer.json(), "PredictAnswer", openapi)
    batch = post("/predict/batch", {"data": [ROW, unusual]})
    assert len(batch.json()["predictions"]) == 2
    assert batch.json()["warnings"] == [{"pointer": "/data/1/2", "detail": detail}]
    assert_conforms(batch.json(), "BatchAnswer", openapi)


def test_what_is_unlike_training_is_counted_and_logged(
    post: Ask, lines: list[dict[str, Any]]
) -> None:
    feature = "petal length (cm)"
    before = sample("serving_unusual_values_total", feature=feature)
    post("/predict/batch", {"data": [ROW, [5.1, 3.5, 9.0, 9.0], [5.1, 3.5, 0.0, 0.2]]})
    post("/predict", {"data": ROW})
    assert sample("serving_unusual_values_total", feature=feature) == before + 2
    assert [line["unusual"] for line in lines] == [3, None]


def test_an_empty_batch_has_no_predictions(post: Ask) -> None:
    answer = post("/predict/batch", {"data": []})
    assert (answer.status, answer.json()["predictions"]) == (200, [])


def batches_run() -> tuple[float, float]:
    """Tell how many batches ran, and with how many rows."""
    labels = {
        "method_name": "predict",
        "worker_index": "0",
        "service_name": "",
        "service_version": "not available",
        "runner_name": "",
    }
    name = "bentoml_service_adaptive_batch_size"
    return sample(f"{name}_count", **labels), sample(f"{name}_sum", **labels)


def test_concurrent_calls_are_batched_and_each_gets_its_own_answer(
    app: Edge,
    loop: asyncio.Runner,
    estimator: Foreign,
) -> None:
    rows = np.random.default_rng(1).uniform(0, 8, size=(200, 4))

    async def story() -> list[Answer]:
        return await asyncio.gather(
            *(
                ask(
                    app,
                    "/predict",
                    method="POST",
                    headers=[*JSON_TYPE, (b"X-Request-ID", str(index).encode())],
                    body=orjson.dumps({"data": row if index % 5 else [None] * 4}),
                )
                for index, row in enumerate(rows.tolist())
            )
        )

    batches, rows_run = batches_run()
    answers = loop.run(story())
    batches, rows_run = batches_run()[0] - batches, batches_run()[1] - rows_run
    assert rows_run == 160
    assert batches < rows_run / 2
    labels = estimator.predict(rows)
    for index, (answer, label) in enumerate(zip(answers, labels, strict=True)):
        assert answer.json()["request_id"] == str(index)
        if index % 5:
            assert answer.json()["prediction"] == label
        else:
            assert answer.status == 422


# What is refused


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        (b"", 400, "malformed-body"),
        (b"{", 400, "malformed-body"),
        (b'{"data": [NaN, 1, 2, 3]}', 400, "malformed-body"),
        (b"[" * 100_000, 400, "malformed-body"),
        (b'{"data": 1, "data": 2}', 400, "malformed-body"),
        (b"{}", 422, "invalid-input"),
        (b'{"data": "x"}', 422, "invalid-input"),
        (b'{"data": [[1e308, 1, 1, 1]]}', 422, "invalid-input"),
        (b'{"data": {"sepal length (cm)": true}}', 422, "invalid-input"),
        (b'{"data": "' + b"x" * 2**20 + b'"}', 413, "body-too-large"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_bad_body_is_a_problem(
    post: Ask,
    openapi: dict[str, Any],
    path: str,
    body: bytes,
    status: int,
    slug: str,
) -> None:
    assert_problem(post(path, body), status, slug, openapi)


def test_a_batch_over_the_limit_is_a_problem(post: Ask, openapi: dict[str, Any]) -> None:
    assert_problem(post("/predict/batch", {"data": [ROW] * 1001}), 413, "batch-too-large", openapi)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"Content-Type", b"text/plain")],
        [(b"Content-Type", b"multipart/form-data; boundary=x")],
        [(b"Content-Type", b"application/vnd.bentoml+pickle")],
        [*JSON_TYPE, (b"Content-Encoding", b"br")],
    ],
    ids=str,
)
def test_another_media_type_is_a_problem(
    request_: Ask, openapi: dict[str, Any], headers: Headers
) -> None:
    answer = request_("/predict", method="POST", headers=headers, body=b'{"data": [1, 2, 3, 4]}')
    assert_problem(answer, 415, "unsupported-media-type", openapi)


@pytest.mark.parametrize("path", ["/nowhere", "/predict/", "/errors/nothing", "/static_content/no"])
def test_an_unknown_path_is_a_problem(request_: Ask, openapi: dict[str, Any], path: str) -> None:
    assert_problem(request_(path), 404, "not-found", openapi)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", "POST"),
        ("PUT", "/predict/batch", "POST"),
        ("POST", "/health", "GET, HEAD"),
        ("DELETE", "/model/info", "GET, HEAD"),
        ("POST", "/livez", "GET, HEAD"),
        ("POST", "/static_content/swagger-ui.css", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_a_problem(
    request_: Ask,
    openapi: dict[str, Any],
    method: str,
    path: str,
    allowed: str,
) -> None:
    answer = request_(path, method=method)
    assert_problem(answer, 405, "method-not-allowed", openapi)
    assert sorted(answer.headers["allow"].split(", ")) == sorted(allowed.split(", "))


def test_a_request_without_a_client_s_patience_is_no_error(
    request_: Ask, lines: list[dict[str, Any]]
) -> None:
    request_("/predict", method="POST", headers=JSON_TYPE, body=b'{"da', leaves=True)
    assert [(line["level"], line["status"]) for line in lines] == [("info", 499)]


# Defects


class FailingEstimator:
    """The served estimator, but for rows with a negative first value."""

    def __init__(self, estimator: Foreign) -> None:
        """Take the real one."""
        self.predict_proba = estimator.predict_proba
        self._predict = estimator.predict

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Predict, or fail with the input in the message."""
        if (features[:, 0] < 0).any():
            raise ArithmeticError(INPUT)
        return self._predict(features)  # type: ignore[no-any-return]


@pytest.fixture
def failing(instance: Foreign, estimator: Foreign, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the estimator fail for some rows."""
    monkeypatch.setattr(instance.predictor._model, "_estimator", FailingEstimator(estimator))


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize(
    ("path", "data"), [("/predict", [-1.0, 1, 1, 1]), ("/predict/batch", [ROW, [-1, 1, 1, 1]])]
)
def test_a_crash_in_the_model_is_told_to_the_log_alone(
    post: Ask,
    openapi: dict[str, Any],
    lines: list[dict[str, Any]],
    path: str,
    data: object,
) -> None:
    answer = post(path, {"data": data})
    assert_problem(answer, 500, "internal-error", openapi)
    (line,) = lines
    assert line["level"] == "error"
    assert "ArithmeticError\n\nThe above exception caused" in line["exception"]
    assert line["exception"].endswith("serving.prediction.predictor.EstimatorError")
    assert "in predict" in line["exception"]
    assert INPUT not in str(line)
    assert INPUT.encode() not in answer.body


class RefusingEstimator(FailingEstimator):
    """Refuses all input, as scikit-learn does."""

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Refuse, with the input in the message."""
        raise ValueError(INPUT)


@pytest.mark.parametrize(("data", "status"), [([-1.0, 1, 1, 1], 422), (ROW, 500)])
def test_what_the_model_refuses_is_the_inputs_fault_if_training_has_not_seen_its_like(
    post: Ask,
    instance: Foreign,
    estimator: Foreign,
    monkeypatch: pytest.MonkeyPatch,
    data: object,
    status: int,
) -> None:
    monkeypatch.setattr(instance.predictor._model, "_estimator", RefusingEstimator(estimator))
    answer = post("/predict", {"data": data})
    assert answer.status == status
    assert INPUT.encode() not in answer.body
    if status == 422:
        assert "/data/0" in [error["pointer"] for error in answer.json()["errors"]]


@pytest.mark.usefixtures("failing")
def test_a_crash_for_one_row_harms_no_neighbour(app: Edge, loop: asyncio.Runner) -> None:
    async def story() -> list[Answer]:
        rows = [[-1.0, 1.0, 1.0, 1.0] if index % 7 == 0 else ROW for index in range(50)]
        return await asyncio.gather(
            *(
                ask(
                    app,
                    "/predict",
                    method="POST",
                    headers=JSON_TYPE,
                    body=orjson.dumps({"data": row}),
                )
                for row in rows
            )
        )

    statuses = [answer.status for answer in loop.run(story())]
    assert statuses == [500 if index % 7 == 0 else 200 for index in range(50)]


@pytest.mark.parametrize(
    ("error", "status", "slug"),
    [
        (bentoml.exceptions.BentoMLException(INPUT), 500, "internal-error"),
        (bentoml.exceptions.NotFound(INPUT), 404, "not-found"),
        (bentoml.exceptions.BadInput(INPUT), 400, "malformed-body"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_bentoml_raises_is_a_problem_too(
    post: Ask,
    openapi: dict[str, Any],
    instance: Foreign,
    lines: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
    slug: str,
) -> None:
    async def submit(_: object) -> object:
        raise error

    monkeypatch.setattr(instance.batcher, "submit", submit)
    answer = post("/predict", {"data": ROW})
    assert_problem(answer, status, slug, openapi)
    assert INPUT.encode() not in answer.body
    assert [line["level"] for line in lines] == ["error" if status == 500 else "info"]
    assert (lines[0]["exception"] is not None) == (status == 500)


def test_a_request_over_its_deadline_is_dropped(
    app: Edge,
    post: Ask,
    openapi: dict[str, Any],
    instance: Foreign,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(_: object) -> object:
        return await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(instance.batcher, "submit", never)
    monkeypatch.setattr(app, "_timeout_s", 0.01)
    assert_problem(post("/predict", {"data": ROW}), 504, "deadline-exceeded", openapi)


def test_a_request_that_is_refused_is_told_when_to_come_back(
    post: Ask,
    openapi: dict[str, Any],
    instance: Foreign,
    lines: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def submit(_: object) -> object:
        raise Problem(OVERLOADED, "7 rows wait for the model", headers={"Retry-After": "3"})

    monkeypatch.setattr(instance.batcher, "submit", submit)
    for path, data in (("/predict", ROW), ("/predict/batch", [ROW])):
        answer = post(path, {"data": data})
        assert_problem(answer, 503, "overloaded", openapi)
        assert answer.headers["retry-after"] == "3"
    assert [(line["level"], line["rows"]) for line in lines] == [("info", 1), ("info", 1)]


# The cache, which the other tests have turned off


@pytest.fixture
def cache(instance: Foreign, monkeypatch: pytest.MonkeyPatch) -> StillClock:
    """Turn it on, and give its clock."""
    clock = StillClock()
    monkeypatch.setattr(instance.predictor, "_cache", PredictionCache(10, 60.0, clock))
    return clock


def test_a_kept_prediction_is_answered_as_the_computed_one_was(
    post: Ask, openapi: dict[str, Any], cache: StillClock, lines: list[dict[str, Any]]
) -> None:
    unusual = [5.1, 3.5, 9.0, 0.2]
    _, rows_before = batches_run()
    answers = [post("/predict", {"data": unusual}, [(b"X-Request-ID", b"id")]) for _ in range(2)]
    assert answers[0].body == answers[1].body
    assert answers[1].json()["warnings"][0]["pointer"] == "/data/2"
    assert_conforms(answers[1].json(), "PredictAnswer", openapi)
    assert [answer.headers["cache-status"] for answer in answers] == [
        "model-api; fwd=miss; stored",
        "model-api; hit",
    ]
    assert [(line["cache"], line["unusual"]) for line in lines] == [("miss", 1), ("hit", 1)]
    assert batches_run()[1] == rows_before + 1
    cache.now_s += 60
    assert post("/predict", {"data": unusual}).headers["cache-status"].endswith("stored")


@pytest.mark.usefixtures("cache")
def test_the_same_values_in_another_form_are_the_same_prediction(post: Ask, request_: Ask) -> None:
    names = [feature["name"] for feature in request_("/model/info").json()["features"]]
    values = [5, 3.5, 1, 0.2]
    forms: list[object] = [values, [5.0, 3.5, 1.0, 0.2], dict(zip(names, values, strict=True))]
    told = [post("/predict", {"data": form}).headers["cache-status"] for form in forms]
    assert [status.endswith("hit") for status in told] == [False, True, True]


@pytest.mark.usefixtures("cache")
def test_a_failure_is_asked_of_the_model_again(
    post: Ask, instance: Foreign, estimator: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(instance.predictor._model, "_estimator", FailingEstimator(estimator))
        answer = post("/predict", {"data": [-1.0, 1, 1, 1]})
        assert answer.status == 500
        assert "cache-status" not in answer.headers
    assert post("/predict", {"data": [-1.0, 1, 1, 1]}).status == 200


@pytest.mark.usefixtures("cache")
def test_a_batch_tells_of_no_cache(post: Ask) -> None:
    for _ in range(2):
        assert "cache-status" not in post("/predict/batch", {"data": [ROW]}).headers


# The other endpoints


def test_model_info_tells_what_the_model_is(request_: Ask, openapi: dict[str, Any]) -> None:
    info = request_("/model/info").json()
    assert_conforms(info, "ModelInfo", openapi)
    assert info["name"] == "iris"
    assert info["version"] == bentoml.models.get("iris:latest").tag.version
    assert not {"artifact_sha256", "asked"} & info.keys()


def test_the_model_card_is_the_page_that_was_saved(request_: Ask) -> None:
    answer = request_("/model/card")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert answer.body.decode() == CARD


def test_health_is_good_once_the_model_has_predicted(
    request_: Ask, openapi: dict[str, Any]
) -> None:
    answer = request_("/health")
    assert answer.status == 200
    assert_conforms(answer.json(), "Health", openapi)


class BusyBatcher:
    """Runs a batch that began so many seconds ago."""

    def __init__(self, running_s: float) -> None:
        """Take the seconds."""
        self.running_s = running_s


def test_a_model_that_hangs_makes_the_service_unready_but_not_dead(
    request_: Ask,
    openapi: dict[str, Any],
    instance: Foreign,
    module: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(instance, "batcher", BusyBatcher(module.settings.request_timeout_s + 0.1))
    for path in ("/health", "/readyz"):
        answer = request_(path)
        assert_problem(answer, 503, "unavailable", openapi)
        assert answer.headers["retry-after"] == "1"
    assert request_("/livez").status == 200


def test_a_model_that_is_busy_is_healthy(
    request_: Ask, instance: Foreign, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance, "batcher", BusyBatcher(module.settings.request_timeout_s))
    for path in ("/health", "/readyz"):
        assert request_(path).status == 200


def test_a_server_that_drains_is_unready_and_still_answers(
    request_: Ask,
    post: Ask,
    openapi: dict[str, Any],
    instance: Foreign,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(instance.life, "draining", True)
    for path in ("/health", "/readyz"):
        answer = request_(path)
        assert_problem(answer, 503, "unavailable", openapi)
        assert answer.headers["retry-after"] == "1"
    assert request_("/livez").status == 200
    assert post("/predict", {"data": ROW}).status == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
def test_the_probes_are_good(request_: Ask, path: str) -> None:
    assert request_(path).status == 200


def test_every_problem_type_has_its_page(request_: Ask, openapi: dict[str, Any]) -> None:
    (parameter,) = openapi["paths"]["/errors/{slug}"]["get"]["parameters"]
    for slug in parameter["schema"]["enum"]:
        answer = request_(f"/errors/{slug}")
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_page_of_the_document_loads_what_is_served_here_alone(request_: Ask) -> None:
    page = request_("/")
    assert page.status == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assets = re.findall(r'(?:src|href)="([^"]*)"', page.body.decode())
    assert "docs.js" in assets
    for asset in (asset for asset in assets if not asset.startswith("data:")):
        assert not re.match("[a-z]*:|//", asset)
        assert request_(f"/{asset}").status == 200


def test_metrics_are_written_with_templates(request_: Ask) -> None:
    request_("/errors/not-found")
    request_("/no/such/path")
    exposition = request_("/metrics")
    assert exposition.status == 200
    text = exposition.body.decode()
    assert 'endpoint="/errors/{slug}"' in text
    assert 'endpoint="unmatched"' in text
    assert "/no/such/path" not in text
    assert "pid=" not in text  # gauges are those of all workers together
    assert 'serving_model_info{name="iris"' in text


def test_the_document_is_valid_and_true(openapi: dict[str, Any], app: Edge) -> None:
    validate(openapi)
    served = {
        (route.path, method.lower())
        for route in app._app.routes  # type: ignore[attr-defined]
        for method in getattr(route, "methods", None) or ()
        if method != "HEAD"
    }
    documented = {
        (path, method) for path, operations in openapi["paths"].items() for method in operations
    }
    assert documented - served == set()
    assert served - documented == {("/docs.js", "get")}


def test_the_examples_in_the_document_are_answered_as_it_says(
    post: Ask,
    openapi: dict[str, Any],
) -> None:
    for path in ("/predict", "/predict/batch"):
        operation = openapi["paths"][path]["post"]
        example = operation["responses"]["200"]["content"]["application/json"]["example"]
        for body in operation["requestBody"]["content"]["application/json"]["examples"].values():
            answer = post(path, body["value"])
            assert answer.status == 200
            if path == "/predict":
                assert answer.json()["probabilities"] == pytest.approx(example["probabilities"])
                assert answer.json()["prediction"] == example["prediction"]


def test_each_request_gives_one_line_with_its_rows_and_model(
    post: Ask, lines: list[dict[str, Any]]
) -> None:
    post("/predict", {"data": ROW})
    post("/predict/batch", {"data": [ROW, ROW]})
    post("/predict", {"data": [INPUT]})
    version = bentoml.models.get("iris:latest").tag.version
    assert [(line["route"], line["rows"], line["model_version"]) for line in lines] == [
        ("/predict", 1, version),
        ("/predict/batch", 2, version),
        ("/predict", None, version),
    ]
    assert INPUT not in str(lines)


# The start


def test_what_a_start_needs_not_is_not_imported() -> None:
    program = "import sys; from bentoml_cli.cli import cli; import service; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"sklearn", "scipy", "pandas", "onnxruntime", "redis"} & set(done.stdout.split())


def test_a_deployment_without_its_model_is_refused(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = module.settings.model_copy(update={"model": "nowhere:latest"})
    monkeypatch.setattr(module, "settings", nowhere)
    with pytest.raises(ModelError, match="no model nowhere:latest"):
        module.ModelApi.inner.check()


def test_a_deployment_chooses_the_version_for_all_workers(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVING_MODEL", "iris:latest")
    module.ModelApi.inner.check()
    assert os.environ["SERVING_MODEL"] == str(bentoml.models.get("iris:latest").tag)


def test_a_misspelt_setting_is_warned_of(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = RecordingLog()
    monkeypatch.setattr(module, "log", recording)
    monkeypatch.setenv("SERVING_TIMEOUT", INPUT)
    monkeypatch.setenv("SERVING_MODEL", "iris:latest")  # which the check changes
    module.ModelApi.inner.check()
    unknown = {"level": "warning", "event": "settings.unknown", "variable": "SERVING_TIMEOUT"}
    assert unknown in recording.lines


def test_workers_that_would_count_alone_are_refused_at_the_start(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "worker_count", lambda _: 2)
    monkeypatch.setenv("SERVING_MODEL", "iris:latest")  # which the check changes
    module.ModelApi.inner.check()  # nothing is counted
    limited = module.settings.model_copy(update={"rate_limit": "100/minute"})
    monkeypatch.setattr(module, "settings", limited)
    with pytest.raises(SystemExit, match=r"^SERVING_RATE_LIMIT_STORAGE: .*redis://"):
        module.ModelApi.inner.check()


@pytest.mark.parametrize("keys", [(), (ApiKey("alice", b"digest"),)], ids=["open", "with keys"])
def test_a_service_that_is_open_to_all_says_so_at_the_start(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, keys: tuple[ApiKey, ...]
) -> None:
    recording = RecordingLog()
    monkeypatch.setattr(module, "log", recording)
    monkeypatch.setattr(module, "settings", module.settings.model_copy(update={"api_keys": keys}))
    monkeypatch.setenv("SERVING_MODEL", "iris:latest")  # which the check changes
    module.ModelApi.inner.check()
    assert ("keys.none" in [line["event"] for line in recording.lines]) == (not keys)


def test_the_service_can_be_started_again_and_each_end_closes_its_thread(
    module: ModuleType,
    app: Edge,
    instance: Foreign,
) -> None:
    def model_threads() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "model"}

    before = model_threads()

    async def story() -> None:
        async with lifespan(module.ModelApi.to_asgi()):
            (started,) = model_threads() - before
        await asyncio.to_thread(started.join, 30)
        assert not started.is_alive()

    try:
        asyncio.run(story())
    finally:
        sdk = importlib.import_module("_bentoml_sdk.service")
        sdk.set_current_service(instance)  # that of the module's other tests

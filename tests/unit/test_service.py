"""The service in this process: all its rooms together, on a model that was really fitted.

What a room decides is tested with the room; here stands what only the whole shows.
"""

import asyncio
import gc
import hashlib
import importlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from types import ModuleType, SimpleNamespace
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
from starlette.types import ASGIApp

from serving.host.application import Application
from serving.host.process import MODELS
from serving.keys import ApiKey
from serving.model.description import Description, References
from serving.model.store import save
from tests.unit.fakes import Answer, Headers, ask, lifespan, restored_logging, sample
from tests.unit.samples import PROBABILITIES, description, number
from training.describing.reference import references_of

ROOT = Path(__file__).parents[2]
JSON_TYPE: Headers = [(b"Content-Type", b"application/json")]
ROW = [5.1, 3.5, 1.4, 0.2]
UNUSUAL = [5.1, 3.5, 9.0, 0.2]
INPUT = "31415926"  # a value that must not be told
CARD = "<!doctype html>\n<title>iris</title>\n<p>Three species, ünd no more.\n"

Ask = Callable[..., Answer]
Foreign = Any  # scikit-learn and BentoML's decorators have no type for it


class Touchy(LogisticRegression):
    """A model that fails for rows with a negative first value, with an input in its message."""

    def predict_proba(self, table: np.ndarray) -> np.ndarray:
        """Give probabilities, or fail."""
        if (np.asarray(table)[:, 0] < 0).any():
            raise ArithmeticError(INPUT)
        return super().predict_proba(table)  # type: ignore[no-any-return]


def save_iris() -> None:
    """Fit a model of irises, and save it."""
    iris = load_iris()
    estimator = Touchy(max_iter=1000)
    estimator.fit(iris.data, iris.target_names[iris.target])
    ranges = zip(iris.data.min(axis=0).tolist(), iris.data.max(axis=0).tolist(), strict=True)
    described = description(
        tuple(estimator.classes_.tolist()),
        tuple(map(number, iris.feature_names, ranges)),
        name="iris",
        targets=("species",),
        asked=PROBABILITIES,
    )
    save(estimator, described.model_copy(update={"reference": reference_of(described)}), CARD)


def reference_of(described: Description) -> References:
    """Count the rows of training, so that drift is watched."""
    rows = [tuple(row) for row in load_iris().data.tolist()]
    return references_of(described, rows, [], [])


@pytest.fixture(scope="module")
def module() -> Iterator[ModuleType]:
    """Import the service as BentoML does, with a fitted model in the store."""
    save_iris()
    environment = dict(os.environ)
    os.environ["SERVING_RATE_LIMIT"] = "off"
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


@asynccontextmanager
async def living(application: ASGIApp) -> AsyncIterator[None]:
    """Start the service and end it, and leave this process as it was."""
    stdout = sys.stdout
    async with lifespan(application):
        sys.stdout = stdout
        yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def served(module: ModuleType, loop: asyncio.Runner) -> Iterator[tuple[ASGIApp, Foreign]]:
    """Start the service; give its application, and its instance."""
    made: list[Foreign] = []

    def make() -> Foreign:
        made.append(module.ModelApi())
        return made[0]

    application = Application(make)
    life = living(application)
    loop.run(life.__aenter__())
    yield application, made[0]
    loop.run(life.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def app(served: tuple[ASGIApp, Foreign]) -> ASGIApp:
    """Give the application."""
    return served[0]


@pytest.fixture(scope="module")
def instance(served: tuple[ASGIApp, Foreign]) -> Foreign:
    """Give the service's instance."""
    return served[1]


@pytest.fixture
def request_(app: ASGIApp, loop: asyncio.Runner) -> Ask:
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
def estimator(module: ModuleType) -> Foreign:
    """Load the served estimator as any user of BentoML would."""
    return bentoml.sklearn.load_model("iris:latest")


@pytest.fixture(scope="module")
def version(module: ModuleType) -> str:
    """Give the version that is served."""
    return str(bentoml.models.get("iris:latest").tag.version)


@pytest.fixture(scope="module")
def openapi(app: ASGIApp, loop: asyncio.Runner) -> dict[str, Any]:
    """Read the OpenAPI document."""
    document: dict[str, Any] = loop.run(ask(app, "/docs.json")).json()
    return document


def assert_conforms(document: object, schema: object, openapi: dict[str, Any]) -> None:
    """Check a body against a schema, or the name of one, of the OpenAPI document."""
    if isinstance(schema, str):
        schema = {"$ref": f"#/components/schemas/{schema}"}
    whole = {"allOf": [schema], "components": openapi["components"]}
    OAS31Validator(whole).validate(document)


# Predictions


def test_one_instance_has_one_prediction_and_by_name_the_same(
    post: Ask, estimator: Foreign, version: str, openapi: dict[str, Any]
) -> None:
    answer = post("/predict", {"data": ROW}, [(b"X-Request-ID", b"mine")])
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    (probabilities,) = estimator.predict_proba([ROW]).tolist()
    assert answer.json() == {
        "prediction": "setosa",
        "probabilities": dict(zip(estimator.classes_.tolist(), probabilities, strict=True)),
        "model": {"name": "iris", "version": version},
        "request_id": "mine",
    }
    assert_conforms(answer.json(), "PredictAnswer", openapi)
    named = dict(zip(load_iris().feature_names, ROW, strict=True))
    by_name = post("/predict", {"data": named}, [(b"X-Request-ID", b"mine")])
    assert by_name.body == answer.body
    assert answer.headers["cache-status"] == "model-api; fwd=miss; stored"
    assert by_name.headers["cache-status"] == "model-api; hit"  # it is the same row


def test_a_batch_has_its_predictions_in_order(
    post: Ask, estimator: Foreign, openapi: dict[str, Any]
) -> None:
    rows = np.random.default_rng(0).uniform(0, 8, size=(300, 4))
    answer = post("/predict/batch", {"data": rows.tolist()})
    assert answer.status == 200
    assert "cache-status" not in answer.headers
    assert_conforms(answer.json(), "BatchAnswer", openapi)
    predictions = answer.json()["predictions"]
    assert [p["prediction"] for p in predictions] == estimator.predict(rows).tolist()
    np.testing.assert_allclose(
        [list(p["probabilities"].values()) for p in predictions],
        estimator.predict_proba(rows),
        rtol=1e-12,
        atol=1e-12,
    )


def test_what_is_unlike_training_is_answered_with_a_warning_from_the_cache_too(
    post: Ask, openapi: dict[str, Any]
) -> None:
    warning = {"pointer": "/data/2", "detail": "outside of the range seen in training, 1.0 to 6.9"}
    for _ in range(2):
        answer = post("/predict", {"data": UNUSUAL})
        assert answer.json()["warnings"] == [warning]
        assert_conforms(answer.json(), "PredictAnswer", openapi)
    assert answer.headers["cache-status"] == "model-api; hit"
    batch = post("/predict/batch", {"data": [ROW, UNUSUAL]})
    assert batch.json()["warnings"] == [warning | {"pointer": "/data/1/2"}]
    assert_conforms(batch.json(), "BatchAnswer", openapi)


def test_each_request_is_a_line_and_counted(
    post: Ask, request_: Ask, version: str, lines: list[dict[str, Any]]
) -> None:
    def unusual() -> float:
        return sample("serving_unusual_values_total", feature="petal length (cm)")

    before = unusual()
    post("/predict", {"data": ROW})
    post("/predict/batch", {"data": [ROW, [5.1, 3.5, 9.0, 9.0], UNUSUAL]})
    post("/predict", {"data": [INPUT]})
    assert unusual() == before + 2
    request_("/errors/not-found")
    request_("/no/such/path")
    assert [(line["route"], line["status"], line["rows"], line["unusual"]) for line in lines] == [
        ("/predict", 200, 1, None),
        ("/predict/batch", 200, 3, 3),
        ("/predict", 422, None, None),
        ("/errors/{slug}", 200, None, None),
        ("unmatched", 404, None, None),
    ]
    assert {line["model_version"] for line in lines} == {version}
    assert INPUT not in str(lines)
    text = request_("/metrics").body.decode()
    assert 'endpoint="/errors/{slug}"' in text
    assert "/no/such/path" not in text
    assert f'serving_model_info{{name="iris",task="classification",version="{version}"}} 1' in text


def batches_run() -> np.ndarray:
    """Tell how many batches ran, and with how many rows."""
    labels = {
        "method_name": "predict",
        "worker_index": "0",
        "service_name": "",
        "service_version": "not available",
        "runner_name": "",
    }
    name = "bentoml_service_adaptive_batch_size"
    return np.array([sample(f"{name}_{what}", **labels) for what in ("count", "sum")])


def test_concurrent_calls_are_batched_and_each_gets_its_own_answer(
    app: ASGIApp, loop: asyncio.Runner, estimator: Foreign
) -> None:
    rows = np.random.default_rng(1).uniform(0, 8, size=(200, 4))
    bodies: list[object] = [*rows.tolist()]
    bodies[::5] = [[None] * 4] * 40  # which never come to the model

    def predict(index: int) -> Coroutine[None, None, Answer]:
        headers = [*JSON_TYPE, (b"X-Request-ID", str(index).encode())]
        body = orjson.dumps({"data": bodies[index]})
        return ask(app, "/predict", method="POST", headers=headers, body=body)

    async def story() -> list[Answer]:
        return await asyncio.gather(*map(predict, range(200)))

    before = batches_run()
    answers = loop.run(story())
    batches, rows_run = batches_run() - before
    assert rows_run == 160
    assert batches < rows_run / 2
    assert [answer.json()["request_id"] for answer in answers] == list(map(str, range(200)))
    assert [answer.status for answer in answers] == [200 if n % 5 else 422 for n in range(200)]
    for answer, label in zip(answers, estimator.predict(rows), strict=True):
        assert answer.status == 422 or answer.json()["prediction"] == label


# What is refused, and what fails


@pytest.mark.parametrize(
    ("path", "body", "status", "slug"),
    [
        ("/predict", b'{"data": 1, "data": 2}', 400, "malformed-body"),
        ("/predict", b'{"data": [1, 2, "x", 4]}', 422, "invalid-input"),
        ("/predict/batch", b'{"data": [[1, 2, 3]]}', 422, "invalid-input"),
        ("/predict", b'{"data": "' + b"x" * 2**20 + b'"}', 413, "body-too-large"),
        ("/predict/batch", orjson.dumps({"data": [ROW] * 1001}), 413, "batch-too-large"),
        ("/nowhere", b"", 404, "not-found"),
        ("/health", b"", 405, "method-not-allowed"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_refusal_is_a_problem_as_the_document_says(
    post: Ask, openapi: dict[str, Any], path: str, body: bytes, status: int, slug: str
) -> None:
    answer = post(path, body)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["type"].endswith(f"errors/{slug}")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert_conforms(answer.json(), "Problem", openapi)


@pytest.mark.parametrize(
    ("path", "data"), [("/predict", [-1.0, 1, 1, 1]), ("/predict/batch", [ROW, [-1, 1, 1, 1]])]
)
def test_a_crash_in_the_model_is_told_to_the_log_alone(
    post: Ask, openapi: dict[str, Any], lines: list[dict[str, Any]], path: str, data: object
) -> None:
    answer = post(path, {"data": data})
    assert answer.status == 500
    assert_conforms(answer.json(), "Problem", openapi)
    (line,) = lines
    assert (line["level"], line["problem"]) == ("error", "internal-error")
    assert "ArithmeticError\n\nThe above exception caused" in line["exception"]
    assert line["exception"].endswith("serving.prediction.predictor.EstimatorError")
    assert "in predict_proba" in line["exception"]
    assert INPUT not in str(line)
    assert INPUT.encode() not in answer.body


def test_a_crash_for_one_row_harms_no_neighbour(app: ASGIApp, loop: asyncio.Runner) -> None:
    def predict(first: float) -> Coroutine[None, None, Answer]:
        body = orjson.dumps({"data": [first, 1, 1, 1]})
        return ask(app, "/predict", method="POST", headers=JSON_TYPE, body=body)

    async def story() -> list[Answer]:
        return await asyncio.gather(*map(predict, (n if n % 7 else -1 - n for n in range(50))))

    statuses = [answer.status for answer in loop.run(story())]
    assert statuses == [200 if n % 7 else 500 for n in range(50)]


# What else is served


def test_the_document_is_valid_and_tells_of_all_that_is_served_but_what_its_page_loads(
    openapi: dict[str, Any], instance: Foreign, module: ModuleType, version: str
) -> None:
    validate(openapi)
    documented = {
        f"{method.upper()} {path}"
        for path, operations in openapi["paths"].items()
        for method in operations
    }

    def of(path: str) -> str:
        return path.format(model="iris", version=version)

    served = {
        f"{route.method} {of(route.path) if 'model' in route.path else route.path}"
        for route in instance.routes()
    }
    assert served - documented == {
        *("GET /docs.js", "GET /try.js", "GET /static_content/{path:path}"),
        *("GET /model/try", "GET /models/iris/try"),  # which lead to /try
    }
    assert documented == {
        "POST /predict",
        "POST /predict/batch",
        "GET /",
        "GET /docs.json",
        "GET /errors/{slug}",
        "GET /health",
        "GET /healthz",
        "GET /livez",
        "GET /metrics",
        "GET /model/card",
        "GET /model/drift",
        "GET /model/info",
        "GET /readyz",
        "GET /schema.json",
        "GET /try",
        "GET /models",
        *(f"GET /models/iris/{part}" for part in ("card", "drift", "info")),
        *(f"POST /models/iris/predict{part}" for part in ("", "/batch")),
        *(f"POST {of(path)}" for dialect in module.dialects for path in dialect.conversations),
        *(f"{told.method} {of(told.path)}" for each in module.dialects for told in each.tells),
    }


def _in_path(operation: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in operation.get("parameters", ()) if each["in"] == "path"]


def test_all_that_can_be_asked_for_is_answered_as_the_document_says(
    request_: Ask, openapi: dict[str, Any], version: str
) -> None:
    for template, operations in openapi["paths"].items():
        if "get" not in operations:
            continue
        parts = {each["name"]: each["schema"]["enum"] for each in _in_path(operations["get"])}
        for values in product(*parts.values()):
            path = template.format(**dict(zip(parts, values, strict=True)))
            contents = operations["get"]["responses"]["200"]["content"]
            for media_type, content in contents.items():
                answer = request_(path, headers=[(b"Accept", media_type.encode())])
                assert answer.status == 200, path
                assert answer.headers["content-type"].startswith(media_type), path
                if media_type == "application/json":
                    assert_conforms(answer.json(), content["schema"], openapi)
    info = request_("/model/info").json()
    assert (info["name"], info["version"]) == ("iris", version)
    assert request_("/model/card").body.decode() == CARD


V1_PREDICT = "/v1/models/iris:predict"


def test_v1_s_examples_are_answered_as_predict_answers(post: Ask, openapi: dict[str, Any]) -> None:
    content = openapi["paths"][V1_PREDICT]["post"]["requestBody"]["content"]["application/json"]
    for method, example in content["examples"].items():
        body = example["value"]
        answer = post(V1_PREDICT, body)
        assert answer.status == 200
        assert_conforms(answer.json(), "V1Answer", openapi)
        known = post("/predict/batch", {"data": body["instances"]}).json()["predictions"]
        of = {
            "predict": [each["prediction"] for each in known],
            "predict_proba": [list(each["probabilities"].values()) for each in known],
        }
        assert answer.json() == {"predictions": of[method]}


def test_below_v1_what_is_refused_is_plain_json_with_its_error(post: Ask, request_: Ask) -> None:
    told = {
        404: [
            request_("/v1/models/other"),
            post("/v1/models/other:predict", {}),
            request_("/v1/x"),
        ],
        405: [post("/v1/models", {}), request_("/v1/models/iris:predict")],
        400: [post("/v1/models/iris:predict", {"instances": [["x"]]})],
    }
    for status, answers in told.items():
        for answer in answers:
            assert (answer.status, answer.json()["status"]) == (status, status)
            assert answer.headers["content-type"] == "application/json"
            assert answer.json()["error"].startswith(answer.json()["detail"])


def test_the_examples_in_the_document_are_answered_as_it_says(
    post: Ask, openapi: dict[str, Any]
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


def test_the_page_of_the_document_loads_what_is_served_here_alone(request_: Ask) -> None:
    page = request_("/").body.decode()
    loaded = [a for a in re.findall(r'(?:src|href)="([^"]*)"', page) if not a.startswith("data:")]
    assert "docs.js" in loaded
    assert [request_(f"/{asset}").status for asset in loaded] == [200] * len(loaded)


def test_in_process_the_model_predicts_too(instance: Foreign, estimator: Foreign) -> None:
    rows = [tuple(ROW), (6.0, 3.0, 5.0, 2.0)]
    for api in (instance.predict, instance.predict_batch):
        assert [prediction.value for prediction in api(rows)] == estimator.predict(rows).tolist()


@pytest.mark.parametrize(
    ("draining", "running_s", "status"), [(True, 0.0, 503), (False, 10.1, 503), (False, 10.0, 200)]
)
def test_a_server_that_drains_or_hangs_is_unready_but_not_dead(
    request_: Ask,
    instance: Foreign,
    monkeypatch: pytest.MonkeyPatch,
    draining: bool,
    running_s: float,
    status: int,
) -> None:
    monkeypatch.setattr(instance.life, "draining", draining)
    monkeypatch.setattr(instance.shelf.default, "batcher", SimpleNamespace(running_s=running_s))
    assert [request_(path).status for path in ("/health", "/readyz")] == [status, status]
    assert request_("/livez").status == 200


# The composition


def test_the_service_is_as_its_operator_has_set_it_and_ends_whole(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    alice = ApiKey("alice", hashlib.sha256(b"secret").digest(), "3/minute")
    settings = {
        "api_keys": (alice,),
        "metrics_need_key": True,
        "cors_origins": ("https://example.org",),
        "cache_entries": 0,
        "max_batch_rows": 2,
        "max_body_bytes": 200,
        "prediction_log": str(tmp_path / "log"),
    }
    monkeypatch.setattr(module, "settings", module.settings.model_copy(update=settings))
    app: ASGIApp = module.ModelApi.to_asgi()
    before = set(threading.enumerate())

    async def post(path: str, rows: object, *headers: tuple[bytes, bytes]) -> Answer:
        body = orjson.dumps({"data": rows})
        return await ask(app, path, method="POST", headers=[*JSON_TYPE, *headers], body=body)

    async def story() -> None:
        async with living(app):
            threads = set(threading.enumerate()) - before
            key = (b"X-API-Key", b"secret")
            statuses = [
                (await ask(app, path)).status for path in ("/metrics", "/model/drift", "/livez")
            ]
            assert statuses == [401, 401, 200]
            for path in ("/metrics", "/model/drift"):
                assert (await ask(app, path, headers=[key])).status == 200
            assert (await post("/predict", ROW)).status == 401
            answer = await post("/predict", ROW, key, (b"Origin", b"https://example.org"))
            assert answer.status == 200
            assert answer.headers["access-control-allow-origin"] == "https://example.org"
            assert answer.headers["ratelimit"].startswith('"key";r=2;')
            assert "cache-status" not in answer.headers
            refused = [
                await post("/predict/batch", [ROW] * 3, key),
                await post("/predict", "x" * 200, key),
            ]
            kinds = [answer.json()["type"].rpartition("/")[2] for answer in refused]
            assert kinds == ["batch-too-large", "body-too-large"]
            assert (await post("/predict", ROW, key)).status == 429
            document = (await ask(app, "/docs.json", headers=[key])).json()
            assert document["components"]["securitySchemes"]
            assert "429" in document["paths"]["/predict"]["post"]["responses"]
        names = {thread.name for thread in threads}
        assert names == {"model", "prediction-log", "drift", "shadow of iris"}
        for thread in threads:
            await asyncio.to_thread(thread.join, 30)
            assert not thread.is_alive()

    asyncio.run(story())
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert json.loads(line)["prediction"] == "setosa"


def test_a_deployment_chooses_the_version_for_all_workers(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv(MODELS, "")
    module.ModelApi.inner.check()
    assert os.environ[MODELS] == f"iris:{version}"


@pytest.mark.slow
def test_what_a_start_needs_not_is_not_imported() -> None:
    program = "import sys; from bentoml_cli.cli import cli; import service; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"sklearn", "scipy", "pandas", "onnxruntime", "redis"} & set(done.stdout.split())

"""The Open Inference Protocol over the wire: the same bits as ever, in every form that it has."""

import gzip
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server import BATCH, ROOT, ROW, Server, eventually, refused, run_python, serving
from tests.tensors import LENGTH_HEADER, outputs_of, with_buffers, written
from tests.trained import copy_of
from tests.wire.problems import assert_plain_problem, assert_problem
from tests.wire.test_start import assert_one_clear_line

MODEL = "/v2/models/iris"
INFER = f"{MODEL}/infer"
TEMPLATE = "/v2/models/{model}/infer"
RANGES = ((4.3, 7.9), (2.0, 4.4), (1.0, 6.9), (0.1, 2.5))

Tensor = dict[str, Any]


def matrix(rows: Sequence[Sequence[float]], **members: object) -> Tensor:
    """Give rows as one input."""
    data = [value for row in rows for value in row]
    return {"name": "input-0", "shape": [len(rows), 4], "datatype": "FP64", "data": data, **members}


def infer(
    server: Server, inputs: object, path: str = INFER, **members: object
) -> dict[str, list[Any]]:
    """Ask with tensors in JSON; give the elements of each output."""
    answer = server.http.post(path, json={"inputs": inputs, **members}).raise_for_status()
    return outputs_of(answer.content, answer.headers.get(LENGTH_HEADER))


def post_binary(
    server: Server, document: object, *buffers: bytes, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    """Ask with buffers behind the JSON, as Triton's client does: without a content type."""
    body, length = with_buffers(document, *buffers)
    return server.http.post(INFER, content=body, headers={**length, **(headers or {})})


def drawn(count: int, seed: int) -> list[list[float]]:
    """Draw rows like those of training."""
    draw = random.Random(seed)
    return [[draw.uniform(*ends) for ends in RANGES] for _ in range(count)]


def known(server: Server, rows: object) -> dict[str, list[Any]]:
    """Give what is predicted for many rows at once, as outputs."""
    predictions = server.ask(rows, BATCH).raise_for_status().json()["predictions"]
    return {
        "predict": [each["prediction"] for each in predictions],
        "predict_proba": [p for each in predictions for p in each["probabilities"].values()],
    }


# The same bits


def test_every_form_of_a_request_has_the_bits_of_a_batch(server: Server) -> None:
    rows = drawn(300, seed=1)
    expected = known(server, rows)
    assert infer(server, [matrix(rows)]) == expected
    assert infer(server, [matrix(rows, data=rows)]) == expected
    names = [feature["name"] for feature in server.http.get("/model/info").json()["features"]]
    columns = [
        {"name": name, "shape": [300, 1], "datatype": "FP64", "data": list(column)}
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    ]
    assert infer(server, columns[::-1]) == expected
    del columns[2]["data"]
    columns[2]["parameters"] = {"binary_data_size": 8 * 300}
    buffer = written("FP64", [row[2] for row in rows])
    for parameters in ({}, {"binary_data_output": True}):
        answer = post_binary(server, {"inputs": columns, "parameters": parameters}, buffer)
        assert answer.status_code == 200
        media_type = "application/octet-stream" if parameters else "application/json"
        assert answer.headers["content-type"] == media_type
        assert (LENGTH_HEADER in answer.headers) == bool(parameters)
        assert outputs_of(answer.content, answer.headers.get(LENGTH_HEADER)) == expected


def test_a_row_has_the_same_bits_alone_and_with_neighbours(server: Server) -> None:
    assert server.http.get("/model/info").json()["runtime"]["same_bits"]
    rows = drawn(200, seed=2)
    expected = known(server, rows)
    outputs = [{"name": "predict_proba", "parameters": {"binary_data": True}}]
    with ThreadPoolExecutor(16) as threads:
        answers = list(
            threads.map(lambda row: infer(server, [matrix([row])], outputs=outputs), rows)
        )
    assert [p for each in answers for p in each["predict_proba"]] == expected["predict_proba"]


def test_what_is_answered_is_as_the_contract_shows_it(server: Server) -> None:
    version = server.http.get("/health").json()["model"]["version"]
    single = matrix([ROW], datatype="FP32")
    for path in (INFER, f"{MODEL}/versions/{version}/infer"):
        answer = server.http.post(path, json={"id": "42", "inputs": [single], "model_name": "x"})
        assert "cache-status" not in answer.headers
        (label,) = infer(server, [single], path, parameters={"content_type": "np"})["predict"]
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        document = answer.json()
        predict, probabilities = document.pop("outputs")
        assert document == {"model_name": "iris", "model_version": version, "id": "42"}
        assert predict == {
            "name": "predict",
            "shape": [1, 1],
            "datatype": "BYTES",
            "parameters": {"content_type": "np"},
            "data": [label],
        }
        assert (probabilities["shape"], probabilities["datatype"]) == ([1, 3], "FP64")
        exact = 5.099999904632568, 3.5, 1.399999976158142, 0.20000000298023224
        assert probabilities["data"] == known(server, [exact])["predict_proba"]
    assert list(infer(server, [single], parameters={"content_type": "np"})) == ["predict"]


def test_a_compressed_body_has_the_length_of_its_json_before(server: Server) -> None:
    rows = drawn(50, seed=3)
    document = {
        "inputs": [{**matrix(rows), "data": None, "parameters": {"binary_data_size": 1600}}]
    }
    body, length = with_buffers(document, written("FP64", [v for row in rows for v in row]))
    headers = {**length, "Content-Encoding": "gzip", "Content-Type": "application/octet-stream"}
    answer = server.http.post(INFER, content=gzip.compress(body), headers=headers)
    assert outputs_of(answer.content, None) == known(server, rows)
    headers["Content-Encoding"] = "deflate"
    refused_ = server.http.post(INFER, content=body, headers=headers)
    assert_plain_problem(server, refused_, 415, "unsupported-media-type")


# A model of texts, categories, booleans and gaps, that predicts a number


def pets(folder: Path) -> None:
    """Train a model on a table with all kinds of columns."""
    draw = random.Random(4)
    lines = ["kind,tame,age,weight,price"]
    for _ in range(120):
        kind = draw.choice(["cat", "dog", "ünï", ""])
        tame, age = draw.choice(["true", "false"]), draw.randrange(1, 16)
        weight = draw.choice(["", f"{draw.uniform(1, 30):.2f}"])
        lines.append(f"{kind},{tame},{age},{weight},{20 * age + draw.uniform(0, 50):.2f}")
    (folder / "pets.csv").write_text("\n".join(lines) + "\n")
    options = "--data pets.csv --target price --estimator GradientBoostingRegressor"
    run_python(folder, str(ROOT / "train.py"), *options.split(), folder=folder)


@pytest.fixture(scope="module")
def pet_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve that model."""
    home = copy_of(pets, "pets", tmp_path_factory.mktemp("pets"))
    output = tmp_path_factory.mktemp("pet_shop") / "output"
    with serving(home, output, SERVING_MODEL="pets") as running:
        yield running


def test_strings_booleans_and_gaps_are_taken_in_every_form(pet_shop: Server) -> None:
    path = "/v2/models/pets/infer"
    inputs = pet_shop.http.get("/v2/models/pets").json()["inputs"]
    assert [(each["name"], each["datatype"]) for each in inputs] == [
        ("kind", "BYTES"),
        ("tame", "BOOL"),
        ("age", "INT64"),
        ("weight", "FP64"),
    ]
    rows: list[list[Any]] = [
        ["ünï", True, 3, 4.5],
        [None, False, 15, None],
        ["cat", True, 1, 29.99],
    ]
    answered = pet_shop.ask(rows, BATCH).raise_for_status().json()["predictions"]
    expected = {"predict": [each["prediction"] for each in answered]}
    columns = [
        {**each, "shape": [3], "data": list(column)}
        for each, column in zip(inputs, zip(*rows, strict=True), strict=True)
    ]
    assert infer(pet_shop, columns, path) == expected
    as_json = [
        {**each, "datatype": "BYTES", "data": list(map(json.dumps, each["data"]))}
        for each in columns
    ]
    assert infer(pet_shop, as_json, path, parameters={"content_type": "pd_json"}) == expected
    buffers = [
        written("BYTES", ["ünï".encode(), b"", b"cat"]),
        written("BOOL", [True, False, True]),
        written("INT64", [3, 15, 1]),
        written("FP64", [4.5, float("nan"), 29.99]),
    ]
    sized = [
        {
            **each,
            "data": None,
            "parameters": {"binary_data_size": len(buffer), "binary_data": True},
        }
        for each, buffer in zip(columns, buffers, strict=True)
    ]
    body, length = with_buffers({"inputs": sized}, *buffers)
    answer = pet_shop.http.post(path, content=body, headers=length)
    assert outputs_of(answer.content, None) == expected
    nan = json.dumps({"inputs": columns}).replace("null, 29.99", "NaN, 29.99")
    assert outputs_of(pet_shop.http.post(path, content=nan).content, None) == expected
    columns[1]["data"] = [True, None, True]
    problem = assert_plain_problem(
        pet_shop, pet_shop.http.post(path, json={"inputs": columns}), 400, "invalid-input"
    )
    assert problem["errors"] == [
        {"pointer": "/inputs/1/data/1", "detail": "expected a boolean, got null"}
    ]


# What is told


def test_the_server_and_its_model_tell_what_they_are(server: Server) -> None:
    version = server.http.get("/health").json()["model"]["version"]
    model = {
        "name": "iris",
        "versions": [version],
        "platform": "sklearn_joblib",
        "inputs": [{"name": "input-0", "datatype": "FP64", "shape": [-1, 4]}],
        "outputs": [
            {"name": "predict", "datatype": "BYTES", "shape": [-1, 1]},
            {"name": "predict_proba", "datatype": "FP64", "shape": [-1, 3]},
        ],
        "properties": {"classes": '["setosa","versicolor","virginica"]'},
    }
    of_version = f"{MODEL}/versions/{version}"
    told: dict[str, object] = {
        "/v2/health/live": {"live": True},
        "/v2/health/ready": {"live": True, "ready": True},
        "/v2/models": {"models": ["iris"]},
        MODEL: model,
        of_version: model,
        "/v2/models/%69ris": model,
        f"{MODEL}/ready": {"name": "iris", "ready": True},
        f"{of_version}/ready": {"name": "iris", "ready": True},
    }
    for path, document in told.items():
        answer = server.http.get(path)
        assert (answer.status_code, answer.json()) == (200, document), path
        assert answer.headers["content-type"] == "application/json"
        head = server.http.head(path)
        assert (head.status_code, head.content) == (200, b"")
    for path in ("/v2", "/v2/"):  # neither leads to the other
        about = server.http.get(path).json()
        assert (about["name"], about["extensions"]) == (
            "model-api",
            ["binary_tensor_data", "model_repository"],
        )


def test_the_repository_has_its_one_model_and_keeps_it(server: Server) -> None:
    version = server.http.get("/health").json()["model"]["version"]
    for body in (b"", b"{}", b'{"ready": true}', b"no json"):
        index = server.http.post("/v2/repository/index", content=body)
        assert index.json() == [
            {"name": "iris", "version": version, "state": "READY", "reason": ""}
        ]
        load = server.http.post("/v2/repository/models/iris/load", content=body)
        assert (load.status_code, load.json()) == (200, {})
        unload = server.http.post("/v2/repository/models/iris/unload", content=body)
        problem = assert_plain_problem(server, unload, 400, "invalid-input")
        assert "models are not unloaded" in problem["error"]
    assert infer(server, [matrix([ROW])])["predict"] == ["setosa"]


# What is refused


@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("GET", "/v2/nowhere", 404, "not-found"),
        ("GET", "/v2/models/other", 404, "not-found"),
        ("GET", "/v2/models/other/ready", 404, "not-found"),
        ("GET", f"{MODEL}/versions/1", 404, "not-found"),
        ("GET", f"{MODEL}/versions/1/ready", 404, "not-found"),
        ("POST", "/v2/models/other/infer", 404, "not-found"),
        ("POST", f"{MODEL}/versions/1/infer", 404, "not-found"),
        ("POST", "/v2/repository/models/other/load", 404, "not-found"),
        ("POST", "/v2/repository/models/other/unload", 404, "not-found"),
        ("GET", INFER, 405, "method-not-allowed"),
        ("POST", MODEL, 405, "method-not-allowed"),
        ("DELETE", "/v2/nowhere", 404, "not-found"),
        ("POST", INFER, 400, "malformed-body"),
    ],
)
def test_what_is_not_there_is_told_in_plain_json(
    server: Server, method: str, path: str, status: int, slug: str
) -> None:
    answer = server.http.request(method, path)
    assert_plain_problem(server, answer, status, slug)
    if status == 405:
        assert answer.headers["allow"]


def test_what_is_wrong_is_told_in_its_place_and_what_is_too_much_too(server: Server) -> None:
    wrong = server.http.post(INFER, json={"inputs": [matrix([ROW], data=[5.1, "x", 1.4, None])]})
    problem = assert_plain_problem(server, wrong, 400, "invalid-input")
    assert problem["status"] == 400
    assert problem["error"] == (
        "1 problem in the request body; /inputs/0/data/1: expected a number, got a string"
    )
    rows = server.http.post(INFER, json={"inputs": [matrix([ROW] * 1001)]})
    assert_plain_problem(server, rows, 413, "batch-too-large")
    assert_plain_problem(server, server.send(b" " * 2_000_000, INFER), 413, "body-too-large")
    for headers in ({LENGTH_HEADER: "0"}, {LENGTH_HEADER: "10000"}, {LENGTH_HEADER: "ten"}):
        answer = server.http.post(INFER, json={"inputs": [matrix([ROW])]}, headers=headers)
        assert_plain_problem(server, answer, 400, "malformed-body")
    body, length = with_buffers({"inputs": [matrix([ROW])]})
    twice = [*length.items()] * 2
    assert_plain_problem(
        server, server.http.post(INFER, content=body, headers=twice), 400, "malformed-body"
    )


def test_a_request_that_is_not_there_in_time_is_told_so_in_plain_json(hasty: Server) -> None:
    with hasty.raw() as connection:
        connection.sendall(
            f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n{{".encode()
        )
        with HTTPResponse(connection, method="POST") as answer:
            answer.begin()
            body = json.load(answer)
    assert (answer.status, answer.headers["content-type"]) == (504, "application/json")
    assert body["type"].endswith("/errors/deadline-exceeded")
    assert body["error"] == body["detail"]


def test_without_the_dialect_nothing_of_it_is_there(fragile: Server) -> None:
    for path in ("/v2", "/v2/health/ready", "/v2/models/fragile/infer"):
        assert_problem(fragile, fragile.http.get(path), 404, "not-found")
    document = fragile.http.get("/docs.json").json()
    assert not [path for path in document["paths"] if path.startswith("/v2")]
    assert not [name for name in document["components"]["schemas"] if name.startswith("V2")]


def test_a_dialect_that_there_is_not_is_refused_at_the_start(home: Path) -> None:
    told = refused(home, SERVING_DIALECTS="v2,v3")
    assert_one_clear_line(told, "SERVING_DIALECTS: ", "'v3'", "v2", "none")


# What is logged and counted


def test_each_request_is_logged_and_counted_by_its_template(server: Server) -> None:
    requests = "bentoml_service_request_total"

    def counts() -> list[float]:
        return [
            server.metric(requests, endpoint=TEMPLATE, http_response_code="200"),
            server.metric(requests, endpoint=TEMPLATE, http_response_code="400"),
            server.metric(requests, endpoint="/v2/health/ready", http_response_code="200"),
            server.metric("serving_predictions_total", **{"class": "setosa"}),
            server.metric("serving_unusual_values_total", feature="petal length (cm)"),
        ]

    before = counts()
    good = server.http.post(INFER, json={"inputs": [matrix([ROW, [5.1, 3.5, 0.5, 0.2]])]})
    bad = server.http.post(INFER, json={"inputs": []})
    server.http.get("/v2/health/ready")
    grown = [after - earlier for earlier, after in zip(before, counts(), strict=True)]
    assert grown == [1, 1, 1, 2, 1]
    line = server.log_of(good.headers["x-request-id"])
    assert (line["route"], line["status"], line["rows"]) == (TEMPLATE, 200, 2)
    assert line["unusual"] == 1
    assert "warnings" not in good.json()
    line = server.log_of(bad.headers["x-request-id"])
    assert (line["route"], line["status"], line["problem"]) == (TEMPLATE, 400, "invalid-input")
    assert good.json()["id"] == good.headers["x-request-id"]
    endpoints = {sample.labels.get("endpoint", "") for sample in server.metrics()}
    assert not [each for each in endpoints if each.startswith(MODEL)]


def test_each_prediction_is_a_line_of_the_prediction_log(configured: Server) -> None:
    rows = drawn(2, seed=5)
    answer = configured.http.post(INFER, json={"inputs": [matrix(rows)], "id": "mine"})
    outputs = outputs_of(answer.content, None)
    request_id = answer.headers["x-request-id"]

    def lines() -> list[dict[str, Any]]:
        events = configured.events("prediction")
        return [line for line in events if line["request_id"] == request_id]

    eventually("both lines", lambda: len(lines()) == 2)
    assert [line["row"] for line in lines()] == [0, 1]
    assert [list(line["features"].values()) for line in lines()] == rows
    assert [line["prediction"] for line in lines()] == outputs["predict"]
    logged = [p for line in lines() for p in line["probabilities"].values()]
    assert logged == outputs["predict_proba"]

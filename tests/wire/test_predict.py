"""What a user asks for: predictions, the model's description, health."""

import csv
import gzip
import json
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import bentoml
import pytest

from tests.server import BATCH, ROW, Server

NAMES = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
CLASSES = ["setosa", "versicolor", "virginica"]
NAMED = dict(zip(NAMES, ROW, strict=True))
OTHER_ROW = [6.3, 3.3, 6.0, 2.5]


def predict(server: Server, data: object) -> dict[str, Any]:
    answer = server.ask(data)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def predict_batch(server: Server, data: object) -> dict[str, Any]:
    answer = server.ask(data, BATCH)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def test_the_first_request_of_the_readme_is_answered(server: Server) -> None:
    answer = server.http.post(
        "/predict",
        content=b'{"data": [1, 2, 3, 4]}',
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["prediction", "probabilities", "warnings", "model", "request_id"]
    assert [warning["pointer"] for warning in body["warnings"]] == ["/data/0", "/data/3"]
    assert body["prediction"] in CLASSES
    assert list(body["probabilities"]) == CLASSES
    assert max(body["probabilities"], key=body["probabilities"].get) == body["prediction"]
    assert sum(body["probabilities"].values()) == pytest.approx(1)
    assert body["model"]["name"] == "iris"
    assert body["request_id"] == answer.headers["x-request-id"]


def test_an_instance_by_name_is_answered_as_the_same_one_by_order(server: Server) -> None:
    by_order = predict(server, ROW)
    by_name = predict(server, dict(reversed(NAMED.items())))
    assert by_order["prediction"] == "setosa"
    assert by_name["prediction"] == by_order["prediction"]
    assert by_name["probabilities"] == by_order["probabilities"]


def test_a_batch_of_mixed_forms_is_answered_in_order(server: Server) -> None:
    rows: list[Any] = [ROW, NAMED, OTHER_ROW, dict(zip(NAMES, OTHER_ROW, strict=True)), ROW]
    body = predict_batch(server, rows)
    assert list(body) == ["predictions", "model", "request_id"]
    assert [answer["prediction"] for answer in body["predictions"]] == [
        "setosa",
        "setosa",
        "virginica",
        "virginica",
        "setosa",
    ]
    for row, answer in zip(rows, body["predictions"], strict=True):
        assert list(answer) == ["prediction", "probabilities"]
        assert answer["probabilities"] == pytest.approx(
            predict(server, row)["probabilities"], rel=1e-12, abs=1e-12
        )


def test_the_largest_batch_keeps_its_order(server: Server) -> None:
    rows = [random.Random(7).choice([ROW, OTHER_ROW]) for _ in range(1000)]
    predictions = predict_batch(server, rows)["predictions"]
    wanted = ["setosa" if row is ROW else "virginica" for row in rows]
    assert [answer["prediction"] for answer in predictions] == wanted


def test_a_file_of_csv_is_answered_as_its_rows_are_in_json(server: Server, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    rows = [ROW, OTHER_ROW, [5, 3, 1, 0.1], [6.123456789012345, 2.9, 4.1, 1.3]]
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["species", *reversed(NAMES)])
        writer.writerows(["any", *reversed(row)] for row in rows)

    def sent(*headers: str) -> str:
        url, body = f"{server.url}{BATCH}", ("--data-binary", "@rows.csv")
        told = [part for header in ("Content-Type: text/csv", *headers) for part in ("-H", header)]
        command = ["curl", "--silent", "--fail-with-body", *told, *body, url]
        return subprocess.run(
            command, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    right = predict_batch(server, rows)["predictions"]
    assert json.loads(sent())["predictions"] == right
    header, *table = csv.reader(sent("Accept: text/csv, */*;q=0.1").splitlines())
    assert header == ["prediction", *(f"probability_{label}" for label in CLASSES)]
    assert [cells[0] for cells in table] == [answer["prediction"] for answer in right]
    assert [list(map(float, cells[1:])) for cells in table] == [
        list(answer["probabilities"].values()) for answer in right
    ]


def test_an_empty_batch_has_no_predictions(server: Server) -> None:
    assert predict_batch(server, [])["predictions"] == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":[5,3,1,0]}',
        b'{"data":[5e0,3E0,1.0,-0.0]}',
        b' \t\r\n{ "data" : [ 5 , 3 , 1 , 0 ] } \n',
        b'{"d\\u0061ta":[5,3,1,0]}',
        b'{"data":[5.' + b"0" * 10_000 + b",3,1,0]}",
    ],
    ids=["integers", "exponents", "white space", "an escaped name", "ten thousand digits"],
)
def test_every_way_to_write_the_same_numbers_in_json_is_taken(server: Server, body: bytes) -> None:
    answer = server.http.post(
        "/predict", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 200
    assert answer.json()["probabilities"] == predict(server, [5, 3, 1, 0])["probabilities"]


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"],
)
def test_json_may_be_declared_in_every_usual_way(server: Server, content_type: str) -> None:
    headers = {"Content-Type": content_type, "Content-Encoding": "identity"}
    body = b'{"data":[5,3,1,0]}'
    assert server.http.post("/predict", content=body, headers=headers).status_code == 200


def test_a_body_in_chunks_is_taken(server: Server) -> None:
    chunks = (bytes([byte]) for byte in b'{"data":[5,3,1,0]}')
    answer = server.http.post(
        "/predict", content=chunks, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "with a byte order mark"])
def test_a_gzip_body_is_answered_as_it_would_be_plain(server: Server, mark: bytes) -> None:
    body = mark + json.dumps({"data": [ROW] * 1000}).encode()
    headers = {"Content-Type": "application/json"}
    plain = server.http.post("/predict/batch", content=body, headers=headers)
    headers["Content-Encoding"] = "gzip"
    packed = server.http.post("/predict/batch", content=gzip.compress(body), headers=headers)
    assert plain.status_code == packed.status_code == 200
    assert packed.json()["predictions"] == plain.json()["predictions"]


def test_a_whole_row_of_the_table_is_answered_without_a_warning(server: Server) -> None:
    assert server.http.get("/model/info").json()["ignored"] == ["species"]
    whole = NAMED | {"species": "setosa"}
    answer = predict(server, whole)
    assert answer["prediction"] == "setosa"
    assert "warnings" not in answer
    assert (
        predict_batch(server, [whole, ROW])["predictions"]
        == [{name: answer[name] for name in ("prediction", "probabilities")}] * 2
    )
    wrong = server.http.post("/predict", json={"data": NAMED | {"specie": "setosa"}})
    assert wrong.json()["errors"] == [{"pointer": "/data/specie", "detail": "unknown name"}]


@pytest.mark.parametrize("path", ["/docs.json", "/model/info", "/model/card"])
def test_large_documents_are_compressed_for_who_asks(server: Server, path: str) -> None:
    plain = server.http.get(path, headers={"Accept-Encoding": "gzip;q=0"})
    packed = server.http.get(path, headers={"Accept-Encoding": "br, gzip;q=0.8"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content  # httpx inflates
    assert int(packed.headers["content-length"]) < len(plain.content) / 2
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"


def test_numbers_at_the_ends_of_the_domain_are_answered(server: Server) -> None:
    info = server.http.get("/model/info").json()
    for end in ("minimum", "maximum"):
        body = predict(server, [feature["domain"][end] for feature in info["features"]])
        assert sum(body["probabilities"].values()) == pytest.approx(1)


def test_the_model_tells_what_it_is(server: Server) -> None:
    answer = server.http.get("/model/info")
    assert answer.status_code == 200
    info = answer.json()
    assert set(info) == {
        "name",
        "version",
        "task",
        "created",
        "features",
        "ignored",
        "targets",
        "classes",
        "metrics",
        "training",
        "predicted",
        "explained",
        "runtime",
        "versions",
        "requirements",
        "size_bytes",
    }
    assert (info["name"], info["task"], info["classes"]) == ("iris", "classification", CLASSES)
    assert info["version"] == predict(server, ROW)["model"]["version"]
    assert [feature["name"] for feature in info["features"]] == NAMES
    for feature in info["features"]:
        assert list(feature) == [
            "name",
            "type",
            "nullable",
            "missing",
            "trained",
            "domain",
            "quantiles",
            "example",
        ]
        assert feature["domain"]["minimum"] < feature["trained"]["minimum"] < feature["example"]
        assert feature["example"] < feature["trained"]["maximum"] < feature["domain"]["maximum"]
    assert set(info["metrics"]) == {"split", "values", "dummy"}
    assert info["training"]["rows"] == 150
    assert re.fullmatch("sha256:[0-9a-f]{64}", info["training"]["fingerprint"])
    assert info["runtime"]["name"] == "onnx"
    assert 0 < info["runtime"]["largest_difference"] < info["runtime"]["tolerance"] == 1e-12
    assert "scikit-learn" in info["versions"]
    assert info["size_bytes"] > 0


def test_health_and_the_probes_say_yes(server: Server) -> None:
    health = server.http.get("/health")
    assert health.status_code == 200
    assert health.json()["status"] == "ok"
    assert [server.http.get(path).status_code for path in ("/livez", "/readyz")] == [200, 200]


def test_head_is_answered_as_get_without_a_body(server: Server) -> None:
    head, get = server.http.head("/health"), server.http.get("/health")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


def test_bentomls_own_client_reaches_both_apis(server: Server) -> None:
    with bentoml.SyncHTTPClient(server.url) as client:
        one = client.predict(data=ROW)
        many = client.predict_batch(data=[ROW, NAMED, OTHER_ROW])
        client._temp_dir.cleanup()  # which it leaves to the garbage collector, with a warning
    assert one["prediction"] == "setosa"
    assert one["probabilities"] == predict(server, ROW)["probabilities"]
    assert [answer["prediction"] for answer in many["predictions"]] == [
        "setosa",
        "setosa",
        "virginica",
    ]

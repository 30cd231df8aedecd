"""Every way to be refused: one shape of answer, whoever makes it, and no input in it."""

import base64
import gzip
import json
import os
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus

import httpx
import pytest

from tests.server import ROW, Server
from tests.wire.estimators import REFUSES
from tests.wire.problems import assert_problem

JSON = {"Content-Type": "application/json"}
SECRET = "s3cr3t"  # noqa: S105 (it stands for an input value)
SECRET_NUMBER = 31337.4242
MEGABYTE = 1_000_000
GOOD_BODY = b'{"data": [5.1, 3.5, 1.4, 0.2]}'


def post(server: Server, data: object, path: str = "/predict") -> httpx.Response:
    return server.http.post(path, content=json.dumps({"data": data}), headers=JSON)


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(f'{{"data": [{SECRET}]}}'.encode(), id="a bare word"),
        pytest.param(b'{"data": [1, 2, 3, 4', id="an unfinished body"),
        pytest.param(b'{"data": [1, 2, 3, 4,]}', id="a trailing comma"),
        pytest.param(b'{"data": [1, 2, 3, 4]} x', id="something behind"),
        pytest.param(b'{"data": [01, 2, 3, 4]}', id="a leading zero"),
        pytest.param(b"{'data': [1, 2, 3, 4]}", id="single quotes"),
        pytest.param(b'{"data": [NaN, 2, 3, 4]}', id="NaN"),
        pytest.param(b'{"data": [Infinity, 2, 3, 4]}', id="Infinity"),
        pytest.param(b'{"data": [-Infinity, 2, 3, 4]}', id="-Infinity"),
        pytest.param(b'{"data": [1, 2, 3, 4], "data": [1, 2, 3, 4]}', id="a key twice"),
        pytest.param(b'{"data": {"s3cr3t": 1, "s3cr3t": 1}}', id="an inner key twice"),
        pytest.param(b'{"d\\u0061ta": [], "data": []}', id="a key twice, once escaped"),
        pytest.param(b"[" * 100_000, id="100,000 brackets"),
        pytest.param(b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="closed brackets"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, id="100,000 braces"),
        pytest.param(b'{"data": "\xff\xfe"}', id="invalid UTF-8"),
        pytest.param(b'{"data": "\xed\xa0\x80"}', id="a surrogate in UTF-8"),
        pytest.param(b'{"data": "\\ud800"}', id="half a surrogate pair"),
        pytest.param('{"data": [1, 2, 3, 4]}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'{"data": [' + b"1" * MEGABYTE + b"]}", id="a million digits"),
    ],
)
def test_what_is_not_json_is_a_malformed_body(server: Server, path: str, body: bytes) -> None:
    answer = server.http.post(path, content=body, headers=JSON)
    assert_problem(server, answer, 400, "malformed-body")
    assert SECRET not in answer.text


@pytest.mark.parametrize("number", ["1e400", "-1" + "0" * 400], ids=["float", "integer"])
@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/predict", '{"data": [%s, 3.5, 1.4, 0.2]}'),
        ("/predict", '{"data": [true, "x", %s, 0.2]}'),
        ("/predict", '{"data": {"petal width (cm)": %s}}'),
        ("/predict", '{"data": {"unknown": %s}}'),
        ("/predict", '{"data": [%s]}'),
        ("/predict", '{"unknown": %s}'),
        ("/predict", "%s"),
        ("/predict/batch", '{"data": [[5.1, 3.5, 1.4, 0.2], [5.1, 3.5, 1.4, %s]]}'),
        ("/predict/batch", '{"data": %s}'),
    ],
)
def test_a_number_that_overflows_a_double_is_a_malformed_body_wherever_it_stands(
    server: Server, path: str, form: str, number: str
) -> None:
    answer = server.http.post(path, content=form % number, headers=JSON)
    assert_problem(server, answer, 400, "malformed-body")


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/predict/",
        "/predict/nothing",
        "/errors/nothing",
        "/errors/",
        "/errors/a%2Fb",
        "/errors/%00",
        "/%ff",
        "/metrics/nothing",
        "/static_content/nothing",
        "/static_content/%00",
        "/static_content/..%2f..%2fservice.py",
        "/" + "a" * 10_000,
    ],
)
def test_an_unknown_path_is_not_found(server: Server, path: str) -> None:
    assert_problem(server, server.http.get(path), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", {"POST"}),
        ("PUT", "/predict", {"POST"}),
        ("OPTIONS", "/predict", {"POST"}),
        ("DELETE", "/predict/batch", {"POST"}),
        ("POST", "/health", {"GET", "HEAD"}),
        ("POST", "/livez", {"GET", "HEAD"}),
        ("PATCH", "/readyz", {"GET", "HEAD"}),
        ("POST", "/model/info", {"GET", "HEAD"}),
        ("POST", "/metrics", {"GET", "HEAD"}),
        ("PUT", "/errors/not-found", {"GET", "HEAD"}),
        ("POST", "/docs.json", {"GET", "HEAD"}),
        ("POST", "/", {"GET", "HEAD"}),
        ("POST", "/static_content/swagger-ui.css", {"GET", "HEAD"}),
        ("TRACE", "/health", {"GET", "HEAD"}),
    ],
)
def test_a_wrong_method_is_refused_with_the_right_ones(
    server: Server, method: str, path: str, allowed: set[str]
) -> None:
    answer = server.http.request(method, path)
    assert_problem(server, answer, 405, "method-not-allowed")
    assert {name.strip() for name in answer.headers["allow"].split(",")} == allowed


def test_a_refused_upgrade_to_a_websocket_is_a_problem_like_any_other(server: Server) -> None:
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "X-Request-ID": "upgrade-1",
    }
    answer = server.http.get("/nothing", headers=headers)
    assert 400 <= answer.status_code < 500
    assert answer.headers.get("content-type") == "application/problem+json"
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "upgrade-1"
    assert server.log_of("upgrade-1")["status"] == answer.status_code


def chunks(size: int) -> Iterator[bytes]:
    """Give a body in chunks, so that its length is not told before."""
    for _ in range(size // 65_536):
        yield b" " * 65_536


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_a_body_of_ten_megabytes_is_too_large(server: Server, path: str) -> None:
    told = server.http.post(path, content=b" " * 10 * MEGABYTE, headers=JSON)
    assert_problem(server, told, 413, "body-too-large")
    not_told = server.http.post(path, content=chunks(10 * MEGABYTE), headers=JSON)
    assert_problem(server, not_told, 413, "body-too-large")


def test_the_limit_of_a_body_is_exact(server: Server) -> None:
    largest = GOOD_BODY.ljust(1_048_576)
    assert server.http.post("/predict", content=largest, headers=JSON).status_code == 200
    answer = server.http.post("/predict", content=largest + b" ", headers=JSON)
    assert_problem(server, answer, 413, "body-too-large")


def test_a_batch_with_too_many_rows_is_too_large(server: Server) -> None:
    answer = post(server, [ROW] * 1001, "/predict/batch")
    assert_problem(server, answer, 413, "batch-too-large")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": ""},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/vnd.bentoml+pickle"},
        {"Content-Type": "application/jsonp"},
        JSON | {"Content-Encoding": "br"},
        JSON | {"Content-Encoding": "br, gzip"},
    ],
    ids=str,
)
def test_what_is_not_declared_as_json_plain_or_gzipped_is_an_unsupported_media_type(
    server: Server, headers: dict[str, str]
) -> None:
    for path in ("/predict", "/predict/batch"):
        answer = server.http.post(path, content=GOOD_BODY, headers=headers)
        assert_problem(server, answer, 415, "unsupported-media-type")


def test_a_bomb_is_too_large_and_what_is_no_gzip_is_malformed(server: Server) -> None:
    headers = JSON | {"Content-Encoding": "gzip"}
    bomb = gzip.compress(bytes(500 * MEGABYTE), 9)
    assert len(bomb) < MEGABYTE
    started = time.monotonic()
    for path in ("/predict", "/predict/batch"):
        answer = server.http.post(path, content=bomb, headers=headers)
        assert_problem(server, answer, 413, "body-too-large")
        answer = server.http.post(path, content=gzip.compress(GOOD_BODY)[:-1], headers=headers)
        assert_problem(server, answer, 400, "malformed-body")
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("data", "mistakes"),
    [
        ([True, 3.5, 1.4, 0.2], {"/data/0": "expected a number, got a boolean"}),
        ([5.1, SECRET, 1.4, 0.2], {"/data/1": "expected a number, got a string"}),
        ([5.1, str(SECRET_NUMBER), 1.4, 0.2], {"/data/1": "expected a number, got a string"}),
        ([5.1, 3.5, None, 0.2], {"/data/2": "expected a number, got null"}),
        ([5.1, 3.5, 1.4, [SECRET_NUMBER]], {"/data/3": "expected a number, got an array"}),
        ([5.1, 3.5, 1.4, {}], {"/data/3": "expected a number, got an object"}),
        ([1e308, 3.5, 1.4, -1e308], {"/data/0": "between", "/data/3": "between"}),
        ([True, None, "x", []], {f"/data/{place}": "expected a number" for place in range(4)}),
        ([SECRET_NUMBER, 2, 3], {"/data": "4 values, got 3"}),
        ([SECRET_NUMBER, 2, 3, 4, 5], {"/data": "4 values, got 5"}),
        ([[5.1, 3.5, 1.4, 0.2]], {"/data": "4 values, got 1"}),
        ([], {"/data": "4 values, got 0"}),
        (SECRET, {"/data": "got a string"}),
        (SECRET_NUMBER, {"/data": "got a number"}),
        (True, {"/data": "got a boolean"}),
        (None, {"/data": "got null"}),
        (
            {
                "sepal length (cm)": SECRET_NUMBER,
                "petal length (cm)": True,
                "petal width (cm)": 0.2,
                "a/b~c": 1,
                "": 1,
            },
            {
                "/data/sepal width (cm)": "missing",
                "/data/petal length (cm)": "expected a number, got a boolean",
                "/data/a~1b~0c": "unknown name",
                "/data/": "unknown name",
            },
        ),
        (
            {},
            {
                f"/data/{part} {measure} (cm)": "missing"
                for part in ("sepal", "petal")
                for measure in ("length", "width")
            },
        ),
    ],
    ids=str,
)
def test_what_the_model_does_not_take_is_told_place_by_place(
    server: Server, data: object, mistakes: dict[str, str]
) -> None:
    alone = post(server, data)
    listed = assert_problem(server, alone, 422, "invalid-input")["errors"]
    assert [set(error) for error in listed] == [{"pointer", "detail"}] * len(mistakes)
    found = {error["pointer"]: error["detail"] for error in listed}
    assert found.keys() == mistakes.keys()
    assert all(part in found[place] for place, part in mistakes.items())
    assert SECRET not in alone.text
    assert str(SECRET_NUMBER) not in alone.text

    among_others = post(server, [ROW, data, ROW], "/predict/batch")
    listed = assert_problem(server, among_others, 422, "invalid-input")["errors"]
    assert {error["pointer"]: error["detail"] for error in listed} == {
        place.replace("/data", "/data/1", 1): detail for place, detail in found.items()
    }


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/data"]),
        ({"Data": ROW}, ["/data", "/Data"]),
        ({"data": ROW, "x~y": 1}, ["/x~0y"]),
        ([ROW], [""]),
        ("data", [""]),
        (None, [""]),
    ],
    ids=str,
)
def test_a_body_of_another_shape_is_invalid_input(
    server: Server, body: object, pointers: list[str]
) -> None:
    answer = server.http.post("/predict", content=json.dumps(body), headers=JSON)
    problem = assert_problem(server, answer, 422, "invalid-input")
    assert [error["pointer"] for error in problem["errors"]] == pointers


@pytest.mark.parametrize("data", [ROW, dict.fromkeys("abc", 1), 1, None, "x"], ids=str)
def test_a_batch_that_is_no_list_of_instances_is_invalid_input(
    server: Server, data: object
) -> None:
    answer = post(server, data, "/predict/batch")
    problem = assert_problem(server, answer, 422, "invalid-input")
    assert all(error["pointer"].startswith("/data") for error in problem["errors"])


def test_a_batch_names_all_its_bad_rows_up_to_a_limit(server: Server) -> None:
    rows = [ROW if index % 2 else [True, *ROW[1:]] for index in range(20)]
    problem = assert_problem(server, post(server, rows, "/predict/batch"), 422, "invalid-input")
    assert problem["detail"] == "10 problems in the request body"
    pointers = [error["pointer"] for error in problem["errors"]]
    assert pointers == [f"/data/{index}/0" for index in range(0, 20, 2)]

    all_bad = post(server, [[True, None, "x", []]] * 1000, "/predict/batch")
    assert len(assert_problem(server, all_bad, 422, "invalid-input")["errors"]) == 100


def test_an_exception_of_the_estimator_tells_the_client_nothing(fragile: Server) -> None:
    answer = post(fragile, [SECRET_NUMBER, 3.5, 1.4, 0.2])
    assert_problem(fragile, answer, 500, "internal-error")
    assert str(SECRET_NUMBER) not in answer.text
    assert "RuntimeError" not in answer.text
    assert "can't compute" not in answer.text


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_what_the_estimator_refuses_and_training_has_not_seen_is_the_inputs_fault(
    fragile: Server, path: str
) -> None:
    row = [REFUSES, 3.5, 1.4, 0.2]
    answer = post(fragile, [ROW, row] if path == "/predict/batch" else row, path)
    problem = assert_problem(fragile, answer, 422, "invalid-input")
    assert problem["detail"] == "the model can't compute with values unlike those of training"
    (error,) = problem["errors"]
    assert error["pointer"] == ("/data/1/0" if path == "/predict/batch" else "/data/0")
    assert "outside of the range seen in training" in error["detail"]
    assert str(REFUSES) not in answer.text


def test_a_batch_with_a_row_that_the_estimator_fails_on_fails_alone(fragile: Server) -> None:
    answer = post(fragile, [ROW, [SECRET_NUMBER, 3.5, 1.4, 0.2]], "/predict/batch")
    assert_problem(fragile, answer, 500, "internal-error")
    assert post(fragile, [ROW, ROW], "/predict/batch").status_code == 200


def test_every_problem_type_has_a_page_that_says_what_to_do(server: Server) -> None:
    document = server.http.get("/docs.json").json()
    slugs = document["paths"]["/errors/{slug}"]["get"]["parameters"][0]["schema"]["enum"]
    assert slugs
    for slug in slugs:
        page = server.http.get(f"/errors/{slug}")
        assert page.status_code == 200
        assert "What to do" in page.text


def test_hostile_bodies_do_not_stall_the_others(server: Server) -> None:
    hostile = [
        b"[" * 100_000,
        b" " * 10 * MEGABYTE,
        b'{"data": [' + b"1" * MEGABYTE + b"]}",
        json.dumps({str(number): 0 for number in range(80_000)}).encode(),
    ]
    statuses: list[int] = []
    finished = threading.Event()

    def attack() -> None:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for body in hostile * 10:
                statuses.append(client.post("/predict", content=body, headers=JSON).status_code)
        finished.set()

    attacker = threading.Thread(target=attack)
    attacker.start()
    try:
        answered = 0
        while not finished.is_set():
            assert server.http.get("/livez").status_code == HTTPStatus.OK
            assert post(server, ROW).status_code == HTTPStatus.OK
            answered += 1
    finally:
        attacker.join()
    assert set(statuses) == {400, 413, 422}
    assert answered >= len(hostile)  # a stalled loop would have let through one a body at most

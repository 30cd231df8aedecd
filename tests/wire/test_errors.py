"""Every way to be refused: one shape of answer, whoever makes it, and no input in it.

Which bodies are refused, and what is told of each, is held by the unit tests of the rooms that
decide it: the reader of JSON, the rows, the bodies. Here is each kind of problem once.
"""

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

from tests.server import BATCH, JSON, ROW, Server
from tests.wire.estimators import REFUSES
from tests.wire.problems import assert_problem

SECRET = "s3cr3t"  # noqa: S105 (it stands for an input value)
SECRET_NUMBER = 31337.4242
MEGABYTE = 1_000_000
GOOD_BODY = b'{"data": [5.1, 3.5, 1.4, 0.2]}'
READING = {"GET", "HEAD"}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(f'{{"data": [{SECRET}]}}'.encode(), id="a bare word"),
        pytest.param(b'{"data": [NaN, 2, 3, 4]}', id="NaN"),
        pytest.param(b'{"data": [1e400, 2, 3, 4]}', id="more than a double"),
        pytest.param(b'{"data": {"s3cr3t": 1, "s3cr3t": 1}}', id="a key twice"),
        pytest.param(b"[" * 100_000, id="100,000 brackets"),
        pytest.param(b'{"data": "\xff\xfe"}', id="invalid UTF-8"),
        pytest.param(b'{"data": [' + b"1" * MEGABYTE + b"]}", id="a million digits"),
    ],
)
def test_what_is_not_json_is_a_malformed_body(server: Server, body: bytes) -> None:
    for path in ("/predict", BATCH):
        answer = server.send(body, path)
        assert_problem(server, answer, 400, "malformed-body")
        assert SECRET not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/predict/",
        "/errors/nothing",
        "/errors/a%2Fb",
        "/errors/%00",
        "/%ff",
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
        ("OPTIONS", "/predict", {"POST"}),
        ("DELETE", BATCH, {"POST"}),
        ("POST", "/health", READING),
        ("PATCH", "/readyz", READING),
        ("POST", "/metrics", READING),
        ("PUT", "/errors/not-found", READING),
        ("POST", "/", READING),
        ("POST", "/static_content/swagger-ui.css", READING),
        ("TRACE", "/health", READING),
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


def test_what_is_larger_than_the_limits_is_refused(server: Server) -> None:
    for path in ("/predict", BATCH):
        told = server.send(b" " * 10 * MEGABYTE, path)
        assert_problem(server, told, 413, "body-too-large")
        not_told = server.http.post(path, content=chunks(10 * MEGABYTE), headers=JSON)
        assert_problem(server, not_told, 413, "body-too-large")
    largest = GOOD_BODY.ljust(1_048_576)
    assert server.send(largest).status_code == 200
    assert_problem(server, server.send(largest + b" "), 413, "body-too-large")
    answer = server.ask([ROW] * 1001, BATCH)
    assert_problem(server, answer, 413, "batch-too-large")


@pytest.mark.parametrize(
    "headers",
    [{}, {"Content-Type": "application/vnd.bentoml+pickle"}, JSON | {"Content-Encoding": "br"}],
    ids=str,
)
def test_what_is_not_declared_as_json_plain_or_gzipped_is_an_unsupported_media_type(
    server: Server, headers: dict[str, str]
) -> None:
    for path in ("/predict", BATCH):
        answer = server.http.post(path, content=GOOD_BODY, headers=headers)
        assert_problem(server, answer, 415, "unsupported-media-type")


def test_who_takes_neither_json_nor_csv_is_told_what_there_is(server: Server) -> None:
    answer = server.ask([ROW], BATCH, {"Accept": "text/html, application/json;q=0"})
    problem = assert_problem(server, answer, 406, "not-acceptable")
    assert problem["detail"].startswith("the answer is application/json or text/csv or ")
    assert server.ask(ROW, headers={"Accept": "text/html"}).status_code == 200  # it has one form


def test_what_is_wrong_with_csv_is_told_by_row_and_column(server: Server) -> None:
    declared = {"Content-Type": "text/csv"}
    answer = server.send(f"5.1,3.5,1.4,0.2\n\n6.7,{SECRET},5.2,\n1,2\n", BATCH, declared)
    listed = assert_problem(server, answer, 422, "invalid-input")["errors"]
    assert {error["pointer"]: error["detail"] for error in listed} == {
        "/1/1": "expected a number, got a string",
        "/1/3": "expected a number, got null",
        "/2": "expected 4 values, got 2",
    }
    answer = server.send(f'1,2,3,"{SECRET}', BATCH, declared)
    assert_problem(server, answer, 400, "malformed-body")
    assert SECRET not in answer.text
    assert_problem(server, server.send("1,2,3,4\n" * 1001, BATCH, declared), 413, "batch-too-large")
    answer = server.send("1,2,3,4", headers=declared)
    assert_problem(server, answer, 415, "unsupported-media-type")
    assert answer.headers["accept-post"] == "application/json"


def test_a_bomb_is_too_large_and_what_is_no_gzip_is_malformed(server: Server) -> None:
    gzipped = {"Content-Encoding": "gzip"}
    bomb = gzip.compress(bytes(100 * MEGABYTE), 9)
    for path in ("/predict", BATCH):
        started = time.monotonic()
        assert_problem(server, server.send(bomb, path, gzipped), 413, "body-too-large")
        assert time.monotonic() - started < 2
        answer = server.send(gzip.compress(GOOD_BODY)[:-1], path, gzipped)
        assert_problem(server, answer, 400, "malformed-body")


@pytest.mark.parametrize(
    ("data", "mistakes"),
    [
        (
            [True, str(SECRET_NUMBER), None, [SECRET_NUMBER]],
            {
                "/data/0": "expected a number, got a boolean",
                "/data/1": "expected a number, got a string",
                "/data/2": "expected a number, got null",
                "/data/3": "expected a number, got an array",
            },
        ),
        ([1e308, 3.5, 1.4, -1e308], {"/data/0": "between", "/data/3": "between"}),
        ([SECRET_NUMBER, 2, 3], {"/data": "4 values, got 3"}),
        (SECRET, {"/data": "got a string"}),
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
    ],
    ids=str,
)
def test_what_the_model_does_not_take_is_told_place_by_place(
    server: Server, data: object, mistakes: dict[str, str]
) -> None:
    alone = server.ask(data)
    listed = assert_problem(server, alone, 422, "invalid-input")["errors"]
    assert [set(error) for error in listed] == [{"pointer", "detail"}] * len(mistakes)
    found = {error["pointer"]: error["detail"] for error in listed}
    assert found.keys() == mistakes.keys()
    assert all(part in found[place] for place, part in mistakes.items())
    assert SECRET not in alone.text
    assert str(SECRET_NUMBER) not in alone.text

    among_others = server.ask([ROW, data, ROW], BATCH)
    listed = assert_problem(server, among_others, 422, "invalid-input")["errors"]
    assert {error["pointer"]: error["detail"] for error in listed} == {
        place.replace("/data", "/data/1", 1): detail for place, detail in found.items()
    }


def test_a_body_of_another_shape_is_invalid_input(server: Server) -> None:
    for body, pointers in (({"Data": ROW}, ["/data", "/Data"]), ([ROW], [""])):
        for path in ("/predict", BATCH):
            problem = assert_problem(
                server, server.send(json.dumps(body), path), 422, "invalid-input"
            )
            assert [error["pointer"] for error in problem["errors"]] == pointers
    problem = assert_problem(server, server.ask({}, BATCH), 422, "invalid-input")
    assert [error["pointer"] for error in problem["errors"]] == ["/data"]


def test_a_batch_names_all_its_bad_rows_up_to_a_limit(server: Server) -> None:
    rows = [ROW if index % 2 else [True, *ROW[1:]] for index in range(20)]
    problem = assert_problem(server, server.ask(rows, BATCH), 422, "invalid-input")
    assert problem["detail"] == "10 problems in the request body"
    pointers = [error["pointer"] for error in problem["errors"]]
    assert pointers == [f"/data/{index}/0" for index in range(0, 20, 2)]

    all_bad = server.ask([[True, None, "x", []]] * 1000, BATCH)
    assert len(assert_problem(server, all_bad, 422, "invalid-input")["errors"]) == 100


def test_an_exception_of_the_estimator_tells_the_client_nothing(fragile: Server) -> None:
    failing = [SECRET_NUMBER, 3.5, 1.4, 0.2]
    for answer in (fragile.ask(failing), fragile.ask([ROW, failing], BATCH)):
        assert_problem(fragile, answer, 500, "internal-error")
        for told in (str(SECRET_NUMBER), "RuntimeError", "can't compute"):
            assert told not in answer.text
    assert fragile.ask([ROW, ROW], BATCH).status_code == 200


def test_what_the_estimator_refuses_and_training_has_not_seen_is_the_inputs_fault(
    fragile: Server,
) -> None:
    row = [REFUSES, 3.5, 1.4, 0.2]
    for answer, pointer in (
        (fragile.ask(row), "/data/0"),
        (fragile.ask([ROW, row], BATCH), "/data/1/0"),
    ):
        problem = assert_problem(fragile, answer, 422, "invalid-input")
        assert problem["detail"] == "the model can't compute with values unlike those of training"
        (error,) = problem["errors"]
        assert error["pointer"] == pointer
        assert "outside of the range seen in training" in error["detail"]
        assert str(REFUSES) not in answer.text


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
            assert server.ask(ROW).status_code == HTTPStatus.OK
            answered += 1
    finally:
        attacker.join()
    assert set(statuses) == {400, 413, 422}
    assert answered >= len(hostile)  # a stalled loop would have let through one a body at most

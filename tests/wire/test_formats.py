"""NDJSON, Arrow and Parquet over the wire: streamed, in their order, and all of it told."""

import io
import json
import random
import socket
from typing import Any

import httpx
import pyarrow as pa
from pyarrow import parquet

from tests.server import BATCH, ROW, Server, eventually
from tests.wire.estimators import FAILS_ABOVE
from tests.wire.problems import assert_problem

NDJSON = "application/x-ndjson"
ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
RANGES = ((4.3, 7.9), (2.0, 4.4), (1.0, 6.9), (0.1, 2.5))
ROWS = 2500  # two batches and a half


def drawn(count: int) -> list[list[float]]:
    """Draw rows."""
    draw = random.Random(7)
    return [[draw.uniform(*ends) for ends in RANGES] for _ in range(count)]


def post(server: Server, body: bytes, media_type: str, **headers: str) -> httpx.Response:
    """Post rows."""
    return server.http.post(BATCH, content=body, headers={"Content-Type": media_type, **headers})


def known(server: Server, rows: list[list[float]]) -> list[Any]:
    """Ask for the same rows in JSON."""
    told: list[Any] = []
    for start in range(0, len(rows), 1000):
        told += server.ask(rows[start : start + 1000], BATCH).json()["predictions"]
    return told


def test_lines_are_answered_as_they_come_with_what_is_wrong_in_its_place_and_told_once(
    configured: Server,
) -> None:
    rows = drawn(ROWS)
    lines = [json.dumps(row) for row in rows]
    lines[1500] = '[1, "two", 3, 4]'
    asked = configured.metric("bentoml_service_request_total", endpoint=BATCH)
    with configured.http.stream(
        "POST", BATCH, content="\n".join(lines), headers={"Content-Type": NDJSON}
    ) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == NDJSON
        assert "content-length" not in answer.headers
        told = list(map(json.loads, answer.iter_lines()))
    wrong = {"pointer": "/1", "detail": "expected a number, got a string"}
    assert told.pop(1500) == {"errors": [wrong]}
    del rows[1500]
    assert [line["prediction"] for line in told] == [
        each["prediction"] for each in known(configured, rows)
    ]
    line = configured.log_of(answer.headers["x-request-id"])
    assert (line["status"], line["rows"], line.get("problem")) == (200, ROWS - 1, None)
    now = configured.metric("bentoml_service_request_total", endpoint=BATCH)
    assert now == asked + 1 + 3
    request_id = answer.headers["x-request-id"]

    def logged() -> bool:
        events = [e for e in configured.lines() if e.get("request_id") == request_id]
        numbers = [e["row"] for e in events if e["event"] == "prediction"]
        return numbers == [n for n in range(ROWS) if n != 1500]

    eventually("all predictions in the log, by their lines", logged)


def test_arrow_and_parquet_are_answered_in_kind_with_the_same_numbers(server: Server) -> None:
    rows = drawn(ROWS)
    names = [each["name"] for each in server.http.get("/model/info").json()["features"]]
    table = pa.table(dict(zip(names, zip(*rows, strict=True), strict=True)))
    stream, file = io.BytesIO(), io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(stream, table.schema, options=options) as writer:
        writer.write_table(table)
    parquet.write_table(table, file)
    arrow = post(server, stream.getvalue(), ARROW)
    assert arrow.headers["content-type"] == ARROW
    told = pa.ipc.open_stream(arrow.content).read_all()
    expected = [
        {"prediction": each["prediction"]}
        | {f"probability_{name}": value for name, value in each["probabilities"].items()}
        for each in known(server, rows)
    ]
    assert told.to_pylist() == expected
    answer = post(server, file.getvalue(), PARQUET)
    assert parquet.read_table(io.BytesIO(answer.content)).to_pylist() == expected
    path = "/models/iris/predict/batch"
    headers = {"Content-Type": ARROW, "Accept": "text/csv"}
    csv = server.http.post(path, content=stream.getvalue(), headers=headers)
    assert len(csv.text.splitlines()) == ROWS + 1
    assert_problem(server, post(server, stream.getvalue()[:-9], ARROW), 400, "malformed-body")
    assert server.ask(ROW).status_code == 200


# Many lines in few bytes: their answers are more than sockets hold, and take their time.
MANY = b"[5,3,1,1]\n" * 100_000
HEAD = b"POST /predict/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"


def ask_without_reading(server: Server, request_id: str) -> socket.socket:
    """Send many lines, and read no more than the head of the answer."""
    connection = server.raw()
    head = HEAD + f"X-Request-ID: {request_id}\r\nContent-Length: {len(MANY)}\r\n\r\n".encode()
    connection.sendall(head + MANY)
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


def test_a_stream_has_the_deadline_of_all_requests_and_never_looks_whole(hasty: Server) -> None:
    with ask_without_reading(hasty, "slow-reader") as connection:
        line = hasty.log_of("slow-reader")
        assert (line["status"], line["problem"]) == (200, "deadline-exceeded")
        answer = b""
        while part := connection.recv(2**20):
            answer += part
    assert answer.count(b'"prediction"') < 100_000
    assert not answer.endswith(b"0\r\n\r\n")
    assert hasty.ask(ROW).status_code == 200


def test_a_client_that_leaves_within_a_stream_ends_its_work(server: Server) -> None:
    ask_without_reading(server, "left-within").close()
    line = server.log_of("left-within")
    assert line["status"] == 499
    assert line["rows"] < 100_000
    assert server.ask(ROW).status_code == 200


def test_a_row_that_the_model_fails_on_is_told_in_its_line_and_is_logged_as_a_defect(
    fragile: Server,
) -> None:
    rows = [ROW] * 50
    rows[7] = [FAILS_ABOVE + 1, *ROW[1:]]
    answer = post(fragile, "\n".join(map(json.dumps, rows)).encode(), NDJSON)
    told = list(map(json.loads, answer.text.splitlines()))
    assert told.pop(7)["errors"] == [{"pointer": "", "detail": "the model fails on this row"}]
    assert [line["prediction"] for line in told] == ["setosa"] * 49
    line = fragile.log_of(answer.headers["x-request-id"])
    assert (line["level"], line["status"]) == ("error", 200)
    assert "RuntimeError" in line["exception"]

"""What batch transform and SageMaker's client send to ``/invocations``: much, in their forms."""

import io
import random

import httpx
import numpy as np
import pytest

from tests.server import BATCH, ROW, Server

CSV, NPY = "text/csv", "application/x-npy"
RANGES = ((4.3, 7.9), (2.0, 4.4), (1.0, 6.9), (0.1, 2.5))
MEGABYTE = 2**20
PROBABILITIES = {"X-Amzn-SageMaker-Custom-Attributes": "predict_method=predict_proba"}


def invoke(
    server: Server, body: bytes, media_type: str, accept: str, **headers: str
) -> httpx.Response:
    """Post a table."""
    given = {"Content-Type": media_type, "Accept": accept, **headers}
    return server.http.post("/invocations", content=body, headers=given)


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    """Draw as many lines of short numbers as fit into the largest body."""
    draw = random.Random(7)
    line = b""
    drawn: list[bytes] = []
    left = MEGABYTE
    while (left := left - len(line)) >= 0:
        line = ",".join(f"{draw.uniform(*ends):.3f}" for ends in RANGES).encode() + b"\n"
        drawn.append(line)
    return drawn[:-1]


def test_a_body_that_is_filled_by_its_size_alone_has_a_line_out_for_each_line_in(
    server: Server, lines: list[bytes]
) -> None:
    assert len(lines) > 40_000
    asked_before = server.metric("bentoml_service_request_total", endpoint="/invocations")
    answer = invoke(server, b"".join(lines), CSV, CSV)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    labels = answer.text.splitlines()
    assert len(labels) == len(lines)
    assert server.log_of(answer.headers["x-request-id"])["rows"] == len(lines)
    asked = server.metric("bentoml_service_request_total", endpoint="/invocations")
    assert asked == asked_before + 1
    for start in (0, 17_000, len(lines) - 1000):
        rows = [list(map(float, line.split(b","))) for line in lines[start : start + 1000]]
        known = server.ask(rows, BATCH).json()["predictions"]
        assert labels[start : start + 1000] == [each["prediction"] for each in known]


def test_one_line_more_than_fits_is_too_large(server: Server, lines: list[bytes]) -> None:
    answer = invoke(server, b"".join([*lines, lines[0] * 2]), CSV, CSV)
    assert (answer.status_code, answer.json()["error_code"]) == (413, "BAD_REQUEST")


def test_an_array_goes_and_comes_as_numpy_writes_it(server: Server) -> None:
    file = io.BytesIO()
    np.save(file, np.array([ROW, ROW[::-1]]))
    known = server.ask([ROW, ROW[::-1]], BATCH).json()["predictions"]
    for headers, expected in (
        ({}, [each["prediction"] for each in known]),
        (PROBABILITIES, [list(each["probabilities"].values()) for each in known]),
    ):
        answer = invoke(server, file.getvalue(), NPY, NPY, **headers)
        assert answer.headers["content-type"] == NPY
        assert np.load(io.BytesIO(answer.content), allow_pickle=False).tolist() == expected


def test_an_answer_that_cannot_be_given_is_refused_before_the_body_is_looked_at(
    server: Server,
) -> None:
    answer = invoke(server, b"nonsense", CSV, "image/png")
    assert answer.status_code == 406
    assert answer.json()["message"].startswith("the answer is application/json or text/csv or")
    assert invoke(server, b"nonsense", "text/plain", "*/*").status_code == 415


def test_a_ping_needs_nothing_and_says_nothing(server: Server) -> None:
    answer = server.http.get("/ping")
    assert (answer.status_code, answer.headers["content-type"]) == (
        200,
        "text/plain; charset=utf-8",
    )
    assert server.http.head("/ping").status_code == 200

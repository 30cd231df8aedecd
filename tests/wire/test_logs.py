"""What the log says of requests, crashes and all the rest, and what it never says."""

import json
import re
from datetime import UTC, datetime

import httpx
import pytest

from tests.server import JSON, ROW, Server, eventually
from tests.wire.estimators import FAILS_ABOVE, WARNS_BELOW

SECRET_NUMBER = FAILS_ABOVE + 31237.4242
LEVELS = {"debug", "info", "warning", "error", "critical"}


def ask(server: Server, row: object, request_id: str) -> httpx.Response:
    return server.ask(row, headers={"X-Request-ID": request_id})


def test_every_line_is_json_with_a_utc_time_a_level_and_an_event(fragile: Server) -> None:
    fragile.ask(ROW)
    fragile.ask([SECRET_NUMBER, 1, 1, 1])
    lines = fragile.lines()
    assert {"model.loaded", "request.finished"} < {line["event"] for line in lines}
    for line in lines:
        assert list(line)[:3] == ["timestamp", "level", "event"]
        assert line["level"] in LEVELS
        assert datetime.fromisoformat(line["timestamp"]).tzinfo == UTC
    loggers = {line.get("logger", "").partition(".")[0] for line in lines}
    assert {"bentoml", "circus", "uvicorn"} <= loggers


def test_a_request_gives_one_line_that_tells_all_but_its_values(server: Server) -> None:
    answer = ask(server, [5.0625, 3.5, 1.4, 0.2], "one-line")  # which no other test asks about
    line = server.log_of("one-line")
    assert set(line) == {
        "timestamp",
        "level",
        "event",
        "request_id",
        "method",
        "route",
        "status",
        "duration_ms",
        "client",
        "model_name",
        "model_version",
        "cache",
        "rows",
    }
    wanted = {
        "level": "info",
        "method": "POST",
        "route": "/predict",
        "status": 200,
        "client": "127.0.0.1",
        "model_name": "iris",
        "model_version": answer.json()["model"]["version"],
        "cache": "miss",
        "rows": 1,
    }
    assert line.items() >= wanted.items()
    assert line["duration_ms"] > 0


@pytest.mark.parametrize(
    ("method", "path", "content", "route", "status", "problem", "rows"),
    [
        ("POST", "/predict/batch", b'{"data":[[1,1,1,1],[2,2,2,2]]}', "/predict/batch", 200, "", 2),
        ("POST", "/predict", b"{", "/predict", 400, "malformed-body", None),
        ("POST", "/predict", b'{"data":[1]}', "/predict", 422, "invalid-input", None),
        ("GET", "/no/such/path", b"", "unmatched", 404, "not-found", None),
        ("DELETE", "/predict", b"", "/predict", 405, "method-not-allowed", None),
        ("GET", "/errors/not-found", b"", "/errors/{slug}", 200, "", None),
        ("GET", "/health", b"", "/health", 200, "", None),
        ("GET", "/readyz", b"", "/readyz", 200, "", None),
        ("GET", "/metrics", b"", "/metrics", 200, "", None),
    ],
)
def test_every_kind_of_request_has_its_line_with_the_template_of_its_route(
    server: Server,
    method: str,
    path: str,
    content: bytes,
    route: str,
    status: int,
    problem: str,
    rows: int | None,
) -> None:
    request_id = f"{method}:{path}:{status}"
    headers = JSON | {"X-Request-ID": request_id}
    answer = server.http.request(method, path, content=content, headers=headers)
    line = server.log_of(answer.headers["x-request-id"])
    assert answer.headers["x-request-id"] == request_id
    assert (line["method"], line["route"], line["status"]) == (method, route, status)
    assert line.get("problem", "") == problem
    assert line.get("rows") == rows
    assert line["level"] == "info"


def test_many_requests_give_exactly_as_many_lines(server: Server) -> None:
    ids = [f"many-{number}" for number in range(200)]
    for request_id in ids:
        server.http.get("/livez", headers={"X-Request-ID": request_id})
    server.log_of(ids[-1])
    finished = [line["request_id"] for line in server.events("request.finished")]
    assert [request_id for request_id in finished if request_id.startswith("many-")] == ids


def test_a_sane_request_id_is_kept_and_a_nonsense_one_replaced(server: Server) -> None:
    for sane in ("a", "req-1.2:3_4", "x" * 128):
        answer = ask(server, ROW, sane)
        assert answer.headers.get_list("x-request-id") == [sane]
        assert answer.json()["request_id"] == sane
        assert server.log_of(sane)["route"] == "/predict"
    for nonsense in (b"", b"two words", b'"quoted"', b"<script>", b"\xff", b"x" * 129):
        answer = server.http.get("/livez", headers={b"X-Request-ID": nonsense})
        (made,) = answer.headers.get_list("x-request-id")
        assert re.fullmatch("[0-9a-f]{32}", made)
        assert server.log_of(made)["status"] == 200


def test_an_estimators_exception_is_logged_with_its_stack_and_without_its_message(
    fragile: Server,
) -> None:
    answer = ask(fragile, [SECRET_NUMBER, 1, 1, 1], "crash")
    assert answer.status_code == 500
    line = fragile.log_of("crash")
    assert (line["level"], line["status"], line["problem"]) == ("error", 500, "internal-error")
    assert "in predict" in line["exception"]
    assert "estimators.py" in line["exception"]
    assert "RuntimeError" in line["exception"]
    assert "can't compute with 3" not in fragile.text()
    assert "can't compute with np" not in fragile.text()
    assert str(SECRET_NUMBER) not in fragile.text()


def test_no_value_of_a_bad_request_comes_into_the_log(server: Server) -> None:
    for number, body in enumerate(
        [
            {"data": [SECRET_NUMBER, "s3cr3t", None, True]},
            {"data": {"sepal length (cm)": "s3cr3t"}},
            {"data": "s3cr3t"},
            {"data": [SECRET_NUMBER] * 5},
        ]
    ):
        headers = {"X-Request-ID": f"bad-{number}"}
        assert server.send(json.dumps(body), headers=headers).status_code == 422
        server.log_of(f"bad-{number}")
    assert server.http.get("/nothing?key=s3cr3t").status_code == 404
    headers = {"X-Request-ID": "bad-text"}
    assert server.send(b"{s3cr3t", headers=headers).status_code == 400
    server.log_of("bad-text")
    assert "s3cr3t" not in server.text()
    assert str(SECRET_NUMBER) not in server.text()


def test_warnings_and_errors_of_others_are_lines_too(fragile: Server) -> None:
    assert fragile.ask([WARNS_BELOW - 1, 1, 1, 1]).status_code == 200
    warning = eventually(
        "the warning",
        lambda: [line for line in fragile.lines() if "a warning from elsewhere" in line["event"]],
    )
    assert warning[0]["level"] == "warning"
    error = eventually(
        "the error",
        lambda: [line for line in fragile.lines() if line.get("logger") == "elsewhere"],
    )
    assert error[0]["level"] == "error"
    assert error[0]["event"] == "an error from elsewhere\nin two lines"


def test_what_the_http_parser_refuses_is_a_line_too(server: Server) -> None:
    with server.raw() as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    eventually(
        "a line on it",
        lambda: [line for line in server.lines() if "Invalid HTTP request" in line["event"]],
    )

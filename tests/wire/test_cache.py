"""The cache over the wire: the same answer again, told as such, and nothing kept that failed."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.server import ROW, Server, eventually
from tests.wire.conftest import Serve
from tests.wire.gate import Gate
from tests.wire.problems import assert_problem

MISS, HIT = "model-api; fwd=miss; stored", "model-api; hit"
COLLAPSED = "model-api; fwd=miss; collapsed"
LOOKUPS = "serving_cache_lookups_total"
IN_PROGRESS = "bentoml_service_request_in_progress"
FAILS = 5.01  # where the estimator `Faulty` raises


def ask(server: Server, row: object, request_id: str | None = None) -> httpx.Response:
    headers = {} if request_id is None else {"X-Request-ID": request_id}
    return server.http.post("/predict", json={"data": row}, headers=headers)


def ask_raw(server: Server, body: str) -> httpx.Response:
    headers = {"Content-Type": "application/json"}
    return server.http.post("/predict", content=body, headers=headers)


def how(answer: httpx.Response) -> str:
    """Tell how an answer was come by; there must be one."""
    assert answer.status_code == 200, answer.text
    return str(answer.headers["cache-status"])


def lookups(server: Server) -> list[float]:
    return [server.metric(LOOKUPS, result=result) for result in ("miss", "hit", "collapsed")]


def test_a_cached_answer_is_the_computed_one_in_every_byte(server: Server) -> None:
    computed, cached = (ask(server, [5.11, 3.11, 1.11, 0.11], "same-id") for _ in range(2))
    assert (how(computed), how(cached)) == (MISS, HIT)
    assert computed.content == cached.content
    own = {"cache-status", "date"}
    assert [
        [header for header in answer.headers.multi_items() if header[0] not in own]
        for answer in (computed, cached)
    ] == [[h for h in computed.headers.multi_items() if h[0] not in own]] * 2
    other = ask(server, [5.11, 3.11, 1.11, 0.11], "another-id")
    assert other.content == computed.content.replace(b"same-id", b"another-id")


def test_the_same_values_written_otherwise_are_the_same(server: Server) -> None:
    names = [feature["name"] for feature in server.http.get("/model/info").json()["features"]]
    by_name = dict(zip(names, [5, 3, 1.5, 0.12], strict=True))
    bodies = [
        '{"data": [5, 3, 1.5, 0.12]}',
        '{"data": [5.0, 3.0, 1.5, 0.12]}',
        ' {"data":\n[5e0, 30e-1, 1.50, 12e-2]}\n',
        json.dumps({"data": by_name}),
        json.dumps({"data": dict(reversed(by_name.items()))}),
    ]
    answers = [ask_raw(server, body) for body in bodies]
    assert [how(answer) for answer in answers] == [MISS, HIT, HIT, HIT, HIT]
    assert len({json.dumps(answer.json()["probabilities"]) for answer in answers}) == 1


def test_values_that_differ_in_the_last_bit_or_the_sign_of_zero_are_not_the_same(
    server: Server,
) -> None:
    rows = "[5.13, 3, 1, 0.0]", "[5.13, 3, 1, -0.0]", "[5.130000000000001, 3, 1, 0.0]"
    assert [how(ask_raw(server, f'{{"data": {row}}}')) for row in rows] == [MISS] * 3


def test_an_answer_from_the_cache_warns_and_counts_as_the_computed_one_did(
    server: Server,
) -> None:
    def counted() -> list[float]:
        return [
            server.metric("serving_unusual_values_total", feature="petal length (cm)"),
            server.metric("serving_predictions_total"),
            *lookups(server),
        ]

    before = counted()
    row = [5.14, 3.1, 99.0, 0.14]
    computed, cached = ask(server, row), ask(server, row)
    assert (how(computed), how(cached)) == (MISS, HIT)
    assert [w["pointer"] for w in computed.json()["warnings"]] == ["/data/2"]
    assert cached.json()["warnings"] == computed.json()["warnings"]
    name = server.http.get("/model/info").json()["features"][2]["name"]
    assert name == "petal length (cm)"
    grown = [late - early for early, late in zip(before, counted(), strict=True)]
    assert grown == [2, 2, 1, 1, 0]
    assert [
        server.log_of(answer.headers["x-request-id"]).get("unusual")
        for answer in (computed, cached)
    ] == [1, 1]


def test_the_log_tells_how_a_prediction_was_come_by(server: Server) -> None:
    row = [5.15, 3.1, 1.0, 0.15]
    told = [server.log_of(ask(server, row).headers["x-request-id"]) for _ in range(2)]
    assert [line["cache"] for line in told] == ["miss", "hit"]
    refused = server.log_of(ask(server, [True]).headers["x-request-id"])
    assert "cache" not in refused


def test_many_rows_are_not_looked_up_and_not_kept(server: Server) -> None:
    before = lookups(server)
    rows = [[5.16, 3.1, 1.0, 0.16], [5.17, 3.1, 1.0, 0.17]]
    for _ in range(2):
        answer = server.http.post("/predict/batch", json={"data": rows})
        assert answer.status_code == 200
        assert "cache-status" not in answer.headers
    assert "cache" not in server.log_of(answer.headers["x-request-id"])
    assert lookups(server) == before
    assert how(ask(server, rows[0])) == MISS


def test_no_problem_tells_of_the_cache(server: Server) -> None:
    for answer in (ask(server, [True]), ask_raw(server, "{"), server.http.get("/predict")):
        assert answer.status_code >= 400
        assert "cache-status" not in answer.headers


def test_the_document_tells_of_the_header(server: Server) -> None:
    document = server.http.get("/docs.json").json()
    answers = [
        document["paths"][path]["post"]["responses"]["200"]["headers"]
        for path in ("/predict", "/predict/batch")
    ]
    assert ["Cache-Status" in headers for headers in answers] == [True, False]


def requests_under_way(server: Server, count: int) -> None:
    eventually(
        f"{count} requests under way",
        lambda: server.metric(IN_PROGRESS, endpoint="/predict") == count,
    )


def test_who_asks_for_the_same_meanwhile_waits_for_one_computation(
    serve: Serve, gate: Gate
) -> None:
    row = [21.0, 1, 1, 1]
    with serve(**gate.settings) as server, ThreadPoolExecutor() as threads:
        gate.close()
        first = threads.submit(ask, server, row)
        gate.wait_for(21.0)
        others = [threads.submit(ask, server, row) for _ in range(4)]
        requests_under_way(server, 5)
        assert server.metric("serving_waiting_rows") == 0
        gate.open()
        answers = [future.result() for future in (first, *others)]
        assert [how(answer) for answer in answers] == [MISS, *[COLLAPSED] * 4]
        assert len({json.dumps(answer.json()["probabilities"]) for answer in answers}) == 1
        assert [batch for batch in gate.seen() if 21.0 in batch] == [[21.0]]
        assert lookups(server) == [1, 0, 4]
        assert server.metric("serving_predictions_total") == 5
        lines = [server.log_of(answer.headers["x-request-id"]) for answer in answers]
        assert [line["cache"] for line in lines] == ["miss", *["collapsed"] * 4]


def test_a_client_that_leaves_takes_no_answer_from_those_who_wait_with_it(
    serve: Serve, gate: Gate
) -> None:
    body = b'{"data": [31.0, 1, 1, 1]}'
    with serve(**gate.settings) as server, ThreadPoolExecutor() as threads:
        gate.close()
        running = threads.submit(ask, server, [30.0, 1, 1, 1])
        gate.wait_for(30.0)
        with server.raw() as leaving:
            leaving.sendall(
                b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            requests_under_way(server, 2)
            staying = [threads.submit(ask, server, [31.0, 1, 1, 1]) for _ in range(3)]
            requests_under_way(server, 5)
        requests_under_way(server, 4)
        gate.open()
        assert [how(future.result()) for future in staying] == [COLLAPSED] * 3
        assert how(running.result()) == MISS
        assert [batch for batch in gate.seen() if 31.0 in batch] == [[31.0]]


def test_what_is_kept_goes_when_its_time_is_over(serve: Serve, gate: Gate) -> None:
    row = [41.0, 1, 1, 1]
    with serve(SERVING_CACHE_TTL_S="0.3", **gate.settings) as server:
        assert how(ask(server, row)) == MISS
        eventually("another miss", lambda: how(ask(server, row)) == MISS)
        assert gate.seen().count([41.0]) == 2


def test_what_was_asked_for_longest_ago_goes_when_there_is_no_room(serve: Serve) -> None:
    first, second, third = ([value, 1, 1, 1] for value in (1.0, 2.0, 3.0))
    with serve(SERVING_CACHE_ENTRIES="2") as server:
        order = (first, second, first, third, first, second)
        assert [how(ask(server, row)) for row in order] == [MISS, MISS, HIT, MISS, HIT, MISS]


@pytest.mark.parametrize("setting", ["SERVING_CACHE_ENTRIES", "SERVING_CACHE_TTL_S"])
def test_0_turns_it_off(serve: Serve, gate: Gate, setting: str) -> None:
    with serve(**{setting: "0"}, **gate.settings) as server:
        answers = [ask(server, [51.0, 1, 1, 1]) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert not any("cache-status" in answer.headers for answer in answers)
        assert gate.seen().count([51.0]) == 2
        assert lookups(server) == [0, 0, 0]
        assert "cache" not in server.log_of(answers[-1].headers["x-request-id"])
        assert "Cache-Status" not in server.http.get("/docs.json").text


def test_a_failure_is_not_kept(serve: Serve, gate: Gate) -> None:
    failing = [FAILS, *ROW[1:]]
    with serve(**{**gate.settings, "SERVING_MODEL": "faulty"}) as server:
        for count in (1, 2, 3):
            answer = ask(server, failing)
            assert_problem(server, answer, 500, "internal-error")
            assert "cache-status" not in answer.headers
            assert gate.seen().count([FAILS]) == count
        assert [how(ask(server, ROW)) for _ in range(2)] == [MISS, HIT]

"""The cache over the wire: the same answer again, told as such, and nothing kept that failed."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.server import BATCH, ROW, Server, eventually
from tests.wire.conftest import Serve
from tests.wire.gate import Gate
from tests.wire.problems import assert_problem
from tests.wire.raw import request

MISS, HIT = "model-api; fwd=miss; stored", "model-api; hit"
COLLAPSED = "model-api; fwd=miss; collapsed"
LOOKUPS = "serving_cache_lookups_total"
FAILS = 5.01  # where the estimator `Faulty` raises


def how(answer: httpx.Response) -> str:
    """Tell how an answer was come by; there must be one."""
    assert answer.status_code == 200, answer.text
    return str(answer.headers["cache-status"])


def lookups(server: Server) -> list[float]:
    return [server.metric(LOOKUPS, result=result) for result in ("miss", "hit", "collapsed")]


def test_a_cached_answer_is_the_computed_one_in_every_byte(server: Server) -> None:
    row = [5.11, 3.11, 1.11, 0.11]
    computed, cached = (server.ask(row, headers={"X-Request-ID": "same-id"}) for _ in range(2))
    assert (how(computed), how(cached)) == (MISS, HIT)
    assert computed.content == cached.content
    own = {"cache-status", "date"}
    assert [
        [header for header in answer.headers.multi_items() if header[0] not in own]
        for answer in (computed, cached)
    ] == [[h for h in computed.headers.multi_items() if h[0] not in own]] * 2
    other = server.ask(row, headers={"X-Request-ID": "another-id"})
    assert other.content == computed.content.replace(b"same-id", b"another-id")


def test_the_same_values_written_otherwise_are_the_same_and_others_are_not(server: Server) -> None:
    names = [feature["name"] for feature in server.http.get("/model/info").json()["features"]]
    by_name = dict(zip(names, [5, 3, 1.5, 0.12], strict=True))
    bodies = [
        '{"data": [5, 3, 1.5, 0.12]}',
        ' {"data":\n[5e0, 30e-1, 1.50, 12e-2]}\n',
        json.dumps({"data": dict(reversed(by_name.items()))}),
    ]
    answers = [server.send(body) for body in bodies]
    assert [how(answer) for answer in answers] == [MISS, HIT, HIT]
    assert len({json.dumps(answer.json()["probabilities"]) for answer in answers}) == 1
    # They differ in the last bit, or in the sign of zero.
    rows = "[5.13, 3, 1, 0.0]", "[5.13, 3, 1, -0.0]", "[5.130000000000001, 3, 1, 0.0]"
    assert [how(server.send(f'{{"data": {row}}}')) for row in rows] == [MISS] * 3


def test_an_answer_from_the_cache_warns_counts_and_is_logged_as_the_computed_one_was(
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
    computed, cached = server.ask(row), server.ask(row)
    assert (how(computed), how(cached)) == (MISS, HIT)
    assert [w["pointer"] for w in computed.json()["warnings"]] == ["/data/2"]
    assert cached.json()["warnings"] == computed.json()["warnings"]
    grown = [late - early for early, late in zip(before, counted(), strict=True)]
    assert grown == [2, 2, 1, 1, 0]
    told = [server.log_of(answer.headers["x-request-id"]) for answer in (computed, cached)]
    assert [(line["unusual"], line["cache"]) for line in told] == [(1, "miss"), (1, "hit")]


def test_many_rows_are_not_looked_up_and_not_kept(server: Server) -> None:
    before = lookups(server)
    rows = [[5.16, 3.1, 1.0, 0.16], [5.17, 3.1, 1.0, 0.17]]
    for _ in range(2):
        answer = server.ask(rows, BATCH)
        assert answer.status_code == 200
        assert "cache-status" not in answer.headers
    assert "cache" not in server.log_of(answer.headers["x-request-id"])
    assert lookups(server) == before
    assert how(server.ask(rows[0])) == MISS
    paths = server.http.get("/docs.json").json()["paths"]
    told = [paths[path]["post"]["responses"]["200"]["headers"] for path in ("/predict", BATCH)]
    assert ["Cache-Status" in headers for headers in told] == [True, False]


def test_no_problem_tells_of_the_cache(server: Server) -> None:
    for answer in (server.ask([True]), server.send("{"), server.http.get("/predict")):
        assert answer.status_code >= 400
        assert "cache-status" not in answer.headers
        assert "cache" not in server.log_of(answer.headers["x-request-id"])


def test_who_asks_for_the_same_meanwhile_waits_for_one_computation(
    gated: Server, shared_gate: Gate
) -> None:
    (row,) = shared_gate.rows(1)
    before = [*lookups(gated), gated.metric("serving_predictions_total")]
    with ThreadPoolExecutor() as threads:
        shared_gate.close()
        first = threads.submit(gated.ask, row)
        eventually("the first in the model", lambda: shared_gate.has_seen(row))
        others = [threads.submit(gated.ask, row) for _ in range(4)]
        eventually("all under way", lambda: gated.under_way() == 5)
        assert gated.waiting() == 0
        shared_gate.open()
        answers = [future.result() for future in (first, *others)]
    assert [how(answer) for answer in answers] == [MISS, *[COLLAPSED] * 4]
    assert len({json.dumps(answer.json()["probabilities"]) for answer in answers}) == 1
    assert [batch for batch in shared_gate.seen() if row[0] in batch] == [row[:1]]
    after = [*lookups(gated), gated.metric("serving_predictions_total")]
    assert [late - early for early, late in zip(before, after, strict=True)] == [1, 0, 4, 5]
    lines = [gated.log_of(answer.headers["x-request-id"]) for answer in answers]
    assert [line["cache"] for line in lines] == ["miss", *["collapsed"] * 4]


def test_a_client_that_leaves_takes_no_answer_from_those_who_wait_with_it(
    gated: Server, shared_gate: Gate
) -> None:
    (row,) = shared_gate.rows(1)
    with ThreadPoolExecutor() as threads:
        running = shared_gate.hold(gated, threads)
        with gated.raw() as leaving:
            leaving.sendall(request(json.dumps({"data": row}).encode()))
            eventually("two under way", lambda: gated.under_way() == 2)
            staying = [threads.submit(gated.ask, row) for _ in range(3)]
            eventually("five under way", lambda: gated.under_way() == 5)
        eventually("one less", lambda: gated.under_way() == 4)
        shared_gate.open()
        assert [how(future.result()) for future in staying] == [COLLAPSED] * 3
        assert how(running.result()) == MISS
    assert [batch for batch in shared_gate.seen() if row[0] in batch] == [row[:1]]


def test_what_has_no_room_goes_what_is_old_goes_and_a_failure_is_never_kept(
    serve: Serve, gate: Gate
) -> None:
    first, second, third = ([value, 1, 1, 1] for value in (1.0, 2.0, 3.0))
    failing = [FAILS, *ROW[1:]]
    bounds = {"SERVING_CACHE_ENTRIES": "2", "SERVING_CACHE_TTL_S": "3"}
    with serve(**{**bounds, **gate.settings, "SERVING_MODEL": "faulty"}) as server:
        order = (first, second, first, third, first, second)
        assert [how(server.ask(row)) for row in order] == [MISS, MISS, HIT, MISS, HIT, MISS]
        for count in (1, 2):
            answer = server.ask(failing)
            assert_problem(server, answer, 500, "internal-error")
            assert "cache-status" not in answer.headers
            assert sum(FAILS in batch for batch in gate.seen()) == count
        eventually("a miss when its time is over", lambda: how(server.ask(second)) == MISS)
        assert sum(2.0 in batch for batch in gate.seen()) == 3


def test_0_turns_it_off(configured: Server) -> None:
    for _ in range(2):
        answer = configured.ask(ROW)
        assert answer.status_code == 200
        assert "cache-status" not in answer.headers
    assert lookups(configured) == [0, 0, 0]
    assert "cache" not in configured.log_of(answer.headers["x-request-id"])
    assert "Cache-Status" not in configured.http.get("/docs.json").text

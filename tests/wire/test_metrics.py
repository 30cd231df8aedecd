"""What Prometheus reads: BentoML's names, few series, true numbers."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx

from tests.server import BATCH, ROW, Server, eventually
from tests.wire.conftest import Serve
from tests.wire.gate import Gate

REQUESTS = "bentoml_service_request_total"
DURATION = "bentoml_service_request_duration_seconds"
IN_PROGRESS = "bentoml_service_request_in_progress"
BATCH_SIZE = "bentoml_service_adaptive_batch_size"
COMMON = {"endpoint", "service_name", "service_version", "runner_name"}
MODEL = {"model_name", "version"}


def labels_of(server: Server, name: str) -> set[str]:
    (names,) = {frozenset(sample.labels) for sample in server.metrics() if sample.name == name}
    return set(names)


def endpoints(server: Server) -> set[str]:
    return {sample.labels["endpoint"] for sample in server.metrics() if "endpoint" in sample.labels}


def counted(server: Server, endpoint: str, status: int) -> float:
    return server.metric(REQUESTS, endpoint=endpoint, http_response_code=str(status))


def in_progress_elsewhere(server: Server) -> float:
    """Sum over all endpoints but the one that is asked."""
    return server.metric(IN_PROGRESS) - server.metric(IN_PROGRESS, endpoint="/metrics")


def test_names_and_labels_are_bentomls_and_the_models(server: Server) -> None:
    server.ask(ROW)
    server.ask([5.19, 3.5, 1.4, 0.2])  # which is in no cache
    assert labels_of(server, REQUESTS) == COMMON | MODEL | {"http_response_code"}
    assert labels_of(server, f"{DURATION}_sum") == COMMON | MODEL | {"http_response_code"}
    assert labels_of(server, IN_PROGRESS) == COMMON
    assert labels_of(server, f"{BATCH_SIZE}_count") == {
        "method_name",
        "service_name",
        "service_version",
        "runner_name",
        "worker_index",
        *MODEL,
    }
    iris = {"model_name": "iris"}
    assert server.metric(REQUESTS, service_name="ModelApi", endpoint="/predict", **iris) > 0
    server.metrics()
    assert server.metric(REQUESTS, endpoint="/metrics", model_name="", version="") > 0
    assert server.metric(f"{BATCH_SIZE}_count", method_name="predict") > 0
    buckets = (sample for sample in server.metrics() if sample.name == f"{DURATION}_bucket")
    bounds = sorted({float(sample.labels["le"]) for sample in buckets})
    assert bounds[0] == 0.001
    assert bounds[-2] >= 10  # the default deadline, so that what passes it is seen
    assert bounds[-1] == float("inf")


def test_requests_problems_and_predictions_are_counted(server: Server) -> None:
    def all_counts() -> list[float]:
        return [
            counted(server, "/predict", 200),
            counted(server, "/predict", 422),
            counted(server, BATCH, 200),
            server.metric("serving_errors_total", type="malformed-body"),
            server.metric("serving_errors_total", type="not-found"),
            server.metric("serving_predictions_total", **{"class": "setosa"}),
        ]

    before = all_counts()
    for _ in range(3):
        server.ask(ROW)
    for _ in range(2):
        server.ask([True])
    server.ask([ROW, ROW, ROW], BATCH)
    server.send("{")
    server.http.get("/nothing")
    grown = [late - early for early, late in zip(before, all_counts(), strict=True)]
    assert grown == [3, 2, 1, 1, 1, 6]


def test_the_model_is_told(server: Server) -> None:
    info = server.http.get("/model/info").json()
    labels = {"name": "iris", "version": info["version"], "task": "classification"}
    assert server.metric("serving_model_info", **labels) == 1


def test_unknown_paths_add_one_endpoint(server: Server) -> None:
    server.http.get("/unknown/first")
    server.http.get("/errors/not-found")
    before, unmatched = endpoints(server), counted(server, "unmatched", 404)
    for number in range(100):
        assert server.http.get(f"/unknown/{number}").status_code == 404
        assert server.http.get(f"/errors/{number}").status_code == 404
    assert endpoints(server) == before
    assert counted(server, "unmatched", 404) == unmatched + 100
    assert counted(server, "/errors/{slug}", 404) >= 100


def test_requests_under_way_and_waiting_are_seen_and_then_gone(
    gated: Server, shared_gate: Gate
) -> None:
    def batches() -> list[float]:
        return [gated.metric(f"{BATCH_SIZE}_{part}") for part in ("sum", "count")]

    before = batches()
    with ThreadPoolExecutor() as threads:
        held = [shared_gate.hold(gated, threads)]
        held += [threads.submit(gated.ask, row) for row in shared_gate.rows(4)]
        eventually("five requests", lambda: gated.under_way() == 5)
        eventually("four that wait", lambda: gated.waiting() == 4)
        shared_gate.open()
        assert {answer.result().status_code for answer in held} == {200}
    assert in_progress_elsewhere(gated) == gated.waiting() == 0
    assert [late - early for early, late in zip(before, batches(), strict=True)] == [5, 2]


def test_a_killed_worker_leaves_its_counts_and_nothing_under_way_and_servers_do_not_mix(
    serve: Serve, gate: Gate, server: Server
) -> None:
    server.ask(ROW)
    elsewhere = counted(server, "/predict", 200)
    with serve(**gate.settings) as second:
        for _ in range(3):
            assert second.ask(ROW).status_code == 200
        gate.close()
        (row,) = gate.rows(1)

        def lost() -> None:
            with suppress(httpx.TransportError):
                second.ask(row)

        held = threading.Thread(target=lost)
        held.start()
        eventually("the row in the model", lambda: gate.has_seen(row))
        killed = second.worker()
        os.kill(killed, signal.SIGKILL)
        held.join()
        gate.open()
        eventually("another worker", lambda: second.worker() != killed and second.is_ready())
        assert in_progress_elsewhere(second) == second.waiting() == 0
        assert second.metric("serving_model_info") == 1
        assert counted(second, "/predict", 200) == 3
        assert second.ask(ROW).status_code == 200
        assert counted(second, "/predict", 200) == 4
        assert counted(server, "/predict", 200) == elsewhere
    assert server.ask(ROW).status_code == 200  # the other's end takes none of its files
    assert counted(server, "/predict", 200) == elsewhere + 1

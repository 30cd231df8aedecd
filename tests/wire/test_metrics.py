"""What Prometheus reads: BentoML's names, few series, true numbers."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx

from tests.server import ROW, Server, eventually, serving
from tests.wire.conftest import Serve
from tests.wire.gate import Gate

REQUESTS = "bentoml_service_request_total"
DURATION = "bentoml_service_request_duration_seconds"
IN_PROGRESS = "bentoml_service_request_in_progress"
BATCH_SIZE = "bentoml_service_adaptive_batch_size"
COMMON = {"endpoint", "service_name", "service_version", "runner_name"}


def ask(server: Server, row: object = ROW) -> httpx.Response:
    return server.http.post("/predict", json={"data": row})


def labels_of(server: Server, name: str) -> set[str]:
    (names,) = {frozenset(sample.labels) for sample in server.metrics() if sample.name == name}
    return set(names)


def endpoints(server: Server) -> set[str]:
    return {sample.labels["endpoint"] for sample in server.metrics() if "endpoint" in sample.labels}


def in_progress_elsewhere(server: Server) -> float:
    """Sum over all endpoints but the one that is asked."""
    return server.metric(IN_PROGRESS) - server.metric(IN_PROGRESS, endpoint="/metrics")


def test_names_and_labels_are_bentomls(server: Server) -> None:
    ask(server)
    assert labels_of(server, REQUESTS) == COMMON | {"http_response_code"}
    assert labels_of(server, f"{DURATION}_sum") == COMMON | {"http_response_code"}
    assert labels_of(server, IN_PROGRESS) == COMMON
    assert labels_of(server, f"{BATCH_SIZE}_count") == {
        "method_name",
        "service_name",
        "service_version",
        "runner_name",
        "worker_index",
    }
    assert server.metric(REQUESTS, service_name="ModelApi", endpoint="/predict") > 0
    assert server.metric(f"{BATCH_SIZE}_count", method_name="predict") > 0


def test_durations_are_told_from_one_millisecond_on(server: Server) -> None:
    ask(server)
    bounds = sorted(
        {
            float(sample.labels["le"])
            for sample in server.metrics()
            if sample.name == f"{DURATION}_bucket"
        }
    )
    assert bounds[0] == 0.001
    assert bounds[-2] >= 10  # the default deadline, so that what passes it is seen
    assert bounds[-1] == float("inf")


def test_requests_are_counted_by_route_and_status(server: Server) -> None:
    def counted(endpoint: str, status: int) -> float:
        return server.metric(REQUESTS, endpoint=endpoint, http_response_code=str(status))

    before = counted("/predict", 200), counted("/predict", 422), counted("/predict/batch", 200)
    for _ in range(3):
        ask(server)
    for _ in range(2):
        ask(server, [True])
    server.http.post("/predict/batch", json={"data": [ROW, ROW]})
    after = counted("/predict", 200), counted("/predict", 422), counted("/predict/batch", 200)
    assert [late - early for early, late in zip(before, after, strict=True)] == [3, 2, 1]


def test_problems_are_counted_by_type_and_predictions_by_class(server: Server) -> None:
    def counted() -> list[float]:
        return [
            server.metric("serving_errors_total", type="malformed-body"),
            server.metric("serving_errors_total", type="not-found"),
            server.metric("serving_predictions_total", **{"class": "setosa"}),
        ]

    before = counted()
    headers = {"Content-Type": "application/json"}
    server.http.post("/predict", content=b"{", headers=headers)
    server.http.get("/nothing")
    server.http.post("/predict/batch", json={"data": [ROW, ROW, ROW]})
    assert [late - early for early, late in zip(before, counted(), strict=True)] == [1, 1, 3]


def test_the_model_is_told(server: Server) -> None:
    info = server.http.get("/model/info").json()
    labels = {"name": "iris", "version": info["version"], "task": "classification"}
    assert server.metric("serving_model_info", **labels) == 1


def test_hundreds_of_unknown_paths_add_one_endpoint(serve: Serve) -> None:
    with serve() as server:
        server.metrics()
        before = endpoints(server)
        for number in range(300):
            assert server.http.get(f"/unknown/{number}").status_code == 404
        (added,) = endpoints(server) - before
        assert server.metric(REQUESTS, endpoint=added, http_response_code="404") == 300
        for number in range(10):
            assert server.http.get(f"/errors/{number}").status_code == 404
        assert endpoints(server) - before - {added} == {"/errors/{slug}"}


def test_requests_under_way_and_waiting_are_seen_and_then_gone(serve: Serve, gate: Gate) -> None:
    with serve(**gate.settings) as server, ThreadPoolExecutor() as threads:
        gate.close()
        held = [threads.submit(ask, server, [0.0, 1, 1, 1])]
        gate.wait_for(0.0)
        held += [threads.submit(ask, server, [1.0 + number, 1, 1, 1]) for number in range(4)]
        eventually("five requests", lambda: server.metric(IN_PROGRESS, endpoint="/predict") == 5)
        try:
            waiting = "serving_waiting_rows"
            eventually("four that wait", lambda: server.metric(waiting) == 4, patience_s=5)
        finally:
            gate.open()
        assert {answer.result().status_code for answer in held} == {200}
        assert in_progress_elsewhere(server) == 0
        assert server.metric(waiting) == 0
        assert server.metric(f"{BATCH_SIZE}_sum") == 5
        assert server.metric(f"{BATCH_SIZE}_count") == 2


def test_a_killed_worker_leaves_its_counts_and_nothing_under_way(serve: Serve, gate: Gate) -> None:
    with serve(**gate.settings) as server:
        for _ in range(3):
            assert ask(server).status_code == 200
        gate.close()

        def lost() -> None:
            with suppress(httpx.TransportError):
                ask(server, [77.0, 1, 1, 1])

        held = threading.Thread(target=lost)
        held.start()
        gate.wait_for(77.0)
        killed = server.worker()
        os.kill(killed, signal.SIGKILL)
        held.join()
        gate.open()
        eventually("another worker", lambda: server.worker() != killed and server.is_ready())
        assert in_progress_elsewhere(server) == 0
        assert server.metric("serving_waiting_rows") == 0
        assert server.metric("serving_model_info") == 1
        assert server.metric(REQUESTS, endpoint="/predict", http_response_code="200") == 3
        assert ask(server).status_code == 200
        assert server.metric(REQUESTS, endpoint="/predict", http_response_code="200") == 4


def test_servers_of_one_model_store_keep_their_own_metrics(
    server: Server, home: Path, tmp_path: Path
) -> None:
    ask(server)
    before = server.metric(REQUESTS, endpoint="/predict", http_response_code="200")
    with serving(home, tmp_path / "output") as second:
        for _ in range(2):
            ask(second)
        assert second.metric(REQUESTS, endpoint="/predict", http_response_code="200") == 2
        assert server.metric(REQUESTS, endpoint="/predict", http_response_code="200") == before
        ask(server)
    ask(server)
    assert server.metric(REQUESTS, endpoint="/predict", http_response_code="200") == before + 2


def test_several_workers_count_together(serve: Serve) -> None:
    with serve(BENTOML_CONFIG_OPTIONS="services.ModelApi.workers=2") as server:
        eventually("two workers", lambda: len(server.events("Application startup complete.")) == 2)
        for _ in range(40):  # each on a connection of its own, so that both workers get some
            answer = httpx.post(f"{server.url}/predict", json={"data": ROW}, timeout=60)
            assert answer.status_code == 200
        assert server.metric(REQUESTS, endpoint="/predict", http_response_code="200") == 40
        assert server.metric("serving_predictions_total") == 40
        assert in_progress_elsewhere(server) == 0
        assert server.metric("serving_model_info") == 1

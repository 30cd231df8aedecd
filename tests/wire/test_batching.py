"""Batches grow with the load and shrink with it: no wait that is learned stays behind."""

import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import pytest

from tests.server import PATIENCE_S, ROW, Server, serving

CLIENTS = 64
REQUESTS = 250
ROUNDS = 3
# The issue asks for 1.5 on a quiet machine. BentoML's own dispatcher is at 30.
MOST = 2.0
BODY = json.dumps({"data": ROW})

# The first compares latencies; the other shares its server, whose start takes longer than both.
pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def server(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve the default model so that every request is for it."""
    output = tmp_path_factory.mktemp("uncached") / "output"
    with serving(home, output, SERVING_CACHE_ENTRIES="0") as running:
        yield running


def latencies_s(server: Server, requests: int) -> list[float]:
    """Send requests one after the other, over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    latencies = []
    for _ in range(requests):
        started = time.perf_counter()
        connection.request("POST", "/predict", BODY, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        latencies.append(time.perf_counter() - started)
        assert answer.status == 200
    connection.close()
    return latencies


def burst(server: Server) -> None:
    """Send requests from many clients at once."""
    with ThreadPoolExecutor(CLIENTS) as threads:
        for done in [threads.submit(latencies_s, server, 20) for _ in range(CLIENTS)]:
            done.result()


def test_after_a_burst_a_lone_client_waits_no_longer_than_before(server: Server) -> None:
    latencies_s(server, REQUESTS)  # warm up, on both sides
    ratios = []
    for _ in range(ROUNDS):
        before = median(latencies_s(server, REQUESTS))
        burst(server)
        ratios.append(median(latencies_s(server, REQUESTS)) / before)
        if ratios[-1] < MOST:
            return
    raise AssertionError(f"after a burst, latency is {ratios} times what it was")


def test_a_burst_is_batched_and_a_lone_client_is_not(server: Server) -> None:
    name = "bentoml_service_adaptive_batch_size"

    def batches_and_rows() -> tuple[float, float]:
        return server.metric(f"{name}_count"), server.metric(f"{name}_sum")

    batches, rows = batches_and_rows()
    latencies_s(server, 50)
    assert batches_and_rows() == (batches + 50, rows + 50)
    batches, rows = batches_and_rows()
    burst(server)
    after_batches, after_rows = batches_and_rows()
    assert after_rows - rows == CLIENTS * 20
    assert after_batches - batches < after_rows - rows

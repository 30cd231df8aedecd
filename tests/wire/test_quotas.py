"""Quotas over the wire: exactly so many pass, whatever is asked at once, and clients are told."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.server import BATCH, PATIENCE_S, ROW, Server, refused, serving
from tests.wire.conftest import Serve
from tests.wire.problems import assert_plain_problem, assert_problem

CONNECTIONS = 32
UNLIMITED = [
    *("/health", "/livez", "/readyz", "/model/info", "/metrics", "/docs.json", "/nowhere"),
    *("/v2", "/v2/health/ready", "/v2/models/iris", "/v2/models/iris/ready", "/v2/nowhere"),
]
INFER = "/v2/models/iris/infer"
OVERRIDES = '{"services": {"ModelApi": {"workers": 2}}}'


@pytest.fixture(scope="module")
def hasty(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve with a quota that is used up, and free again, within seconds."""
    output = tmp_path_factory.mktemp("hasty") / "output"
    with serving(home, output, SERVING_RATE_LIMIT="5/2second") as running:
        yield running


def left(answer: httpx.Response) -> int:
    """Read how many requests the client has left."""
    told = re.fullmatch(r'"default";r=(\d+);t=(\d+)', answer.headers["ratelimit"])
    assert told, answer.headers["ratelimit"]
    return int(told[1])


def statuses(server: Server, requests: int) -> Counter[int]:
    """Send requests at once, from as many connections as there are, and count their statuses."""

    def some(count: int) -> list[int]:
        with httpx.Client(base_url=server.url, timeout=PATIENCE_S) as client:
            return [client.post("/predict", json={"data": ROW}).status_code for _ in range(count)]

    shares = [len(range(first, requests, CONNECTIONS)) for first in range(CONNECTIONS)]
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return Counter(status for some_ in threads.map(some, shares) for status in some_)


def test_with_nothing_set_exactly_100_of_150_at_once_pass(serve: Serve) -> None:
    with serve(SERVING_RATE_LIMIT="") as server:  # as if it were not set
        assert statuses(server, 150) == {200: 100, 429: 50}
        answer = server.ask(ROW)
        assert_problem(server, answer, 429, "quota-exceeded")
        assert answer.headers["ratelimit-policy"] == '"default";q=100;w=60'
        assert server.metric("serving_limited_requests_total", api_key="anonymous") == 51
        assert server.metric("serving_quota_storage_up") == 1
        for path in UNLIMITED:  # a client that has used its quota up may still look
            looked = server.http.get(path)
            assert looked.status_code in {200, 404}
            assert "ratelimit" not in looked.headers
        loaded = server.http.post("/v2/repository/models/iris/load")
        assert (loaded.status_code, "ratelimit" in loaded.headers) == (200, False)
        answer = server.http.post(INFER, json={})
        assert_plain_problem(server, answer, 429, "quota-exceeded")
        assert answer.headers["retry-after"]


def test_a_client_is_told_its_quota_on_every_answer_that_counts(hasty: Server) -> None:
    many = [ROW] * 50
    answers = [
        hasty.ask(ROW),
        hasty.ask(many, BATCH),  # counts as one
        hasty.ask(["x"]),
        hasty.http.post(INFER, content=b"no json"),
        hasty.http.get("/predict"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 422, 400, 405]
    assert [left(answer) for answer in answers] == [4, 3, 2, 1, 0]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"default";q=5;w=2'}
    refused_ = hasty.ask(many, BATCH)
    body = assert_problem(hasty, refused_, 429, "quota-exceeded")
    assert left(refused_) == 0
    line = hasty.log_of(body["request_id"])
    assert (line["status"], line["problem"]) == (429, "quota-exceeded")


def test_a_client_that_waits_as_it_is_told_passes(hasty: Server) -> None:
    while (answer := hasty.ask(ROW)).status_code == 200:
        pass
    assert answer.status_code == 429
    wait_s = int(answer.headers["retry-after"])
    assert 1 <= wait_s <= 2
    assert answer.headers["ratelimit"] == f'"default";r=0;t={wait_s}'
    time.sleep(wait_s)
    assert hasty.ask(ROW).status_code == 200


def test_off_is_off(server: Server) -> None:
    answers = [server.ask(ROW) for _ in range(101)]
    assert {answer.status_code for answer in answers} == {200}
    assert not any("ratelimit" in answer.headers for answer in answers)
    told = server.http.get("/docs.json").json()
    assert "429" not in told["paths"]["/predict"]["post"]["responses"]


def test_two_workers_that_would_count_alone_are_refused_at_the_start(home: Path) -> None:
    refusal = refused(home, BENTOML_CONFIG_OVERRIDES=OVERRIDES)
    (complaint,) = refusal.complaints
    assert refusal.exit_code != 0
    assert "SERVING_RATE_LIMIT_STORAGE" in complaint
    assert "redis://" in complaint

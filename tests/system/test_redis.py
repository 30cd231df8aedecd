"""Quotas in a real Redis: exact over workers and servers, and no outage of Redis is one of ours."""

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import cast

import httpx
import pytest
import redis

from tests.server import PATIENCE_S, ROW, Server, eventually, free_port, serving

PASSWORD = "open-sesame-hunter2"  # noqa: S105 (of a server that ends with the test)
CONNECTIONS = 32
QUOTA = 100
TWO_WORKERS = '{"services": {"ModelApi": {"workers": 2}}}'
LOST, BACK = "quotas.storage_lost", "quotas.storage_back"

_addresses = count(1)


class RedisServer:
    """A Redis that keeps nothing, and that a test may end, stop and start again."""

    def __init__(self, folder: Path) -> None:
        """Choose a port."""
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port, password=PASSWORD, socket_timeout=PATIENCE_S)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = {"port": self.port, "requirepass": PASSWORD, "save": "", "appendonly": "no"}
        self.process = subprocess.Popen(
            ["redis-server", "--bind", "127.0.0.1", "--dir", str(self.folder)]
            + [word for name, value in options.items() for word in (f"--{name}", str(value))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        eventually("a Redis that answers", self._answers)

    def _answers(self) -> bool:
        with suppress(redis.RedisError):
            return bool(self.client.ping())
        return False

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def end(self) -> None:
        """Kill it, as an accident would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Give a Redis that runs."""
    running = RedisServer(tmp_path_factory.mktemp("redis"))
    running.start()
    yield running
    running.end()
    running.client.close()


def settings(storage: RedisServer, **more: str) -> dict[str, str]:
    """Give the settings of a server that counts there, and believes tests about addresses."""
    return {
        "SERVING_RATE_LIMIT": f"{QUOTA}/minute",
        "SERVING_RATE_LIMIT_STORAGE": storage.url,
        "SERVING_TRUSTED_PROXIES": "127.0.0.1",
        **more,
    }


@pytest.fixture(scope="module")
def counting(
    home: Path, storage: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Serve with one worker that counts in Redis; tests leave it with Redis in reach."""
    output = tmp_path_factory.mktemp("counting") / "output"
    with serving(home, output, **settings(storage)) as running:
        yield running


@pytest.fixture
def client(counting: Server) -> Iterator[httpx.Client]:
    """Give a client with an address that none had before."""
    address = f"192.0.2.{next(_addresses)}"
    with httpx.Client(
        base_url=counting.url, timeout=PATIENCE_S, headers={"X-Forwarded-For": address}
    ) as fresh:
        yield fresh


def predict(client: httpx.Client) -> httpx.Response:
    """Ask for a prediction."""
    return client.post("/predict", json={"data": ROW})


def used_in_redis(storage: RedisServer, client: httpx.Client) -> int:
    """Tell how many requests of a client Redis has counted."""
    pattern = f"model-api:address/{client.headers['X-Forwarded-For']}/*"
    (key,) = cast(list[bytes], storage.client.keys(pattern))
    return cast(int, storage.client.llen(key.decode()))


def lost(server: Server) -> int:
    """Tell how often Redis was lost; it must have come back as often."""
    eventually("Redis is back", lambda: len(server.events(BACK)) == len(server.events(LOST)))
    eventually("the metric says so", lambda: server.metric("serving_quota_storage_up") == 1)
    return len(server.events(LOST))


def test_of_150_at_once_exactly_100_pass_over_two_servers_and_two_workers(
    home: Path, storage: RedisServer, tmp_path: Path
) -> None:
    def some(server: Server, requests: int) -> list[int]:
        headers = {"X-Forwarded-For": "198.51.100.7"}
        with httpx.Client(base_url=server.url, timeout=PATIENCE_S, headers=headers) as client:
            return [predict(client).status_code for _ in range(requests)]

    one = settings(storage)
    two = settings(storage, BENTOML_CONFIG_OVERRIDES=TWO_WORKERS)
    with (
        serving(home, tmp_path / "one", **one) as first,
        serving(home, tmp_path / "two", **two) as second,
        ThreadPoolExecutor(CONNECTIONS) as threads,
    ):
        eventually("two workers", lambda: second.text().count("Started server process") == 2)
        shares = [
            (second if turn % 3 else first, len(range(turn, 150, CONNECTIONS)))
            for turn in range(CONNECTIONS)
        ]
        answers = list(threads.map(lambda share: some(*share), shares))
        assert Counter(status for some_ in answers for status in some_) == {200: 100, 429: 50}
        limited = [server.metric("serving_limited_requests_total") for server in (first, second)]
        assert sum(limited) == 50
        assert min(limited) > 0
        for server in (first, second):
            assert server.metric("serving_quota_storage_up") == 1
            assert server.events(LOST) == []
            assert PASSWORD not in server.text() + server.http.get("/metrics").text


def test_a_client_is_told_what_redis_has_counted(
    counting: Server, storage: RedisServer, client: httpx.Client
) -> None:
    for left in (99, 98, 97):
        answer = predict(client)
        assert answer.headers["ratelimit-policy"] == '"default";q=100;w=60'
        assert answer.headers["ratelimit"].startswith(f'"default";r={left};t=')
    assert used_in_redis(storage, client) == 3


def test_without_redis_workers_count_alone_and_with_it_again_together(
    counting: Server, storage: RedisServer, client: httpx.Client
) -> None:
    before = lost(counting)
    assert predict(client).headers["ratelimit"].startswith('"default";r=99;')
    storage.end()
    answers = [predict(client) for _ in range(150)]
    assert Counter(answer.status_code for answer in answers) == {200: 100, 429: 50}
    assert len(counting.events(LOST)) == before + 1
    assert counting.metric("serving_quota_storage_up") == 0
    line = counting.events(LOST)[-1]
    assert (line["level"], line["error"]) == ("error", "redis.exceptions.ConnectionError")
    storage.start()
    assert lost(counting) == before + 1
    assert counting.events(BACK)[-1]["level"] == "info"
    assert predict(client).status_code == 200  # Redis was started anew, and knows of none
    assert used_in_redis(storage, client) == 1
    assert PASSWORD not in counting.text()


def test_a_redis_that_hangs_costs_its_timeout_once(
    counting: Server, storage: RedisServer, client: httpx.Client
) -> None:
    before = lost(counting)
    predict(client)
    storage.signal(signal.SIGSTOP)
    try:
        durations_s = []
        for _ in range(40):
            started = time.perf_counter()
            assert predict(client).status_code == 200
            durations_s.append(time.perf_counter() - started)
        # 0.25 s for the first; a machine under load may take its time for any other.
        assert sum(durations_s[1:]) < 40 * 0.25 / 4
        assert len(counting.events(LOST)) == before + 1
    finally:
        storage.signal(signal.SIGCONT)
    assert lost(counting) == before + 1


def test_a_redis_that_takes_no_writes_is_away_though_it_answers(
    counting: Server, storage: RedisServer, client: httpx.Client
) -> None:
    before = lost(counting)
    storage.client.config_set("maxmemory", "1")
    try:
        assert [predict(client).status_code for _ in range(3)] == [200] * 3
        assert counting.events(LOST)[-1]["error"] == "redis.exceptions.OutOfMemoryError"
        assert storage.client.ping()
        assert len(counting.events(BACK)) == before
    finally:
        storage.client.config_set("maxmemory", "0")
    assert lost(counting) == before + 1
    storage.client.replicaof("127.0.0.1", "1")  # of a server that is not there
    try:
        assert predict(client).status_code == 200
        assert counting.events(LOST)[-1]["error"] == "redis.exceptions.ReadOnlyError"
    finally:
        storage.client.replicaof("NO", "ONE")
    assert lost(counting) == before + 2


def test_a_redis_that_has_forgotten_the_script_is_not_lost(
    counting: Server, storage: RedisServer, client: httpx.Client
) -> None:
    before = lost(counting)
    for _ in range(2):
        storage.client.script_flush()
        assert predict(client).status_code == 200
    assert used_in_redis(storage, client) == 2
    assert lost(counting) == before


def test_a_service_starts_without_redis_says_so_finds_it_and_lets_those_pass_who_wait(
    home: Path, tmp_path: Path
) -> None:
    later = RedisServer(tmp_path)
    quick = settings(later) | {"SERVING_RATE_LIMIT": "5/2second"}
    with serving(home, tmp_path / "output", **quick) as server:
        eventually("it says so", lambda: server.events(LOST))
        assert predict(server.http).status_code == 200
        assert server.metric("serving_quota_storage_up") == 0
        later.start()
        try:
            assert lost(server) == 1
            assert predict(server.http).headers["ratelimit"].startswith('"default";r=4;')
            while (answer := predict(server.http)).status_code == 200:
                pass
            assert answer.status_code == 429
            time.sleep(int(answer.headers["retry-after"]))
            assert predict(server.http).status_code == 200
            assert PASSWORD not in server.text()
        finally:
            later.end()
            later.client.close()


def test_a_wrong_password_is_not_shown_either(
    home: Path, storage: RedisServer, tmp_path: Path
) -> None:
    url = storage.url.replace(PASSWORD, "wrong-hunter2")
    wrong = settings(storage) | {"SERVING_RATE_LIMIT_STORAGE": url}
    with serving(home, tmp_path / "output", **wrong) as server:
        answer = predict(server.http)
        assert answer.status_code == 200
        (line,) = eventually("it is told", lambda: server.events(LOST))
        assert line["error"] == "redis.exceptions.AuthenticationError"
        assert "wrong-hunter2" not in server.text() + server.http.get("/metrics").text

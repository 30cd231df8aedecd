"""Two servers are restarted in turn under load, as an update does it, and no prediction is lost."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import httpx
import pytest

from tests.server import PATIENCE_S, Server, eventually, serving

pytestmark = pytest.mark.alone

CLIENTS = 4
ROWS = [[round(4.3 + 0.018 * number, 3), 3.0, 1.0 + 0.03 * number, 1.2] for number in range(200)]


@dataclass
class Pair:
    """Two servers, one of which may be away."""

    start: Callable[[], Server]
    servers: list[Server] = field(default_factory=list)

    def restart(self, place: int, on_the_way: Callable[[], None] = lambda: None) -> None:
        """End one server as an operator does, and start it anew."""
        self.servers[place].terminate()
        on_the_way()
        assert self.servers[place].ended() == 0
        self.servers[place] = self.start()


@pytest.fixture(scope="module")
def pair(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Run two servers, with time to be taken out of the line; all must end well."""
    numbers, folder = count(), tmp_path_factory.mktemp("pair")
    settings = {"SERVING_DRAIN_DELAY_S": "1", "SERVING_CACHE_ENTRIES": "0"}
    with ExitStack() as stack:

        def start() -> Server:
            output = folder / f"output-{next(numbers)}"
            return stack.enter_context(serving(home, output, **settings))

        servers = Pair(start)
        servers.servers += (start(), start())
        yield servers


@dataclass
class Load:
    """Clients that ask without pause, and what they were answered."""

    ask: Callable[[httpx.Client, int, list[float]], httpx.Response]
    expected: list[tuple[str, dict[str, float]]]
    answered: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def client(self, seed: int) -> None:
        """Be a client until the load is over; what is lost or wrong ends it with an exception."""
        choice = random.Random(seed)
        with httpx.Client(timeout=PATIENCE_S) as client:
            while not self.over.is_set():
                which = choice.randrange(len(ROWS))
                answer = self.ask(client, choice.randrange(2), ROWS[which])
                assert answer.status_code == 200, answer.text
                (label, numbers), (right, exact) = told(answer), self.expected[which]
                assert label == right
                assert numbers == pytest.approx(exact, rel=1e-12, abs=1e-12)
                self.answered += 1  # a lower bound: threads may count at once

    def goes_on(self) -> None:
        """Wait until each client can have been answered again."""
        target = self.answered + 20 * CLIENTS
        eventually("more answers", lambda: self.over.is_set() or self.answered > target)


def told(answer: httpx.Response) -> tuple[str, dict[str, float]]:
    """Give what an answer says of its row."""
    body = answer.json()
    return body["prediction"], body["probabilities"]


@contextmanager
def load(
    pair: Pair, ask: Callable[[httpx.Client, int, list[float]], httpx.Response]
) -> Iterator[Load]:
    """Put clients on a pair of servers; at the end none may have lost anything."""
    first = pair.servers[0].http
    expected = [told(first.post("/predict", json={"data": row})) for row in ROWS]
    traffic = Load(ask, expected)
    with ThreadPoolExecutor(CLIENTS) as threads:

        def ended(client: Future[None]) -> None:
            if client.exception():
                traffic.over.set()  # nobody waits for answers that will not come

        clients = [threads.submit(traffic.client, seed) for seed in range(CLIENTS)]
        for client in clients:
            client.add_done_callback(ended)
        try:
            yield traffic
        finally:
            traffic.over.set()
        for client in clients:
            client.result()
    assert traffic.answered > 0


def test_a_client_that_tries_the_other_server_loses_nothing(pair: Pair) -> None:
    def ask(client: httpx.Client, place: int, row: list[float]) -> httpx.Response:
        try:
            answer = client.post(f"{pair.servers[place].url}/predict", json={"data": row})
            if answer.status_code != 503:
                return answer
        except httpx.TransportError:
            pass
        return client.post(f"{pair.servers[1 - place].url}/predict", json={"data": row})

    with load(pair, ask) as traffic:
        for place in (0, 1):
            traffic.goes_on()
            pair.restart(place, on_the_way=traffic.goes_on)
        traffic.goes_on()


def test_a_balancer_that_follows_readiness_needs_no_second_try(pair: Pair) -> None:
    ready = [True, True]

    def look(client: httpx.Client, place: int) -> bool:
        try:
            return client.get(f"{pair.servers[place].url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def follow(over: threading.Event) -> None:
        with httpx.Client(timeout=PATIENCE_S) as client:
            while not over.is_set():
                for place in (0, 1):
                    ready[place] = look(client, place)

    def ask(client: httpx.Client, place: int, row: list[float]) -> httpx.Response:
        place = place if ready[place] else 1 - place
        return client.post(f"{pair.servers[place].url}/predict", json={"data": row})

    over = threading.Event()
    balancer = threading.Thread(target=follow, args=(over,))
    balancer.start()
    try:
        with load(pair, ask) as traffic:
            for place in (0, 1):
                pair.restart(place, on_the_way=traffic.goes_on)
                eventually("both servers in line", lambda: all(ready))
                traffic.goes_on()
    finally:
        over.set()
        balancer.join()

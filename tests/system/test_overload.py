"""More than the service can carry, for a few seconds; ``make overload`` measures it for longer."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import aiohttp
import pytest

from tests.server import PATIENCE_S, Server, serving
from tests.system.slow import SECONDS

pytestmark = pytest.mark.alone

DEADLINE_S = 2.0


def slow(home: Path, output: Path, row_s: float, **settings: str) -> Any:  # noqa: ANN401
    """Serve a model that takes so long for a row; no cache helps it."""
    own = {"SERVING_MODEL": "slow", "SERVING_CACHE_ENTRIES": "0", SECONDS: f"{row_s}"}
    return serving(home, output, **own | settings)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that has come whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Request = Callable[[], Awaitable[Answer]]


@dataclass
class Tally:
    """What requests were answered, and how long the good ones took."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    refusals: list[Answer] = field(default_factory=list)

    async def add(self, request: Awaitable[Answer]) -> None:
        """Wait for an answer and count it."""
        start = time.perf_counter()
        answer = await request
        self.statuses[answer.status] += 1
        if answer.status == 200:
            self.latencies.append(time.perf_counter() - start)
        else:
            self.refusals.append(answer)

    @property
    def p99(self) -> float:
        """The latency that one in a hundred good answers exceeds."""
        return quantiles(self.latencies, n=100)[-1]


@dataclass
class Clients:
    """Clients of one server; each row they ask about is another."""

    http: aiohttp.ClientSession
    numbers: "count[int]" = field(default_factory=count)

    def row(self) -> list[float]:
        """Give a row that was not asked about before."""
        return [4.5 + next(self.numbers) % 300_000 / 1e5, 3.0, 4.0, 1.2]

    async def single(self) -> Answer:
        """Ask for one prediction."""
        return await self.ask("POST", "/predict", {"data": self.row()})

    async def batch(self, rows: int) -> Answer:
        """Ask for many."""
        data = [self.row() for _ in range(rows)]
        return await self.ask("POST", "/predict/batch", {"data": data})

    async def ask(self, method: str, path: str, body: object = None) -> Answer:
        """Send a request and read its answer."""
        async with self.http.request(method, path, json=body) as answer:
            return Answer(answer.status, dict(answer.headers), await answer.read())

    async def closed(self, request: Request, clients: int, seconds: float) -> Tally:
        """Let clients ask again as soon as they are answered, for so long."""
        tally, end = Tally(), time.perf_counter() + seconds

        async def client() -> None:
            while time.perf_counter() < end:
                await tally.add(request())

        await asyncio.gather(*(client() for _ in range(clients)))
        return tally

    async def open(self, request: Request, rate: float, seconds: float) -> Tally:
        """Ask at a rate whatever is answered."""
        tally, start, sent = Tally(), time.perf_counter(), 0
        async with asyncio.TaskGroup() as tasks:
            while (elapsed := time.perf_counter() - start) < seconds:
                while sent < elapsed * rate:
                    tasks.create_task(tally.add(request()))
                    sent += 1
                await asyncio.sleep(0.005)
        return tally


@asynccontextmanager
async def clients_of(server: Server) -> AsyncIterator[Clients]:
    """Open as many connections to it as are needed."""
    async with aiohttp.ClientSession(
        server.url,
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=PATIENCE_S),
    ) as http:
        yield Clients(http)


def test_twice_the_load_costs_none_of_the_good_answers(home: Path, tmp_path: Path) -> None:
    async def overload(server: Server) -> None:
        async with clients_of(server) as clients, clients_of(server) as others:
            await clients.closed(clients.single, 20, 1)
            before = median((await clients.closed(clients.single, 1, 1)).latencies)
            seconds = 3.0
            carried = await clients.closed(clients.single, 40, seconds)
            assert carried.statuses.keys() == {200}
            capacity = carried.statuses[200] / seconds

            seconds = 8.0
            probes = asyncio.create_task(
                others.open(lambda: others.ask("GET", "/health"), 10, seconds)
            )
            alive = asyncio.create_task(
                others.open(lambda: others.ask("GET", "/livez"), 10, seconds)
            )
            load = await clients.open(clients.single, 2 * capacity, seconds)

            assert load.statuses.keys() == {200, 503}
            assert load.statuses[200] / seconds >= 0.8 * capacity
            assert load.p99 < DEADLINE_S
            for refusal in load.refusals:
                assert b'/errors/overloaded"' in refusal.body
                assert 1 <= int(refusal.headers["Retry-After"]) <= DEADLINE_S
            for tally in (await probes, await alive):
                assert tally.statuses.keys() == {200}
                assert tally.p99 < DEADLINE_S

            after = median((await clients.closed(clients.single, 1, 1)).latencies)
            assert after < 3 * before

    settings = {"SERVING_REQUEST_TIMEOUT_S": f"{DEADLINE_S}"}
    with slow(home, tmp_path / "output", 0.01, **settings) as server:
        asyncio.run(overload(server))
        assert server.metric("serving_errors_total", type="overloaded") > 0
        assert server.metric("serving_waiting_rows") == 0


def test_large_batches_of_others_cost_a_single_prediction_little(
    home: Path, tmp_path: Path
) -> None:
    async def crowd(server: Server) -> None:
        async with clients_of(server) as clients:

            async def large() -> Answer:
                return await clients.batch(1000)

            alone = median((await clients.closed(large, 1, 2)).latencies)
            batches = asyncio.create_task(clients.closed(large, 5, 6))
            singles = await clients.closed(clients.single, 1, 5)
            assert singles.statuses.keys() == {200}
            assert (await batches).statuses[200] > 0
            assert singles.p99 < 3 * alone  # five in line would take five times as long

    with slow(home, tmp_path / "output", 0.0003) as server:
        asyncio.run(crowd(server))

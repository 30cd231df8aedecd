"""What more load than the service can carry does to it, and what large batches do to a lone client.

A random forest is trained into a store of its own and served on one core, without cache and quota;
the load comes from another core. Three measurements:

- Capacity: as many clients as keep the server busy, each asking again once it has its answer.
- Overload: twice that rate for a minute, sent when due whatever the server does, over a limited
  number of connections; what finds none free is held back, as it would be in a client's own pool.
- Fairness: clients that send batches of 1,000 rows without pause, beside one that asks for single
  predictions.

    python -m tests.load.overload --seconds 60 --assert
"""

import argparse
import asyncio
import csv
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import TextIOWrapper
from pathlib import Path
from typing import cast

import psutil  # type: ignore[import-untyped]
import uvloop
from sklearn.datasets import make_classification

from benchmarks.load import head_of_whole, percentile
from benchmarks.models import train
from benchmarks.peers import SERVERS
from benchmarks.servers import Run, Server, running

FEATURES = 20
BODIES = 5000  # different ones, made before anything is measured
CLOSED_CLIENTS = 256
WARM_UP_S = 2.0
CAPACITY_S = 5.0
TICK_S = 0.001
PROBE_PAUSE_S = 0.1
REFUSED_PAUSE_S = 0.1
PATIENCE_S = 30.0
BATCH_ROWS = 1000
BATCH_CLIENTS = 4

# What --assert holds.
GOODPUT_RATIO = 0.9
RECOVERY_RATIO, RECOVERY_S = 2.0, 10.0
MEMORY_RATIO, MEMORY_SLACK_MB = 1.1, 20.0
FAIR_RATIO = 5.0


def request(body: str, path: str) -> bytes:
    """Write an HTTP request."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: overload\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def read(path: str) -> bytes:
    """Write a GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: overload\r\n\r\n".encode()


@dataclass(frozen=True)
class Answer:
    """An answer's status and whether it says when to come back, or a lost connection (status 0)."""

    status: int
    retry_after: bool
    closes: bool


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection with at most one request under way; opened again when it is lost."""

    def __init__(self) -> None:
        """Start with nothing under way."""
        self.transport: asyncio.Transport | None = None
        self.answered: Callable[[Answer], None] | None = None
        self.buffer = b""

    async def open(self, port: int) -> None:
        """Connect, if it is not connected."""
        if self.transport is None:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: self, "127.0.0.1", port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits that nothing will come."""
        self.transport, self.buffer = None, b""
        self._tell(Answer(0, retry_after=False, closes=True))

    def send(self, content: bytes, answered: Callable[[Answer], None]) -> None:
        """Send a request; its answer is told once its whole body has come."""
        self.answered = answered
        if self.transport is None:
            self._tell(Answer(0, retry_after=False, closes=True))
        else:
            self.transport.write(content)

    def data_received(self, data: bytes) -> None:
        """Collect an answer."""
        self.buffer += data
        if head := head_of_whole(self.buffer).lower():
            self.buffer = b""
            closes = b"\r\nconnection: close" in head
            if closes and self.transport is not None:
                self.transport.close()
                self.transport = None
            self._tell(Answer(int(head[9:12]), b"\r\nretry-after:" in head, closes))

    def _tell(self, answer: Answer) -> None:
        answered, self.answered = self.answered, None
        if answered is not None:
            answered(answer)

    async def ask(self, port: int, content: bytes) -> tuple[Answer, float]:
        """Send a request, and wait for its answer; tell its milliseconds too."""
        start = time.perf_counter()
        try:
            await self.open(port)
        except OSError:
            return Answer(0, retry_after=False, closes=True), 0.0
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.send(content, lambda answer: None if future.done() else future.set_result(answer))
        return await future, (time.perf_counter() - start) * 1000


@dataclass
class Tally:
    """What the requests of one measurement came to."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)  # of 200s, in milliseconds
    no_retry_after: int = 0
    seconds: float = 0.0

    def add(self, answer: Answer, latency_ms: float) -> None:
        """Count an answer."""
        self.statuses[answer.status] += 1
        if answer.status == 200:
            self.latencies.append(latency_ms)
        elif answer.status == 503 and not answer.retry_after:
            self.no_retry_after += 1

    @property
    def goodput(self) -> float:
        """Good answers a second."""
        return self.statuses[200] / self.seconds

    def quantile(self, share: float) -> float:
        """Give the latency below which a share of the good answers came."""
        return percentile(sorted(self.latencies), share)

    @property
    def failures(self) -> int:
        """All that is neither answered nor refused as it should be."""
        return sum(n for status, n in self.statuses.items() if status not in (200, 503))


async def closed(port: int, contents: list[bytes], clients: int, seconds: float) -> Tally:
    """Let clients ask again as soon as they have their answer, for so long."""
    tally, start = Tally(), time.perf_counter()

    async def client(number: int) -> None:
        connection, which = Connection(), number * 37
        while time.perf_counter() - start < seconds:
            answer, latency_ms = await connection.ask(port, contents[which % len(contents)])
            tally.add(answer, latency_ms)
            which += 1
            if answer.status != 200:  # as a client does that is told to come back later
                await asyncio.sleep(REFUSED_PAUSE_S)
        if connection.transport is not None:
            connection.transport.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    tally.seconds = time.perf_counter() - start
    return tally


@dataclass
class Open:
    """The overload: a rate, and what became of it."""

    tally: Tally = field(default_factory=Tally)
    sent: int = 0
    held_back: int = 0
    unanswered: int = 0
    late_ms: float = 0.0  # the most by which the generator itself was behind

    async def run(
        self, port: int, contents: list[bytes], rate: float, seconds: float, connections: int
    ) -> None:
        """Send at the rate for so long over so many connections."""
        free: deque[Connection] = deque()

        async def opened(connection: Connection) -> None:
            while True:
                try:
                    await connection.open(port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    free.append(connection)
                    return

        for _ in range(connections):
            await opened(Connection())
        reopening: set[asyncio.Task[None]] = set()
        start, due = time.perf_counter(), 0

        def send(connection: Connection, content: bytes) -> None:
            begun = time.perf_counter()

            def answered(answer: Answer) -> None:
                self.tally.add(answer, (time.perf_counter() - begun) * 1000)
                if answer.closes:
                    task = asyncio.create_task(opened(connection))
                    reopening.add(task)
                    task.add_done_callback(reopening.discard)
                else:
                    free.append(connection)

            connection.send(content, answered)

        while (elapsed := time.perf_counter() - start) < seconds:
            until = int(elapsed * rate)
            self.late_ms = max(self.late_ms, (elapsed - due / rate) * 1000)
            while due < until:
                if free:
                    send(free.popleft(), contents[due % len(contents)])
                    self.sent += 1
                else:
                    self.held_back += 1
                due += 1
            await asyncio.sleep(TICK_S)
        self.tally.seconds = time.perf_counter() - start
        await self._hear_the_last()
        for connection in free:
            if connection.transport is not None:
                connection.transport.close()

    async def _hear_the_last(self) -> None:
        """Wait for the answers that still come, which count for nothing but that they came."""
        in_time = self.tally.statuses[200]
        for _ in range(int(PATIENCE_S / 0.1)):  # the last ones have to be answered too
            if self.tally.statuses.total() >= self.sent:
                break
            await asyncio.sleep(0.1)
        self.unanswered = self.sent - self.tally.statuses.total()
        # Good answers that came within the time are those that make the goodput.
        self.tally.statuses[200] = in_time


@dataclass
class Watch:
    """The probes and the worker's memory while something else goes on."""

    port: int
    pid: int
    probes: Tally = field(default_factory=Tally)
    memory_mb: list[float] = field(default_factory=list)
    over: bool = False

    async def run(self) -> None:
        """Look until told to end."""
        connection = Connection()
        family = psutil.Process(self.pid).children(recursive=True)
        worker = max(family, key=lambda child: child.memory_info().rss)
        while not self.over:
            for path in ("/health", "/livez"):
                self.probes.add(*await connection.ask(self.port, read(path)))
            self.memory_mb.append(worker.memory_info().rss / 1e6)
            await asyncio.sleep(PROBE_PAUSE_S)


@dataclass(frozen=True)
class Results:
    """All that was measured."""

    deadline_s: float
    before: Tally  # one client alone
    capacity: Tally
    overload: Open
    watch: Watch
    back_s: float  # until one client's answers were as quick as before, nearly
    batch_alone: Tally
    batches: Tally
    singles: Tally

    @property
    def goodput_share(self) -> float:
        """Good answers under overload, to those at capacity."""
        return self.overload.tally.goodput / self.capacity.goodput

    @property
    def unfairness(self) -> float:
        """A single prediction's p99 beside large batches, to the time of such a batch alone."""
        return self.singles.quantile(0.99) / self.batch_alone.quantile(0.5)

    def rows(self) -> list[tuple[str, str]]:
        """Give the lines of the report."""
        load, probes = self.overload, self.watch.probes
        first, last = self.watch.memory_mb[0], self.watch.memory_mb[-1]
        offered, share = load.sent + load.held_back, self.goodput_share
        return [
            ("capacity", f"{self.capacity.goodput:.0f} predictions/s"),
            ("offered", f"{offered / load.tally.seconds:.0f}/s"),
            ("sent; the rest found no free connection", f"{load.sent / load.tally.seconds:.0f}/s"),
            ("answered with 200", f"{load.tally.goodput:.0f}/s, {share:.0%} of capacity"),
            ("refused with 503", f"{load.tally.statuses[503] / load.tally.seconds:.0f}/s"),
            ("other answers, lost, unanswered", f"{load.tally.failures + load.unanswered}"),
            (f"p50, p99 of the 200s; the deadline is {self.deadline_s:g} s", ms(load.tally)),
            ("worker's memory, first to last", f"{first:.0f} to {last:.0f} MB"),
            ("`/health` and `/livez`", f"{probes.statuses[200]} of {probes.statuses.total()}"),
            ("p50, p99 of them", ms(probes)),
            ("one client's p50 before", f"{self.before.quantile(0.5):.1f} ms"),
            (f"until it was within {RECOVERY_RATIO:g}x of that again", f"{self.back_s:.1f} s"),
            ("one batch of 1,000 rows alone, p50", f"{self.batch_alone.quantile(0.5):.0f} ms"),
            (f"single predictions beside {BATCH_CLIENTS} clients with such batches, p50, p99",
             ms(self.singles)),
            ("their p99 to a batch's time", f"{self.unfairness:.1f}x"),
            ("of them refused or failed", str(bad(self.singles))),
            ("rows in batches meanwhile", f"{self.batches.goodput * BATCH_ROWS:.0f}/s"),
        ]  # fmt: skip

    def broken(self) -> list[str]:
        """Say which ratios are missed, each in a sentence."""
        load, probes, memory = self.overload, self.watch.probes, self.watch.memory_mb
        share, fair = self.goodput_share, self.unfairness
        floors = (
            (share >= GOODPUT_RATIO, f"goodput is {share:.0%} of capacity"),
            (load.tally.quantile(0.99) <= self.deadline_s * 1000, "p99 is beyond the deadline"),
            (load.tally.failures + load.unanswered == 0, f"failures: {load.tally.statuses}"),
            (load.tally.no_retry_after == 0, "503 without Retry-After"),
            (probes.statuses.keys() == {200}, f"probes: {probes.statuses}"),
            (memory[-1] <= memory[0] * MEMORY_RATIO + MEMORY_SLACK_MB, f"memory: {memory}"),
            (self.back_s <= RECOVERY_S, f"{self.back_s:.1f} s until it was as before"),
            (fair <= FAIR_RATIO, f"singles take {fair:.1f} times as long as a batch alone"),
            (bad(self.singles) == 0, f"singles: {self.singles.statuses}"),
        )
        return [sentence for held, sentence in floors if not held]


def bad(tally: Tally) -> int:
    """Count what was not answered with 200."""
    return tally.statuses.total() - tally.statuses[200]


def ms(tally: Tally) -> str:
    """Write the median and the tail of the latencies."""
    return f"{tally.quantile(0.5):.1f}, {tally.quantile(0.99):.1f} ms"


async def measure(args: argparse.Namespace, server: Server, run: Run) -> Results:
    """Measure everything once."""
    port, numbers = server.port, random.Random(42)

    def row() -> str:
        return "[" + ", ".join(f"{numbers.uniform(-2, 2):.6f}" for _ in range(FEATURES)) + "]"

    singles = [request(f'{{"data": {row()}}}', "/predict") for _ in range(BODIES)]
    batches = [
        request(f'{{"data": [{", ".join(row() for _ in range(BATCH_ROWS))}]}}', "/predict/batch")
        for _ in range(20)
    ]
    await closed(port, singles, CLOSED_CLIENTS, WARM_UP_S)
    before = await closed(port, singles, 1, WARM_UP_S)
    capacity = await closed(port, singles, CLOSED_CLIENTS, CAPACITY_S)
    rate = args.factor * capacity.goodput
    watch, overload = Watch(port, run.process.pid), Open()
    watching = asyncio.create_task(watch.run())
    await overload.run(port, singles, rate, args.seconds, args.connections)
    end = time.perf_counter()
    while time.perf_counter() - end < 2 * RECOVERY_S:
        after = await closed(port, singles, 1, 0.5)
        if after.quantile(0.5) <= RECOVERY_RATIO * before.quantile(0.5):
            break
    back_s = time.perf_counter() - end - 0.5
    watch.over = True
    await watching
    alone = await closed(port, batches, 1, WARM_UP_S)
    beside = asyncio.create_task(closed(port, batches, BATCH_CLIENTS, args.fairness_seconds))
    few = await closed(port, singles, 1, args.fairness_seconds)
    together = await beside
    return Results(
        args.deadline,
        before,
        capacity,
        overload,
        watch,
        max(back_s, 0.0),
        alone,
        together,
        few,
    )


def write_table(file: Path) -> None:
    """Write the table that the model is trained on."""
    features, labels = make_classification(
        n_samples=4000, n_features=FEATURES, n_informative=10, n_classes=3, random_state=42
    )
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*(f"feature {number}" for number in range(FEATURES)), "label"])
        writer.writerows(
            [*row, "abc"[label]]
            for row, label in zip(features.round(6).tolist(), labels, strict=True)
        )


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Twice the load that the service can carry")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the overload")
    parser.add_argument("--fairness-seconds", type=float, default=10.0)
    parser.add_argument("--factor", type=float, default=2.0, help="of the overload, to capacity")
    parser.add_argument("--connections", type=int, default=500)
    parser.add_argument("--deadline", type=float, default=10.0, help="of a request, in seconds")
    parser.add_argument("--estimator", nargs="+", default=["RandomForestClassifier"],
                        metavar=("CLASS", "--param"))  # fmt: skip
    parser.add_argument("--port", type=int, default=8120)
    parser.add_argument("--assert", dest="floors", action="store_true", help="fail below floors")
    return parser.parse_args()


def main() -> None:
    """Train, serve, measure, report, and judge when asked to."""
    assert isinstance(sys.stdout, TextIOWrapper)
    sys.stdout.reconfigure(errors="backslashreplace")  # whatever the terminal can show
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server is stopped then too
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("this needs two cores: one for the server, one for the load")
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        write_table(store / "table.csv")
        data = ("--data", str(store / "table.csv"), "--target", "label", "--name", "overload")
        train(store, *data, "--estimator", *args.estimator)
        variables = {
            "BENTOML_HOME": folder,
            "SERVING_MODEL": "overload",
            "SERVING_REQUEST_TIMEOUT_S": f"{args.deadline:g}",
        }
        plain = SERVERS["plain"]
        server = replace(plain, port=args.port, variables={**plain.variables, **variables})
        os.sched_setaffinity(0, {cores[1]})
        loop = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        with running(server, cores[0], store) as run, loop:
            results = loop.run(measure(args, server, run))
    print(f"{' '.join(args.estimator)}, {args.connections} connections, {args.seconds:g} s\n")
    print("| measure | |\n|---|---:|")
    for name, value in results.rows():
        print(f"| {name} | {value} |")
    if results.overload.late_ms > 100:
        print(f"\nThe generator itself was up to {results.overload.late_ms:.0f} ms behind.")
    if args.floors:
        broken = results.broken()
        print("\n" + ("\n".join(f"FLOOR MISSED: {line}" for line in broken) or "all floors held"))
        sys.exit(bool(broken))


if __name__ == "__main__":
    main()

"""The load: wrk for a fixed number of clients, and an open-loop generator for a fixed rate.

Clients that wait for their answer before they ask again (wrk) slow down together with the server,
so they tell its capacity, but hide how long a request that arrives at a bad moment has to wait.
The open-loop generator sends at a constant rate whatever the server does, and counts each latency
from the moment at which the request was due, not from when it could be sent (no coordinated
omission). It is a script too, run in a process of its own:

    python load.py URL --rate 300 --seconds 5 --seed 1 --body '{"data": [%s]}'
"""

import argparse
import asyncio
import gc
import json
import math
import random
import re
import selectors
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
IRIS_RANGES = ((4.3, 7.9), (2.0, 4.4), (1.0, 6.9), (0.1, 2.5))
CONNECTIONS = 64  # of the open loop; requests wait for a free one, and that wait is counted
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Sample:
    """One measurement: good answers per second, latencies in milliseconds, and counts."""

    rps: float
    p50: float
    p95: float
    p99: float
    requests: int
    failures: int


@dataclass(frozen=True)
class Target:
    """Where requests go: an address, a body with one %s for the row, and headers."""

    url: str
    body: str
    headers: Mapping[str, str]

    @property
    def options(self) -> list[str]:
        """Give the headers as options of a command."""
        return [word for pair in self.headers.items() for word in ("-H", ": ".join(pair))]


@dataclass(frozen=True)
class Load:
    """A kind of load: so many clients (closed loop) or so many requests a second (open loop).

    Clients may ask for many rows at once, each a list, and for the same few requests ever again.
    """

    amount: int
    open: bool = False
    rows: int = 1
    distinct: int = 0  # all of them

    def __str__(self) -> str:
        """Name the load as the report shows it."""
        unit = "requests/s" if self.open else "client" if self.amount == 1 else "clients"
        return f"{self.amount} {unit}"

    def command(self, target: Target, seconds: float, seed: int) -> list[str]:
        """Give the command that puts this load on a server and prints a sample as JSON."""
        if self.open:
            script = [sys.executable, str(HERE / "load.py"), target.url, *target.options]
            script += ["--rate", str(self.amount), "--seconds", f"{seconds:g}"]
            return [*script, "--seed", str(seed), "--body", target.body]
        wrk = ["wrk", "-t1", f"-c{self.amount}", f"-d{seconds:g}s", *target.options]
        wrk += ["-s", str(HERE / "predict.lua"), target.url, "--", str(seed), target.body]
        special = ["0", str(self.rows), str(self.distinct)]
        return [*wrk, *special] if self.rows > 1 or self.distinct else wrk

    def run(self, core: int, target: Target, seconds: float, seed: int) -> Sample:
        """Put the load on a server from one core and return what was measured."""
        command = ["taskset", "-c", str(core), *self.command(target, seconds, seed)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        return Sample(**json.loads(output.splitlines()[-1]))


def rows(seed: int) -> Iterator[list[float]]:
    """Yield rows within the iris data's ranges; six decimals make practically each a new one."""
    numbers = random.Random(seed)
    while True:
        yield [round(numbers.uniform(low, high), 6) for low, high in IRIS_RANGES]


class OpenLoop:
    """Sends requests when they are due over a pool of keep-alive connections."""

    def __init__(self) -> None:
        """Start with nothing sent."""
        self.idle: deque[Connection] = deque()
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.latencies: list[float] = []
        self.refused = 0

    def send(self, due: float, request: bytes) -> None:
        """Send a request on the connection that rested longest, or queue it until one is free."""
        if self.idle:
            self.idle.popleft().send(due, request)
        else:
            self.waiting.append((due, request))

    def answered(self, connection: "Connection", due: float, good: bool) -> None:
        """Count an answer, and give its connection the next request that waits."""
        if good:
            self.latencies.append(time.perf_counter() - due)
        else:
            self.refused += 1
        if self.waiting:
            connection.send(*self.waiting.popleft())
        else:
            self.idle.append(connection)

    async def run(self, target: Target, rate: float, seconds: float, seed: int) -> Sample:
        """Send at the rate for so long; what has no answer after as long again is a failure."""
        parts, loop = urlsplit(target.url), asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            _, connection = await loop.create_connection(
                lambda: Connection(self), parts.hostname or "", parts.port or 80
            )
            self.idle.append(connection)
        total, source, start = round(rate * seconds), rows(seed), time.perf_counter()
        head = head_of_requests(parts.path, parts.netloc, target.headers)
        for number in range(total):
            request = encode(head, target.body, next(source))
            due = start + number / rate
            await asyncio.sleep(due - time.perf_counter())
            self.send(due, request)
        deadline = time.perf_counter() + max(seconds, 1.0)
        while (done := len(self.latencies) + self.refused) < total:
            if time.perf_counter() > deadline:
                break
            await asyncio.sleep(0.001)
        good, elapsed = sorted(self.latencies), time.perf_counter() - start
        p50, p95, p99 = (percentile(good, share) * 1000 for share in (0.50, 0.95, 0.99))
        return Sample(len(good) / elapsed, p50, p95, p99, total, total - done + self.refused)


class Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection with at most one request under way.

    A connection that the server closes, or an answer without a Content-Length, is not taken up
    again: the requests that it would have carried count as failures.
    """

    def __init__(self, load: OpenLoop) -> None:
        """Belong to a load."""
        self.load = load
        self.due = 0.0
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (for the type checker)
        self.transport = transport

    def send(self, due: float, request: bytes) -> None:
        """Send a request that was due at some moment."""
        self.due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Report the answer once its whole body has come."""
        self.buffer += data
        if head := head_of_whole(self.buffer):
            self.buffer = b""
            self.load.answered(self, self.due, head.startswith(b"HTTP/1.1 2"))


def head_of_whole(buffer: bytes) -> bytes:
    """Give the head of an answer that has come whole; nothing, if it has not."""
    head, end, body = buffer.partition(b"\r\n\r\n")
    length = CONTENT_LENGTH.search(head)
    return head if end and length and len(body) >= int(length[1]) else b""


def head_of_requests(path: str, host: str, headers: Mapping[str, str]) -> str:
    """Write what all requests begin with."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), ""])


def encode(head: str, body: str, row: list[float]) -> bytes:
    """Write the HTTP request for a row."""
    content = body % ", ".join(map(str, row))
    return f"{head}Content-Length: {len(content)}\r\n\r\n{content}".encode()


def percentile(ordered: list[float], share: float) -> float:
    """Return the value below which a share of the ordered ones lie; infinite if there are none."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else math.inf


def main() -> None:
    """Run the open-loop generator and print its sample as one JSON line."""
    parser = argparse.ArgumentParser(description="Constant-rate open-loop load")
    parser.add_argument("url")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--body", default='{"data": [%s]}')
    parser.add_argument("-H", "--header", action="append", default=[], metavar="NAME: VALUE")
    args = parser.parse_args()
    headers = dict(header.split(": ", 1) for header in args.header)
    gc.disable()  # a collection in the client would look like a slow answer
    # asyncio's usual selector (epoll) rounds timers up to whole milliseconds; select does not.
    with asyncio.Runner(
        loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())
    ) as runner:
        target = Target(args.url, args.body, headers)
        load = OpenLoop().run(target, args.rate, args.seconds, args.seed)
        print(json.dumps(vars(runner.run(load))))


if __name__ == "__main__":
    main()

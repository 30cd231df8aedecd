"""Mixed traffic for minutes, every answer checked, and what must not grow looked at meanwhile.

Starts the service with keys, a quota for one client, a small cache and the prediction log on, and
sends what a public service meets: predictions new and repeated, alone and in batches, by list and
by name; bodies that are wrong in many ways; unknown paths; wrong keys; a client over its quota;
bodies that trickle in or stop; clients that go away. Predictions must be the estimator's own.

Once a second it notes memory, open files, threads and the number of metrics' series, and a client
that does nothing else notes its latency. The first third of the time after the warm-up is compared
with the last: a service that leaks, or slows down, is told apart from one that does not.

    python -m tests.load.soak --minutes 5
"""

import argparse
import asyncio
import hashlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from io import TextIOWrapper
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import psutil  # type: ignore[import-untyped]

from benchmarks.load import percentile
from benchmarks.models import find
from benchmarks.peers import SERVERS
from benchmarks.servers import Run, Server, running
from tests.load.traffic import DEADLINE_S, KEYS, QUOTA, Known, Traffic, WrongError

CLIENTS = 12
PROBE_PAUSE_S = 0.05
SAMPLE_PAUSE_S = 1.0
WARM_UP, WARM_UP_S = 0.25, 15.0  # of the whole time, and at least; caches fill and pools open
CACHE_ENTRIES = 1000  # fills within the warm-up

# Bounds on the last third to the first: a ratio, and a slack for what is noise.
MEMORY_RATIO, MEMORY_SLACK_MB = 1.01, 3.0
FILES_SLACK = 5.0
SERIES_SLACK = 40.0  # of the tens of thousands of requests, a rare status may come late
P50_RATIO, P99_RATIO, LATENCY_SLACK_MS = 3.0, 5.0, 10.0


@dataclass(frozen=True)
class Sample:
    """What was seen of the server's processes at a moment."""

    at: float
    worker_mb: float
    parent_mb: float
    files: float
    threads: float
    series: float


@dataclass
class Observer:
    """Looks at the server while the traffic runs."""

    run: Run
    traffic: Traffic
    samples: list[Sample] = field(default_factory=list)
    latencies: list[tuple[float, float]] = field(default_factory=list)

    async def series(self) -> dict[str, float]:
        """Read the metrics, and give each series' value."""
        _, _, content = await self.traffic.ask("GET", "/metrics", None, {})
        lines = [line for line in content.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def processes(self) -> tuple[psutil.Process, psutil.Process]:
        """Give the process that was started, and its worker, which is the largest of its family."""
        parent = psutil.Process(self.run.process.pid)
        children = parent.children(recursive=True)
        return parent, max(children, key=lambda child: child.memory_info().rss)

    async def sample(self) -> Sample:
        """Look once."""
        series = await self.series()
        parent, worker = self.processes()
        both = (parent, worker)
        return Sample(
            at=time.monotonic(),
            worker_mb=worker.memory_info().rss / 1e6,
            parent_mb=parent.memory_info().rss / 1e6,
            files=sum(process.num_fds() for process in both),
            threads=sum(process.num_threads() for process in both),
            series=len(series),
        )

    async def watch(self, end: float) -> None:
        """Look again and again."""
        while time.monotonic() < end:
            self.samples.append(await self.sample())
            await asyncio.sleep(SAMPLE_PAUSE_S)

    async def probe(self, end: float) -> None:
        """Be the client whose latency is measured."""
        while time.monotonic() < end:
            row, expected = self.traffic.known.new()
            start = time.monotonic()
            await self.traffic.expect(row, expected)
            self.latencies.append((start, (time.monotonic() - start) * 1000))
            await asyncio.sleep(PROBE_PAUSE_S)

    async def rest(self) -> dict[str, float]:
        """Give what is still under way some seconds after the traffic has ended: nothing is."""
        names = ("bentoml_service_request_in_progress", "serving_waiting_rows")
        left: dict[str, float] = {}
        for _ in range(20 * DEADLINE_S):
            left = {
                name: value
                for name, value in (await self.series()).items()
                if name.startswith(names) and value and 'endpoint="/metrics"' not in name
            }
            if not left:
                break
            await asyncio.sleep(0.1)
        return left


@dataclass(frozen=True)
class Line:
    """One line of the report: a measure in the first and the last third, and its bound."""

    name: str
    first: float
    last: float
    bound: float

    @property
    def held(self) -> bool:
        """Whether the last third is within the bound."""
        return self.last <= self.bound


def report(observer: Observer, start: float, end: float) -> list[Line]:
    """Compare the first third after the warm-up with the last."""
    begin = start + max(WARM_UP * (end - start), WARM_UP_S)
    third = (end - begin) / 3

    def thirds(pairs: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
        first = [value for at, value in pairs if begin <= at < begin + third]
        return sorted(first), sorted(value for at, value in pairs if at >= end - third)

    lines = []
    for name, key, ratio, slack in (
        ("worker's memory, MB", "worker_mb", MEMORY_RATIO, MEMORY_SLACK_MB),
        ("parent's memory, MB", "parent_mb", MEMORY_RATIO, MEMORY_SLACK_MB),
        ("open files", "files", 1.0, FILES_SLACK),
        ("threads", "threads", 1.0, FILES_SLACK),
        ("series in /metrics", "series", 1.0, SERIES_SLACK),
    ):
        pairs = [(sample.at, float(getattr(sample, key))) for sample in observer.samples]
        before, after = (median(some) for some in thirds(pairs))
        lines.append(Line(name, before, after, before * ratio + slack))
    for share, ratio in ((0.5, P50_RATIO), (0.99, P99_RATIO)):
        before, after = (percentile(some, share) for some in thirds(observer.latencies))
        bound = before * ratio + LATENCY_SLACK_MS
        lines.append(Line(f"a client's p{share * 100:.0f}, ms", before, after, bound))
    return lines


async def soak(args: argparse.Namespace, server: Server, run: Run, known: Known) -> list[str]:
    """Run the traffic; print the table; give what was wrong, a sentence each."""
    connector = aiohttp.TCPConnector(limit=CLIENTS + 4)
    base = f"http://127.0.0.1:{server.port}"
    timeout = aiohttp.ClientTimeout(total=6 * DEADLINE_S)
    async with aiohttp.ClientSession(base, connector=connector, timeout=timeout) as session:
        traffic = Traffic(session, server.port, known)
        observer = Observer(run, traffic)
        start = time.monotonic()
        end = start + args.minutes * 60
        faults: list[str] = []
        try:
            await traffic.each_once()
            async with asyncio.TaskGroup() as tasks:
                for _ in range(CLIENTS):
                    tasks.create_task(traffic.client(end))
                for task in (traffic.stalls(end), observer.watch(end), observer.probe(end)):
                    tasks.create_task(task)
        except* (
            WrongError,
            aiohttp.ClientError,
            OSError,
            EOFError,
            KeyError,
            TimeoutError,
        ) as wrong:
            faults += [f"{type(exc).__name__}: {exc}" for exc in leaves(wrong)]
        if faults:
            return faults
        left = await observer.rest()
    lines = report(observer, start, end)
    print("| measure | first third | last third | at most | |\n|---|---:|---:|---:|---|")
    for line in lines:
        verdict = "" if line.held else "TOO MUCH"
        print(
            f"| {line.name} | {line.first:.1f} | {line.last:.1f} | {line.bound:.1f} | {verdict} |"
        )
    print("\nanswers:", ", ".join(f"{n} {name}" for name, n in sorted(traffic.counts.items())))
    faults = [
        f"{line.name}: {line.last:.1f}, not {line.bound:.1f}" for line in lines if not line.held
    ]
    faults += [f"left over after the traffic: {name} {value:g}" for name, value in left.items()]
    if not traffic.counts["cache hits"]:
        faults.append("a repeated row was never answered from the cache")
    if most(traffic.granted) > QUOTA:
        faults.append(f"{most(traffic.granted)} granted in a minute to a client with {QUOTA}")
    return faults


def leaves(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    """Give the exceptions within a group."""
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            yield from leaves(exc)
        else:
            yield exc


def most(moments: list[float]) -> int:
    """Give the most moments that lie within one minute, a little less for the clocks' sake."""
    return max((sum(m <= later < m + 59 for later in moments) for m in moments), default=0)


def judge_output(run: Run, log: Path) -> list[str]:
    """Look at the server's end, its log and its prediction log."""
    faults = []
    if run.process.returncode != 0:
        faults.append(f"the server ended with {run.process.returncode}")
    for line in run.printed.splitlines():
        if json.loads(line)["level"] in ("error", "critical"):
            faults.append(f"logged: {line[:2000]}")
    predictions = [json.loads(line) for line in log.read_text().splitlines()]
    if not predictions:
        faults.append("the prediction log is empty")
    return faults


def main() -> None:
    """Serve, soak, judge."""
    assert isinstance(sys.stdout, TextIOWrapper)
    sys.stdout.reconfigure(errors="backslashreplace")  # whatever the terminal can show
    parser = argparse.ArgumentParser(description="Mixed traffic for minutes, all of it checked")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--port", type=int, default=8110)
    args = parser.parse_args()
    if args.minutes < 0.5:
        parser.error("half a minute is the least: half of that warms up")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server is stopped then too
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    model = find()
    main_key, limited_key = (hashlib.sha256(key.encode()).hexdigest() for key in KEYS.values())
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "predictions.jsonl"
        variables = {
            "SERVING_MODEL": "iris:latest",
            "SERVING_LOG_LEVEL": "warning",  # what is then logged is judged
            "SERVING_API_KEYS": f"main:{main_key}:off,limited:{limited_key}:{QUOTA}/minute",
            "SERVING_CACHE_ENTRIES": str(CACHE_ENTRIES),
            "SERVING_PREDICTION_LOG": str(log),
            "SERVING_REQUEST_TIMEOUT_S": str(DEADLINE_S),
        }
        server = replace(SERVERS["plain"], port=args.port, variables=variables)
        known = Known(server, model)
        with running(server, cores[0], model) as run:
            faults = asyncio.run(soak(args, server, run, known))
        faults += judge_output(run, log)
    print("\n".join(f"WRONG: {fault}" for fault in faults) or "all held")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()

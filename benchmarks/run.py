"""Measure this service against its peers on this machine, and report ratios.

Every server serves the same pickle on one core, the load comes from another. Each round measures
every server, one after the other (A B A B ...), because a machine's speed drifts; the report has
medians over the rounds, and medians of each round's ratio to FastAPI.
"""

import argparse
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import median

from load import Load, Sample, rows
from servers import HERE, ROOT, SERVERS, Server, check, install, reference, running

BASE = "fastapi"
CHECKED_ROWS = 200
ONE = Load(open=False, amount=1)
BURST = Load(open=False, amount=64)
FLOOR_LOAD = Load(open=False, amount=16)
FLOOR_SPEED = 2.0
GHOST_LIMIT = 1.5


@dataclass
class Results:
    """What the rounds measured: by server, its samples under each load and its ghost checks."""

    samples: dict[tuple[str, Load], list[Sample]] = field(default_factory=dict)
    ghosts: dict[str, list[tuple[Sample, Sample]]] = field(default_factory=dict)

    def median(self, name: str, load: Load, key: str) -> float:
        """Give the median over the rounds of one of a sample's values."""
        return float(median(getattr(sample, key) for sample in self.samples[name, load]))

    def ratio(self, name: str, load: Load, key: str) -> float:
        """Give the median over the rounds of a value to FastAPI's in the same round."""
        pairs = zip(self.samples[name, load], self.samples[BASE, load], strict=True)
        return median(divide(getattr(mine, key), getattr(base, key)) for mine, base in pairs)

    def failures(self, name: str, load: Load) -> int:
        """Count the requests that failed, in all rounds."""
        return sum(sample.failures for sample in self.samples[name, load])

    def ghost(self, name: str) -> float:
        """Give the median over the rounds of one client's median after a burst to before it."""
        return median(divide(after.p50, before.p50) for before, after in self.ghosts[name])


def divide(value: float, base: float) -> float:
    """Divide, giving NaN when there is nothing to divide by."""
    return value / base if base else float("nan")


def measure(args: argparse.Namespace, cores: list[int], model: Path) -> Results:
    """Run all rounds, each over every server in turn."""
    results = Results()
    sample = list(islice(rows(seed=0), CHECKED_ROWS))
    expected = reference(SERVERS[args.servers[0]], model, sample)
    for number in range(1, args.rounds + 1):
        for name in args.servers:
            print(f"round {number} of {args.rounds}: {SERVERS[name].title}", flush=True)
            with running(SERVERS[name], cores[0], model):
                check(SERVERS[name], sample, expected)
                measure_one(args, SERVERS[name], cores[1], number, results)
    return results


def measure_one(
    args: argparse.Namespace, server: Server, core: int, number: int, results: Results
) -> None:
    """Measure a running server once under each load, and whether a burst leaves it slower."""

    def run(load: Load, seed: int, seconds: int = args.seconds) -> Sample:
        # New rows each time (a cache must not help), but the same for each server in a round.
        return load.run(core, server.url, server.body, seconds, 1000 * number + seed)

    run(BURST, 0)  # warms up
    for seed, load in enumerate(args.loads, start=1):
        sample = run(load, seed)
        results.samples.setdefault((server.name, load), []).append(sample)
        print(f"  {load}: {sample.rps:.0f} req/s, p50 {sample.p50:.2f} ms", flush=True)
    # Short runs of the one client: what a burst leaves behind may fade.
    before, _, after = run(ONE, 101, seconds=1), run(BURST, 102), run(ONE, 103, seconds=1)
    results.ghosts.setdefault(server.name, []).append((before, after))


def table(header: str, rows: list[str]) -> list[str]:
    """Write a Markdown table from rows of cells that bars part; numbers stand at the right."""
    columns = header.count("|") + 1
    rule = "|---|---|" + "---:|" * (columns - 2)
    return [f"| {header} |", rule, *(f"| {row} |" for row in rows), ""]


def load_row(results: Results, name: str, load: Load) -> str:
    """Write one server's row under one load."""
    cells = [str(load), SERVERS[name].title, f"{results.median(name, load, 'rps'):.0f}"]
    cells += [f"{results.median(name, load, key):.2f}" for key in ("p50", "p95", "p99")]
    cells.append(str(results.failures(name, load)))
    if (BASE, load) in results.samples:
        cells += [f"{results.ratio(name, load, key):.2f}x" for key in ("rps", "p99")]
    else:
        cells += ["", ""]
    return " | ".join(cells)


def ghost_row(results: Results, name: str) -> str:
    """Write one server's row of the ghost check."""
    before, after = zip(*results.ghosts[name], strict=True)
    middles = " | ".join(f"{median(s.p50 for s in some):.2f}" for some in (before, after))
    failures = sum(sample.failures for sample in before + after)
    return f"{ONE} | {SERVERS[name].title} | {middles} | {failures} | {results.ghost(name):.2f}x"


def report(args: argparse.Namespace, results: Results, cores: list[int]) -> str:
    """Write the Markdown report."""
    loads = [load_row(results, name, load) for load in args.loads for name in args.servers]
    lines = [
        "# Benchmark results",
        "",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {cpu()}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.machine()}; medians of {args.rounds} rounds of "
        f"{args.seconds:g} s each. Ratios are medians of each round's ratio to FastAPI.",
        "",
        *table(
            "load | server | req/s | p50 ms | p95 ms | p99 ms | failures"
            " | req/s to FastAPI's | p99 to FastAPI's",
            loads,
        ),
        f"One client's median latency before and right after {BURST}:",
        "",
        *table(
            "load | server | before ms | after ms | failures | after to before",
            [ghost_row(results, name) for name in args.servers],
        ),
        "Versions and commands:",
        "",
        *(f"- {line}" for line in commands(args, cores)),
    ]
    return "\n".join(lines) + "\n"


def commands(args: argparse.Namespace, cores: list[int]) -> list[str]:
    """List the versions and the commands that ran, with paths from the repository's root."""
    lines = []
    for server in (SERVERS[name] for name in args.servers):
        start = shlex.join(["taskset", "-c", str(cores[0]), *server.arguments()])
        lines.append(f"{server.title} ({server.versions()}): `{start}`")
    version = subprocess.run(["wrk", "-v"], check=False, capture_output=True, text=True).stdout
    server = SERVERS[args.servers[0]]
    tools = (f"wrk {version.split()[1]}", False), (f"Python {platform.python_version()}", True)
    for title, kind in tools:
        for load in [load for load in args.loads if load.open == kind][:1]:
            command = load.command(server.url, server.body, args.seconds, seed=1)
            lines.append(f"{title}: `{shlex.join(['taskset', '-c', str(cores[1]), *command])}`")
    return [line.replace(f"{ROOT}/", "").replace(sys.executable, "python") for line in lines]


def cpu() -> str:
    """Name the processor."""
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return names[0].strip() if names else platform.processor() or "unknown processor"


def broken_floors(results: Results) -> list[str]:
    """Say which floors this service misses, each in a sentence."""
    speed, tail = (results.ratio("ours", FLOOR_LOAD, key) for key in ("rps", "p99"))
    failures = sum(results.failures(name, load) for name, load in results.samples if name == "ours")
    ghost = results.ghost("ours")
    floors = (
        (speed >= FLOOR_SPEED, f"{FLOOR_LOAD}: {speed:.2f}x FastAPI's req/s, not {FLOOR_SPEED}x"),
        (tail < 1, f"{FLOOR_LOAD}: p99 is {tail:.2f}x FastAPI's, not lower"),
        (
            ghost < GHOST_LIMIT,
            f"a client is {ghost:.2f}x slower after a burst, not < {GHOST_LIMIT}x",
        ),
        (failures == 0, f"{failures} requests failed"),
    )
    return [sentence for held, sentence in floors if not held]


def find_model() -> Path:
    """Find the pickle that the service serves: the latest iris in the BentoML store."""
    store = Path(os.environ.get("BENTOML_HOME", Path.home() / "bentoml")) / "models" / "iris"
    if not (store / "latest").exists():
        sys.exit(f"no model in {store}: train one first, with the same BENTOML_HOME")
    return (store / (store / "latest").read_text().strip() / "saved_model.pkl").resolve()


def ensure_wrk() -> None:
    """Install wrk when it is missing and that is possible."""
    if shutil.which("wrk"):
        return
    if os.geteuid() or not shutil.which("apt-get"):
        sys.exit("wrk is missing: install it (Debian, Ubuntu: apt-get install wrk)")
    subprocess.run(["apt-get", "update", "-q"], check=True)
    subprocess.run(["apt-get", "install", "-qy", "wrk"], check=True)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure this service against its peers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--connections", type=int, nargs="*", default=[1, 16, 64])
    parser.add_argument("--rates", type=int, nargs="*", default=[100, 300, 1000])
    parser.add_argument("--servers", nargs="+", choices=list(SERVERS), default=list(SERVERS))
    parser.add_argument("--assert", dest="floors", action="store_true", help="fail below floors")
    args = parser.parse_args()
    args.loads = [Load(open=False, amount=amount) for amount in args.connections]
    args.loads += [Load(open=True, amount=amount) for amount in args.rates]
    if args.floors and not (FLOOR_LOAD in args.loads and {"ours", BASE} <= set(args.servers)):
        parser.error(f"--assert needs the servers ours and {BASE}, and {FLOOR_LOAD}")
    return args


def main() -> None:
    """Install what is missing, measure, report, and judge when asked to."""
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers are stopped then too
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("the benchmark needs two cores: one for the server, one for the load")
    ensure_wrk()
    model = find_model()
    for name in args.servers:
        install(SERVERS[name])
    results = measure(args, cores, model)
    text = report(args, results, cores)
    print(text)
    (HERE / "results.md").write_text(text)
    if args.floors:
        broken = broken_floors(results)
        print("\n".join(f"FLOOR MISSED: {line}" for line in broken) or "all floors held")
        sys.exit(bool(broken))


if __name__ == "__main__":
    main()

"""Measure this service against its peers on this machine, and report ratios.

Every server serves the same pickle on one core, the load comes from another. Each round measures
every server, one after the other (A B A B ...), because a machine's speed drifts; the report has
medians over the rounds, and medians of each round's ratios.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from benchmarks.load import Load, Sample, rows
from benchmarks.models import ESTIMATORS, LOGISTIC, find, train
from benchmarks.peers import SERVERS
from benchmarks.report import Plan, comparison, insert, report
from benchmarks.servers import (
    HERE,
    ROOT,
    Answer,
    Server,
    ask,
    ask_batch,
    check,
    compare,
    environment,
    install,
    reference,
    running,
)
from benchmarks.targets import (
    AFTER,
    BATCH,
    BATCH_ROWS,
    BEFORE,
    IN_PROCESS,
    MANY,
    ONE,
    SOME,
    Results,
    targets,
)

CHECKED_ROWS = 200
BATCH_PATH = "/predict/batch"
CACHED_ROWS = 100
SETTLING_ROWS = 3
SHORT_S = 1  # of what comes before and after a burst: what this leaves behind may fade


@dataclass(frozen=True)
class Round:
    """One server with one model in one round, while it runs."""

    plan: Plan
    server: Server
    model: str
    file: Path
    number: int
    results: Results

    def run(self, load: Load, seed: int, seconds: int, path: str | None = None) -> Sample:
        """Put a load on the server: new rows each time, but the same for each server in a round."""
        target = replace(self.server, path=path or self.server.path).target
        return load.run(self.plan.cores[1], target, seconds, 1000 * self.number + seed)

    def settle(self) -> None:
        """Let the server end what clients who have gone left it: new requests wait behind that."""
        for row in islice(rows(seed=0), SETTLING_ROWS):
            ask(self.server, row)

    def add(self, load: Load | str, sample: Sample) -> None:
        """Take a sample, and tell of it."""
        self.results.add(self.model, self.server.name, load, sample)
        print(f"  {load}: {sample.rps:.0f}/s, p50 {sample.p50:.2f} ms", flush=True)

    def measure(self) -> None:
        """Measure all there is to measure of this server."""
        if self.server.is_variant:
            load = replace(SOME, distinct=CACHED_ROWS if self.server.name == "cached" else 0)
            self.run(load, 1, self.plan.seconds)
            self.add(load, self.run(load, 1, self.plan.seconds))
            return
        self.run(MANY, 0, self.plan.seconds)
        for seed, load in enumerate(self.plan.loads, start=1):
            self.settle()
            self.add(load, self.run(load, seed, self.plan.seconds))
        if self.plan.is_guard and self.server.name != "ours":
            return
        self.settle()
        self.add(BEFORE, self.run(ONE, 101, SHORT_S))
        self.run(MANY, 102, self.plan.seconds)
        self.add(AFTER, self.run(ONE, 103, SHORT_S))
        if self.server.name == "ours":
            load = replace(ONE, rows=BATCH_ROWS)
            self.add(BATCH, self.run(load, 104, self.plan.seconds, path=BATCH_PATH))
            self.add(IN_PROCESS, self.in_process(105))

    def in_process(self, seed: int) -> Sample:
        """Measure on the server's core what a batch costs at least."""
        command = ["taskset", "-c", str(self.plan.cores[0])]
        command += [str(self.server.environment / "bin" / "python"), "-m", "benchmarks.in_process"]
        command += ["--rows", str(BATCH_ROWS), "--seconds", str(self.plan.seconds)]
        output = subprocess.check_output(
            [*command, "--seed", str(1000 * self.number + seed)],
            cwd=ROOT,
            env=environment(self.server, self.file),
        )
        return Sample(**json.loads(output))


def measure(plan: Plan, store: Path) -> Results:
    """Run all rounds, each over every model and every server in turn."""
    results, sample = Results(), list(islice(rows(seed=0), CHECKED_ROWS))
    expected: dict[str, list[Answer]] = {}
    for number in range(1, plan.rounds + 1):
        for model in plan.models:
            file = find(store, model)
            chosen = {"BENTOML_HOME": str(store), "SERVING_MODEL": model}
            for named in [server for server in plan.servers if plan.asks(server, model)]:
                server = replace(
                    named,
                    variables={**named.variables, **chosen},
                    path=named.path.format(model_name=model),
                )
                if model not in expected:
                    expected[model] = reference(server, file, sample)
                print(f"round {number} of {plan.rounds}: {model}, {server.title}", flush=True)
                with running(server, plan.cores[0], file):
                    check(server, sample, expected[model])
                    if server.name == "ours":
                        together = ask_batch(server, BATCH_PATH, sample)
                        compare(server, sample, together, expected[model])
                    Round(plan, server, model, file, number, results).measure()
    return results


def broken(plan: Plan, results: Results) -> dict[tuple[str, str], str]:
    """Give the guard's bounds that are missed, by model and target, and tell by how much."""
    missed = {}
    for model in plan.models:
        for target in targets(model, plan.loads):
            value = target.measured(results, model)
            if target.guard is None or value is None or target.holds(value, target.guard):
                continue
            missed[model, target.text] = f"{value:.2f}, not {target.told(target.guard)}"
        if failures := results.failures(model, "ours"):
            missed[model, "failed requests"] = str(failures)
    return missed


def guard(plan: Plan, store: Path) -> None:
    """End the process, with 1 if a bound is missed twice: once may be the machine."""
    missed = broken(plan, measure(plan, store))
    if missed:
        print("once more, for what was missed:", missed, flush=True)
        wanted = {LOGISTIC, *(model for model, _ in missed)}  # others are compared with the first
        again = replace(plan, models=[model for model in plan.models if model in wanted])
        twice = broken(again, measure(again, store))
        missed = {what: by_what for what, by_what in twice.items() if what in missed}
    print("\n".join(f"MISSED: {': '.join(w)}: {by}" for w, by in missed.items()) or "all held")
    sys.exit(bool(missed))


def ensure_wrk() -> None:
    """Install wrk when it is missing and that is possible."""
    if shutil.which("wrk"):
        return
    if os.geteuid() or not shutil.which("apt-get"):
        sys.exit("wrk is missing: install it (Debian, Ubuntu: apt-get install wrk)")
    subprocess.run(["apt-get", "update", "-q"], check=True)
    subprocess.run(["apt-get", "install", "-qy", "wrk"], check=True)


def prepare(plan: Plan, store: Path) -> None:
    """Install what is missing, and train the models meanwhile: neither keeps both cores busy."""
    with ThreadPoolExecutor(2) as threads:
        done = [threads.submit(install, server) for server in plan.servers]
        done += [
            threads.submit(train, store, "--name", model, "--estimator", ESTIMATORS[model])
            for model in plan.models
        ]
        for each in done:
            each.result()


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure this service against its peers")
    parser.add_argument("--models", nargs="+", choices=list(ESTIMATORS), default=list(ESTIMATORS))
    parser.add_argument("--servers", nargs="+", choices=list(SERVERS), default=list(SERVERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    parser.add_argument("--connections", type=int, nargs="*", default=[1, 16, 64])
    parser.add_argument("--rates", type=int, nargs="*", default=[100, 1000])
    parser.add_argument("--publish", action="store_true",
                        help="write the report into RESULTS.md, and six rows of it into the README,"
                        " between their markers")  # fmt: skip
    parser.add_argument("--guard", action="store_true",
                        help="a short run that fails below wide bounds")  # fmt: skip
    return parser.parse_args()


def planned(args: argparse.Namespace) -> Plan:
    """Give what is to be measured."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("the benchmark needs two cores: one for the server, one for the load")
    if args.guard:
        servers = [SERVERS[name] for name in ("ours", "plain", "fastapi")]
        return Plan(list(ESTIMATORS), servers, [ONE, SOME], 1, 1, cores, is_guard=True)
    servers = [SERVERS[name] for name in args.servers]
    loads = [Load(amount) for amount in args.connections]
    loads += [Load(amount, open=True) for amount in args.rates]
    return Plan(args.models, servers, loads, args.rounds, args.seconds, cores)


def main() -> None:
    """Install and train what is missing, measure, and report or judge."""
    sys.stdout.reconfigure(errors="backslashreplace")  # whatever the terminal can show
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers are stopped then too
    plan = planned(args)
    ensure_wrk()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        prepare(plan, store)
        if args.guard:
            guard(plan, store)
        results = measure(plan, store)
    text = report(plan, results)
    print(text)
    (HERE / "latest.md").write_text(f"# The latest benchmark\n\n{text}\n")
    if args.publish:
        insert(text, HERE / "RESULTS.md")
        insert(comparison(plan, results), ROOT / "README.md")


if __name__ == "__main__":
    main()

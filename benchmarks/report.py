"""The report: what was measured and how, as Markdown, and where it goes."""

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.load import Load
from benchmarks.models import class_of
from benchmarks.peers import OURS, PEERS
from benchmarks.servers import ROOT, Server
from benchmarks.targets import AFTER, BATCH, BEFORE, IN_PROCESS, ONE, SOME, Point, Results, targets

LATENCIES = ("p50", "p95", "p99")
APART = (BEFORE, AFTER, BATCH, IN_PROCESS)
COMPARED = {
    "ms for 1 client": (ONE, "p50"),
    "answers/s for 16": (SOME, "rps"),
    "their p99 in ms": (SOME, "p99"),
}


@dataclass(frozen=True)
class Plan:
    """What a run measures."""

    models: list[str]
    servers: list[Server]
    loads: list[Load]
    rounds: int
    seconds: int
    cores: list[int]
    is_guard: bool = False  # what no bound of the guard is about is left out

    def asks(self, server: Server, model: str) -> bool:
        """Tell whether a server is measured with a model: features cost the same with each."""
        return not (self.is_guard and server.is_variant and model != self.models[0])


def report(plan: Plan, results: Results) -> str:
    """Write the report."""
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {cpu()}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.machine()}; medians of {plan.rounds} rounds of "
        f"{plan.seconds} s each. Ratios are medians of each round's ratio.",
        "",
        *table("model | target | bound | measured | ", target_rows(plan, results), left=3),
    ]
    header = " | ".join(["server", *map(str, plan.loads)])
    for model in plan.models:
        lines += [f"{class_of(model)}, answers a second (p50, p95, p99 in ms):", ""]
        lines += table(header, load_rows(plan, results, model))
    lines += ["What was measured apart, median in ms:", ""]
    lines += table(" | ".join(["model | server", *APART]), other_rows(plan, results), left=2)
    lines += [
        f"Requests that failed: {sum(map(results.failures, plan.models))}.",
        "",
        "Versions and commands:",
        "",
    ]
    return "\n".join([*lines, *(f"- {line}" for line in commands(plan))])


def comparison(plan: Plan, results: Results) -> str:
    """Write the few figures that the README shows, of this service and its peers."""
    headers = [f"{class_of(model)}: {' | '.join(COMPARED)}" for model in plan.models]
    return "\n".join(table(" | ".join(["server", *headers]), compared_rows(plan, results))[:-1])


def table(header: str, rows: Iterable[str], left: int = 1) -> list[str]:
    """Write a Markdown table of cells that bars part; all but the first few stand at the right."""
    rule = "|" + "---|" * left + "---:|" * (header.count("|") + 1 - left)
    return [f"| {header} |", rule, *(f"| {row} |" for row in rows), ""]


def target_rows(plan: Plan, results: Results) -> Iterable[str]:
    """Write what is to be reached, and what was."""
    for model in plan.models:
        for target in targets(model, plan.loads):
            value = target.measured(results, model)
            if value is not None:
                verdict = "held" if target.holds(value, target.bound) else "**missed**"
                bound = target.told(target.bound)
                yield f"{model} | {target.text} | {bound} | {value:.2f} | {verdict}"


def load_rows(plan: Plan, results: Results, model: str) -> Iterable[str]:
    """Write a row for each server, with what it did under each load."""
    for server in plan.servers:
        cells = [load_cell(results, model, server.name, load) for load in plan.loads]
        yield " | ".join([server.title, *cells])


def compared_rows(plan: Plan, results: Results) -> Iterable[str]:
    """Write a row for each server that is compared, with the same figures for each model."""
    for server in plan.servers:
        if server in (OURS, *PEERS):
            cells = [
                median_of(results, model, server.name, load, key)
                for model in plan.models
                for load, key in COMPARED.values()
            ]
            yield " | ".join([server.title, *cells])


def load_cell(results: Results, model: str, server: str, load: Load) -> str:
    """Write what a server did under a load, with its failures if there were any."""
    rps, *latencies = (median_of(results, model, server, load, key) for key in ("rps", *LATENCIES))
    failures = sum(results.values(model, Point(server, load, "failures")))
    text = f"{rps} ({', '.join(latencies)})" if rps else ""
    return f"{text}, {failures:.0f} failed" if failures else text


def median_of(results: Results, model: str, server: str, load: Load | str, key: str) -> str:
    """Write the median of a value; nothing, if it was not measured."""
    values = results.values(model, Point(server, load, key))
    middle = median(values) if values else None
    return "" if middle is None else f"{middle:.0f}" if middle >= 100 else f"{middle:.3g}"


def other_rows(plan: Plan, results: Results) -> Iterable[str]:
    """Write rows for what no load of many clients or of a rate tells."""
    for model in plan.models:
        for server in plan.servers:
            cells = [median_of(results, model, server.name, name, "p50") for name in APART]
            if any(cells):
                yield " | ".join([model, server.title, *cells])


def commands(plan: Plan) -> list[str]:
    """List the versions and the commands that ran, with paths from the repository's root."""
    lines = []
    for server in plan.servers:
        variables = [
            f"{name}={value.format(model='MODEL')}" for name, value in server.variables.items()
        ]
        start = " ".join(
            [*variables, shlex.join(["taskset", "-c", str(plan.cores[0]), *server.arguments()])]
        )
        asked = f"`{server.body}` to `{server.path}`"
        lines.append(f"{server.title} ({server.versions()}), sent {asked}: `{start}`")
    version = subprocess.run(["wrk", "-v"], check=False, capture_output=True, text=True).stdout
    tools = {False: f"wrk {version.split()[1]}", True: f"Python {platform.python_version()}"}
    for is_open, title in tools.items():
        for load in [load for load in plan.loads if load.open == is_open][:1]:
            command = load.command(plan.servers[0].target, plan.seconds, seed=1)
            start = shlex.join(["taskset", "-c", str(plan.cores[1]), *command])
            lines.append(f"{title}: `{start}`")
    return [line.replace(f"{ROOT}/", "").replace(sys.executable, "python") for line in lines]


def cpu() -> str:
    """Name the processor."""
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return names[0].strip() if names else platform.processor() or "unknown processor"


def insert(text: str, file: Path, name: str = "bench") -> None:
    """Put a report between the two markers of this name in a file, for what stood there.

    Raises:
        SystemExit: it has no such markers.
    """
    markers = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, begin, rest = file.read_text("utf-8").partition(markers[0])
    _, end, after = rest.partition(markers[1])
    if not begin or not end:
        sys.exit(f"{file} has no {' and '.join(markers)}")
    file.write_text(f"{before}{begin}\n{text}\n{end}{after}", "utf-8")

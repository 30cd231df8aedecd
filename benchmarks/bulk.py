"""Measure how quickly a table is scored, beside what one would do instead, and report ratios.

All score the same rows with the same estimator, one after the other (A B A B …), most on a core.
Told are rows a second, from the start of a program to its end, as medians and as medians of each
round's ratio, and the memory of all processes of a program (their proportional set sizes).

    python -m benchmarks.bulk [--rows 2000000] [--models logistic forest] [--rounds 3] [--publish]
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from benchmarks.load import IRIS_RANGES
from benchmarks.models import ESTIMATORS, FOREST, LOGISTIC, class_of, find, train
from benchmarks.peers import OURS, PEERS
from benchmarks.report import insert, table
from benchmarks.servers import HERE, ROOT, TOLERANCE, Server, environment, family, install

MLFLOW = next(server for server in PEERS if server.name == "mlflow")
POLL_S = 0.05
SCORE = "python score.py --model {folder}/model --data {table} --out {out}"
FRAMES = f"python {HERE}/bulk_frames.py {{table}} {{out}}"


@dataclass(frozen=True)
class Way:
    """A way to score a table of some format: a command, in the environment of a server."""

    name: str
    title: str
    command: str  # {folder}, {table} and {out} are filled in
    server: Server = field(default=OURS, hash=False)
    format: str = "parquet"
    all_cores: bool = False

    def out(self, folder: Path) -> Path:
        """Give the file that it writes."""
        return folder / f"{self.name}.{self.format}"

    def arguments(self, folder: Path, core: int) -> list[str]:
        """Give the command, on one core unless it is to have all."""
        files = {"table": folder / f"table.{self.format}", "out": self.out(folder)}
        program, *rest = self.command.format(folder=folder, **files).split()
        pinned = [] if self.all_cores else ["taskset", "-c", str(core)]
        return [*pinned, str(self.server.environment / "bin" / program), *rest]


# The first of each format is what the others are compared with.
WAYS = (
    Way("ours", "this project", SCORE),
    Way("all-cores", "this project, `--workers`", f"{SCORE} --workers", all_cores=True),
    Way("frames", "pandas and the estimator, in chunks", FRAMES),
    Way(
        "pyfunc",
        "MLflow's `pyfunc`",
        f"python {HERE}/bulk_mlflow.py score {{folder}}/mlflow {{table}} {{out}}",
        MLFLOW,
    ),
    Way("ours", "this project", SCORE, format="csv"),
    Way("frames", "pandas and the estimator, in chunks", FRAMES, format="csv"),
    Way(
        "predict",
        "`mlflow models predict`, which writes JSON",
        "mlflow models predict --env-manager local --content-type csv"
        " --model-uri {folder}/mlflow --input-path {table} --output-path {out}",
        MLFLOW,
        format="csv",
    ),
)


@dataclass(frozen=True)
class Measured:
    """What a run took."""

    rows_per_s: float
    memory_mb: float


def memory_mb(pid: int) -> float:
    """Give the memory of a process and its descendants, what they share counted once."""
    total = 0
    for member, _ in family(pid):
        with suppress(OSError, IndexError):  # it has ended
            told = Path(f"/proc/{member}/smaps_rollup").read_text()
            total += int(re.findall(r"^Pss:\s+(\d+) kB", told, re.MULTILINE)[0])
    return total / 1000


def measure(way: Way, folder: Path, model: Path, args: argparse.Namespace) -> Measured:
    """Score the table once."""
    way.out(folder).unlink(missing_ok=True)
    with tempfile.TemporaryFile() as log:
        start, most = time.perf_counter(), 0.0
        process = subprocess.Popen(
            way.arguments(folder, args.core),
            cwd=ROOT,
            env=environment(way.server, model),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        while process.poll() is None:
            most = max(most, memory_mb(process.pid))
            time.sleep(POLL_S)
        seconds = time.perf_counter() - start
        if process.returncode:
            log.seek(0)
            sys.exit(f"{way.title} failed:\n{log.read()[-3000:].decode(errors='replace')}")
    return Measured(args.rows / seconds, most)


def write_tables(folder: Path, names: Sequence[str], rows: int) -> None:
    """Write the same rows as Parquet and as CSV, with an id."""
    drawn = np.random.default_rng(0)
    columns = {
        name: drawn.uniform(low, high, rows).round(6)
        for name, (low, high) in zip(names, IRIS_RANGES, strict=True)
    }
    made = pa.table({"id": np.arange(rows), **columns})
    pq.write_table(made, folder / "table.parquet")
    pc.write_csv(made, folder / "table.csv")


def check(folder: Path) -> None:
    """End the run when our answers are not the estimator's own, which `bulk_frames` wrote."""
    for read, suffix in ((pq.read_table, "parquet"), (pc.read_csv, "csv")):
        ours, frames = (read(folder / f"{name}.{suffix}") for name in ("ours", "frames"))
        for name in frames.column_names:
            found, right = ours[name].to_numpy(), frames[name].to_numpy()
            is_same = found == right
            if name != "prediction":
                is_same = np.isclose(found, right, rtol=TOLERANCE, atol=TOLERANCE)
            if not is_same.all():
                sys.exit(f"{name} in {suffix} is not what the estimator gives")


def results_of(model: str, folder: Path, args: argparse.Namespace) -> dict[Way, list[Measured]]:
    """Measure all ways with a model."""
    train(folder, "--name", model, "--estimator", ESTIMATORS[model])
    pickle = find(folder, model)
    (folder / "model").unlink(missing_ok=True)
    (folder / "model").symlink_to(pickle.parent)
    write_tables(folder, names_of(pickle.parent), args.rows)
    save = [str(HERE / "bulk_mlflow.py"), "save", str(folder / "mlflow"), str(folder / "table.csv")]
    MLFLOW.python(*save, env=environment(MLFLOW, pickle))
    results: dict[Way, list[Measured]] = {way: [] for way in WAYS}
    for number in range(args.rounds):
        for way in WAYS:
            results[way].append(measured := measure(way, folder, pickle, args))
            told = f"{measured.rows_per_s:.0f} rows/s, {measured.memory_mb:.0f} MB"
            print(f"{model}, {way.format}, {way.title}: {told}", flush=True)
        if number == 0:
            check(folder)
    return results


def names_of(stored: Path) -> list[str]:
    """Read the names of a model's features."""
    description = json.loads((stored / "description.json").read_text())
    return [feature["name"] for feature in description["features"]]


def rows_of(results: dict[Way, list[Measured]]) -> Iterator[str]:
    """Write a row for each way, with its rows a second and those of the first of its format."""
    for way, runs in results.items():
        ours = next(found for other, found in results.items() if other.format == way.format)
        ratios = [run.rows_per_s / our.rows_per_s for run, our in zip(runs, ours, strict=True)]
        rate = median(run.rows_per_s for run in runs)
        memory = max(run.memory_mb for run in runs)
        yield f"{way.format} | {way.title} | {rate:,.0f} | {median(ratios):.2f} | {memory:,.0f}"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="How quickly a table is scored")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--models", nargs="+", choices=ESTIMATORS, default=[LOGISTIC, FOREST])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--core", type=int, default=0, help="that what has one runs on")
    parser.add_argument("--publish", action="store_true", help="write it into RESULTS.md")
    return parser.parse_args()


def main() -> None:
    """Install and train what is missing, measure, and report."""
    args = arguments()
    install(MLFLOW)
    lines: list[str] = []
    for model in args.models:
        with tempfile.TemporaryDirectory() as folder:
            results = results_of(model, Path(folder), args)
        lines += [f"{class_of(model)}, {args.rows:,} rows, medians of {args.rounds} rounds:", ""]
        header = "table | way | rows/s | to this project's | MB of all processes"
        lines += table(header, rows_of(results), left=2)
    versions = {way.server.name: way.server.versions() for way in WAYS}
    lines += [f"- {name}: {told}" for name, told in versions.items()]
    print(text := "\n".join(lines))
    if args.publish:
        insert(text, HERE / "RESULTS.md", "bulk")


if __name__ == "__main__":
    main()

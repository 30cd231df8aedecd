"""Measure what explanations cost: who asks for one, and who asks for predictions meanwhile.

Two forests of 100 trees, of the iris and of a table in which trees grow deep. The server has a
core, the load another. Told are the median latency of one client that asks for explained
predictions, beside shap in process (if ``make tools`` has made its environment), and the 99th
percentile of predictions at a fixed rate, alone and beside clients that ask for explanations all
the time.

    python -m benchmarks.explaining [--rounds 3] [--seconds 5] [--publish]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.load import IRIS_RANGES, Load, Sample, Target, rows
from benchmarks.models import ESTIMATORS, FOREST, find, train
from benchmarks.peers import OURS
from benchmarks.report import insert, table
from benchmarks.run import ensure_wrk
from benchmarks.servers import HERE, ROOT, Server, request, running

JUDGE = ROOT / ".venv" / "judges" / "shap" / "bin" / "python"
DEEP, DEEP_ROWS, OTHERS = "deep", 2000, (0.2, 0.4, 0.6, 0.8)
EXPLAIN = "?explain=true"
EXPLAINING, PREDICTED_PER_S = 10, 100
CHECKED_ROWS, TOLERANCE = 20, 1e-9


@dataclass(frozen=True)
class Measured:
    """What a round found, in milliseconds: medians, and the 99th percentiles of predictions."""

    predicted_ms: float
    explained_ms: float
    alone_ms: float
    beside_ms: float
    explained_per_s: float

    @property
    def ratio(self) -> float:
        """What predictions take beside explanations, to what they take alone."""
        return self.beside_ms / self.alone_ms


def write_deep(file: Path) -> None:
    """Write a table of eight numbers that three classes depend on, and on chance."""
    drawn = np.random.default_rng(0)
    ranges = (*IRIS_RANGES, *[(0.0, 1.0)] * len(OTHERS))
    numbers = np.column_stack([drawn.uniform(*each, DEEP_ROWS) for each in ranges]).round(6)
    scaled = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)
    score = scaled[:, 0] * scaled[:, 4] + scaled[:, 2] + scaled[:, 5] * scaled[:, 6]
    score += drawn.normal(0, 1, DEEP_ROWS)
    labels = np.digitize(score, np.quantile(score, [1 / 3, 2 / 3]))
    header = ",".join([*(f"c{at}" for at in range(numbers.shape[1])), "label"])
    lines = (
        ",".join(map(str, [*row, f"class {label}"]))
        for row, label in zip(numbers.tolist(), labels.tolist(), strict=True)
    )
    file.write_text("\n".join([header, *lines]) + "\n")


def write_iris(file: Path) -> None:
    """Write the table of the default model, of which shap is given some rows."""
    from sklearn.datasets import load_iris

    data = load_iris(as_frame=True)
    data.data.assign(species=data.target).to_csv(file, index=False)


def check(server: Server, target: Target) -> None:
    """End the run when explanations do not add up to what was answered."""
    for row in islice(rows(seed=0), CHECKED_ROWS):
        body = target.body % ", ".join(map(str, row))
        status, _, content = request(server, server.path + EXPLAIN, body)
        told = json.loads(content)
        if status != 200:
            sys.exit(f"an explained prediction was answered by {status}: {told}")
        why = told["explanation"]
        total = why["base"] + sum(why["contributions"].values())
        if abs(total - told["probabilities"][why["of"]]) > TOLERANCE:
            sys.exit(f"an explanation adds up to {total}: {told}")


@contextmanager
def asking(
    target: Target, core: int, seconds: float, seed: int
) -> Iterator["subprocess.Popen[str]"]:
    """Have clients ask for explanations meanwhile."""
    load = Load(EXPLAINING).command(target, seconds, seed)
    command = ["taskset", "-c", str(core), *load]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process


def measure(target: Target, core: int, seconds: int, seed: int) -> Measured:
    """Measure one round."""
    explained = replace(target, url=target.url + EXPLAIN)
    one = Load(1)
    predicted_ms = one.run(core, target, seconds, seed).p50
    explained_ms = one.run(core, explained, seconds, seed + 1).p50
    steady = Load(PREDICTED_PER_S, open=True)
    alone = steady.run(core, target, seconds, seed + 2)
    # They begin earlier and end later.
    with asking(explained, core, seconds + 2, seed + 3) as clients:
        beside = steady.run(core, target, seconds, seed + 2)
        output, _ = clients.communicate()
    asked = Sample(**json.loads(output.splitlines()[-1]))
    if lost := alone.failures + beside.failures + asked.failures:
        print(f"{lost} requests were not answered", flush=True)
    return Measured(predicted_ms, explained_ms, alone.p99, beside.p99, asked.rps)


def by_shap(pickle: Path, rows_of: Path, core: int, seconds: int) -> float | None:
    """Give shap's median for a row, if it is there."""
    if not JUDGE.exists():
        return None
    script = [str(JUDGE), str(HERE / "explaining_shap.py"), str(pickle), str(rows_of)]
    command = ["taskset", "-c", str(core), *script, str(seconds)]
    return float(subprocess.check_output(command, text=True))


def row_of(model: str, runs: Sequence[Measured], shap_ms: float | None) -> str:
    """Write what was found of a model."""

    def of(name: str, digits: int = 2) -> str:
        return f"{median(getattr(run, name) for run in runs):.{digits}f}"

    told = "not measured" if shap_ms is None else f"{shap_ms:.2f}"
    cells = [of("predicted_ms"), of("explained_ms"), told, of("explained_per_s", 0)]
    return " | ".join([model, *cells, of("alone_ms"), of("beside_ms"), of("ratio")])


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="What explanations cost")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--publish", action="store_true", help="write it into RESULTS.md")
    return parser.parse_args()


def main() -> None:
    """Train, measure, and report."""
    args = arguments()
    ensure_wrk()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("the benchmark needs two cores: one for the server, one for the load")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        files = {FOREST: store / "iris.csv", DEEP: store / "deep.csv"}
        write_iris(files[FOREST])
        write_deep(files[DEEP])
        forest = ("--estimator", ESTIMATORS[FOREST])
        train(store, "--name", FOREST, *forest)
        train(store, "--name", DEEP, *forest, "--data", str(files[DEEP]), "--target", "label")
        bodies = {FOREST: OURS.body, DEEP: f'{{"data": [%s, {", ".join(map(str, OTHERS))}]}}'}
        for model, body in bodies.items():
            pickle = find(store, model)
            chosen = {"BENTOML_HOME": str(store), "SERVING_MODEL": model}
            server = replace(OURS, body=body, variables={**OURS.variables, **chosen})
            runs = []
            with running(server, cores[0], pickle):
                check(server, server.target)
                for number in range(args.rounds):
                    run = measure(server.target, cores[1], args.seconds, 10 * number)
                    print(f"{model}: {run}, ratio {run.ratio:.2f}", flush=True)
                    runs.append(run)
            found[model] = runs, by_shap(pickle, files[model], cores[0], args.seconds)
    header = (
        "forest of 100 trees | predicted, p50 in ms | explained, p50 in ms"
        " | shap in process, p50 in ms"
        f" | explained a second, {EXPLAINING} clients | predictions' p99 in ms"
        " | beside these clients | ratio"
    )
    lines = table(header, (row_of(model, *each) for model, each in found.items()))
    lines.append(f"- {OURS.name}: {OURS.versions()}")
    print(text := "\n".join(lines))
    if args.publish:
        insert(text, HERE / "RESULTS.md", "explaining")


if __name__ == "__main__":
    main()

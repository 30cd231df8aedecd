"""What promotions and rollbacks cost those who ask meanwhile: nothing lost, nothing mixed up.

Two versions of a model answer in turn, as `python -m serving.versions` promotes one and rolls back.
wrk asks with 16 clients all the while, for as long without a switch as with one, so that latencies
are told side by side; another client holds each answer against what the version that it names says,
bit for bit; and the memory of all processes after the last switch is told beside that after the
first.

    python -m tests.load.switches --workers 1 --switches 20 --assert
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]

from benchmarks.load import Load, Target, rows
from tests.server import Server, run_python, running

CLIENTS = 16
SECONDS = 5.0  # of load with a switch in it, or without one
TOLD_ROWS = 200  # different ones, of which it is known what each version says

# What --assert holds.
P99_RATIO = 3.0
MEMORY_RATIO = 1.1


@dataclass
class Checker:
    """A client that knows what each version says."""

    server: Server
    versions: Sequence[str]
    checked: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self, known: dict[str, list[dict[str, Any]]], asked: list[list[float]]) -> None:
        """Ask until told to end."""
        with httpx.Client(base_url=self.server.url) as http:
            while not self.ended.is_set():
                for at, row in enumerate(asked):
                    answer = http.post("/predict", json={"data": row})
                    if answer.status_code != 200:
                        self.wrong.append(f"{answer.status_code}: {answer.text}")
                        continue
                    told = answer.json()
                    version = told["model"]["version"]
                    if {name: told[name] for name in known[version][at]} != known[version][at]:
                        self.wrong.append(f"{version}: {told}")
                    self.checked[version] += 1


def main() -> None:
    """Measure, tell, and end with 1 if what is asserted does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--switches", type=int, default=20)
    parser.add_argument("--assert", action="store_true", dest="asserts")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        versions = [_train(home, strength) for strength in ("1.0", "0.1")]
        options = f"services.ModelApi.workers={args.workers}"
        with running(home, home / "output", BENTOML_CONFIG_OPTIONS=options) as server:
            told = _measure(home, server, versions, args.switches)
    print(json.dumps(told, indent=2))
    if args.asserts and (reasons := _against(told)):
        sys.exit("\n".join(reasons))


def _train(home: Path, strength: str) -> str:
    """Train a version, and give its name."""
    run_python(home, "train.py", "--estimator", "LogisticRegression", "--param", f"C={strength}")
    return (home / "models" / "iris" / "latest").read_text("utf-8").strip()


def _measure(home: Path, server: Server, versions: list[str], switches: int) -> dict[str, Any]:
    asked = list(islice(rows(1), TOLD_ROWS))
    known = {version: _told_by(home, version, asked) for version in versions}
    checker = Checker(server, versions)
    quiet, busy, memory = [], [], []
    with ThreadPoolExecutor() as threads:
        checking = threads.submit(checker.run, known, asked)
        _promote(home, versions[0])
        for number in range(switches):
            quiet.append(_load(server, number))
            switching = threads.submit(_rollback if number % 2 else _promote, home, versions[1])
            busy.append(_load(server, number))
            switching.result()
            memory.append(_memory_mb(server))
        checker.ended.set()
        checking.result()
    return {
        "requests": sum(sample["requests"] for sample in quiet + busy),
        "failures": sum(sample["failures"] for sample in quiet + busy),
        "checked": dict(checker.checked),
        "wrong": checker.wrong[:3],
        "p99_ms": {"quiet": _median(quiet, "p99"), "switching": _median(busy, "p99")},
        "p50_ms": {"quiet": _median(quiet, "p50"), "switching": _median(busy, "p50")},
        "rps": {"quiet": _median(quiet, "rps"), "switching": _median(busy, "rps")},
        "memory_mb": {"first": memory[0], "last": memory[-1]},
    }


def _told_by(home: Path, version: str, asked: list[list[float]]) -> list[dict[str, Any]]:
    """Give what a version says of rows, in a process of its own."""
    program = (
        "import json, sys\n"
        "from serving.model.about import About\n"
        "from serving.model.store import ServedModel, load\n"
        "from serving.model.stored import verify\n"
        "verified = verify(ServedModel(sys.argv[1]).resolve())\n"
        "model, _ = load(verified)\n"
        "about = About(verified.description, '')\n"
        "rows = map(tuple, json.load(sys.stdin))\n"
        "print(json.dumps([about.document(model.predict([row])[0]) for row in rows]))\n"
    )
    told = run_python(home, "-c", program, f"iris:{version}", stdin=json.dumps(asked))
    documents: list[dict[str, Any]] = json.loads(told)
    return documents


def _promote(home: Path, version: str) -> None:
    _command(home, "promote", f"iris:{version}", "--wait")


def _rollback(home: Path, _: str) -> None:
    _command(home, "rollback", "iris", "--wait")


def _command(home: Path, *arguments: str) -> None:
    run_python(home, "-m", "serving.versions", *arguments)


def _load(server: Server, seed: int) -> dict[str, float]:
    target = Target(f"{server.url}/predict", '{"data": [%s]}', {})
    command = Load(CLIENTS).command(target, SECONDS, seed)
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    sample: dict[str, float] = json.loads(output.splitlines()[-1])
    return sample


def _memory_mb(server: Server) -> float:
    """Give the memory of the server's processes, each page once."""
    parent = psutil.Process(server.process.pid)
    sizes = [each.memory_full_info().pss for each in (parent, *parent.children(recursive=True))]
    return float(round(sum(sizes) / 1e6, 1))


def _median(samples: list[dict[str, float]], name: str) -> float:
    return round(median(sample[name] for sample in samples), 3)


def _against(told: dict[str, Any]) -> list[str]:
    """Tell what does not hold."""
    p99, memory = told["p99_ms"], told["memory_mb"]
    reasons = {
        f"{told['failures']} requests failed": told["failures"] > 0,
        f"answers were wrong: {told['wrong']}": bool(told["wrong"]),
        "not both versions were checked": len(told["checked"]) < 2,
        f"p99 {p99}": p99["switching"] > P99_RATIO * p99["quiet"],
        f"memory {memory}": memory["last"] > MEMORY_RATIO * memory["first"],
    }
    return [reason for reason, holds in reasons.items() if holds]


if __name__ == "__main__":
    main()

"""Tables that are scored, and the models that score them."""

import csv
import random
from collections.abc import Sequence
from pathlib import Path

from tests.server import ROOT, run_python

COLOURS = ("red", "blue", "light green", 'a "quoted", one', "ümläut")
FEATURES = ("length", "count", "colour", "is_new", "code")
Cell = float | int | str | bool | None


def rows(count: int, seed: int) -> list[list[Cell]]:
    """Give rows of `FEATURES`, with gaps."""
    rng = random.Random(seed)
    return [
        [
            None if rng.random() < 0.1 else rng.gauss(10, 3),
            rng.randrange(9),
            None if rng.random() < 0.1 else rng.choice(COLOURS),
            rng.random() < 0.5,
            f"{rng.randrange(20):03}",
        ]
        for _ in range(count)
    ]


def write_csv(file: Path, header: Sequence[str], lines: Sequence[Sequence[Cell]]) -> None:
    """Write a table as CSV."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *lines])


def make(home: Path) -> None:
    """Train a model of each kind: with strings and gaps, trees, a number, and row by row."""
    table = []
    for row in rows(500, seed=1):
        length, count, colour, *_ = row
        price = (length or 8) * 2 + (count or 0) + (3 if colour == "red" else 0)  # type: ignore[operator]
        table.append([*row, round(price, 3), "dear" if price > 25 else "cheap"])
    write_csv(home / "table.csv", [*FEATURES, "price", "kind"], table)
    chosen = {
        "gaps": "--target kind --drop price --estimator HistGradientBoostingClassifier",
        "forest": "--target kind --drop price --estimator RandomForestClassifier "
        "--param n_estimators=20",
        "number": "--target price --drop kind --estimator GradientBoostingRegressor",
        "alone": "--target kind --drop price --estimator KNeighborsClassifier "
        "--param weights=distance --param algorithm=brute",
    }
    for name, options in chosen.items():
        command = ("--data", str(home / "table.csv"), "--name", name, *options.split())
        run_python(home, str(ROOT / "train.py"), *command)

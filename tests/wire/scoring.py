"""``score.py`` as a person runs it, on tables of any model's features."""

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from serving.model.description import Description
from serving.model.domains import Frequencies, Interval
from serving.model.features import Boolean, Category, Feature, Number
from tests.server import ROOT, environment

Row = list[Any]


def score(home: Path, *options: str | Path, code: int = 0, **settings: str) -> str:
    """Score a table, and give what is told, once it has ended with this code."""
    process = started(home, *options, **settings)
    _, told = process.communicate()
    assert process.returncode == code, told
    return told


def started(home: Path, *options: str | Path, **settings: str) -> subprocess.Popen[str]:
    """Begin to score a table."""
    command = [sys.executable, str(ROOT / "score.py"), *map(str, options)]
    env, pipes = environment(home, settings), {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=env, cwd=ROOT, text=True, **pipes)  # type: ignore[call-overload, no-any-return]


def rows_for(description: Description, count: int, seed: int) -> list[Row]:
    """Draw rows like those of training and a little beyond, with gaps where there may be some."""
    rng = random.Random(seed)
    return [[_value(feature, rng) for feature in description.features] for _ in range(count)]


def _value(feature: Feature, rng: random.Random) -> Any:  # noqa: ANN401 (of the feature's type)
    if feature.nullable and rng.random() < 0.1:
        return None
    match feature:
        case Number(trained=Interval(minimum=low, maximum=high)):
            beyond = (high - low) / 500
            number = rng.uniform(low - beyond, high + beyond)
            return round(number) if feature.type == "integer" else number
        case Boolean():
            return rng.random() < 0.5
        case Category(trained=Frequencies(categories=seen)):
            return rng.choice([*seen, "of no training"] if rng.random() < 0.02 else list(seen))
    return feature.example


def write(file: Path, description: Description, rows: Sequence[Row]) -> Path:
    """Write rows as Parquet, below the features' names and beside an id."""
    columns = zip(*rows, strict=True)
    named = {
        each.name: list(column) for each, column in zip(description.features, columns, strict=True)
    }
    pq.write_table(pa.table({"id": range(len(rows)), **named}), file)
    return file

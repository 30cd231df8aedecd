"""Boosted trees and rows that are hostile to them, and graphs that are asked past any proof."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd

from serving.model.compiled import CompiledGraph
from serving.model.description import Description
from tests.unit.samples import description, number, regression
from tests.unit.training.compiling.compiled import METRICS, Estimator, mixed
from training.compiling.company import keep_rows_apart
from training.compiling.conversion import convert
from training.describing.columns import Columns
from training.describing.describe import describe
from training.describing.evidence import Evidence
from training.describing.told import agreed, told_by
from training.table.table import Table, to_table

COUNT = 400
ASKED = 3000
FLOAT = float(np.float32(1e-35))
ODD = (
    *(0.0, -0.0, 5e-324, -5e-324, 1e-36, -1e-36, FLOAT, -FLOAT, 1e-45, -1e-45, 1e-39),
    *(np.nextafter(FLOAT, way) for way in (0, 1)),
    *(np.nextafter(-FLOAT, way) for way in (0, -1)),
    *(-0.5, -0.999999, -1.0, -1e-9, 0.5, 1.999999, 11.5, 12.0, 13.0, 31.0, 32.0, 33.0, 63.0, 64.0),
    *(69.99, 70.0, 71.0, 72.0, 255.0, 256.0, 1000.0, 2.0**24, 2.0**24 - 1, 2.0**31, 2.0**31 - 1),
    *(-(2.0**31), 2.0**32, 2.0**32 + 1, 2.0**53, 2.0**63, 2.0**64, 1e19, 1e38, -1e38),
    *([np.nan] * 20),
)
CODES = (1, 3)  # the columns of codes, of 12 and 70 categories


def rows(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Make numbers, codes of categories, zeros and gaps; and what is to be learnt, a number."""
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(COUNT, 5))
    table[:, 1], table[:, 3] = rng.integers(0, 12, COUNT), rng.integers(0, 70, COUNT)
    table[:, 4] = rng.choice([-1, 0, 0, 0, 1e-36, 1, 2], COUNT)
    table[rng.random(COUNT) < 0.3, 2] = 0
    for column in (0, 1):
        table[rng.random(COUNT) < 0.1, column] = np.nan
    known = np.nan_to_num(table)
    return table, known[:, 0] + known[:, 1] % 3 + table[:, 2] + (table[:, 3] % 7 > 3) + table[:, 4]


def hostile_rows(
    table: np.ndarray, splits: Mapping[int, Sequence[float]], odd: Sequence[float] = ODD
) -> np.ndarray:
    """Make rows of a table's values, those at which trees split and next to them, and odd ones."""
    rng = np.random.default_rng(1)
    columns = []
    for at in range(table.shape[1]):
        at_splits = np.array(splits.get(at, [0.0]))
        floats = at_splits.astype(np.float32)
        near = [at_splits, floats]
        for way in (-np.inf, np.inf):
            near += [np.nextafter(at_splits, way), np.nextafter(floats, np.float32(way))]
        values = np.concatenate([*near, table[:, at], odd])
        columns.append(rng.choice(values, ASKED))
    return np.column_stack(columns)


def graph_of(estimator: Estimator, width: int) -> CompiledGraph:
    """Convert an estimator, without a proof."""
    features = tuple(number(f"x{at}") for at in range(width))
    told = description if hasattr(estimator, "classes_") else regression
    model = convert(estimator, told(features=features), [])
    keep_rows_apart(model)
    return CompiledGraph(model.SerializeToString())


def assert_same(
    estimator: Estimator, width: int, asked: np.ndarray, tolerance: float = 0.0
) -> None:
    """Compare an estimator with its graph, alone and in batches."""
    is_classifier = hasattr(estimator, "classes_")
    right = estimator.predict_proba(asked) if is_classifier else estimator.predict(asked)
    graph = graph_of(estimator, width)
    told = graph(asked)
    right = right.reshape(told.shape)
    np.testing.assert_allclose(told, right, rtol=tolerance, atol=tolerance)
    if is_classifier:
        assert (estimator.classes_[told.argmax(axis=1)] == estimator.predict(asked)).all()
    for size in (1, 7):
        assert (in_batches(graph, asked[:200], size) == told[:200]).all()


def in_batches(graph: CompiledGraph, table: np.ndarray, size: int) -> np.ndarray:
    """Ask a graph for so many rows at a time."""
    starts = range(0, len(table), size)
    return np.concatenate([graph(table[start : start + size]) for start in starts])


@cache
def boxes() -> pd.DataFrame:
    """Give a table with categories of texts, numbers and booleans."""
    table = mixed()
    code = np.random.default_rng(1).choice([101, 205, 999], len(table.frame))
    return table.frame.assign(code=code, y=table.labels)


def adopted(estimator: Estimator, raw: pd.DataFrame) -> tuple[Table, Description]:
    """Describe an estimator that was fitted on a frame, with what it tells of the columns."""
    told = told_by(estimator, Columns.of(raw.drop(columns="y"), None))
    table = to_table(agreed(raw, told), ["y"])
    evidence = Evidence(named=True, told=told)
    return table, describe("mine", estimator, table, METRICS, seed=0, evidence=evidence)

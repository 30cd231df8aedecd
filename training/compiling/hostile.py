"""Rows at which a graph is likeliest to differ from its estimator.

At the values by which trees split and next to them, at the ends of what is accepted, with missing
values, and where the label changes.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from serving.model.domains import Interval, Lengths
from serving.model.estimator import FittedEstimator
from serving.model.features import Category, Feature, Number, Row
from serving.model.outputs import Array
from training.describing.asking import UNSEEN, some
from training.describing.boundary import boundary_rows

MAX_ROWS = 2000  # of the table, and as many hostile ones
MAX_ALONE = 1000  # asked one by one, if some have no answer
MAX_SPLITS = 200  # of a feature, at which and next to which hostile rows lie
TINY = (0.0, -0.0, 5e-324, -5e-324, 1e-9, -1e-9)


def hostile(model: FittedEstimator, rows: Sequence[Row], rng: np.random.Generator) -> Iterator[Row]:
    """Make rows whose answers may be changed by rounding, or by what is unusual."""
    features = model.description.features
    columns = zip(features, zip(*rows, strict=True), strict=True)
    values = [_values(feature, column, rng) for feature, column in columns]
    for index in rng.integers(len(rows), size=MAX_ROWS):
        row = rows[index]
        changed = rng.random(len(row)) < rng.random()
        yield tuple(
            others[rng.integers(len(others))] if change else value
            for value, change, others in zip(row, changed, values, strict=True)
        )
    with suppress(Exception):  # it may fail between the rows of the table
        whole = [row for row in some(rows, MAX_ALONE, rng) if None not in row]
        yield from boundary_rows(model, whole, rng)


def _values(feature: Feature, column: Sequence[Any], rng: np.random.Generator) -> list[Any]:
    """Give values of a feature for hostile rows."""
    values = set(column) - {None}
    if isinstance(feature, Number) and isinstance(feature.domain, Interval):
        values = set(_numbers(feature, feature.domain, np.array(list(values), dtype=float), rng))
    elif isinstance(feature, Category) and isinstance(feature.domain, Lengths):
        values.add(UNSEEN)
    return sorted(values) + [None] * feature.nullable


def _numbers(feature: Number, domain: Interval, seen: Array, rng: np.random.Generator) -> list[Any]:
    """Give the numbers at which trees split, their neighbours, and the ends of what is accepted.

    Trees split in the middle between two values of the table, or at one, and may round to floats.
    """
    splits = np.unique(seen)
    splits = rng.permutation(np.concatenate([splits, (splits[1:] + splits[:-1]) / 2]))[:MAX_SPLITS]
    floats = splits.astype(np.float32)
    low, high = (feature.trained or Interval(minimum=seen.min(), maximum=seen.max())).ends
    numbers = [
        *splits,
        *(near for way in (-np.inf, np.inf) for near in np.nextafter(splits, way)),
        *floats,
        *(near for way in (-np.inf, np.inf) for near in np.nextafter(floats, np.float32(way))),
        *(low, high, 10 * low, 10 * high, 2 * low - high, 2 * high - low, *TINY),
        *(domain.minimum, domain.maximum),
    ]
    kind = int if feature.type == "integer" else float
    whole = [kind(number) for number in numbers if np.isfinite(number)]
    return [number for number in whole if domain.minimum <= number <= domain.maximum]

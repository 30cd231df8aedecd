"""The rows with which explanations compare: some of training, or none but what is published."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.model.description import Description
from serving.model.domains import Choices
from serving.model.features import Boolean, Category, Feature, Number, Row, Value
from serving.model.outputs import Array
from training.describing.asking import UNSEEN


def rows_of_training(
    rows: Sequence[Row], numbers: Array, count: int, rng: np.random.Generator
) -> list[Row]:
    """Choose rows of training, of each kind of answer as large a share as there is of it.

    ``numbers`` are those by which the rows are answered: an array of shape (rows, outputs). The
    rows are put in the order of these, class by class, and taken at equal distances.
    """
    if len(rows) <= count:
        return list(rows)
    mixed = rng.permutation(len(rows))  # so that rows that are answered alike come by chance
    found = numbers[mixed]
    best = found.argmax(axis=1)
    order = mixed[np.lexsort((found.max(axis=1), best))]
    places = (rng.random() + np.arange(count)) * len(rows) / count
    return [rows[index] for index in order[places.astype(np.intp)]]


def published_rows(description: Description, count: int, rng: np.random.Generator) -> list[Row]:
    """Make up rows of what is published of each column, whatever the others have."""
    training = description.training
    assert training is not None  # noqa: S101 (or nothing were published)
    columns = []
    for feature in description.features:
        values = _drawn(feature, count, training.rows, rng)
        columns.append([values[index] for index in rng.permutation(count)])
    return list(zip(*columns, strict=True))


def _drawn(feature: Feature, count: int, rows: int, rng: np.random.Generator) -> list[Any]:
    """Draw values of a feature, evenly over its distribution."""
    missing = feature.missing or 0
    gone = round(count * missing / rows) if feature.nullable else 0
    values: list[Value] = [None] * gone
    count -= gone
    shares = (np.arange(count) + rng.random(count)) / count
    match feature:
        case Number():
            return values + _numbers(feature, shares)
        case Boolean() if feature.trained is not None:
            named: dict[Value, int] = {
                value: feature.trained.categories["true" if value else "false"]
                for value in (False, True)
            }
            return values + _named(named, shares)
        case Category() if feature.trained is not None:
            named = dict(feature.trained.categories.items())
            if not isinstance(feature.domain, Choices) and feature.trained.rare_rows:
                named[UNSEEN] = feature.trained.rare_rows
            return values + _named(named or {feature.example: 1}, shares)
    return values + [feature.example] * count


def _numbers(feature: Number, shares: Array) -> list[Any]:
    """Draw numbers between the quantiles, as if they were spread evenly there."""
    if isinstance(feature.domain, Choices):
        known = feature.domain.values or (feature.example,)
        return [known[int(share * len(known))] for share in shares]
    low, high = (feature.trained or feature.bounds).ends
    points = {0.0: low, **{float(k): v for k, v in feature.quantiles.items()}, 1.0: high}
    numbers = np.interp(shares, list(points), list(points.values()))
    if feature.type == "integer":
        return [round(number) for number in numbers.tolist()]
    return list(numbers.tolist())


def _named(counts: dict[Value, int], shares: Array) -> list[Value]:
    """Draw values by how often there are."""
    values, ends = list(counts), np.cumsum(list(counts.values()))
    return [values[at] for at in np.searchsorted(ends, shares * ends[-1], side="right").tolist()]

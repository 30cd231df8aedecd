"""Within which numbers an estimator's answers stay finite, found out by going to the ends."""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np

from serving.model.domains import Interval
from serving.model.estimator import FittedEstimator
from serving.model.features import Feature, Number, Row
from serving.model.outputs import Array
from training.describing.asking import answers
from training.table.columns import MAX_WHOLE

MAX_EXPONENT = 308  # of ten, in a double
MAX_CORNERS = 1024


def intervals_of(model: FittedEstimator, example: Row, seed: int) -> dict[int, Interval]:
    """Find within which numbers answers stay finite, for each feature that is a number.

    The same power of ten for all, with any signs, if there is one beyond what training saw. Else
    each feature has its own ends, no further than such a power, if it fails at all of them at once;
    and where there is none, those of training: of the rows that the features were described by.
    """
    features = model.description.features
    trained = {at: f.bounds for at, f in enumerate(features) if isinstance(f, Number)}
    if not trained:
        return {}
    signs = _signs(len(trained), seed)

    def alike(exponent: int) -> dict[int, Interval]:
        limits = {at: _extreme(features[at], exponent, 1) for at in trained}
        return {at: Interval(minimum=-limit, maximum=limit) for at, limit in limits.items()}

    def fails_at_the_ends(intervals: Mapping[int, Interval]) -> bool:
        rows = []
        for point in signs.tolist():
            row = list(example)
            for (at, interval), sign in zip(intervals.items(), point, strict=True):
                if sign:
                    row[at] = interval.minimum if sign < 0 else interval.maximum
            rows.append(tuple(row))
        return _fails(model, rows)

    beyond = max(max(-interval.minimum, interval.maximum) for interval in trained.values())
    exponent = _largest(beyond, lambda exponent: fails_at_the_ends(alike(exponent)))
    if exponent is not None:
        return alike(exponent)
    own = {at: _own_interval(model, example, at, trained[at]) for at in trained}

    def within(exponent: int) -> dict[int, Interval]:
        limit = 10.0**exponent
        return {
            at: Interval(
                minimum=min(seen.minimum, max(own[at].minimum, -limit)),
                maximum=max(seen.maximum, min(own[at].maximum, limit)),
            )
            for at, seen in trained.items()
        }

    exponent = _largest(beyond, lambda exponent: fails_at_the_ends(within(exponent)))
    return trained if exponent is None else within(exponent)


def _signs(count: int, seed: int) -> Array:
    """Give the corners of a cube around zero, not too many, and its axes."""
    if 2**count <= MAX_CORNERS:
        corners = np.array(list(product((-1, 1), repeat=count)))
    else:
        corners = np.random.default_rng(seed).choice((-1, 1), size=(MAX_CORNERS, count))
    axes = np.eye(count, dtype=int)
    return np.concatenate([corners, axes, -axes])


def _own_interval(model: FittedEstimator, example: Row, at: int, trained: Interval) -> Interval:
    """Find the ends of one feature, while the others are typical."""
    feature = model.description.features[at]

    def end(sign: int, seen: float) -> float:
        exponent = _largest(
            sign * seen,
            lambda e: _fails(model, [with_value(example, at, _extreme(feature, e, sign))]),
        )
        return seen if exponent is None else _extreme(feature, exponent, sign)

    return Interval(minimum=end(-1, trained.minimum), maximum=end(1, trained.maximum))


def _largest(beyond: float, fails: Callable[[int], bool]) -> int | None:
    """Find the largest power of ten at which nothing fails; None, if the first beyond does."""
    smallest = math.ceil(math.log10(max(beyond, 1.0)))
    exponents = range(smallest, MAX_EXPONENT + 1)
    largest = smallest + bisect_left(exponents, True, key=fails) - 1
    return largest if largest >= smallest else None


def _fails(model: FittedEstimator, rows: list[Row]) -> bool:
    """Tell whether the estimator fails on a row, or gets beyond the doubles on its way."""
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        return not answers(model, rows)


def _extreme(feature: Feature, exponent: int, sign: int) -> float:
    """Give a power of ten; of whole numbers none beyond those that doubles hold exactly."""
    if feature.type == "integer":
        return sign * int(min(10**exponent, MAX_WHOLE))
    return float(sign * 10.0**exponent)


def with_value(row: Row, index: int, value: Any) -> Row:  # noqa: ANN401 (of the feature's type)
    """Give a row with another value."""
    return (*row[:index], value, *row[index + 1 :])

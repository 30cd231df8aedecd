"""What an estimator can compute with, found out feature by feature by going to the ends."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from itertools import islice, pairwise, product
from typing import Any

import numpy as np

from serving.model.domains import Choices, Interval
from serving.model.estimator import FittedEstimator
from serving.model.features import Category, Feature, Number, Row
from serving.model.outputs import Array
from training.errors import TrainingError
from training.fitting.pipeline import MIN_CATEGORY_ROWS
from training.table.faults import MAX_WHOLE

MAX_EXPONENT = 308  # of ten, in a double
MAX_CORNERS = 1024
MAX_KNOWN = 1000  # different numbers that may be categories
MAX_BETWEEN = 16  # whole numbers that are asked for between those, about
UNSEEN = "a category that training has not seen"
UNSEEN_LAST = "\U0010fffd"  # in the order of any encoding


def domains_of(
    model: FittedEstimator, known: Mapping[str, tuple[Any, ...]], rows: Sequence[Row], seed: int
) -> tuple[Feature, ...]:
    """Give the features of a model with their domains, and with examples that it answers.

    ``known`` has the values that the table's ``rows`` have of each category and number, for an
    estimator that fails on others.

    Raises:
        TrainingError: it has no finite answer to its features' examples.
    """
    features = model.description.features
    example: Row = tuple(feature.example for feature in features)
    if failure := _failure(model, [example]):
        unnamed = [feature.name for feature in features if feature.example == UNSEEN]
        if unnamed:
            raise TrainingError(
                f"the estimator fails on categories that it was not fitted on, and {unnamed[0]!r} "
                "has none that is common enough to be named as an example: group its categories"
            )
        found = _example_of_known(model, example, known, set(rows))
        if found is None:
            raise TrainingError(f"the estimator gives no finite answer to a typical row: {failure}")
        example = found
    intervals = _intervals(model, example, seed)
    described = []
    for index, feature in enumerate(features):
        update: dict[str, Any] = {"example": example[index]}
        seen = known.get(feature.name, ())
        fails = _takes_only_known(model, example, index, seen)
        match feature:
            case Number():
                update["domain"] = intervals[index]
                if fails:
                    update["domain"] = _choices(seen, [row[index] for row in rows])
                if fails or model.description.asked.takes_for_category(feature.name):
                    update["known"] = seen
            case Category() if fails:
                named, rare = feature.trained.categories, feature.trained.rare_categories
                update |= {"domain": Choices(values=tuple(named), rare=rare), "known": seen}
        if feature.nullable and not answers(model, [_with(example, index, None)]):
            update["nullable"] = False
        described.append(feature.model_copy(update=update))
    return tuple(described)


def _example_of_known(
    model: FittedEstimator, example: Row, known: Mapping[str, tuple[Any, ...]], theirs: Set[Row]
) -> Row | None:
    """Give an example whose numbers are some of training's, and which is no row of it.

    An estimator may take numbers for categories, and fail on the number in the middle of two.
    """
    ways = []
    for feature in model.description.features:
        near = feature.example
        values = known[feature.name] if isinstance(feature, Number) else (near,)
        ways.append(sorted(values, key=lambda value: abs(value - near) if value != near else 0))
    found = (row for row in islice(product(*ways), len(theirs) + 1) if row not in theirs)
    nearest = next(found, tuple(way[0] for way in ways))
    if not answers(model, [nearest]):
        return None
    for at, value in enumerate(example):  # as few as it takes
        if answers(model, [changed := _with(nearest, at, value)]):
            nearest = changed
    return nearest


def _takes_only_known(
    model: FittedEstimator, example: Row, index: int, seen: tuple[Any, ...]
) -> bool:
    """Tell whether an estimator of categories fails on values that training has not seen.

    Some find them among those that they know by order, and fail only on what comes last. Of plain
    numbers it may know some beside the table's, and others may fail on some for reasons of their
    own: an encoder fails on most, and already on the double next to one that it knows.
    """

    def fails(other: Any) -> bool:  # noqa: ANN401 (of the feature's type)
        return not answers(model, [_with(example, index, other)])

    feature = model.description.features[index]
    match feature:
        case Category():
            return fails(UNSEEN) or fails(UNSEEN_LAST)
        case Number() if len(seen) <= MAX_KNOWN:
            between = [math.nextafter(example[index], math.inf)]  # type: ignore[arg-type]
            if feature.type == "integer":
                between = _between(seen)
            if model.description.asked.takes_for_category(feature.name):
                return any(map(fails, (*between, seen[-1] + 1)))
            return 2 * sum(map(fails, between)) > len(between)
    return False


def _between(seen: Sequence[float]) -> list[float]:
    """Give whole numbers from all over the gaps of those seen, not too many."""
    gaps = [range(int(low) + 1, int(high)) for low, high in pairwise(seen)]
    found = [number for gap in gaps for number in _spread(gap)]
    return list(_spread(found))


def _spread(numbers: Sequence[int]) -> Sequence[int]:
    """Take numbers from all over a sequence, not too many."""
    return numbers[:: max(1, len(numbers) // MAX_BETWEEN)]


def _choices(known: tuple[Any, ...], column: Sequence[Any]) -> Choices:
    """Describe numbers of which no other is taken; those of few rows are counted, and not named."""
    counts = Counter(column)
    named = tuple(number for number in known if counts[number] >= MIN_CATEGORY_ROWS)
    return Choices(values=named, rare=len(known) - len(named))


def answers(model: FittedEstimator, rows: list[Row]) -> bool:
    """Tell whether the estimator has a finite answer to each row."""
    return _failure(model, rows) is None


def _failure(model: FittedEstimator, rows: list[Row]) -> str | None:
    """Tell in the estimator's words what is wrong with rows, if it has no answer to them."""
    try:
        model.predictions(model.ask(model.table(rows)))
    except Exception as exc:  # estimators raise anything
        return f"{type(exc).__name__}: {exc}"
    return None


def _intervals(model: FittedEstimator, example: Row, seed: int) -> dict[int, Interval]:
    """Find within which numbers answers stay finite, for each feature that is a number.

    The same power of ten for all, with any signs, if there is one beyond what training saw. Else
    each feature has its own ends, no further than such a power, if it fails at all of them at once;
    and where there is none, those of training.
    """
    features = model.description.features
    trained = {at: f.trained for at, f in enumerate(features) if isinstance(f, Number)}
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
            lambda e: _fails(model, [_with(example, at, _extreme(feature, e, sign))]),
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


def _with(row: Row, index: int, value: Any) -> Row:  # noqa: ANN401 (of the feature's type)
    return (*row[:index], value, *row[index + 1 :])

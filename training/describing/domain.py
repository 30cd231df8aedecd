"""What an estimator can compute with, found out feature by feature."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from itertools import islice, pairwise, product
from typing import Any

from serving.model.domains import Choices, Frequencies, Interval
from serving.model.estimator import FittedEstimator
from serving.model.features import Category, Feature, Number, Row, Text
from training.advice import BRING_A_TABLE
from training.describing.asking import UNSEEN, answers, failure_of
from training.describing.intervals import intervals_of, with_value
from training.errors import TrainingError
from training.fitting.pipeline import MIN_CATEGORY_ROWS

MAX_KNOWN = 1000  # different numbers that may be categories
MAX_BETWEEN = 16  # whole numbers that are asked for between those, about
UNSEEN_LAST = ("\U0010fffd", "\x7f")  # in the order of any encoding; of its bytes with a sign


def domains_of(
    model: FittedEstimator,
    known: Mapping[str, tuple[Any, ...]],
    rows: Sequence[Row],
    seed: int,
    closed: Set[str] = frozenset(),
) -> tuple[Feature, ...]:
    """Give the features of a model with their domains, and with examples that it answers.

    ``known`` has the values that the table's ``rows`` have of each category and number, for an
    estimator that fails on others; or those that the estimator tells, where training's rows are not
    known. Those of a column that is ``closed`` are all that it takes.

    Raises:
        TrainingError: it has no finite answer to its features' examples, or takes only some values
            of which nothing tells.
    """
    features = model.description.features
    example: Row = tuple(feature.example for feature in features)
    if failure := failure_of(model, [example]):
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
    intervals = intervals_of(model, example, seed)
    described = []
    for index, feature in enumerate(features):
        update: dict[str, Any] = {"example": example[index]}
        seen = known.get(feature.name, ())
        fails = feature.name in closed or _takes_only_known(model, example, index, seen)
        match feature:
            case Number():
                update["domain"] = intervals[index]
                if fails:
                    column = [] if feature.trained is None else [row[index] for row in rows]
                    update["domain"] = _choices(seen, column)
                if fails or model.description.asked.takes_for_category(feature.name):
                    update["known"] = seen or None
            case Category(trained=Frequencies(categories=named, rare_categories=rare)) if fails:
                update |= {"domain": Choices(values=tuple(named), rare=rare), "known": seen}
            case Category() if fails:
                update |= {"domain": Choices(values=(), rare=len(seen)), "known": seen}
        if feature.trained is None and _is_guessed(feature, update, seen, fails=fails):
            raise TrainingError(
                f"the estimator fails on some values of {feature.name!r} near those of the input "
                f"example, and nothing tells which it takes: {BRING_A_TABLE}"
            )
        if feature.nullable and not answers(model, [with_value(example, index, None)]):
            update["nullable"] = False
        described.append(feature.model_copy(update=update))
    return tuple(described)


def _is_guessed(
    feature: Feature, found: Mapping[str, Any], seen: tuple[Any, ...], *, fails: bool
) -> bool:
    """Tell whether only an example's rows, which are not training's, would say what is taken."""
    if fails:
        return not seen
    match feature, found.get("domain"):
        case Number(bounds=had), Interval() as now:
            return now.minimum == had.minimum or now.maximum == had.maximum
    return False


def _example_of_known(
    model: FittedEstimator, example: Row, known: Mapping[str, tuple[Any, ...]], theirs: Set[Row]
) -> Row | None:
    """Give an example whose numbers are some of training's, and which is no row of it.

    An estimator may take numbers for categories, and fail on the number in the middle of two.
    """
    ways = []
    for feature in model.description.features:
        near = feature.example
        values = known.get(feature.name, ()) if isinstance(feature, Number) else (near,)
        values = values or (near,)
        ways.append(sorted(values, key=lambda value: abs(value - near) if value != near else 0))
    found = (row for row in islice(product(*ways), len(theirs) + 1) if row not in theirs)
    nearest = next(found, tuple(way[0] for way in ways))
    if not answers(model, [nearest]):
        return None
    for at, value in enumerate(example):  # as few as it takes
        if answers(model, [changed := with_value(nearest, at, value)]):
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
        return not answers(model, [with_value(example, index, other)])

    feature = model.description.features[index]
    match feature:
        case Category():
            return any(map(fails, (UNSEEN, *UNSEEN_LAST)))
        case Text() if feature.trained is None:
            return any(map(fails, (UNSEEN, *UNSEEN_LAST)))
        case Number() if len(seen) <= MAX_KNOWN:
            between = [math.nextafter(example[index], math.inf)]  # type: ignore[arg-type]
            if feature.type == "integer":
                between = _between(seen)
            if model.description.asked.takes_for_category(feature.name):
                return any(map(fails, (*between, *(last + 1 for last in seen[-1:]))))
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

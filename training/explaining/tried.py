"""What is put into a column to find out what is made of it: the table's values, and others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from serving.model.description import Categories, Description
from serving.model.features import Boolean, Category, Feature, Number, Row, Text, Value
from training.describing.asking import UNSEEN

MAX_NUMBERS = 100  # of a column
FAR = 10.0  # times as far as training's numbers


@dataclass(frozen=True, slots=True)
class Tried:
    """Values of a column that requests may have.

    ``known`` are those that may be told apart, if the column is none of plain numbers, and
    ``others`` such as are none of them. Of numbers, ``others`` are from all over.
    """

    feature: Feature
    known: tuple[Value, ...] | None
    others: tuple[Value, ...]

    @property
    def all(self) -> list[Value]:
        """All, and a missing one, where it may be."""
        missing = (None,) if self.feature.nullable else ()
        return [*(self.known or ()), *self.others, *missing]


def values_of(
    description: Description,
    at: int,
    column: Sequence[Value],
    vocabulary: set[str],
    rng: np.random.Generator,
) -> Tried:
    """Give what is tried of a feature, given its table's column and all strings of encoders."""
    feature = description.features[at]
    match feature:
        case Boolean():
            return Tried(feature, (False, True), ())
        case Category():
            dtype = description.asked.dtypes.get(feature.name)
            told = dtype.values if isinstance(dtype, Categories) else ()
            named = () if feature.trained is None else feature.trained.categories
            strings = {v for v in (*column, *told, *named) if isinstance(v, str)} | vocabulary
            words = sorted(v for v in strings if not feature.mistake(v))
            return Tried(feature, tuple(words), _may_come(feature, _unknown(words), words))
        case Number() if feature.known is not None:
            of_type = _type(feature)
            known = sorted(of_type(value) for value in feature.known)
            return Tried(feature, tuple(known), _may_come(feature, _beside(known), known))
        case Number():
            numbers = [value for value in column if isinstance(value, int | float)]
            return Tried(feature, None, tuple(_numbers(feature, numbers, rng)))
        case Text():
            return Tried(feature, None, (feature.example,))


def may_come(features: Sequence[Feature], row: Row) -> bool:
    """Tell whether a row of the table lacks nothing that requests may not lack."""
    return all(f.nullable or value is not None for f, value in zip(features, row, strict=True))


def _may_come(
    feature: Feature, values: Iterator[Value], known: Sequence[Value]
) -> tuple[Value, ...]:
    return tuple(v for v in dict.fromkeys(values) if v not in known and not feature.mistake(v))


def _unknown(known: Sequence[str]) -> Iterator[str]:
    """Give strings that are not known, some of them hardly otherwise than such as are."""
    yield from (UNSEEN, UNSEEN[::-1], "?", "0", "nan", "")
    for value in known[:MAX_NUMBERS]:
        yield from (value.upper(), value.lower(), value.title(), f" {value} ", value.strip())


def _beside(known: Sequence[float]) -> Iterator[float]:
    """Give numbers between those that are known, and beyond."""
    of_type = type(known[0])
    ends = (known[0] - 1, *(low / 2 + high / 2 for low, high in pairwise(known)), known[-1] + 1)
    yield from (of_type(number) for number in ends)


def _numbers(feature: Number, column: Sequence[float], rng: np.random.Generator) -> Sequence[float]:
    """Give numbers of the table, the ends of their range, and some far outside."""
    own = sorted(set(column)) or [feature.example]
    chosen = {own[at] for at in rng.permutation(len(own))[:MAX_NUMBERS]} | {own[0], own[-1]}
    size = FAR * max(-own[0], own[-1], 1.0)
    low, high = feature.bounds.ends
    far = {min(max(number, low), high) for number in (-size, 0.0, size)}
    return sorted(map(_type(feature), chosen | far))


def _type(feature: Number) -> type[float]:
    return int if feature.type == "integer" else float

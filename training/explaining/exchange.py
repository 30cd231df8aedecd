"""Columns are exchanged to find out what is made of them: by which values, and what moves then.

Tried are the table's values, and others that requests may have. What moves in a matrix, when a
column of the rows that it was made of is exchanged, belongs to that column.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from serving.model.description import Categories, Description
from serving.model.features import Boolean, Category, Feature, Number, Row, Text, Value
from serving.model.outputs import Array
from training.describing.asking import UNSEEN

MAX_NUMBERS = 100  # of a column
FAR = 10.0  # times as far as training's numbers
BASES = 3  # rows in which each column is exchanged
AT_ONCE = 256  # values, as the matrix may be wide
MAX_CELLS = 30_000_000  # to be filled, for numbers of which not all have to be tried
FEWEST = 5  # of these


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


def moved(
    encoded: Callable[[Sequence[Row]], Array],
    columns: Sequence[Tried],
    rows: Sequence[Row],
    rng: np.random.Generator,
) -> Array:
    """Tell what moves: an array (columns, columns of the matrix) of booleans."""
    bases = [*rows[:1], *hybrids(columns, BASES - 1, rng)]
    most = max(FEWEST, MAX_CELLS // (len(bases) * len(columns) ** 2))
    tried = [
        (at, part) for at, column in enumerate(columns) for part in _parts(_fewer(column, most))
    ]
    moves: list[Array] = []
    waiting: list[tuple[int, Sequence[Value]]] = []
    for each in tried:
        waiting.append(each)
        if sum(len(values) for _, values in waiting) >= AT_ONCE or each is tried[-1]:
            moves += _moved_by(encoded, bases, waiting)
            waiting = []
    owners = np.zeros((len(columns), len(moves[0])), dtype=bool)
    np.logical_or.at(owners, [at for at, _ in tried], moves)
    return owners


def hybrids(columns: Sequence[Tried], count: int, rng: np.random.Generator) -> list[Row]:
    """Put rows together of values of each column, whatever stands beside it."""
    ways = []
    for column in columns:
        values = column.all
        ways.append([values[at] for at in rng.integers(len(values), size=count)])
    return list(zip(*ways, strict=True))


def alike(some: Array, others: Array) -> Array:
    """Tell of each number whether it is the same; what is none is like what is none."""
    return np.asarray((some == others) | (np.isnan(some) & np.isnan(others)))


def _fewer(column: Tried, count: int) -> Sequence[Value]:
    """Give values to try: of plain numbers so many from all over; and what is missing, last."""
    values = column.all
    if column.known is not None or len(values) <= count:
        return values
    return [values[at] for at in np.linspace(0, len(values) - 1, count).astype(np.intp)]


def _parts(values: Sequence[Value]) -> list[Sequence[Value]]:
    return [values[start : start + AT_ONCE] for start in range(0, len(values), AT_ONCE)]


def _moved_by(
    encoded: Callable[[Sequence[Row]], Array],
    bases: Sequence[Row],
    tried: Sequence[tuple[int, Sequence[Value]]],
) -> list[Array]:
    """Tell what moves in any of the bases when a column is given other values, for each of some."""
    asked = list(bases)
    for at, values in tried:
        asked += [(*b[:at], value, *b[at + 1 :]) for value in values for b in bases]
    found = encoded(asked)
    by_value = found.reshape(-1, len(bases), found.shape[1])
    moves = ~alike(by_value[1:], by_value[:1]).all(axis=1)
    ends = np.cumsum([len(values) for _, values in tried])
    return [np.asarray(part.any(axis=0)) for part in np.split(moves, ends[:-1])]

"""Which columns of a matrix move with which column of the rows that it was made of."""

from collections.abc import Callable, Sequence

import numpy as np

from serving.model.features import Row, Value
from serving.model.outputs import Array
from training.explaining.tried import Tried

BASES = 3  # rows in which each column is exchanged
AT_ONCE = 256  # values, as the matrix may be wide
MAX_CELLS = 30_000_000  # to be filled, for numbers of which not all have to be tried
FEWEST = 5  # of these


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

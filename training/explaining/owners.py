"""Which columns of a matrix move with which column of the rows that it was made of."""

from collections.abc import Callable, Sequence

import numpy as np

from serving.model.features import Row, Value
from serving.model.outputs import Array
from training.explaining.tried import Tried

BASES = 3  # rows in which each column is exchanged
AT_ONCE = 256  # rows, as the matrix may be wide


def moved(
    encoded: Callable[[Sequence[Row]], Array],
    columns: Sequence[Tried],
    rows: Sequence[Row],
    rng: np.random.Generator,
) -> Array:
    """Tell what moves: an array (columns, columns of the matrix) of booleans."""
    bases = [*rows[:1], *hybrids(columns, BASES - 1, rng)]
    return np.array([_moved_by(encoded, bases, at, column) for at, column in enumerate(columns)])


def hybrids(columns: Sequence[Tried], count: int, rng: np.random.Generator) -> list[Row]:
    """Put rows together of values of each column, whatever stands beside it."""
    ways = [
        [column.all[at] for at in rng.integers(len(column.all), size=count)] for column in columns
    ]
    return list(zip(*ways, strict=True))


def alike(some: Array, others: Array) -> Array:
    """Tell of each number whether it is the same; what is none is like what is none."""
    return np.asarray((some == others) | (np.isnan(some) & np.isnan(others)))


def _moved_by(
    encoded: Callable[[Sequence[Row]], Array], bases: Sequence[Row], at: int, column: Tried
) -> Array:
    moves: list[Array] = []
    for start in range(0, len(column.all), AT_ONCE):
        values: Sequence[Value] = column.all[start : start + AT_ONCE]
        rows = [(*b[:at], value, *b[at + 1 :]) for b in bases for value in (b[at], *values)]
        by_base = encoded(rows).reshape(len(bases), len(values) + 1, -1)
        moves.append(np.asarray(~alike(by_base, by_base[:, :1]).all(axis=(0, 1))))
    return np.asarray(np.any(moves, axis=0))

"""Rows around those of an example, by which an estimator of which nothing else is known is asked.

A few rows would show too little of how it answers. These are like them in kind, and tell nothing of
what training saw.
"""

from collections.abc import Mapping, Sequence, Set

import numpy as np
import pandas as pd

from training.describing.columns import Column
from training.table.columns import is_number

ROWS = 200
SPREAD = 1.0  # a number is at most ten times as large as the example's, or as small
GAPS = 0.1  # of the rows, where a value may be missing


def rows_around(
    example: pd.DataFrame, gaps: Set[str], told: Mapping[str, Column], seed: int
) -> pd.DataFrame:
    """Give the rows of an example, and others around them; of the values that an estimator tells.

    ``gaps`` names the columns that may lack a value.
    """
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            name: _around(example[name], told.get(name, Column()).values, name in gaps, rng)
            for name in map(str, example.columns)
        }
    )


def _around(
    column: pd.Series, known: Sequence[object] | None, gaps: bool, rng: np.random.Generator
) -> pd.Series:
    """Give a column, and values around its own: of the same sign, or some that are known."""
    count = max(ROWS - len(column), 0)
    own = column.dropna().tolist()
    drawn: list[object]
    if known:
        drawn = [known[at] for at in rng.integers(len(known), size=count)]
    elif pd.api.types.is_bool_dtype(column):
        drawn = [bool(value) for value in rng.integers(2, size=count)]
    elif is_number(column) and own:
        factors = 10 ** rng.uniform(-SPREAD, SPREAD, size=count)
        bases = np.array(own, dtype=float)[rng.integers(len(own), size=count)]
        numbers = np.where(bases == 0, factors / 10, bases * factors)
        whole = pd.api.types.is_integer_dtype(column)
        drawn = [round(number) if whole else number for number in numbers.tolist()]
    else:
        drawn = [own[at] for at in rng.integers(len(own), size=count)] if own else [None] * count
    if gaps:
        drawn = [
            None if gap else value
            for value, gap in zip(drawn, rng.random(count) < GAPS, strict=True)
        ]
    return pd.Series([*column.tolist(), *drawn], dtype=column.dtype)

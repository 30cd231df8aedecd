"""Shapley values by their definition: all coalitions of columns are asked about, so of few only."""

from collections.abc import Callable, Sequence
from itertools import chain, combinations
from math import factorial

import numpy as np

from serving.model.features import Row
from serving.model.outputs import Array


def shapley(
    f: Callable[[Sequence[Row]], Array], row: Row, background: Sequence[Row]
) -> tuple[Array, Array]:
    """Give the base (outputs,) and each column's contributions (columns, outputs).

    ``f`` gives the outputs of rows: an array of shape (rows, outputs).
    """
    players = range(len(row))
    coalitions = list(chain.from_iterable(combinations(players, n) for n in range(len(row) + 1)))
    rows = [
        tuple(row[at] if at in coalition else other[at] for at in players)
        for coalition in coalitions
        for other in background
    ]
    outputs = np.asarray(f(rows), dtype=np.float64)
    means = outputs.reshape(len(coalitions), len(background), -1).mean(axis=1)
    worth = {frozenset(coalition): mean for coalition, mean in zip(coalitions, means, strict=True)}
    contributions = np.zeros((len(row), means.shape[1]))
    for coalition, mean in worth.items():
        for at in coalition:
            others, size = coalition - {at}, len(coalition)
            weight = factorial(size - 1) * factorial(len(row) - size) / factorial(len(row))
            contributions[at] += weight * (mean - worth[others])
    return means[0], contributions

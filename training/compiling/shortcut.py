"""The shortcut to a booster that is not compiled, taken where it gives the very answers.

They are compared bit for bit, on the table's own rows and on `hostile` ones, alone and in batches.
"""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from serving.model.compiled import shortest_s
from serving.model.description import Description
from serving.model.estimator import Estimator, FittedEstimator, TableLike
from serving.model.features import Row
from serving.model.outputs import Array
from serving.model.shortcut import shortcut
from training.compiling.hostile import MAX_ROWS, hostile
from training.compiling.proof import answered
from training.describing.asking import asked_as, some
from training.describing.batches import BATCH_SIZES
from training.describing.comparing import alike

MAX_IN_PARTS = 100  # rows that are asked for alone, and in batches of each size
TIMED_ROWS = 5  # each alone
TIMED_RUNS = 10  # of which the shortest counts


def with_shortcut(
    estimator: Estimator, description: Description, rows: Sequence[Row], seed: int
) -> Description:
    """Give a description that takes the shortcut, if that is quicker for a row, and alike."""
    try:
        if shortcut(estimator, description) is None:
            return description
        itself = FittedEstimator(estimator, description)
        quick = asked_as(estimator, description, shortcut=True)
        rng = np.random.default_rng(seed)
        with warnings.catch_warnings(), threadpool_limits(limits=1):
            warnings.simplefilter("ignore")  # of what estimators have to say
            own = some(rows, MAX_ROWS, rng)
            asked = some([*own, *hostile(itself, rows, rng)], 2 * MAX_ROWS, rng)
            asked, _ = answered(itself, asked)
            timed, _ = answered(itself, own[:TIMED_ROWS])
            alone = [itself.table([row]) for row in timed]
            if _shortest_s(quick, alone) < _shortest_s(itself, alone) and _is_alike(
                quick, itself, asked
            ):
                return quick.description
    except Exception:  # noqa: S110 (estimators raise anything, and then are asked as they were)
        pass
    return description


def _is_alike(quick: FittedEstimator, itself: FittedEstimator, rows: Sequence[Row]) -> bool:
    """Tell whether rows get the same together, alone, and in batches of all sizes."""

    def tables() -> Iterator[TableLike]:
        yield itself.table(rows)
        for size in (1, *BATCH_SIZES):
            for start in range(0, min(len(rows), MAX_IN_PARTS), size):
                yield itself.table(rows[start : start + size])

    return all(alike(_told(quick, table), _told(itself, table), exactly=True) for table in tables())


def _told(model: FittedEstimator, table: TableLike) -> list[Array]:
    outputs = model.ask(table)
    return [outputs.values, *outputs.probabilities]


def _shortest_s(model: FittedEstimator, tables: Sequence[TableLike]) -> float:
    return shortest_s(lambda: [model.ask(table) for table in tables], TIMED_RUNS)

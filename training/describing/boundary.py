"""Rows at which an estimator's label changes, between which no number lies."""

from collections.abc import Sequence

import numpy as np

from serving.model.description import Description
from serving.model.estimator import FittedEstimator
from serving.model.features import Feature, Row
from serving.model.outputs import Array

MAX_BOUNDARIES = 24
HALVINGS = 70  # of the way between two rows: more than a double has bits


def boundary_rows(
    model: FittedEstimator, rows: Sequence[Row], rng: np.random.Generator
) -> list[Row]:
    """Find rows, two and two, with different labels and no number between theirs.

    There rounding decides the label. Of two rows, one takes on the numbers of the other, and the
    way between them is halved, again and again, where the label changes.
    """
    features = model.description.features
    numbers = [at for at, feature in enumerate(features) if measured(model.description, feature)]
    if model.description.task == "regression" or not numbers or len(rows) < 2:
        return []
    starts, ends = rng.integers(len(rows), size=(2, 4 * MAX_BOUNDARIES))
    pairs = [(rows[one], rows[other]) for one, other in zip(starts, ends, strict=True)]
    bases = [row for row, other in pairs if None not in (*row, *other)]
    goals = [other for row, other in pairs if None not in (*row, *other)]
    if not bases:
        return []
    lows, highs = (
        np.array([[row[at] for at in numbers] for row in side]) for side in (bases, goals)
    )

    def moved(values: Array) -> list[Row]:
        at = {index: position for position, index in enumerate(numbers)}
        return [
            tuple(value if i not in at else new[at[i]] for i, value in enumerate(row))
            for row, new in zip(bases, values.tolist(), strict=True)
        ]

    labels = _labels_of(model, moved(lows))
    changes = np.array(labels) != np.array(_labels_of(model, moved(highs)))
    for _ in range(HALVINGS):
        middles = lows / 2 + highs / 2
        same = np.array(labels) == np.array(_labels_of(model, moved(middles)))
        lows[same], highs[~same] = middles[same], middles[~same]
    sides = zip(moved(lows), moved(highs), changes, strict=True)
    found = [pair for *pair, change in sides if change][:MAX_BOUNDARIES]
    return [row for pair in found for row in pair]


def measured(description: Description, feature: Feature) -> bool:
    """Tell whether a feature is a number of which any other is a likely value, too."""
    return feature.type == "number" and not description.asked.takes_for_category(feature.name)


def _labels_of(model: FittedEstimator, rows: Sequence[Row]) -> list[str]:
    """Give the labels of rows, or what tells several targets' labels apart."""
    return [repr(value) for value in model.ask(model.table(rows)).values.tolist()]

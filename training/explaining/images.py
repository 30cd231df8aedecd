"""What is made of each column of a table before the last step of an estimator, found by asking."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from serving.model.estimator import Estimator, FittedEstimator
from serving.model.features import Feature, Row, Value
from serving.model.outputs import Array


class CannotExplainError(Exception):
    """A way of explaining is not for this estimator; the message says why, in words for a user."""


@dataclass(frozen=True, slots=True)
class Image:
    """What is made of one column: some columns of a matrix of doubles, of which it alone decides.

    ``values`` are those to be told apart where the column is no number (`Places`: others, and a
    missing one, come on top), None where it is one. ``of`` gives what is made of values: an array
    (values, columns).
    """

    feature: Feature
    columns: Array
    values: tuple[Value, ...] | None
    of: Callable[[Sequence[Value]], Array]


@dataclass(frozen=True, slots=True)
class Images:
    """What the last step of an estimator, ``part``, is given, column by column of the table.

    ``encoded`` makes of rows the matrix (rows, width) that it is given.
    """

    part: Estimator
    width: int
    all: Sequence[Image]
    encoded: Callable[[Sequence[Row]], Array]


def images_of(
    model: FittedEstimator, estimator: Estimator, rows: Sequence[Row], rng: np.random.Generator
) -> Images:
    """Find out what is made of each column of a table's rows.

    Raises:
        CannotExplainError: columns are mixed before the last step, or can't be told apart.
    """
    raise NotImplementedError

"""Rows by columns: what a table holds of each feature, for many rows at once.

A column is what a file's reader makes of it, and what a model is asked by. Which values are wrong
or unusual is for the features to say, as they do of rows that come one by one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from serving.model.features import Feature, Row, Value
from serving.model.outputs import Array


@dataclass(slots=True)
class Column:
    """The values of one feature in many rows.

    ``values`` has the shape (rows,). Of numbers it is float64 or int64, of booleans bool; of
    strings it has the places of each in ``words``, which is None for others. ``missing`` tells
    where there is no value, None that there is one everywhere; what ``values`` has there is of no
    account, and so it is where ``others`` has what is no such value, by its row: whatever JSON
    could have there, such as a string among numbers.
    """

    values: Array
    missing: Array | None = None
    words: Sequence[str] | None = None
    others: Mapping[int, object] = field(default_factory=dict)

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(self.values)

    def take(self, rows: Array) -> "Column":
        """Give the column of some rows, by their numbers or a mask; none of which has others."""
        missing = None if self.missing is None else self.missing[rows]
        return Column(self.values[rows], missing, self.words)

    def doubles(self) -> Array:
        """Give numbers or booleans as doubles, NaN where one is missing."""
        doubles = self.values.astype(np.float64)
        if self.missing is not None:
            doubles[self.missing] = np.nan
        return doubles

    def objects(self) -> list[Value]:
        """Give the values as Python has them, None where one is missing."""
        words = self.words
        objects: list[Value] = self.values.tolist()
        if words is not None:
            objects = [words[at] for at in self.values.tolist()]
        if self.missing is not None:
            for at in np.flatnonzero(self.missing):
                objects[at] = None
        return objects


def by_columns(features: Sequence[Feature], rows: Sequence[Row]) -> list[Column]:
    """Give validated rows by columns."""
    raise NotImplementedError

"""What splits of trees ask of a column: a number to lie between cuts, others to be at places.

On the way from the root to a leaf each split takes something away from what a column may be. What
is left then is the leaf's condition on it, if anything was taken.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from serving.model.features import Number
from serving.model.outputs import Array
from training.compiling.tree import CategoricalSplit
from training.explaining.built import CannotExplainError
from training.explaining.cuts import Asking, Line
from training.explaining.images import Image


class Splits(NamedTuple):
    """Some splits of trees: arrays with one value for each.

    Left goes what is at most the ``threshold`` in a ``feature``, a column of the matrix; and what
    is missing there, if ``missing_left``. A feature behind the matrix's last column is one of the
    splits by categories.
    """

    feature: Array
    threshold: Array
    missing_left: Array


class Restricted(Protocol):
    """What a column may be, where the splits on it have led; a state (n, …) has a row for each."""

    def start(self, count: int) -> Array:
        """Give the state of those that may be anything."""

    def split(self, state: Array, splits: Array, *, left: bool) -> Array:
        """Take away what goes to the other side of splits, given by their numbers."""

    def is_whole(self, state: Array) -> Array:
        """Tell of which nothing is taken away."""

    def is_empty(self, state: Array) -> Array:
        """Tell of which nothing is left."""

    def packed(self, state: Array) -> Array:
        """Give whole numbers (n, …) for what is left, in little memory."""

    def kept(self, packed: Array) -> tuple[Mapping[str, Any], Mapping[str, Array]]:
        """Give what is told and kept of conditions, as `serving.explaining.leaves` reads it."""


class Ranges:
    """A number: its rank is that of the first cut that is at least as large.

    A state has the lowest and the highest rank, and whether it may be missing.
    """

    def __init__(self, cuts: Array, rises: Array, gaps: Array) -> None:
        """Take of splits the cuts, on which side what lies up to them is, and what is missing."""
        self.cuts = np.unique(cuts[np.isfinite(cuts)])
        self._ranks = np.where(cuts == -np.inf, -1, np.searchsorted(self.cuts, cuts))
        self._rises, self._gaps = rises, gaps

    @classmethod
    def asking(cls, image: Image, splits: Splits, seen: Sequence[float]) -> Asking["Ranges"]:
        """Find the cuts.

        Raises:
            CannotExplainError: there are none.
        """
        feature = image.feature
        if not isinstance(feature, Number) or not np.isin(splits.feature, image.columns).all():
            raise CannotExplainError(f"its trees split by categories of {feature.name!r}")
        columns = np.searchsorted(image.columns, splits.feature)
        pairs, places = np.unique(
            np.column_stack([columns, splits.threshold]), axis=0, return_inverse=True
        )
        places = places.ravel()
        gap = (yield [None])[0][columns]
        gaps = np.where(np.isnan(gap), splits.missing_left, gap <= splits.threshold)
        line = Line(feature, seen)
        cuts, rises = yield from line.cuts(pairs[:, 0].astype(np.intp), pairs[:, 1])
        return cls(cuts[places], rises[places], gaps)

    def start(self, count: int) -> Array:
        """Give the state of those that may be anything."""
        return np.tile(np.array([0, len(self.cuts), 1], dtype=np.int32), (count, 1))

    def split(self, state: Array, splits: Array, *, left: bool) -> Array:
        """Take away what goes to the other side of splits."""
        low, high, gap = state.T
        ranks, is_low = self._ranks[splits], self._rises[splits] == left
        return np.column_stack(
            [
                np.where(is_low, low, np.maximum(low, ranks + 1)),
                np.where(is_low, np.minimum(high, ranks), high),
                gap & (self._gaps[splits] == left),
            ]
        )

    def is_whole(self, state: Array) -> Array:
        """Tell of which nothing is taken away."""
        return np.asarray((state == self.start(1)).all(axis=1))

    def is_empty(self, state: Array) -> Array:
        """Tell of which nothing is left."""
        return np.asarray((state[:, 0] > state[:, 1]) & (state[:, 2] == 0))

    def packed(self, state: Array) -> Array:
        """Give it as it is."""
        return state

    def kept(self, packed: Array) -> tuple[Mapping[str, Any], Mapping[str, Array]]:
        """Give the cuts, and which ranks are left."""
        low, high, gap = packed.T
        dtype = np.min_scalar_type(len(self.cuts) + 1)
        # The largest rank of all is no number's, so that none is above it.
        none = low > high
        lows = np.where(none, np.iinfo(dtype).max, low)
        widths = np.where(none, 0, high - low)
        return {"values": None, "cuts": len(self.cuts)}, {
            "cuts": self.cuts,
            "lows": lows.astype(dtype),
            "widths": widths.astype(dtype),
            "gaps": gap.astype(bool),
        }


class Sets:
    """What is no number, or taken for a category: a state tells at which places it may be."""

    def __init__(
        self, image: Image, splits: Splits, width: int, categorical: Sequence[CategoricalSplit]
    ) -> None:
        """Find out what goes left; the matrix has a ``width``."""
        self._values = image.values or ()
        made = image.table()
        self._width = len(made)
        kinds, places = np.unique(np.column_stack(splits), axis=0, return_inverse=True)
        self._kinds = places.ravel()
        self._left = np.empty((len(kinds), self._width), dtype=bool)
        columns = {column: at for at, column in enumerate(image.columns.tolist())}
        for left, (feature, threshold, missing_left) in zip(self._left, kinds, strict=True):
            if feature < width:
                codes = made[:, columns[int(feature)]]
                left[:] = np.where(np.isnan(codes), missing_left > 0, codes <= threshold)
            else:
                split = categorical[int(feature) - width]
                left[:] = ~split.goes_right(made[:, columns[split.feature]])

    def start(self, count: int) -> Array:
        """Give the state of those that may be anything."""
        return np.ones((count, self._width), dtype=bool)

    def split(self, state: Array, splits: Array, *, left: bool) -> Array:
        """Take away what goes to the other side of splits."""
        return np.asarray(state & (self._left[self._kinds[splits]] == left))

    def is_whole(self, state: Array) -> Array:
        """Tell of which nothing is taken away."""
        return np.asarray(state.all(axis=1))

    def is_empty(self, state: Array) -> Array:
        """Tell of which nothing is left."""
        return np.asarray(~state.any(axis=1))

    def packed(self, state: Array) -> Array:
        """Give a bit for each place."""
        return np.packbits(state, axis=1)

    def kept(self, packed: Array) -> tuple[Mapping[str, Any], Mapping[str, Array]]:
        """Give the values of the places, and for each place which conditions fail there."""
        failed = ~np.unpackbits(packed, axis=1, count=self._width).view(np.bool_)
        sets = np.packbits(failed.T, axis=1).ravel()
        return {"values": list(self._values), "cuts": 0}, {"sets": sets}

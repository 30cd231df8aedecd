"""Sums of trees, explained exactly by their leaves.

A leaf is a conjunction of conditions, and all those on one column are one condition here. Compared
with a row of the background, a leaf of value v that the two rows would reach by exchanging columns
gives +v (a-1)! n! / (a+n)! to each of the ``a`` columns by which only the row gets there, and
-v a! (n-1)! / (a+n)! to each of the ``n`` by which only the other does: what interventional Shapley
values are of a conjunction. Which conditions rows of the background fail is known since training:
for each leaf its patterns, and how many rows have each. So of a row it is asked which it fails, and
which patterns fail none of these.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from math import comb

import numpy as np

from serving.explaining.attribution import Ask, Attribution, Part
from serving.explaining.conditions import Conditions
from serving.explaining.kept import Kept
from serving.model.description import Description
from serving.model.features import Row
from serving.model.outputs import Array

SIZES = (8, 16, 32, 64)  # conditions that a leaf may have, as there are bits in numbers
FEW = 16  # columns: each leaf has a place for each of so many, and else for those it asks about
PART_NS = 1_000_000  # what a part may take, about
PATTERN_NS, CONDITION_NS = 2.5, 3.0  # measured; so a part has less than 2**16 leaves


@dataclass(frozen=True, slots=True)
class _Block:
    """Some leaves, and the patterns of the background, leaf after leaf.

    ``conditions`` has the shape (leaves, size), ``values`` (leaves, outputs). A pattern has a bit
    for each of its leaf's conditions. ``columns`` are those of the conditions; None, where each
    place is a column's.
    """

    conditions: Array
    columns: Array | None
    width: int  # how many columns there are
    values: Array
    patterns: Array  # how many of them each leaf has
    masks: Array
    counts: Array

    def shares(self, failed: Array) -> Array:
        """Give what these leaves add to each column: an array (columns, outputs)."""
        leaves, size = self.conditions.shape
        lost = failed.take(self.conditions)
        mask = np.packbits(lost, bitorder="little").view(self.masks.dtype)
        met = np.flatnonzero(np.repeat(mask, self.patterns) & self.masks == 0)
        leaf = (
            np.repeat(np.arange(leaves, dtype=np.uint16), self.patterns).take(met).astype(np.intp)
        )
        masks, counts = self.masks.take(met), self.counts.take(met)
        by_row, by_other = weights(size)
        kinds = np.bitwise_count(masks).astype(np.intp) * (size + 1)
        kinds += np.bitwise_count(mask).take(leaf)
        # What each column gets by which only the row gets there, a leaf's conditions in a row ...
        bits = np.flatnonzero(np.unpackbits(masks.view(np.uint8), bitorder="little").view(np.bool_))
        shift = size.bit_length() - 1
        pattern = bits >> shift
        places = (leaf.take(pattern) << shift) + (bits & (size - 1))
        given = (by_row.take(kinds) * counts).take(pattern)
        gained = np.bincount(places, given, leaves * size).reshape(leaves, size)
        # ... and each by which only others do.
        spent = np.bincount(leaf, by_other.take(kinds) * counts, leaves)
        return self._by_column(gained - lost * spent[:, np.newaxis])

    def _by_column(self, net: Array) -> Array:
        """Add up what all leaves give to their columns, times their values."""
        if self.columns is None:
            return np.asarray(net.T[: self.width] @ self.values)
        columns = self.columns.ravel()
        by_output = [(net * values[:, np.newaxis]).ravel() for values in self.values.T]
        return np.array([np.bincount(columns, each, self.width) for each in by_output]).T


def _blocks(kept: Kept, columns: Array) -> Iterator[_Block]:
    """Divide leaves into parts that take about as long as a part may."""
    width, rows = len(kept.told["columns"]), kept.told["background_rows"]
    for size in SIZES:
        if f"values{size}" not in kept.arrays:
            continue
        conditions, values, patterns, masks, counts = (
            kept.arrays[f"{name}{size}"]
            for name in ("conditions", "values", "patterns", "masks", "counts")
        )
        costs = PATTERN_NS * patterns + size * (CONDITION_NS + values.shape[1])
        part = (np.cumsum(costs) // PART_NS).astype(np.intp)
        starts = [*np.flatnonzero(np.diff(part, prepend=-1)), len(part)]
        at = np.concatenate([[0], np.cumsum(patterns, dtype=np.intp)])
        for start, end in pairwise(starts):
            leaves, their = slice(start, end), slice(at[start], at[end])
            yield _Block(
                conditions[leaves],
                columns.take(conditions[leaves]) if width > FEW else None,
                width,
                values[leaves] / rows,
                patterns[leaves].astype(np.intp),
                masks[their],
                counts[their],
            )


class Leaves:
    """Explains what is a sum over leaves, each a conjunction of conditions on columns."""

    def __init__(self, kept: Kept, description: Description, ask: Ask) -> None:
        """Take what training has kept."""
        self._conditions = Conditions(kept)
        self._blocks = list(_blocks(kept, self._conditions.columns))
        self._features = [told["feature"] for told in kept.told["columns"]]
        self._count = len(description.features)
        self._base, self._mix = kept.arrays["base"], kept.arrays["mix"]

    def parts(self, row: Row) -> Sequence[Part]:
        """Give what is to be computed for a row: some leaves each."""
        failed = self._conditions.failed(row)
        return [partial(block.shares, failed) for block in self._blocks]

    def joined(self, row: Row, numbers: Array, results: Sequence[Array]) -> Attribution:
        """Explain a row."""
        contributions = np.zeros((self._count, len(self._base)))
        if results:
            contributions[self._features] += np.sum(results, axis=0) @ self._mix
        return Attribution(self._base, contributions)


@cache
def weights(size: int) -> tuple[Array, Array]:
    """Give (a-1)! n! / (a+n)! and a! (n-1)! / (a+n)! for each a * (size + 1) + n up to a size."""
    pairs = [(a, n) for a in range(size + 1) for n in range(size + 1)]
    ways = [(a, n, comb(a + n, a)) for a, n in pairs]
    by_row = [1 / (a * way) if a else 0.0 for a, _, way in ways]
    by_other = [1 / (n * way) if n else 0.0 for _, n, way in ways]
    return np.array(by_row), np.array(by_other)

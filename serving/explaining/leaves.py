"""Sums of trees, explained exactly by their leaves.

A leaf is a conjunction of conditions, and all those on one column are one condition here. Compared
with a row of the background, a leaf of value v that the two rows would reach by exchanging columns
gives +v (a-1)! n! / (a+n)! to each of the ``a`` columns by which only the row gets there, and
-v a! (n-1)! / (a+n)! to each of the ``n`` by which only the other does: what interventional Shapley
values are of a conjunction (proven by Laberge and Pequignot, "Understanding Interventional
TreeSHAP", arXiv 2209.15123). Which conditions rows of the background fail is known since training:
for each leaf its patterns, and how many rows have each. So of a row it is asked which it fails, and
which patterns fail none of these.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from math import comb
from typing import NamedTuple

import numpy as np

from serving.explaining.attribution import Ask, Attribution, Part
from serving.explaining.conditions import Conditions
from serving.explaining.kept import Kept
from serving.model.description import Description
from serving.model.features import Row
from serving.model.outputs import Array

SIZES = (8, 16, 32, 64)  # conditions that a leaf may have, as there are bits in numbers
FEW = 16  # columns: each leaf has a place for each of so many, and else for those it asks about
PART_NS = 400_000  # what a part may take, about
PATTERN_NS, CONDITION_NS = 2.5, 3.0  # measured; so a part has less than 2**16 leaves


@dataclass(frozen=True, slots=True)
class _Block:
    """Some leaves, and the patterns of the background, leaf after leaf.

    ``conditions`` has the shape (leaves, size), and ``values``, of those ``outputs`` to which these
    leaves add anything, (outputs, leaves). A pattern has a bit for each condition of its leaf.
    """

    conditions: Array
    columns: "_Own | _All"
    outputs: Array
    values: Array
    patterns: Array  # how many of them each leaf has
    masks: Array
    counts: Array

    def shares(self, failed: Array) -> Array:
        """Give what these leaves add to each column: an array (outputs, columns)."""
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
        return self.columns.sums(gained - lost * spent[:, np.newaxis], self.values)


class _All(NamedTuple):
    """Each leaf has a place for each column, of so many."""

    width: int

    def sums(self, net: Array, values: Array) -> Array:
        """Add up by columns what leaves give at each of their places, times their values."""
        return np.asarray((values @ net)[:, : self.width])


class _Own(NamedTuple):
    """Each leaf has places for the columns about which it asks: here in the order of these."""

    places: Array
    leaf: Array
    columns: Array  # that are asked about, of all
    starts: Array
    width: int

    @classmethod
    def of(cls, columns: Array, conditions: Array, width: int) -> "_Own":
        """Take the columns of all conditions, and the conditions of leaves."""
        (places,) = np.nonzero(conditions.ravel())
        found = columns.take(conditions.ravel().take(places))
        order = np.argsort(found, kind="stable")
        places, (own, starts) = places[order], np.unique(found[order], return_index=True)
        leaf = places // conditions.shape[1]
        return cls(places.astype(np.int32), leaf.astype(np.uint16), own, starts, width)

    def sums(self, net: Array, values: Array) -> Array:
        """Add up by columns what leaves give at each of their places, times their values."""
        products = values.take(self.leaf, axis=1) * net.ravel().take(self.places)
        sums = np.zeros((len(values), self.width))
        sums[:, self.columns] = np.add.reduceat(products, self.starts, axis=1)
        return sums


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
        outputs = np.count_nonzero(values, axis=1)
        costs = PATTERN_NS * patterns + size * (CONDITION_NS + outputs)
        part = (np.cumsum(costs) // PART_NS).astype(np.intp)
        starts = [*np.flatnonzero(np.diff(part, prepend=-1)), len(part)]
        at = np.concatenate([[0], np.cumsum(patterns, dtype=np.intp)])
        for start, end in pairwise(starts):
            leaves, their = slice(start, end), slice(at[start], at[end])
            (held,) = np.nonzero(values[leaves].any(axis=0))
            asked = conditions[leaves]
            yield _Block(
                asked,
                _All(width) if width <= FEW else _Own.of(columns, asked, width),
                held,
                np.ascontiguousarray(values[leaves][:, held].T) / rows,
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
        shares = np.zeros((len(self._mix), len(self._features)))
        for block, result in zip(self._blocks, results, strict=True):
            shares[block.outputs] += result
        contributions = np.zeros((self._count, len(self._base)))
        contributions[self._features] += shares.T @ self._mix
        return Attribution(self._base, contributions)


@cache
def weights(size: int) -> tuple[Array, Array]:
    """Give (a-1)! n! / (a+n)! and a! (n-1)! / (a+n)! for each a * (size + 1) + n up to a size."""
    pairs = [(a, n) for a in range(size + 1) for n in range(size + 1)]
    ways = [(a, n, comb(a + n, a)) for a, n in pairs]
    by_row = [1 / (a * way) if a else 0.0 for a, _, way in ways]
    by_other = [1 / (n * way) if n else 0.0 for _, n, way in ways]
    return np.array(by_row), np.array(by_other)

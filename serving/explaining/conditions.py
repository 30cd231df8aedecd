"""Conditions on the columns of a row, many of them at once: what trees ask on the way to a leaf."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Protocol

import numpy as np

from serving.explaining.kept import Kept
from serving.explaining.places import Places
from serving.model.features import Row, Value
from serving.model.outputs import Array


class Conditions:
    """Tells which conditions a row fails, of all that leaves have: the first is never failed.

    ``columns`` has the column of each. In ``told`` these have the ``feature``, how many
    ``conditions`` and ``cuts`` there are, and the ``values`` of places, if it is no number's;
    in the arrays they follow one another.
    """

    def __init__(self, kept: Kept) -> None:
        """Take what training has kept."""
        columns: list[Mapping[str, Any]] = kept.told["columns"]
        counts = [told["conditions"] for told in columns]
        self._features = [told["feature"] for told in columns]
        self._slices = [slice(*ends) for ends in pairwise(accumulate(counts, initial=1))]
        self.columns = np.concatenate([[0], np.repeat(np.arange(len(counts)), counts)])
        next_of = _Arrays(kept.arrays)
        self._asks: list[_Asks] = []
        for told, count in zip(columns, counts, strict=True):
            if told["values"] is None:
                cuts = next_of("cuts", told["cuts"])
                ranges = (next_of(name, count) for name in ("lows", "widths", "gaps"))
                self._asks.append(_Ranges(cuts, *ranges))
            else:
                places = Places(told["values"])
                sets = next_of("sets", -(-count // 8) * len(places))
                self._asks.append(_Sets(places, sets.reshape(len(places), -1), count))

    def failed(self, row: Row) -> Array:
        """Tell of each whether a row fails it."""
        failed = np.zeros(len(self.columns), dtype=bool)
        for asks, feature, place in zip(self._asks, self._features, self._slices, strict=True):
            failed[place] = asks.failed(row[feature])
        return failed


class _Arrays:
    """Gives what comes next in arrays."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = arrays
        self._starts = dict.fromkeys(arrays, 0)

    def __call__(self, name: str, count: int) -> Array:
        start = self._starts[name]
        self._starts[name] += count
        return self._arrays[name][start : start + count]


class _Asks(Protocol):
    def failed(self, value: Value) -> Array: ...


@dataclass(frozen=True, slots=True)
class _Ranges:
    """Conditions on a number: how many cuts may lie below it, and whether it may be missing."""

    cuts: Array
    lows: Array
    widths: Array
    gaps: Array

    def failed(self, value: Value) -> Array:
        if value is None:
            return ~self.gaps
        rank = self.lows.dtype.type(np.searchsorted(self.cuts, float(value)))
        # Without a sign, what is below the low one is large.
        return np.asarray(rank - self.lows > self.widths)


@dataclass(frozen=True, slots=True)
class _Sets:
    """Conditions on what is no number: of each place, by bits, which fail there."""

    places: Places
    packed: Array
    count: int

    def failed(self, value: Value) -> Array:
        bits = np.unpackbits(self.packed[self.places.of(value)], count=self.count)
        return bits.view(np.bool_)

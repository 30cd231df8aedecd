"""Quantiles of numbers that nobody keeps: how many fell between which bounds.

A double's bits, read as a whole number, are in the order of the doubles. Those without all but the
first bits of the mantissa are a key that many share, each within 1 % of the others. There are so
few of them that the memory is flat, and counts of parts add up to those of the whole.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from serving.model.outputs import Array

MANTISSA_BITS = 7  # of 52: the bounds of a key are at most 1/128 apart, relative to them
_LEFT_OUT = 52 - MANTISSA_BITS
_MAGNITUDE = np.int64(2**63 - 1)


class Quantiles:
    """Counts finite numbers; `least` and `most` are exact."""

    def __init__(self) -> None:
        """Begin with none."""
        self.counts: Counter[int] = Counter()
        self.least, self.most = np.inf, -np.inf

    @classmethod
    def of(cls, numbers: Array) -> "Quantiles":
        """Count numbers."""
        quantiles = cls()
        quantiles.count(numbers)
        return quantiles

    @classmethod
    def of_note(cls, note: Sequence[Any]) -> "Quantiles":
        """Take what `note` gave."""
        quantiles = cls()
        bounds, keys, counts = note
        if bounds:
            quantiles.least, quantiles.most = bounds
        quantiles.counts.update(dict(zip(keys, counts, strict=True)))
        return quantiles

    def note(self) -> list[Any]:
        """Give all of it for JSON."""
        bounds = [self.least, self.most] if self.counts else []
        return [bounds, list(self.counts), list(self.counts.values())]

    def count(self, numbers: Array) -> None:
        """Count numbers."""
        if not len(numbers):
            return
        doubles = np.ascontiguousarray(numbers, dtype=np.float64)
        self.least = min(self.least, float(doubles.min()))
        self.most = max(self.most, float(doubles.max()))
        bits = doubles.view(np.int64)
        magnitudes = (bits & _MAGNITUDE) >> _LEFT_OUT
        keys, counts = np.unique(np.where(bits < 0, ~magnitudes, magnitudes), return_counts=True)
        self.counts.update(dict(zip(keys.tolist(), counts.tolist(), strict=True)))

    def add(self, other: "Quantiles") -> None:
        """Add what was counted elsewhere."""
        self.least = min(self.least, other.least)
        self.most = max(self.most, other.most)
        self.counts.update(other.counts)

    def at(self, shares: Sequence[float]) -> list[float]:
        """Give the numbers below which these shares of all lie, each within 1 % of itself."""
        keys = sorted(self.counts)
        ends = np.array(list(accumulate(self.counts[key] for key in keys)))
        places = [int(np.searchsorted(ends, share * (ends[-1] - 1), "right")) for share in shares]
        bounds = (_bound(keys[place]) for place in places)
        return [min(max(bound, self.least), self.most) for bound in bounds]


def _bound(key: int) -> float:
    """Give the bound of a key that is nearer to 0: of small whole numbers, they themselves."""
    magnitude = key if key >= 0 else ~key
    bound = float(np.int64(magnitude << _LEFT_OUT).view(np.float64))
    return bound if key >= 0 else -bound

"""Up to which number what is made of it is within a threshold: found by asking, to the last bit.

Between two numbers of which one lies beyond and the other does not, doubles are halved in their
order until none is left between. Most preparation is a line, so that where the line meets the
threshold is tried first.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import count
from typing import TypeAlias, TypeVar

import numpy as np

from serving.model.features import Number, Value
from serving.model.outputs import Array
from training.explaining.built import CannotExplainError
from training.table.columns import MAX_WHOLE

GRID = 256  # numbers in the range of training, and as many up to the bounds
NEAR = 64  # so few numbers are halved
SIGN = np.int64(np.iinfo(np.int64).min)

Found = TypeVar("Found")
# Gives values of a column, is sent what is made of them, and so on until something is found.
Asking: TypeAlias = Generator[Sequence[Value], Array, Found]


def side_by_side(
    asking: Mapping[int, Asking[Found]],
    of_each: Callable[[Sequence[Sequence[Value]]], Sequence[Array]],
    columns: int,
) -> dict[int, Found]:
    """Find something of some columns, by their places; all of them are asked about together."""
    found = {}
    waiting = {at: next(each) for at, each in asking.items()}
    while waiting:
        made = of_each([waiting.get(at, ()) for at in range(columns)])
        for at in list(waiting):
            try:
                waiting[at] = asking[at].send(made[at])
            except StopIteration as done:
                found[at] = done.value
                del waiting[at]
    return found


def rounded(thresholds: Array) -> Array:
    """Give the largest doubles that are at most a threshold when they are rounded to floats."""
    with np.errstate(over="ignore"):
        floats = thresholds.astype(np.float32)
        floats = np.where(floats > thresholds, np.nextafter(floats, np.float32(-np.inf)), floats)
        halfway = floats.astype(np.float64) / 2
        halfway += np.nextafter(floats, np.float32(np.inf)).astype(np.float64) / 2
        is_in = halfway.astype(np.float32) <= floats
    return np.where(is_in, halfway, np.nextafter(halfway, -np.inf))


class Line:
    """The numbers of a feature that requests may have, in order; and what is made of them."""

    def __init__(self, feature: Number, seen: Sequence[float]) -> None:
        """Choose some numbers to ask about first, those that were ``seen`` among them."""
        self._name = feature.name
        self._is_whole = feature.type == "integer"
        self._grid = self._some(feature, seen)

    def cuts(self, columns: Array, thresholds: Array) -> Asking[tuple[Array, Array]]:
        """Give where what is made of numbers, in some of its columns, passes thresholds.

        Up to the number itself it is on one side; infinite, if it always is on the same. The
        second array tells on which: whether it is at most the threshold.

        Raises:
            CannotExplainError: what is made of them neither rises nor falls.
        """
        made = yield from self._ask(self._grid)
        steps = np.diff(made, axis=0)
        all_rise = np.asarray((steps >= 0).all(axis=0))
        if not (all_rise | (steps <= 0).all(axis=0)).all():
            raise self._why_not
        rises = all_rise[columns]
        is_first = self._is_first(made[:, columns], thresholds, rises)
        first = is_first.sum(axis=0)
        cuts = np.where(first == 0, -np.inf, np.inf)
        (places,) = np.nonzero((first > 0) & (first < len(made)))
        low, high = self._grid[first[places] - 1], self._grid[first[places]]
        ends, asked = (low, high), (columns[places], thresholds[places], rises[places])
        cuts[places] = self._numbers((yield from self._between(*ends, *asked)))
        return cuts, rises

    @property
    def _why_not(self) -> CannotExplainError:
        return CannotExplainError(f"what is made of {self._name!r} neither rises nor falls with it")

    def _between(
        self, low: Array, high: Array, columns: Array, thresholds: Array, rises: Array
    ) -> Asking[Array]:
        """Halve what is between numbers on the one side and on the other, until nothing is."""
        for step in count():
            gaps = high.view(np.uint64) - low.view(np.uint64)
            (places,) = np.nonzero(gaps > 1)
            if not len(places):
                break
            lows, highs, far = low[places], high[places], gaps[places] > NEAR
            their, wanted = columns[places], thresholds[places]
            tried = [(lows >> 1) + (highs >> 1) + (lows & highs & 1)]
            if step % 2 == 0 and far.any():
                met = yield from self._met(lows, highs, their, wanted)
                beside = 8 ** (1 + min(step // 2, 15))
                tried += [np.where(far, met + way, tried[0]) for way in (-beside, beside)]
            for keys in tried:
                keys = np.clip(keys, lows + 1, highs - 1)
                made = (yield from self._ask(keys))[np.arange(len(keys)), their]
                is_first = self._is_first(made, wanted, rises[places])
                low[places] = np.where(is_first, np.maximum(low[places], keys), low[places])
                high[places] = np.where(is_first, high[places], np.minimum(high[places], keys))
            if (low >= high).any():
                raise self._why_not
        return low

    def _met(self, lows: Array, highs: Array, columns: Array, thresholds: Array) -> Asking[Array]:
        """Give about where a line between what is made of two numbers meets a threshold."""
        at = np.arange(len(columns))
        first = (yield from self._ask(lows))[at, columns]
        last = (yield from self._ask(highs))[at, columns]
        start, end = self._numbers(lows) * 1.0, self._numbers(highs) * 1.0
        with np.errstate(all="ignore"):
            numbers = start + (thresholds - first) / (last - first) * (end - start)
        return self._keys(np.clip(np.where(np.isnan(numbers), start, numbers), start, end))

    @staticmethod
    def _is_first(made: Array, thresholds: Array, rises: Array) -> Array:
        """Tell what is on the side of the smallest numbers."""
        return np.asarray((made <= thresholds) == rises)

    def _ask(self, keys: Array) -> Asking[Array]:
        made = yield self._numbers(keys).tolist()
        if np.isnan(made).any():
            raise CannotExplainError(f"nothing is made of some numbers of {self._name!r}")
        return made

    def _some(self, feature: Number, seen: Sequence[float]) -> Array:
        """Give keys of numbers from all over, in order."""
        low, high = feature.bounds.ends
        if self._is_whole:
            low, high = max(low, -MAX_WHOLE), min(high, MAX_WHOLE)
        near = feature.trained or feature.bounds
        numbers = [*np.linspace(*near.ends, GRID), *feature.quantiles.values(), *seen, 0.0]
        inside = [low, high, *(number for number in numbers if low <= number <= high)]
        first, last = self._keys(np.array([low, high], dtype=np.float64)).tolist()
        over = [first + (last - first) * at // GRID for at in range(GRID)]
        return np.unique([*self._keys(np.array(inside, dtype=np.float64)), *over])

    def _keys(self, numbers: Array) -> Array:
        """Give whole numbers in the order of doubles, one for each."""
        if self._is_whole:
            return np.round(numbers).astype(np.int64)
        bits = (numbers + 0.0).view(np.int64)  # there is one zero
        return np.where(bits < 0, SIGN - bits, bits)

    def _numbers(self, keys: Array) -> Array:
        if self._is_whole:
            return keys
        return np.where(keys < 0, SIGN - keys, keys).view(np.float64)

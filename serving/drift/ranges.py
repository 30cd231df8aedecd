"""Ranges of numbers in words: as short as tells them apart, and no shorter."""

import math
from collections.abc import Sequence

from serving.model.domains import Interval

LEAST_DIGITS, MOST_DIGITS = 4, 17  # significant ones; with 17 a double reads back the same
PLAIN_BELOW = 1e15  # whole numbers are written without an exponent


def ranges(
    edges: Sequence[float], within: Interval | None, *, whole: bool, unit: str = ""
) -> list[str]:
    """Tell what lies between edges, each of which is the last number of its range.

    ``within`` is where the first begins and the last ends; without it they are open. Of ``whole``
    numbers those are told that lie in a range.
    """
    low, high = (None, None) if within is None else (float(within.minimum), float(within.maximum))
    if whole:
        begins = [low, *(math.floor(edge) + 1.0 for edge in edges)]
        ends = [*(float(math.floor(edge)) for edge in edges), high]
    else:
        begins, ends = [low, *map(float, edges)], [*map(float, edges), high]
    names = short([number for number in (*begins, *ends) if number is not None])
    return [
        _range(begin, end, names, unit, whole=whole)
        for begin, end in zip(begins, ends, strict=True)
    ]


def outside(within: Interval, unit: str = "") -> tuple[str, str]:
    """Tell what lies below an interval, and what lies above."""
    low, high = float(within.minimum), float(within.maximum)
    names = short([low, high])
    fewer, more = ("fewer than", "more than") if unit else ("below", "above")
    return f"{fewer} {_with(unit, names[low])}", f"{more} {_with(unit, names[high])}"


def _range(
    begin: float | None, end: float | None, names: dict[float, str], unit: str, *, whole: bool
) -> str:
    match begin, end:
        case None, None:
            return "any number"
        case None, float():
            return f"at most {_with(unit, names[end])}"
        case float(), None:
            return f"{names[begin]} or more{unit}" if whole else f"more than {names[begin]}{unit}"
        case float(), float() if begin < end:
            return f"{names[begin]} to {_with(unit, names[end])}"
        case float(), float() if begin > end:  # no whole number lies in it
            return "no number"
    return _with(unit, names[end])  # type: ignore[index]


def _with(unit: str, number: str) -> str:
    return f"{number}{unit.removesuffix('s') if number == '1' else unit}"


def short(numbers: Sequence[float]) -> dict[float, str]:
    """Write numbers shortly, and different ones differently."""
    distinct = dict.fromkeys(numbers)
    for digits in range(LEAST_DIGITS, MOST_DIGITS + 1):
        written = {number: _written(number, digits) for number in distinct}
        if len(set(written.values())) == len(distinct):
            break
    return written


def _written(number: float, digits: int) -> str:
    if abs(number) >= PLAIN_BELOW:
        return f"{number:.{digits}g}"
    if number.is_integer():
        return str(int(number))
    before_the_point = len(str(int(abs(number))))
    return f"{number:.{max(digits, before_the_point)}g}"

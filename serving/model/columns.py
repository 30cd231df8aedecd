"""Rows by columns: what a table holds of each feature, judged for many rows at once.

A column is what a file's reader makes of it, and what a model is asked by. What is plainly usual is
found by numpy; of all else the features say what is wrong or unusual, as they do of rows that come
one by one.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from serving.model.features import Boolean, Feature, Number, Row, Value
from serving.model.outputs import Array
from serving.problems import FieldError, pointer

UNREAD = "a value that can't be read"
INT64 = np.iinfo(np.int64)
MAX_EXACT = 2.0**62


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

    def part(self, start: int, end: int) -> "Column":
        """Give the column of rows that follow one another; none of which has others."""
        missing = None if self.missing is None else self.missing[start:end]
        return Column(self.values[start:end], missing, self.words)

    def doubles(self) -> Array:
        """Give numbers or booleans as doubles, NaN where one is missing."""
        doubles = self.values.astype(np.float64)
        if self.missing is not None:
            doubles[self.missing] = np.nan
        return doubles

    def objects(self) -> list[Value]:
        """Give the values as Python has them, None where one is missing."""
        objects: list[Value] = self.values.tolist()
        if self.missing is not None:
            missing = self.missing.tolist()
            if self.words is not None:
                objects = [
                    None if gone else self.words[at]
                    for at, gone in zip(self.values.tolist(), missing, strict=True)
                ]
            else:
                objects = [
                    None if gone else each for each, gone in zip(objects, missing, strict=True)
                ]
        elif self.words is not None:
            objects = [self.words[at] for at in self.values.tolist()]
        return objects

    def counted(self) -> Array | dict[Value, int]:
        """Give what bins count: doubles, or how often there is each string or boolean."""
        words: Sequence[Value] | None = self.words
        if self.values.dtype == bool:
            words = (False, True)
        if words is None:
            return self.doubles()
        places = self.values.astype(np.intp)
        if self.missing is not None:
            places = np.where(self.missing, len(words), places)
        counts = np.bincount(places, minlength=len(words) + 1).tolist()
        return {word: count for word, count in zip((*words, None), counts, strict=True) if count}


def by_columns(features: Sequence[Feature], rows: Sequence[Row]) -> list[Column]:
    """Give validated rows by columns."""
    columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * len(features)
    return [_column(feature, values) for feature, values in zip(features, columns, strict=True)]


def _column(feature: Feature, values: Sequence[Any]) -> Column:
    gone = np.array([value is None for value in values], dtype=bool)
    missing = gone if gone.any() else None
    if isinstance(feature, Number | Boolean):
        dtype = {"integer": np.int64, "boolean": np.bool_}.get(feature.type, np.float64)
        return Column(np.array([value or 0 for value in values], dtype=dtype), missing)
    words = [word for word in dict.fromkeys(values) if word is not None]
    places = {word: place for place, word in enumerate(words)}
    return Column(np.array([places.get(value, 0) for value in values], np.intp), missing, words)


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows that were looked at: what is wrong with some, and unusual about others, by their place.

    ``columns`` are the features' as the model takes them, of ``good`` rows, which have no mistakes.
    The pointers begin at the row, as if it were an object by feature name.
    """

    columns: list[Column]
    good: Array
    mistakes: Mapping[int, Sequence[FieldError]]
    warnings: Mapping[int, Sequence[FieldError]]


def judge(
    features: Sequence[Feature],
    columns: Sequence[Column],
    broken: Mapping[int, FieldError],
) -> Judged:
    """Judge rows, of which some are known to be broken: of these nothing else is told."""
    mistakes: defaultdict[int, list[FieldError]] = defaultdict(list)
    warnings: defaultdict[int, list[FieldError]] = defaultdict(list)
    for at, told in broken.items():
        mistakes[at].append(told)
    for feature, column in zip(features, columns, strict=True):
        place = pointer(feature.name)
        for at, wrong, detail in _remarks(feature, column):
            if at not in broken:
                (mistakes if wrong else warnings)[at].append(FieldError(place, detail))
    good = np.ones(len(columns[0]), dtype=bool)
    if mistakes:
        bad = sorted(mistakes)
        good[bad] = False
        for at in bad:
            warnings.pop(at, None)
        mistakes = defaultdict(list, {at: mistakes[at] for at in bad})
        columns = [column.take(good) for column in columns]
    taken = [_as_taken(feature, column) for feature, column in zip(features, columns, strict=True)]
    return Judged(taken, good, mistakes, warnings)


def _remarks(feature: Feature, column: Column) -> Iterator[tuple[int, bool, str]]:
    """Tell of values by their rows: whether each is wrong, or else unusual, and how."""
    apart = np.zeros(len(column), dtype=bool)  # what is no value of the feature's type
    if column.missing is not None:
        apart |= column.missing
        if detail := feature.mistake(None):
            for at in np.flatnonzero(column.missing).tolist():
                yield at, True, detail
    if column.others:
        apart[list(column.others)] = True
        for at, other in column.others.items():
            yield at, True, feature.mistake(other) or UNREAD

    @cache
    def told(value: Value) -> tuple[bool, str]:
        wrong = feature.mistake(value)
        return bool(wrong), wrong or feature.unlike(value)

    words: Sequence[Value] | None = column.words
    if column.values.dtype == bool:
        words = (False, True)
    if words is not None:
        strange = np.array([told(word)[1] != "" for word in words], dtype=bool)
        if not strange.any():
            return
        rows = np.flatnonzero(strange[column.values.astype(np.intp)] & ~apart)
        for at, place in zip(rows.tolist(), column.values[rows].tolist(), strict=True):
            yield at, *told(words[place])
        return
    rows = np.flatnonzero(~(_plain(feature, column.values) | apart))
    for at, value in zip(rows.tolist(), column.values[rows].tolist(), strict=True):
        wrong, detail = told(value)
        if detail:
            yield at, wrong, detail


def _plain(feature: Feature, numbers: Array) -> Array:
    """Tell the numbers of which it is plain that they are right and usual: maybe not all such."""
    if not isinstance(feature, Number):
        return np.zeros(len(numbers), dtype=bool)
    if feature.known is not None:
        plain = np.isin(numbers, feature.known)
    else:
        plain = np.ones(len(numbers), dtype=bool)
    for interval in (feature.bounds, feature.trained):
        if interval is not None:
            low, high = interval.ends
            if numbers.dtype == np.int64:  # a double near them may be another number
                low, high = _whole(low, up=True), _whole(high, up=False)
            plain &= (numbers >= low) & (numbers <= high)
    if feature.type == "integer" and numbers.dtype != np.int64:
        plain &= numbers == np.floor(numbers)
    return plain


def _whole(number: float, *, up: bool) -> int:
    """Give the nearest whole number within an interval's end that an int64 can be."""
    whole = math.ceil(number) if up else math.floor(number)
    return min(max(whole, INT64.min), INT64.max)


def _as_taken(feature: Feature, column: Column) -> Column:
    """Give a good column with the type that validated rows have: 5 is 5.0, or 5.0 is 5."""
    wanted = {"number": np.float64, "integer": np.int64}.get(feature.type)
    if wanted is None or column.values.dtype == wanted:
        return column
    values = column.values
    if column.missing is not None:
        values = np.where(column.missing, 0, values)
    if wanted is np.int64 and (np.abs(values) > MAX_EXACT).any():
        return column  # as a double it is what the model takes, and as an int64 it is none
    return Column(values.astype(wanted), column.missing, column.words)

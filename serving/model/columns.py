"""Rows by columns: what a table holds of each feature, judged for many rows at once.

A column is what a file's reader makes of it, and what a model is asked by. What is plainly usual is
found by numpy; of all else the features say what is wrong or unusual, as they do of rows that come
one by one.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from serving.model.domains import Interval
from serving.model.features import Boolean, Feature, Number, Row, Value
from serving.model.outputs import Array
from serving.problems import FieldError, pointer

UNREAD = "a value that can't be read"
RIGHT = (False, "")
INT64 = np.iinfo(np.int64)
MAX_EXACT = 2.0**62


@dataclass(slots=True)
class Column:
    """The values of one feature in many rows.

    ``values`` has the shape (rows,). Of numbers it is float64 or int64, of booleans bool; of
    strings it has the places of each in ``words``, which is None for others. ``missing`` tells
    where there is no value, None that there is one everywhere; what ``values`` has there is of no
    account, and so it is where ``others`` has what is no such value, by its row: whatever JSON
    could have there, such as a string among numbers; or a `FieldError`, where it has nothing.
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
        values: list[Any] = self.values.tolist()
        if self.missing is None:
            return values if self.words is None else [self.words[at] for at in values]
        known = zip(values, self.missing.tolist(), strict=True)
        if self.words is None:
            return [None if gone else value for value, gone in known]
        return [None if gone else self.words[at] for at, gone in known]

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


class Remark(NamedTuple):
    """What is wrong with, or unusual about, the values of some rows, by their places in order."""

    told: FieldError
    rows: Array


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows that were looked at: what is wrong with some, and unusual about others.

    ``columns`` are the features' as the model takes them, of ``good`` rows, which have no mistakes;
    of others no warnings are told. The pointers begin at the row, as if it were an object by
    feature name.
    """

    columns: list[Column]
    good: Array
    mistakes: list[Remark]
    warnings: list[Remark]


def judge(
    features: Sequence[Feature],
    columns: Sequence[Column],
    broken: Mapping[int, FieldError],
) -> Judged:
    """Judge rows, of which some are known to be broken: of these nothing else is told."""
    good = np.ones(len(columns[0]), dtype=bool)
    good[list(broken)] = False
    mistakes = [Remark(told, np.array([at])) for at, told in sorted(broken.items())]
    warnings: list[Remark] = []
    for feature, column in zip(features, columns, strict=True):
        for wrong, detail, rows in _remarks(feature, column):
            told = FieldError(pointer(feature.name), detail)
            (mistakes if wrong else warnings).append(Remark(told, rows))
    if mistakes:
        whole = good.copy()
        mistakes = [*mistakes[: len(broken)], *among(mistakes[len(broken) :], whole)]
        for remark in mistakes:
            good[remark.rows] = False
        warnings = among(warnings, good)
        columns = [column.take(good) for column in columns]
    taken = [_as_taken(feature, column) for feature, column in zip(features, columns, strict=True)]
    return Judged(taken, good, mistakes, warnings)


def among(remarks: Sequence[Remark], rows: Array) -> list[Remark]:
    """Give what is told of some rows, given by a mask."""
    kept = (Remark(told, places[rows[places]]) for told, places in remarks)
    return [remark for remark in kept if len(remark.rows)]


def _remarks(feature: Feature, column: Column) -> Iterator[tuple[bool, str, Array]]:
    """Tell what values are wrong, or else unusual, and how."""
    apart = np.zeros(len(column), dtype=bool)  # what is no value of the feature's type
    if column.missing is not None:
        apart |= column.missing
        if (detail := feature.mistake(None)) and apart.any():
            yield True, detail, np.flatnonzero(apart)
    if column.others:
        apart[list(column.others)] = True
        kinds: defaultdict[str, list[int]] = defaultdict(list)
        for at, other in sorted(column.others.items()):
            detail = other.detail if isinstance(other, FieldError) else feature.mistake(other)
            kinds[detail or UNREAD].append(at)
        for detail, places in kinds.items():
            yield True, detail, np.array(places)
    values = column.values
    words: Sequence[Value] | None = (False, True) if values.dtype == bool else column.words
    if words is not None:
        rows, kinds_of = np.flatnonzero(~apart), [_told(feature, word) for word in words]
        codes = {told: code for code, told in enumerate(dict.fromkeys(kinds_of))}
        if set(codes) <= {RIGHT}:
            return
        of_word = np.array([codes[told] for told in kinds_of])
        of_row = of_word[values[rows].astype(np.intp)]
        for told, code in codes.items():
            if told != RIGHT and (places := rows[of_row == code]).size:
                yield *told, places
    elif isinstance(feature, Number):
        rows = np.flatnonzero(~(_plain(feature, values) | apart))
        of_row = _kinds(feature, values[rows])
        for kind in np.unique(of_row):
            places = rows[of_row == kind]
            if (told := _told(feature, values[places[0]].item())) != RIGHT:
                yield *told, places


def _told(feature: Feature, value: Value) -> tuple[bool, str]:
    """Tell whether a value is wrong, and how; or else how it is unusual."""
    wrong = feature.mistake(value)
    return bool(wrong), wrong or feature.unlike(value)


def _plain(feature: Number, numbers: Array) -> Array:
    """Tell the numbers of which it is plain that they are right and usual."""
    plain = _within(feature.bounds, numbers)
    if feature.trained is not None and feature.trained != feature.bounds:
        plain &= _within(feature.trained, numbers)
    if feature.known is not None:
        plain &= np.isin(numbers, feature.known)
    if feature.type == "integer" and numbers.dtype != np.int64:
        plain &= numbers == np.floor(numbers)
    return plain


def _kinds(feature: Number, numbers: Array) -> Array:
    """Sort numbers by all that decides what is told of them, so that one of a kind tells of all."""
    kinds = _within(feature.bounds, numbers).astype(np.int64)
    if feature.trained is not None:
        kinds = 2 * kinds + _within(feature.trained, numbers)
    if feature.known is not None:
        kinds = 2 * kinds + np.isin(numbers, feature.known)
    return np.asarray(2 * kinds + (numbers == np.floor(numbers)))


def _within(interval: Interval, numbers: Array) -> Array:
    low, high = interval.ends
    if numbers.dtype == np.int64:  # a double near them may be another number
        low, high = _whole(low, up=True), _whole(high, up=False)
    return np.asarray((numbers >= low) & (numbers <= high))


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

"""Columns of an Arrow stream: buffers to values, as Python has them, None for nulls.

Every length and offset is checked before what it tells of is looked at. Refuses with 400 what does
not agree, with 413 what would swell beyond the limit of a body, and with 415 buffers that are
compressed in a way of later versions.
"""

import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from serving.dialects.arrow_buffers import CODECS, inflated
from serving.dialects.arrow_messages import (
    BOOL,
    FLOAT,
    INT,
    LARGE_UTF8,
    NULL,
    UTF8,
    UTF8_VIEW,
    Batch,
    Column,
    Range,
    Type,
    malformed,
)
from serving.problems import BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, Problem

READ = {NULL, INT, FLOAT, BOOL, UTF8, LARGE_UTF8, UTF8_VIEW}  # types whose values are read
VALUE_BYTES = 8  # that a value counts, whatever its type
_VIEW_BYTES, _INLINE_BYTES = 16, 12

_Bits: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]


class Room:
    """How much a table may still hold, in bytes: a small body may say that it has many rows."""

    def __init__(self, max_bytes: int) -> None:
        """Take the limit."""
        self._max_bytes = self._left_bytes = max_bytes

    def take(self, count: int) -> None:
        """Take so many bytes.

        Raises:
            Problem: 413, there are not so many.
        """
        self._left_bytes -= count
        if self._left_bytes < 0:
            detail = f"the table holds more than {self._max_bytes} bytes"
            told = f"{detail}: {VALUE_BYTES} for each value, and a string as often as it is told"
            raise Problem(BODY_TOO_LARGE, told)


def values_of(type_: Type, batch: Batch, column: Column, room: Room) -> list[Any]:
    """Give the values of a column, of a type that is read.

    Raises:
        Problem: 400, 413 or 415.
    """
    count = batch.length
    room.take(count * VALUE_BYTES)
    if type_.kind == NULL:
        return [None] * count
    validity, *buffers = [_buffer(each, batch, room) for each in column.buffers]
    is_valid = _bits(validity, count) if column.nulls else None
    values: list[Any]
    if type_.kind == BOOL:
        values = _bits(buffers[0], count).tolist()
    elif type_.dtype:
        values = _numbers(type_.dtype, buffers[0], count).tolist()
    else:
        places = range(count) if is_valid is None else np.flatnonzero(is_valid).tolist()
        return _strings(type_, buffers, count, places, room)
    if is_valid is not None:
        for place in np.flatnonzero(~is_valid).tolist():
            values[place] = None
    return values


def looked_up(words: Sequence[Any], indices: Sequence[int | None], room: Room) -> list[Any]:
    """Give the values of a dictionary that indices stand for.

    Raises:
        Problem: 400 or 413.
    """
    if any(at is not None and not 0 <= at < len(words) for at in indices):
        malformed("a value is not in its dictionary")
    values = [None if at is None else words[at] for at in indices]
    room.take(sum(len(value) for value in values if type(value) is str))
    return values


def _numbers(dtype: str, data: memoryview, count: int) -> np.ndarray[Any, Any]:
    if len(data) < count * np.dtype(dtype).itemsize:
        malformed("a buffer is too short for its values")
    return np.frombuffer(data, dtype, count)


def _bits(data: memoryview, count: int) -> _Bits:
    if len(data) * 8 < count:
        malformed("a buffer is too short for its values")
    packed = np.frombuffer(data, np.uint8, (count + 7) // 8)
    return np.unpackbits(packed, count=count, bitorder="little").astype(bool)


def _strings(
    type_: Type, buffers: Sequence[memoryview], count: int, places: Sequence[int], room: Room
) -> list[Any]:
    """Give the strings at some places, and None elsewhere."""
    values: list[Any] = [None] * count
    cells: Iterable[memoryview]
    if type_.kind == UTF8_VIEW:
        views, *buffers = buffers
        if len(views) < count * _VIEW_BYTES:
            malformed("a buffer is too short for its values")
        cells = (_viewed(views, place * _VIEW_BYTES, buffers, room) for place in places)
    else:
        offsets_buffer, data = buffers
        dtype = "<i8" if type_.kind == LARGE_UTF8 else "<i4"
        offsets = _numbers(dtype, offsets_buffer, count + 1).tolist() if count else []
        if any(a > b for a, b in pairwise(offsets)) or (
            offsets and not (offsets[0] >= 0 and offsets[-1] <= len(data))
        ):
            malformed("the offsets of strings do not agree")
        cells = (data[offsets[place] : offsets[place + 1]] for place in places)
    try:
        for place, cell in zip(places, cells, strict=True):
            values[place] = str(cell, "utf-8")
    except UnicodeDecodeError:
        malformed("a string is no UTF-8")
    return values


def _viewed(views: memoryview, at: int, buffers: Sequence[memoryview], room: Room) -> memoryview:
    """Give the bytes that a view of a string tells of."""
    length, number, start = struct.unpack_from("<i4xii", views, at)
    if 0 <= length <= _INLINE_BYTES:
        number, start, buffers = 0, at + 4, [views]
    if length < 0 or start < 0 or not 0 <= number < len(buffers):
        malformed("a view of a string tells of no buffer")
    if start + length > len(buffers[number]):
        malformed("a view of a string ends outside of its buffer")
    room.take(length)  # many may tell of the same bytes
    found: memoryview = buffers[number][start : start + length]
    return found


def _buffer(place: Range, batch: Batch, room: Room) -> memoryview:
    start, size = place
    data = batch.body[start : start + size]
    if batch.codec is None or not size:
        return data
    if batch.codec not in CODECS:
        detail = "buffers are compressed otherwise than as LZ4 frames or by Zstandard"
        raise Problem(UNSUPPORTED_MEDIA_TYPE, detail)
    if size < 8:
        malformed("a compressed buffer lacks its length")
    (length,) = struct.unpack_from("<q", data)
    if length == -1:  # it was not worth it
        return data[8:]
    if length < 0:
        malformed("a compressed buffer has no length")
    room.take(length)
    return inflated(data, batch.codec, length) if length else data[:0]

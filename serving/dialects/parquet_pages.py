"""How much the pages of a Parquet file hold, inflated, by what each page says itself.

What a file's footer says of that may be wrong, and nobody compares the two. Where pages are it does
tell, and is taken as Arrow's reader has understood it, and written it again. Refuses what such a
reader could understand otherwise.
"""

from collections.abc import Iterator
from typing import Any

from serving.thrift import I32, I64, LIST, STRUCT, Fields, Reader

# Fields of parquet.thrift.
_ROW_GROUPS, _COLUMNS, _META_DATA = 4, 1, 3
# Of a column: how many values it has, its bytes, and where its pages begin.
_VALUES, _SIZE, _DATA, _DICTIONARY = 5, 7, 9, 11
_INFLATED, _COMPRESSED = 2, 3  # of a page
_MAX_I32 = 2**31 - 1
_END_BYTES = 8  # after a footer: its size, and the magic bytes


def page_sizes(file: bytes, metadata: bytes) -> Iterator[int]:
    """Give for each page how many bytes it takes, inflated, with those that tell of it.

    ``metadata`` is a file that has the footer alone, as Arrow has written it.

    Raises:
        ValueError: it is damaged.
    """
    size = int.from_bytes(metadata[-_END_BYTES : -_END_BYTES // 2], "little")
    footer = Reader(metadata, len(metadata) - _END_BYTES - size).struct()
    try:
        for group in _found(footer, _ROW_GROUPS, LIST)[1]:
            for column in _found(group, _COLUMNS, LIST)[1]:
                yield from _pages_of(_found(column, _META_DATA, STRUCT), file)
    except (IndexError, KeyError, RecursionError):
        raise ValueError("a page is damaged") from None


def _pages_of(column: Fields, file: bytes) -> Iterator[int]:
    if _found(column, _VALUES, I64) <= 0:
        return  # no page is read, and none may be where it should
    at, dictionary = _found(column, _DATA, I64), _found(column, _DICTIONARY, I64, 0)
    if 0 < dictionary < at:
        at = dictionary
    end = at + _found(column, _SIZE, I64)
    if not 0 <= at <= end <= len(file):
        raise ValueError("a column lies outside of it")
    while at < end:
        page = Reader(file, at)
        told = page.struct()
        inflated, compressed = (_found(told, each, I32) for each in (_INFLATED, _COMPRESSED))
        if not (0 <= inflated <= _MAX_I32 and 0 <= compressed <= _MAX_I32):
            raise ValueError("a page has no size")
        yield inflated + page.at - at
        at = page.at + compressed


def _found(fields: Fields, number: int, kind: int, default: Any = ...) -> Any:  # noqa: ANN401 (what it has)
    """Give what a field has; of several, the last counts."""
    found = [value for each, its_kind, value in fields if (each, its_kind) == (number, kind)]
    if not found and default is ...:
        raise ValueError("something is not told")
    return found[-1] if found else default

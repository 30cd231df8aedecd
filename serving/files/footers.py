"""What Parquet and Arrow files end with: where each part of them stands.

Parts are small files of their own, whose pages and messages are joined as they are. A Parquet
footer is Thrift (compact protocol): row groups are taken from the parts' footers, with their places
moved. An Arrow footer is a flatbuffer: the places of the messages are put at its end.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from serving.files.formats import ARROW_MAGIC, PARQUET_MAGIC
from serving.thrift import BINARY, FALSE, INTEGERS, LIST, STRUCT, TRUE, Fields, Reader

# Fields of parquet.thrift. An ordinal says nothing that the order does not, and ends at 32767.
_NUM_ROWS, _ROW_GROUPS = 3, 4
_COLUMNS, _GROUP_ROWS, _GROUP_OFFSET, _ORDINAL = 1, 3, 5, 7
_CHUNK_OFFSET, _META_DATA = 2, 3
_PAGE_OFFSETS = {9, 10, 11}  # of the first page of data, of an index, and of the dictionary


class _Place(int):
    """A place in the data of a part, to be moved."""


def row_group(file: bytes) -> tuple[bytes, bytes]:
    """Take the data out of a Parquet file of one row group, and what tells of it in a footer."""
    size = struct.unpack("<i", file[-8:-4])[0]
    end = len(file) - 8 - size
    (group,) = _field(Reader(file[end:-8]).struct(), _ROW_GROUPS)[1]
    begin = len(PARQUET_MAGIC)
    moved: Fields = []
    for number, kind, value in group:
        if number == _COLUMNS:
            moved.append((number, kind, (value[0], [_chunk(each, begin) for each in value[1]])))
        elif number != _ORDINAL:
            moved.append((number, kind, _moved(value, begin) if number == _GROUP_OFFSET else value))
    pieces: list[str | int] = [""]
    for piece in _struct(moved):
        if isinstance(piece, _Place):
            pieces += [int(piece), ""]
        else:
            pieces[-1] += piece.decode("latin-1")  # type: ignore[operator]
    return file[begin:end], orjson.dumps([_field(group, _GROUP_ROWS), pieces])


def _chunk(fields: Fields, begin: int) -> Fields:
    """Give what tells of a column, with places that can be moved."""
    return [
        (number, kind, _moved(value, begin) if number == _CHUNK_OFFSET else value)
        if number != _META_DATA
        else (
            number,
            kind,
            [(n, k, _moved(v, begin) if n in _PAGE_OFFSETS else v) for n, k, v in value],
        )
        for number, kind, value in fields
    ]


def _moved(place: int, begin: int) -> int:
    return _Place(place - begin) if place else place  # 0 stands for none


def parquet_footer(empty: bytes, parts: Iterable[tuple[int, bytes]]) -> bytes:
    """Give the end of a Parquet file, by the file without rows, and by where each part starts."""
    rows, groups = 0, []
    for start, index in parts:
        held, pieces = orjson.loads(index)
        rows += held
        groups.append(
            b"".join(
                piece.encode("latin-1") if isinstance(piece, str) else _zigzag(start + piece)
                for piece in pieces
            )
        )
    size = struct.unpack("<i", empty[-8:-4])[0]
    new = {_NUM_ROWS: rows, _ROW_GROUPS: (STRUCT, groups)}
    fields = Reader(empty[-8 - size : -8]).struct()
    footer = b"".join(_struct([(n, k, new.get(n, v)) for n, k, v in fields]))  # type: ignore[arg-type]
    return footer + struct.pack("<i", len(footer)) + PARQUET_MAGIC


def _field(fields: Fields, wanted: int) -> Any:  # noqa: ANN401 (what the field has)
    return next(value for number, _, value in fields if number == wanted)


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])


def _zigzag(value: int) -> bytes:
    return _varint(2 * value if value >= 0 else -2 * value - 1)


def _struct(fields: Fields) -> Iterable[bytes | _Place]:
    """Write a struct; places that are to be moved come by themselves."""
    last = 0
    for number, kind, value in fields:
        step = number - last
        yield bytes([step << 4 | kind]) if 0 < step < 16 else bytes([kind]) + _zigzag(number)
        last = number
        if kind not in {TRUE, FALSE}:
            yield from _value(kind, value)
    yield b"\0"


def _value(kind: int, value: Any) -> Iterable[bytes | _Place]:  # noqa: ANN401 (of any type)
    if isinstance(value, _Place):
        yield value
    elif kind in INTEGERS:
        yield _zigzag(value)
    elif kind == STRUCT and not isinstance(value, bytes):
        yield from _struct(value)
    elif kind == LIST:
        inner, values = value
        count = len(values)
        yield bytes([count << 4 | inner]) if count < 15 else bytes([0xF0 | inner]) + _varint(count)
        for each in values:
            yield from _value(inner, each)
    else:
        yield _varint(len(value)) + value if kind == BINARY else value


def arrow_block(message: bytes) -> bytes:
    """Give what an Arrow footer has to tell of a message: how long its two halves are."""
    header = 8 + struct.unpack_from("<i", message, 4)[0]
    return struct.pack("<iq", header, len(message) - header)


def arrow_footer(file: bytes, parts: Sequence[tuple[int, bytes]]) -> bytes:
    """Give the end of an Arrow file, by one with a batch, and by where each part starts."""
    (size,) = struct.unpack_from("<i", file, len(file) - 10)
    footer = bytearray(file[-10 - size : -10])
    # A table has its fields where its vtable says; a vector is found by how far away it is.
    (table,) = struct.unpack_from("<I", footer)
    (vtable,) = struct.unpack_from("<i", footer, table)
    (batches,) = struct.unpack_from("<H", footer, table - vtable + 4 + 2 * 3)
    footer += bytes(-(len(footer) + 4) % 8)  # blocks have longs
    struct.pack_into("<I", footer, table + batches, len(footer) - table - batches)
    footer += struct.pack("<I", len(parts))
    for start, index in parts:
        footer += struct.pack("<qi4xq", start, *struct.unpack("<iq", index))
    return bytes(footer) + struct.pack("<i", len(footer)) + ARROW_MAGIC

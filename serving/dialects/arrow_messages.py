"""The messages of an Arrow IPC stream: what they say of columns, rows and buffers.

Apache Arrow's columnar format, version 1.5: a schema, then dictionaries and record batches, each
with metadata (a FlatBuffer) before a body. Nothing that these say is believed before it is seen to
lie within what was sent; no buffer is looked at here. Refuses with 400 what is no such stream, or
not the whole of one, with 415 a big-endian one, and with 422 nested columns.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn, TypeAlias

from serving.model.rows import MAX_NAME_CHARS, refuse
from serving.problems import (
    MALFORMED_BODY,
    UNSUPPORTED_MEDIA_TYPE,
    FieldError,
    Problem,
    pointer,
)

SCHEMA, DICTIONARY, BATCH = 1, 2, 3  # kinds of messages, as Message.fbs numbers them
CONTINUATION = -1
_VERSIONS = (3, 4)  # V4 and V5 differ in unions alone
NULL, INT, FLOAT, BOOL, UTF8, LARGE_UTF8, UTF8_VIEW = 1, 2, 3, 6, 5, 20, 24
_NESTED = {12, 13, 14, 16, 17, 21, 22, 25, 26}
_TYPES = {
    NULL: "nulls",
    INT: "integers",
    FLOAT: "numbers",
    4: "binary data",
    UTF8: "strings",
    BOOL: "booleans",
    7: "decimals",
    8: "dates",
    9: "times",
    10: "timestamps",
    11: "intervals",
    15: "binary data",
    18: "durations",
    19: "binary data",
    LARGE_UTF8: "strings",
    23: "binary data",
    UTF8_VIEW: "strings",
}
_BUFFERS = {NULL: 0, 4: 3, UTF8: 3, 19: 3, LARGE_UTF8: 3}  # others have two, views some more
_VIEWS = {23, UTF8_VIEW}
_INT_BITS = (8, 16, 32, 64)
_FLOAT_BYTES = (2, 4, 8)

Range: TypeAlias = tuple[int, int]  # of a body: where it begins, and its length


class Type(NamedTuple):
    """A type of values; ``dtype`` is that of numbers."""

    kind: int
    dtype: str = ""

    @property
    def named(self) -> str:
        """What such values are called."""
        return _TYPES[self.kind]


class Field(NamedTuple):
    """A column; if it has a dictionary, ``indices`` is the type of what stands in its batches."""

    name: str
    type: Type
    indices: Type | None = None
    dictionary: int = 0


class Column(NamedTuple):
    """A column of a batch: how many nulls it has, and where its buffers are."""

    nulls: int
    buffers: Sequence[Range]


class Batch(NamedTuple):
    """Rows, or the values of a dictionary; ``codec`` is how buffers are compressed, if they are."""

    length: int
    columns: Sequence[Column]
    codec: int | None
    body: memoryview


class Dictionary(NamedTuple):
    """Values that columns refer to; more of them, if it is a delta."""

    id: int
    is_delta: bool
    batch: Batch


def malformed(reason: str) -> NoReturn:
    """Refuse what is no such stream.

    Raises:
        Problem: 400.
    """
    raise Problem(MALFORMED_BODY, f"no Arrow stream: {reason}")


def read_stream(body: bytes) -> tuple[list[Field], Iterator[Dictionary | Batch]]:
    """Give the columns of a stream, and what follows them, which is read when it is asked for.

    Raises:
        Problem: 400, 415 or 422; also while the rest is read.
    """
    messages = _messages(body)
    first = next(messages, None)
    if first is None or first[0] != SCHEMA:
        malformed("it does not begin with a schema")
    fields = _fields(first[1])
    return fields, _rest(messages, fields)


def _rest(messages: "Iterator[_Message]", fields: Sequence[Field]) -> Iterator[Dictionary | Batch]:
    types = {field.dictionary: field.type for field in fields if field.indices}
    in_batches = [field.indices or field.type for field in fields]
    for kind, header, body in messages:
        if kind == BATCH:
            yield _batch(header, in_batches, body)
        elif kind == DICTIONARY:
            key, data = header.number(0, "<q"), header.table(1)
            if key not in types or data is None:
                malformed("a dictionary is of no column")
            batch = _batch(data, [types[key]], body)
            yield Dictionary(key, bool(header.number(2, "<B")), batch)
        else:
            malformed("a message is of another kind than dictionaries and batches")


_Message: TypeAlias = "tuple[int, _Table, memoryview]"


def _messages(body: bytes) -> Iterator[_Message]:
    """Give all messages, and see that the stream's end is there."""
    rest = memoryview(body)
    while True:
        mark, size = _unpacked("<ii", rest, 0)
        rest = rest[8:]
        if mark != CONTINUATION or size < 0:
            malformed("it does not begin as one, or was written by a version before 0.15")
        if size == 0:
            break
        if size > len(rest):
            malformed("it was cut off")
        metadata, rest = rest[:size], rest[size:]
        message = _Table.at_root(metadata)
        length = message.number(3, "<q")
        if message.number(0, "<h") not in _VERSIONS:
            malformed("it has another version of the metadata than 4 and 5")
        if not 0 <= length <= len(rest):
            malformed("it was cut off")
        header = message.table(2)
        if header is None:
            malformed("a message has no header")
        yield message.number(1, "<B"), header, rest[:length]
        rest = rest[length:]
    if rest:
        malformed("something follows its end")


def _fields(schema: "_Table") -> list[Field]:
    if schema.number(0, "<h"):
        detail = "a big-endian Arrow stream is not read: write it little-endian"
        raise Problem(UNSUPPORTED_MEDIA_TYPE, detail)
    fields, mistakes = [], []
    for table in schema.tables(1):
        name, kind = table.text(0), table.number(2, "<B")
        if kind in _NESTED or table.tables(5):
            place = pointer(name[:MAX_NAME_CHARS])
            mistakes.append(FieldError(place, "a column of nested values is not read"))
            continue
        type_ = _type(kind, table.table(3))
        fields.append(Field(name, type_))
        if (encoding := table.table(4)) is not None:
            index = encoding.table(1)
            indices = Type(INT, "<i4") if index is None else _type(INT, index)
            fields[-1] = Field(name, type_, indices, encoding.number(0, "<q"))
    if mistakes:
        refuse(mistakes)
    by_id = {field.dictionary: field.type for field in fields if field.indices}
    if any(field.indices and by_id[field.dictionary] != field.type for field in fields):
        malformed("columns of different types share a dictionary")
    return fields


def _type(kind: int, told: "_Table | None") -> Type:
    if kind not in _TYPES or told is None:
        malformed("a column is of no known type")
    if kind == INT:
        bits, is_signed = told.number(0, "<i"), told.number(1, "<B")
        if bits not in _INT_BITS:
            malformed("integers have no known size")
        return Type(INT, f"<{'i' if is_signed else 'u'}{bits // 8}")
    if kind == FLOAT:
        precision = told.number(0, "<h")
        if not 0 <= precision < len(_FLOAT_BYTES):
            malformed("numbers have no known precision")
        return Type(FLOAT, f"<f{_FLOAT_BYTES[precision]}")
    return Type(kind)


def _batch(header: "_Table", types: Sequence[Type], body: memoryview) -> Batch:
    length = header.number(0, "<q")
    nodes, buffers = header.structs(1), header.structs(2)
    if length < 0 or [count for count, _ in nodes] != [length] * len(types):
        malformed("a batch has other columns than the schema, or of another length")
    if any(at < 0 or size < 0 or at + size > len(body) for at, size in buffers):
        malformed("a buffer lies outside of its batch")
    compression, variadic = header.table(3), iter(header.numbers(4))
    columns, taken = [], 0
    for type_, (_, nulls) in zip(types, nodes, strict=True):
        count = _BUFFERS.get(type_.kind, 2)
        if type_.kind in _VIEWS:
            count += next(variadic, 0)
        if count < 0 or taken + count > len(buffers):
            malformed("a batch lacks buffers")
        columns.append(Column(nulls, buffers[taken : taken + count]))
        taken += count
    if taken != len(buffers):
        malformed("a batch has more buffers than its columns")
    codec = None if compression is None else compression.number(0, "<b")
    return Batch(length, columns, codec, body)


class _Table:
    """A table of a FlatBuffer, whose members have numbers."""

    def __init__(self, data: memoryview, at: int) -> None:
        self._data, self._at = data, at
        self._vtable = at - _unpacked("<i", data, at)[0]
        self._size = _unpacked("<H", data, self._vtable)[0]

    @classmethod
    def at_root(cls, data: memoryview) -> "_Table":
        """Give the table that a buffer is."""
        return cls(data, _unpacked("<I", data, 0)[0])

    def _place(self, member: int) -> int | None:
        entry = 4 + 2 * member
        if entry + 2 > self._size:
            return None
        offset = _unpacked("<H", self._data, self._vtable + entry)[0]
        return self._at + offset if offset else None

    def _target(self, place: int) -> int:
        return place + int(_unpacked("<I", self._data, place)[0])

    def number(self, member: int, form: str) -> int:
        """Give a number, 0 if it is not there."""
        place = self._place(member)
        return 0 if place is None else int(_unpacked(form, self._data, place)[0])

    def table(self, member: int) -> "_Table | None":
        """Give a table, if it is there."""
        place = self._place(member)
        return None if place is None else _Table(self._data, self._target(place))

    def tables(self, member: int) -> "list[_Table]":
        """Give tables."""
        places, _ = self._vector(member, 4)
        return [_Table(self._data, self._target(place)) for place in places]

    def structs(self, member: int) -> list[tuple[int, int]]:
        """Give pairs of long integers."""
        places, _ = self._vector(member, 16)
        return [_unpacked("<qq", self._data, place) for place in places]

    def numbers(self, member: int) -> list[int]:
        """Give long integers."""
        places, _ = self._vector(member, 8)
        return [_unpacked("<q", self._data, place)[0] for place in places]

    def text(self, member: int) -> str:
        """Give a string, empty if it is not there."""
        places, start = self._vector(member, 1)
        try:
            return bytes(self._data[start : start + len(places)]).decode()
        except UnicodeDecodeError:
            malformed("a name is no UTF-8")

    def _vector(self, member: int, item_bytes: int) -> tuple[range, int]:
        """Give the places of a vector's items, and where the first is."""
        place = self._place(member)
        if place is None:
            return range(0), 0
        start = self._target(place)
        count = _unpacked("<I", self._data, start)[0]
        start += 4
        end = start + count * item_bytes
        if end > len(self._data):
            malformed("its metadata is damaged")
        return range(start, end, item_bytes), start


def _unpacked(form: str, data: memoryview, at: int) -> Any:  # noqa: ANN401 (numbers)
    try:
        if at >= 0:  # struct would count from the end
            return struct.unpack_from(form, data, at)
    except struct.error:
        pass
    malformed("it was cut off, or its metadata is damaged")

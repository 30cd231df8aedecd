"""Values of Thrift's compact protocol, in which Parquet files tell of themselves: read in turn."""

from typing import Any, TypeAlias

TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, STRUCT = 1, 2, 3, 7, 8, 9, 12
I32, I64 = 5, 6
INTEGERS = {4, I32, I64}
_MAX_NUMBER = 2**15 - 1
_SIZES = {TRUE: 1, FALSE: 1, BYTE: 1, DOUBLE: 8}

# A struct's fields, each with its number and type; a list is the type of its values, and these.
Fields: TypeAlias = list[tuple[int, int, Any]]


class Reader:
    """Reads values, one after the other; ``at`` is where the next begins.

    What is none raises IndexError, KeyError or RecursionError.
    """

    def __init__(self, data: bytes, at: int = 0) -> None:
        """Begin at a place."""
        self._data, self.at = data, at

    def struct(self) -> Fields:
        """Read a struct; the value of a field that is true or false is its type."""
        fields: Fields = []
        number = 0
        while head := self._byte():
            step, kind = head >> 4, head & 15
            number = number + step if step else self._integer()
            if number > _MAX_NUMBER:  # of which other readers see some bits only
                raise IndexError("a field's number is too large")
            fields.append((number, kind, None if kind in {TRUE, FALSE} else self._value(kind)))
        return fields

    def _value(self, kind: int) -> Any:  # noqa: ANN401 (of any type)
        if kind in INTEGERS:
            return self._integer()
        if kind == STRUCT:
            return self.struct()
        if kind == LIST:
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._varint()
            return head & 15, [self._value(head & 15) for _ in range(count)]
        return self._bytes(self._varint() if kind == BINARY else _SIZES[kind])

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _bytes(self, count: int) -> bytes:
        found = self._data[self.at : self.at + count]
        self.at += count
        if len(found) < count:
            raise IndexError("the data ends too early")
        return found

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
        return value | byte << shift

    def _integer(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)

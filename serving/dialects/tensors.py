"""Tensors of the Open Inference Protocol: their elements, as JSON and as bytes.

Read strictly: as many elements as the shape says, each of its datatype's kind and within it.
Bytes are little-endian; strings are UTF-8, each after its length.
"""

import base64
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from math import prod
from typing import Any

import numpy as np

from serving.json_text import kind_of, parse_lenient_json
from serving.model.rows import MAX_PROBLEMS, Place
from serving.problems import FieldError, Problem, pointer

BYTES, BOOL, FP64, INT64, UINT64 = "BYTES", "BOOL", "FP64", "INT64", "UINT64"
# How numbers lie in memory, by their datatypes.
NUMBERS = {
    "FP16": "<f2",
    "FP32": "<f4",
    FP64: "<f8",
    **{f"INT{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"UINT{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
}
DATATYPES = (*NUMBERS, BOOL, BYTES)
_LIMITS = {
    name: (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    for name, dtype in NUMBERS.items()
    if "INT" in name
}
MAX_RANK = 2
MAX_EXTENT = 2**63 - 1
_LENGTH = struct.Struct("<I")  # of a string
# What each JSON element is, or null.
_TEXTS = ("a string", frozenset({str, type(None)}))
_TRUTHS = ("a boolean", frozenset({bool, type(None)}))
_NUMBERS = ("a number", frozenset({int, float, type(None)}))
_BEYOND_FP32 = 2.0**128 - 2.0**103  # from here on, numbers are rounded to infinity


class Mistakes(Exception):  # noqa: N818 (no error of this service: it becomes a Problem)
    """What is wrong with a tensor."""

    def __init__(self, errors: Iterable[FieldError]) -> None:
        """List it, up to the limit: of a million elements all may be wrong."""
        self.errors = list(islice(errors, MAX_PROBLEMS))
        super().__init__(self.errors)


@dataclass(slots=True)  # not frozen: there is one for each request, or one for each feature
class Tensor:
    """An input: its elements are flat, row by row; a missing one is None."""

    place: Place
    name: str
    datatype: str
    shape: tuple[int, ...]
    elements: list[Any]
    is_nested: bool = False
    is_binary: bool = False
    is_json: bool = False  # each element was a JSON text, of any type

    def place_of(self, element: int) -> Place:
        """Tell where an element stands; of a binary one, where it would."""
        if self.is_nested:
            return (*self.place, "data", *divmod(element, self.shape[1]))
        return (*self.place, "data", element)


def read_tensor(
    given: Any,  # noqa: ANN401 (any JSON)
    place: Place,
    content_type: Any,  # noqa: ANN401
    take: Callable[[Any], bytes | None],
) -> Tensor:
    """Read an input; ``take`` gives the bytes that are next, if it is told how many there are.

    ``content_type`` is how strings are written, as MLServer names it, unless the input names it.

    Raises:
        Mistakes: it is none.
    """
    if type(given) is not dict:
        raise Mistakes([FieldError(pointer(*place), f"expected an object, got {kind_of(given)}")])
    parameters = given.get("parameters")
    data, size = given.get("data"), None
    if type(parameters) is dict:
        content_type = parameters.get("content_type") or content_type
        size = parameters.get("binary_data_size") if data is None else None
    # Before it is judged: what stands behind the bytes of a wrong input is another's.
    raw = None if size is None else take(size)
    name, datatype, shape = _head(given, place)
    if parameters is not None and type(parameters) is not dict:
        raise Mistakes([FieldError(pointer(*place, "parameters"), "expected an object")])
    is_nested = type(data) is list and bool(data) and type(data[0]) is list
    tensor = Tensor(
        place,
        name,
        datatype,
        shape,
        [],
        is_nested,
        size is not None,
        datatype == BYTES and content_type == "pd_json",
    )
    if size is not None:
        elements = _from_bytes(raw, tensor)
    elif type(data) is not list:
        told = f"expected an array, got {kind_of(data)}"
        raise Mistakes([wrong_member(given, "data", told, place)])
    else:
        elements = _from_json(data, tensor)
    if datatype == BYTES and type(content_type) is str and content_type in _DECODINGS:
        elements = _decoded(_DECODINGS[content_type], elements, tensor)
    tensor.elements = elements
    return tensor


def _head(given: dict[str, Any], place: Place) -> tuple[str, str, tuple[int, ...]]:
    """Read what an input says of itself."""
    mistakes = []
    name, datatype, shape = given.get("name"), given.get("datatype"), given.get("shape")
    if type(name) is not str:
        mistakes.append(wrong_member(given, "name", "expected a string", place))
    if type(datatype) is not str or datatype not in DATATYPES:
        told = f"expected one of {', '.join(DATATYPES)}"
        mistakes.append(wrong_member(given, "datatype", told, place))
    if (
        type(shape) is not list
        or not 1 <= len(shape) <= MAX_RANK
        or not all(type(n) is int and 0 <= n <= MAX_EXTENT for n in shape)
    ):
        told = f"expected an array of one whole number, or {MAX_RANK}"
        mistakes.append(wrong_member(given, "shape", told, place))
    if mistakes:
        raise Mistakes(mistakes)
    return name, datatype, tuple(shape)  # type: ignore[return-value, arg-type]


def wrong_member(given: Mapping[str, Any], name: str, told: str, place: Place) -> FieldError:
    """Tell what is wrong with a member of an object at a place that needs it."""
    return FieldError(pointer(*place, name), told if name in given else "missing")


def _from_json(data: list[Any], tensor: Tensor) -> list[Any]:
    place, shape, elements = (*tensor.place, "data"), tensor.shape, data
    if tensor.is_nested:
        is_like_shape = len(shape) == 2 and len(data) == shape[0]
        if not is_like_shape or not all(type(r) is list and len(r) == shape[1] for r in data):
            raise Mistakes([FieldError(pointer(*place), "expected arrays as the shape says")])
        elements = list(chain.from_iterable(data))
    elif len(data) != prod(shape):
        told = f"expected as many elements as the shape says, got {len(data)}"
        raise Mistakes([FieldError(pointer(*place), told)])
    if tensor.datatype == "FP16":
        raise Mistakes([FieldError(pointer(*tensor.place, "datatype"), "FP16 has to be binary")])
    return _of_kind(elements, tensor)


def _of_kind(elements: list[Any], tensor: Tensor) -> list[Any]:
    """Give elements of JSON that are of the datatype's kind, or null."""
    wanted, accepted = {BYTES: _TEXTS, BOOL: _TRUTHS}.get(tensor.datatype, _NUMBERS)
    types = {*map(type, elements)}
    if not types <= accepted:
        raise Mistakes(
            FieldError(pointer(*tensor.place_of(at)), f"expected {wanted}, got {kind_of(each)}")
            for at, each in enumerate(elements)
            if type(each) not in accepted
        )
    if tensor.datatype in {FP64, BYTES, BOOL}:
        return elements
    if tensor.datatype == "FP32":
        _refuse_where(elements, lambda x: abs(x) >= _BEYOND_FP32, "beyond FP32", tensor)
        widened: list[Any] = np.array(elements, "<f8").astype("<f4").tolist()
        return widened if types == {float} else [None if x != x else x for x in widened]
    low, high = _LIMITS[tensor.datatype]
    if types != {int} or min(elements) < low or max(elements) > high:
        _refuse_where(elements, lambda x: x != x // 1, "expected a whole number", tensor)
        told = f"expected {low} to {high}"
        _refuse_where(elements, lambda x: not low <= x <= high, told, tensor)
        return [None if x is None else int(x) for x in elements]
    return elements


def _refuse_where(
    elements: list[Any], is_wrong: Callable[[Any], bool], told: str, tensor: Tensor
) -> None:
    if any(each is not None and is_wrong(each) for each in elements):
        raise Mistakes(
            FieldError(pointer(*tensor.place_of(at)), told)
            for at, each in enumerate(elements)
            if each is not None and is_wrong(each)
        )


def _from_bytes(raw: bytes | None, tensor: Tensor) -> list[Any]:
    count = prod(tensor.shape)
    place = (*tensor.place, "parameters", "binary_data_size")
    if raw is None:
        told = "expected a number of bytes, no more than there are"
        raise Mistakes([FieldError(pointer(*place), told)])
    if tensor.datatype == BYTES:
        strings = list(_strings(raw, place))
        if len(strings) != count:
            told = "expected as many strings as the shape says"
            raise Mistakes([FieldError(pointer(*place), told)])
        return _decoded(bytes.decode, strings, tensor)
    dtype = np.dtype(NUMBERS.get(tensor.datatype, "u1"))
    if len(raw) != count * dtype.itemsize:
        told = f"expected as many elements of {dtype.itemsize} bytes as the shape says"
        raise Mistakes([FieldError(pointer(*place), told)])
    elements: list[Any] = np.frombuffer(raw, dtype).tolist()
    if tensor.datatype == BOOL:
        _refuse_where(elements, lambda byte: byte > 1, "expected a byte 0 or 1", tensor)
        return list(map(bool, elements))
    return elements


def _strings(raw: bytes, place: Place) -> Iterator[bytes]:
    """Give the strings of a binary tensor."""
    at = 0
    while at < len(raw):
        end = at + _LENGTH.size
        if end <= len(raw):
            end += _LENGTH.unpack_from(raw, at)[0]
        if end > len(raw):
            raise Mistakes([FieldError(pointer(*place), "a string ends beyond the tensor")])
        yield raw[at + _LENGTH.size : end]
        at = end


def _of_base64(text: str | None) -> str | None:
    return base64.b64decode(text, validate=True).decode() if text else text


def _of_json(text: str | None) -> Any:  # noqa: ANN401 (any JSON)
    return parse_lenient_json(text.encode()) if text else text


# How strings may be written, by MLServer's names; others leave them as they are. One that is empty
# is missing, or as it is.
_DECODINGS: Mapping[str, Callable[[Any], Any]] = {"base64": _of_base64, "pd_json": _of_json}


def _decoded(decode: Callable[[Any], Any], elements: list[Any], tensor: Tensor) -> list[Any]:
    """Give what elements stand for."""
    try:
        return list(map(decode, elements))
    except (ValueError, Problem):
        raise Mistakes(_undecodable(decode, elements, tensor)) from None


def _undecodable(
    decode: Callable[[Any], Any], elements: list[Any], tensor: Tensor
) -> Iterator[FieldError]:
    for at, each in enumerate(elements):
        try:
            decode(each)
            continue
        except UnicodeError:
            told = "no UTF-8"
        except ValueError:
            told = "no base64"
        except Problem:
            told = "no JSON"
        yield FieldError(pointer(*tensor.place_of(at)), told)


def to_bytes(datatype: str, elements: Sequence[Any]) -> bytes:
    """Write elements, none of them missing, as a binary tensor."""
    if datatype == BYTES:
        encoded = [str(each).encode() for each in elements]
        return b"".join([part for each in encoded for part in (_LENGTH.pack(len(each)), each)])
    return np.array(elements, dtype=NUMBERS.get(datatype, "?")).tobytes()

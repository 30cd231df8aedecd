"""Arrays in NumPy's file format: numbers to rows, and predictions to an array.

An array has a row for each instance and a column for each feature, or is one row. Its header is
read as the text that NumPy writes; its own reader would hand it to Python's parser, which a hostile
one can crash. Nothing is unpickled, and none is believed to be larger than what the body has.
Refuses with 400 what is no such array.
"""

import io
import re
from collections.abc import Sequence
from math import prod
from typing import Any, Literal, TypeAlias

import numpy as np

from serving.dialects.manners import as_taken, cells_of, instances_of
from serving.model.description import label_key
from serving.model.rows import Question, Rows, refuse
from serving.problems import MALFORMED_BODY, FieldError, Problem

NPY_MEDIA_TYPE = "application/x-npy"
_MAGIC = b"\x93NUMPY"
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}  # of the header's length, by the version of the format
_MEMBERS = ("descr", "fortran_order", "shape")
_QUOTE = "['\"]"
_MEMBER = re.compile(
    rf"\s*{_QUOTE}({'|'.join(_MEMBERS)}){_QUOTE}\s*:\s*"
    rf"(?:{_QUOTE}([^'\"]*){_QUOTE}|(True|False)|\(([0-9,\s]*)\))\s*,?"
)
# Booleans, and numbers that Python has too.
_DTYPE = re.compile("[<>|=]?(b1|[iu][1248]|f[248])")
_EXTENT = re.compile(r"\s*[0-9]{1,19}\s*")

_Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"


def read_npy(body: bytes, rows: Rows) -> Question:
    """Read rows, also more of them than fit into one batch.

    Raises:
        Problem: 400 or 422.
    """
    array = _array(body, len(rows.features))
    columns = [
        as_taken(feature, column.tolist())
        for feature, column in zip(rows.features, np.atleast_2d(array).T, strict=True)
    ]

    def place(row: int, *value: int) -> tuple[int, ...]:
        return value if array.ndim == 1 else (row, *value)

    return rows.each(instances_of(columns), place, in_parts=True)


def _array(body: bytes, width: int) -> _Array:
    """Give the array that a body is, without a copy."""
    start, members = _header(body)
    if not _DTYPE.fullmatch(members["descr"]):
        raise _malformed("it has no numbers or booleans of up to 8 bytes")
    dtype, shape = np.dtype(members["descr"]), _shape(members["shape"])
    if len(shape) not in {1, 2} or shape[-1] != width:
        told = f"expected an array of the shape [n, {width}], or [{width}] for one row"
        refuse([FieldError("", told)])
    size, left = prod(shape) * dtype.itemsize, len(body) - start
    if size != left:
        raise _malformed(f"by its header it has {size} bytes, and there are {left}")
    order: Literal["C", "F"] = "F" if members["fortran_order"] == "True" else "C"
    return np.frombuffer(body, dtype, offset=start).reshape(shape, order=order)


def _header(body: bytes) -> tuple[int, dict[str, str]]:
    """Give where the elements begin, and what the header says of them."""
    at = len(_MAGIC) + 2
    major = body[len(_MAGIC)] if body.startswith(_MAGIC) and len(body) >= at else 0
    if major not in _LENGTH_BYTES:
        raise _malformed("it does not begin as one")
    at += _LENGTH_BYTES[major]
    end = at + int.from_bytes(body[at - _LENGTH_BYTES[major] : at], "little")
    text = body[at:end].decode("latin-1").strip()
    members: dict[str, str] = {}
    read = 1
    while match := _MEMBER.match(text, read):
        members[match[1]] = match[2] or match[3] or match[4] or ""
        read = match.end()
    if len(members) < len(_MEMBERS) or text[:1] != "{" or text[read:].strip() != "}":
        raise _malformed("its header is none of an array of numbers")
    return end, members


def _shape(text: str) -> tuple[int, ...]:
    *extents, last = text.split(",")
    if last.strip():
        extents.append(last)
    if not all(map(_EXTENT.fullmatch, extents)):
        raise _malformed("its shape is none")
    return tuple(map(int, extents))


def _malformed(reason: str) -> Problem:
    return Problem(MALFORMED_BODY, f"no array in NumPy's format: {reason}")


def write_npy(values: Sequence[Any]) -> bytes:
    """Write what there is for each row: numbers, booleans, or texts; lists become rows."""
    lines = list(map(cells_of, values))
    array = _typed(lines)
    if not any(isinstance(value, list) for value in values[:1]):
        array = array.reshape(len(values))
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=False)
    return file.getvalue()


def _typed(lines: list[list[Any]]) -> _Array:
    """Give values of one type as such, and others as the texts that JSON has for them."""
    kinds = {type(cell) for line in lines for cell in line}
    try:
        if kinds == {str}:
            return np.array(lines, "<U")
        if kinds == {bool}:
            return np.array(lines, "|b1")
        if kinds == {int}:
            return np.array(lines, "<i8")
        if kinds <= {int, float}:
            return np.array(lines, "<f8")
    except OverflowError:
        pass  # labels may be integers of any size
    return np.array([[label_key(cell) for cell in line] for line in lines], "<U")

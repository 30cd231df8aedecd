"""JSON as RFC 8259 has it: text to values, and what a double can't hold.

Read with jiter, which refuses what is no JSON, and keys that are given twice. Refuses with 400.
"""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import jiter

from serving.problems import INVALID_INPUT, MALFORMED_BODY, Problem

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# What a number has that a double may not hold: a long exponent, or a long integer part. In a body
# where all digits are alike, these are found in a tenth of the time of a regular expression's.
_ALIKE = bytes.maketrans(b"123456789E", b"000000000e")
_LONG_EXPONENT, _LONG_INTEGER = b"e00", b"0" * 299

Read = TypeVar("Read")


def parse_json(body: bytes, *, with_nan: bool = False) -> Any:  # noqa: ANN401 (any JSON)
    """Read JSON text; NaN and Infinity are numbers only if they are asked for.

    Raises:
        Problem: 400, when it is not what RFC 8259 calls JSON, or a key is given twice.
    """
    try:
        text = body.removeprefix(BYTE_ORDER_MARK)  # RFC 8259, 8.1: a parser may ignore it
        return jiter.from_json(text, allow_inf_nan=with_nan, catch_duplicate_keys=True)
    except ValueError as exc:
        reason, _, place = str(exc).rpartition(" at ")
        if reason.startswith("Detected duplicate key"):
            reason = "a key is given twice"  # its name may be long
        raise Problem(MALFORMED_BODY, f"{reason} at {place}") from None


def parse_lenient_json(body: bytes) -> Any:  # noqa: ANN401 (any JSON)
    """Read JSON text in which the bare word NaN stands for null: pandas and NumPy write it.

    Members that mean nothing are not looked at later, so what overflows is found here.

    Raises:
        Problem: 400, as `parse_json` does, or a number overflows a double; Infinity is none either.
    """
    try:
        document = parse_json(body)
    except Problem:
        if b"NaN" not in body:
            raise
        document = _nan_as_null(parse_json(body, with_nan=True))
    if (b"Infinity" in body or may_overflow(body)) and overflows(document):
        raise Problem(MALFORMED_BODY, "a number overflows a double")
    return document


def _nan_as_null(value: Any) -> Any:  # noqa: ANN401 (any JSON)
    if type(value) is list:
        return [_nan_as_null(each) for each in value]
    if type(value) is dict:
        return {name: _nan_as_null(each) for name, each in value.items()}
    return None if value != value else value  # as only NaN does


def read_json(
    body: bytes,
    read: Callable[[Any], Read],
    parse: Callable[[bytes], Any] = parse_json,
) -> Read:
    """Read what a body says.

    Raises:
        Problem: what ``read`` raises. But where that is `INVALID_INPUT`, it is 400 if any number of
            the body overflows a double, wherever it stands: the body can't be read for what it
            says.
    """
    try:
        return read(parse(body))
    except Problem as problem:
        is_invalid = problem.kind is INVALID_INPUT
        if is_invalid and may_overflow(body) and overflows(parse(body)):
            raise Problem(MALFORMED_BODY, "a number overflows a double") from None
        raise


def may_overflow(body: bytes) -> bool:
    """Tell whether text may hold such a number; where it does not, that is quickly known."""
    alike = body.translate(_ALIKE, b"+")
    return _LONG_EXPONENT in alike or _LONG_INTEGER in alike


def overflows(document: object) -> bool:
    """Tell whether JSON holds a number beyond the doubles, which jiter gives as infinity or int."""
    containers = [document] if type(document) in {dict, list} else [[document]]
    while containers:
        container = containers.pop()
        for value in container.values() if type(container) is dict else container:  # type: ignore[attr-defined]
            kind = type(value)
            if kind is float or kind is int:
                if not -sys.float_info.max <= value <= sys.float_info.max:
                    return True
            elif kind is list or kind is dict:
                containers.append(value)
    return False


def kind_of(value: object) -> str:
    """Name the JSON type of a value."""
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    return kinds.get(type(value), "null" if value is None else "a number")

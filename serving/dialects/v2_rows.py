"""An inference request of the Open Inference Protocol: tensors to rows.

Rows come as one matrix, in the order of the features, or as a tensor for each feature, by its name;
as JSON, as bytes behind the JSON, or both.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from serving.dialects.dialect import Asked, Sent
from serving.dialects.manners import as_taken, instances_of, method_of
from serving.dialects.tensors import (
    BOOL,
    BYTES,
    DATATYPES,
    NUMBERS,
    Mistakes,
    Tensor,
    read_tensor,
    wrong_member,
)
from serving.dialects.v2_outputs import JSON_LENGTH, wanted, write
from serving.json_text import parse_lenient_json, read_json
from serving.model.about import About
from serving.model.features import Feature
from serving.model.rows import MAX_PROBLEMS, Place, Question, Rows, expected, refuse
from serving.problems import MALFORMED_BODY, FieldError, Problem, pointer

MAX_LENGTH_DIGITS = 20
# The datatypes that each type of feature takes.
TAKEN_BY: Mapping[str, Sequence[str]] = {
    "number": (*NUMBERS,),
    "integer": (*NUMBERS,),
    "boolean": (BOOL, *NUMBERS),
    "category": (BYTES,),
    "text": (BYTES,),
}
# The types of feature that a datatype suits.
_SUITS = {
    datatype: frozenset(kind for kind, taken in TAKEN_BY.items() if datatype in taken)
    for datatype in DATATYPES
}
_INPUTS: Place = ("inputs",)


def read(sent: Sent, about: About, rows: Rows) -> Asked:
    """Read an inference request.

    Raises:
        Problem: 400, 413 or 422.
    """
    head, buffers = sent.body, b""
    if (length := sent.headers.get(JSON_LENGTH)) is not None:
        at = int(length) if length.isdecimal() and len(length) < MAX_LENGTH_DIGITS else 0
        if not 0 < at <= len(head):
            raise Problem(MALFORMED_BODY, f"{JSON_LENGTH} is no length within the body")
        head, buffers = head[:at], head[at:]
    return read_json(head, partial(_asked, _Buffers(buffers), about, rows), parse_lenient_json)


class _Buffers:
    """The bytes of binary tensors, taken one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.left = len(content)
        self.is_lost = False  # where the next ones begin is not known

    def take(self, size: Any) -> bytes | None:  # noqa: ANN401 (any JSON)
        """Take the bytes that are next, if that is a number of them, and so many are left."""
        if type(size) is not int or not 0 <= size <= self.left:
            self.is_lost = True
            return None
        at = len(self._content) - self.left
        self.left -= size
        return self._content[at : at + size]


def _asked(buffers: _Buffers, about: About, rows: Rows, document: Any) -> Asked:  # noqa: ANN401
    if type(document) is not dict:
        refuse([expected("an object", document, ())])
    parameters = document.get("parameters")
    if parameters is not None:
        method_of(about, parameters, ("parameters",))
    given = parameters or {}
    mistakes: list[FieldError] = []
    name = document.get("id")
    if name is not None and type(name) is not str:
        mistakes.append(expected("a string", name, ("id",)))
    outputs = wanted(about, document.get("outputs"), given, mistakes)
    inputs = document.get("inputs")
    if type(inputs) is not list or not inputs:
        refuse([*mistakes, wrong_member(document, "inputs", "expected an array of tensors", ())])
    tensors = _tensors(inputs, given.get("content_type"), buffers, mistakes)
    if buffers.left and not mistakes:
        detail = f"{buffers.left} bytes of binary data belong to no input"
        raise Problem(MALFORMED_BODY, detail)
    question = _question(inputs, tensors, rows, mistakes)
    return Asked(question, partial(write, about, name, outputs))


def _tensors(
    inputs: list[Any],
    content_type: Any,  # noqa: ANN401 (any JSON)
    buffers: _Buffers,
    mistakes: list[FieldError],
) -> list[Tensor]:
    """Read the inputs, and note what is wrong with them."""
    tensors = []
    for index, each in enumerate(inputs):
        if len(mistakes) >= MAX_PROBLEMS or buffers.is_lost:
            break
        try:
            tensors.append(read_tensor(each, (*_INPUTS, index), content_type, buffers.take))
        except Mistakes as wrong:
            mistakes += wrong.errors
    return tensors


def _question(
    inputs: list[Any], tensors: Sequence[Tensor], rows: Rows, mistakes: list[FieldError]
) -> Question:
    """Make rows of tensors."""
    if len(inputs) == 1 and tensors:
        (tensor,) = tensors
        width = len(rows.features)
        if tensor.shape[1:] == (width,) or (width == 1 and len(tensor.shape) == 1):
            if mistakes:
                refuse(mistakes)
            return _of_matrix(tensor, rows)
        if tensor.name not in rows.by_name:
            told = f"expected [n, {width}], all features in their order, or a tensor for each"
            refuse([*mistakes, FieldError(pointer(*tensor.place, "shape"), told)])
    return _of_columns(inputs, tensors, rows, mistakes)


def _of_matrix(tensor: Tensor, rows: Rows) -> Question:
    if not (tensor.is_json or rows.types <= _SUITS[tensor.datatype]):
        place, suited = pointer(*tensor.place, "datatype"), _SUITS[tensor.datatype]
        wrong = [each.name for each in rows.features if each.type not in suited]
        refuse([FieldError(place, f"{name} is no {tensor.datatype}") for name in wrong])
    rows.check_count(tensor.shape[0])
    width, elements = len(rows.features), tensor.elements
    if tensor.is_binary or "boolean" in rows.types:
        columns = [
            _values(feature, tensor, elements[at::width])
            for at, feature in enumerate(rows.features)
        ]
        items = instances_of(columns)
    else:
        items = [elements[at : at + width] for at in range(0, len(elements), width)]
    return rows.each(items, lambda row, column=0: tensor.place_of(row * width + column))


def _of_columns(
    inputs: list[Any], tensors: Sequence[Tensor], rows: Rows, mistakes: list[FieldError]
) -> Question:
    """Make rows of a tensor for each feature, in any order."""
    by_name: dict[str, Tensor] = {}
    features = rows.by_name
    for tensor in tensors:
        feature = features.get(tensor.name)
        if feature is None:
            if tensor.name not in rows.ignored:
                mistakes.append(FieldError(pointer(*tensor.place, "name"), "no feature's name"))
            continue
        if tensor.name in by_name:
            mistakes.append(FieldError(pointer(*tensor.place, "name"), "given twice"))
        elif tensor.shape[1:] not in {(), (1,)}:
            told = "expected [n] or [n, 1]"
            mistakes.append(FieldError(pointer(*tensor.place, "shape"), told))
        elif not (tensor.is_json or feature.type in _SUITS[tensor.datatype]):
            told = f"{feature.name} takes {', '.join(TAKEN_BY[feature.type])}"
            mistakes.append(FieldError(pointer(*tensor.place, "datatype"), told))
        by_name.setdefault(tensor.name, tensor)
    if mistakes or len(by_name) < len(features):
        refuse([*mistakes, *_missing(inputs, features)])
    used = [by_name[name] for name in features]
    if len({tensor.shape[0] for tensor in used}) > 1:
        told = "expected as many elements in all inputs"
        refuse([FieldError(pointer(*tensor.place, "shape"), told) for tensor in used])
    rows.check_count(used[0].shape[0])
    columns = [
        _values(feature, tensor, tensor.elements)
        for feature, tensor in zip(rows.features, used, strict=True)
    ]
    return rows.each(instances_of(columns), lambda row, column=0: used[column].place_of(row))


def _missing(inputs: list[Any], features: Mapping[str, Feature]) -> Iterator[FieldError]:
    """Tell which features have no input, unless the only one was to have them all."""
    named = {
        name for each in inputs if type(each) is dict and type(name := each.get("name")) is str
    }
    if len(inputs) > 1 or named & features.keys():
        for name in features:
            if name not in named:
                yield FieldError(pointer(*_INPUTS), f"the input {name} is missing")


def _values(feature: Feature, tensor: Tensor, elements: list[Any]) -> list[Any]:
    """Give elements as a feature takes them: a binary string is empty for want of a null."""
    if tensor.datatype != BYTES:
        return as_taken(feature, elements)
    if tensor.is_binary and feature.nullable:
        return [None if each == "" else each for each in elements]
    return elements

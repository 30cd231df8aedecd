"""The bodies: bytes to validated rows on the way in, predictions to bytes on the way out.

`RequestSchema` is built from the served model's features. It reads JSON with jiter (which refuses
what RFC 8259 refuses, and duplicate keys) and checks values in pydantic-core, each once; only a
body that fails is looked at again, row by row, to tell all that is wrong with it up to a limit. It
refuses: 400 for what is not JSON, 413 for too many rows, 422 for what the model does not take.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Any, NoReturn

import jiter
import orjson
from pydantic_core import SchemaValidator, ValidationError, core_schema

from serving.description import Feature, Label, label_key
from serving.errors import (
    BATCH_TOO_LARGE,
    INVALID_INPUT,
    MALFORMED_BODY,
    FieldError,
    Problem,
    pointer,
)

MAX_PROBLEMS = 100
MAX_NAME_CHARS = 200

Row = tuple[float, ...]

# What a number has that a double may not hold: a long exponent, or a long integer part.
_PERHAPS_HUGE = re.compile(rb"[eE]\+?[0-9]{2}|(?<![0-9])[0-9]{299}")


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the estimator says of one row; ``probabilities`` is in the order of ``classes_``."""

    label: Label
    probabilities: list[float] | None


def parse_json(body: bytes) -> Any:  # noqa: ANN401 (any JSON)
    """Read JSON text.

    Raises:
        Problem: 400, when it is not what RFC 8259 calls JSON, or a key is given twice.
    """
    try:
        return jiter.from_json(body, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError as exc:
        reason, _, place = str(exc).rpartition(" at ")
        if reason.startswith("Detected duplicate key"):
            reason = "a key is given twice"  # its name may be long
        raise Problem(MALFORMED_BODY, f"{reason} at {place}") from None


class RequestSchema:
    """Checks request bodies against a model's features."""

    def __init__(self, features: Sequence[Feature], max_batch_rows: int) -> None:
        """Build the validators for rows of these features, in this order."""
        self._features = {feature.name: feature for feature in features}
        self._max_batch_rows = max_batch_rows
        fields = {feature.name: _number(feature) for feature in features}
        positional = core_schema.tuple_schema(list(fields.values()), strict=False)
        named = core_schema.typed_dict_schema(
            {name: core_schema.typed_dict_field(field) for name, field in fields.items()},
            extra_behavior="ignore",  # unknown names are found by counting, and named below
        )
        self._list_of_values = SchemaValidator(positional)
        self._object_by_name = SchemaValidator(named)
        self._rows = SchemaValidator(core_schema.list_schema(positional))
        names = tuple(fields)
        self._in_order = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)

    def instance(self, body: bytes) -> Row:
        """Read the body of ``POST /predict``: ``{"data": X}``.

        Raises:
            Problem: 400 or 422.
        """
        item, mistakes = _data(body)
        if not mistakes:
            try:
                return self._row(item)
            except ValidationError:
                pass  # told in full below
        _refuse(body, mistakes + self._mistakes(item, ("data",)))

    def batch(self, body: bytes) -> list[Row]:
        """Read the body of ``POST /predict/batch``: ``{"data": [X, X, …]}``.

        Raises:
            Problem: 400, 413 or 422.
        """
        items, mistakes = _data(body)
        if type(items) is not list:
            _refuse(body, [*mistakes, _expected("an array of instances", items, ("data",))])
        if len(items) > self._max_batch_rows:
            raise Problem(
                BATCH_TOO_LARGE,
                f"{len(items)} rows, but at most {self._max_batch_rows} are accepted",
            )
        if not mistakes:
            try:
                if all(type(item) is list for item in items):
                    return self._rows.validate_python(items)  # type: ignore[no-any-return]
                return [self._row(item) for item in items]
            except ValidationError:
                pass  # told in full below
        for index, item in enumerate(items):
            if len(mistakes) >= MAX_PROBLEMS:
                break
            mistakes += self._mistakes(item, ("data", index))
        _refuse(body, mistakes)

    def _row(self, item: object) -> Row:
        """Check one instance, in either form; tuple of ``n_features_in_`` floats."""
        if type(item) is dict and len(item) == len(self._features):
            return self._in_order(self._object_by_name.validate_python(item))
        return self._list_of_values.validate_python(item)  # type: ignore[no-any-return]

    def _mistakes(self, item: object, place: tuple[str | int, ...]) -> list[FieldError]:
        """Tell all that is wrong with one instance; nothing, if nothing is."""
        if type(item) is dict:
            values = item
            mistakes = [
                FieldError(pointer(*place, name), "missing")
                for name in self._features
                if name not in item
            ]
            unknown = (_unknown(name, place) for name in item if name not in self._features)
            mistakes += islice(unknown, MAX_PROBLEMS)
        elif type(item) is list and len(item) == len(self._features):
            values = dict(zip(self._features, item, strict=True))
            mistakes = []
        elif type(item) is list:
            wanted = f"{len(self._features)} values, got {len(item)}"
            return [FieldError(pointer(*place), f"expected {wanted}")]
        else:
            return [_expected("an array of values or an object by feature name", item, place)]
        for index, (name, feature) in enumerate(self._features.items()):
            if name in values:
                part = name if type(item) is dict else index
                mistakes += _wrong_number(values[name], feature, (*place, part))
        return mistakes


def _data(body: bytes) -> tuple[Any, list[FieldError]]:
    """Take the one member out of the body, and tell of any other."""
    document = parse_json(body)
    if type(document) is dict and len(document) == 1 and "data" in document:
        return document["data"], []
    if type(document) is not dict:
        _refuse(body, [_expected('an object {"data": …}', document, ())])
    unknown = (_unknown(name, ()) for name in document if name != "data")
    mistakes = list(islice(unknown, MAX_PROBLEMS))
    if "data" not in document:
        _refuse(body, [FieldError(pointer("data"), "missing"), *mistakes])
    return document["data"], mistakes


def _refuse(body: bytes, mistakes: list[FieldError]) -> NoReturn:
    """Raise the 422 that lists the mistakes, up to the limit.

    Or 400 if any number of the body overflows a double, wherever it stands: then the body can't be
    read for what it says.
    """
    if _PERHAPS_HUGE.search(body) and _overflows(parse_json(body)):
        raise Problem(MALFORMED_BODY, "a number overflows a double")
    count = len(mistakes)
    if count < MAX_PROBLEMS:
        detail = f"{count} problem{'s' * (count != 1)} in the request body"
    else:
        detail = (
            f"{MAX_PROBLEMS} or more problems in the request body; no more than that are listed"
        )
    raise Problem(INVALID_INPUT, detail, errors=mistakes[:MAX_PROBLEMS])


def _overflows(document: object) -> bool:
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


def _number(feature: Feature) -> core_schema.CoreSchema:
    """Accept what `_wrong_number` finds nothing wrong with: no boolean, no string, no infinity."""
    return core_schema.float_schema(
        strict=True, allow_inf_nan=False, ge=feature.domain.minimum, le=feature.domain.maximum
    )


def _wrong_number(
    value: object, feature: Feature, place: tuple[str | int, ...]
) -> list[FieldError]:
    if type(value) is not float and type(value) is not int:
        return [_expected("a number", value, place)]
    low, high = feature.domain.minimum, feature.domain.maximum
    if low <= value <= high:
        return []
    return [FieldError(pointer(*place), f"expected a number between {low!r} and {high!r}")]


def _expected(wanted: str, value: object, place: tuple[str | int, ...]) -> FieldError:
    return FieldError(pointer(*place), f"expected {wanted}, got {_kind(value)}")


def _unknown(name: str, place: tuple[str | int, ...]) -> FieldError:
    if len(name) > MAX_NAME_CHARS:
        return FieldError(pointer(*place), f"unknown name of {len(name)} characters")
    return FieldError(pointer(*place, name), "unknown name")


def _kind(value: object) -> str:
    """Name the JSON type of a value."""
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    return kinds.get(type(value), "null" if value is None else "a number")


class AnswerWriter:
    """Writes the answers of a model as JSON; floats are printed so that they read back the same."""

    def __init__(self, classes: Sequence[Label], name: str, version: str) -> None:
        """Name the model that every answer names, and its classes in ``classes_`` order."""
        self._keys = [label_key(label) for label in classes]
        self._model = {"name": name, "version": version}

    def instance(self, prediction: Prediction, request_id: str) -> bytes:
        """Write the answer to ``POST /predict``."""
        document = self.document(prediction)
        document["model"] = self._model
        document["request_id"] = request_id
        return orjson.dumps(document)

    def batch(self, predictions: Sequence[Prediction], request_id: str) -> bytes:
        """Write the answer to ``POST /predict/batch``, in the order of the request."""
        return orjson.dumps(
            {
                "predictions": [self.document(prediction) for prediction in predictions],
                "model": self._model,
                "request_id": request_id,
            }
        )

    def document(self, prediction: Prediction) -> dict[str, Any]:
        """Give one prediction as it stands in an answer."""
        document: dict[str, Any] = {"prediction": prediction.label}
        if prediction.probabilities is not None:
            document["probabilities"] = dict(zip(self._keys, prediction.probabilities, strict=True))
        return document

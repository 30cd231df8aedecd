"""The requests: bytes to validated rows.

`RequestSchema` is built from the served model's features. It reads JSON with jiter (which refuses
what RFC 8259 refuses, and duplicate keys) and checks values in pydantic-core: first against what
training saw, which nearly all rows are like, and only what is unlike that against all that is
accepted. A body that fails is looked at again, row by row, to tell all that is wrong with it up to
a limit. It refuses: 400 for what is not JSON, 413 for too many rows, 422 for what the model does
not take.
"""

import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from typing import Any, NoReturn

import jiter
from pydantic_core import SchemaValidator, ValidationError, core_schema

from serving.model.description import Feature
from serving.model.values import Row, kind_of, mistake, unlike_training, value_schema
from serving.problems import (
    BATCH_TOO_LARGE,
    INVALID_INPUT,
    MALFORMED_BODY,
    FieldError,
    Problem,
    pointer,
)

MAX_PROBLEMS = 100
MAX_NAME_CHARS = 200
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Place = tuple[str | int, ...]

# What a number has that a double may not hold: a long exponent, or a long integer part.
_PERHAPS_HUGE = re.compile(rb"[eE]\+?[0-9]{2}|(?<![0-9])[0-9]{299}")


@dataclass(slots=True)
class Unusual:
    """Values that are accepted, but unlike those seen in training.

    ``warnings`` tells where, up to a limit; ``by_feature`` counts all of them.
    """

    warnings: list[FieldError] = field(default_factory=list)
    by_feature: Counter[str] = field(default_factory=Counter)

    def add(self, feature: str, place: Place, detail: str) -> None:
        """Note one value."""
        self.by_feature[feature] += 1
        if len(self.warnings) < MAX_PROBLEMS:
            self.warnings.append(FieldError(pointer(*place), detail))
        elif len(self.warnings) == MAX_PROBLEMS:
            self.warnings.append(FieldError("", f"no more than {MAX_PROBLEMS} are listed"))


@dataclass(slots=True)  # not frozen: that costs a third of reading a request
class Instances:
    """The validated rows of a request, and what is unusual about them, if anything is."""

    rows: list[Row]
    unusual: Unusual | None = None


def parse_json(body: bytes) -> Any:  # noqa: ANN401 (any JSON)
    """Read JSON text.

    Raises:
        Problem: 400, when it is not what RFC 8259 calls JSON, or a key is given twice.
    """
    try:
        text = body.removeprefix(BYTE_ORDER_MARK)  # RFC 8259, 8.1: a parser may ignore it
        return jiter.from_json(text, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError as exc:
        reason, _, place = str(exc).rpartition(" at ")
        if reason.startswith("Detected duplicate key"):
            reason = "a key is given twice"  # its name may be long
        raise Problem(MALFORMED_BODY, f"{reason} at {place}") from None


class _Rows:
    """Checks rows in either form, all in pydantic-core."""

    def __init__(self, features: Sequence[Feature], ignored: Sequence[str], *, usual: bool) -> None:
        values = {feature.name: value_schema(feature, usual=usual) for feature in features}
        positional = core_schema.tuple_schema(list(values.values()), strict=False)
        named = core_schema.typed_dict_schema(
            {name: core_schema.typed_dict_field(value) for name, value in values.items()},
            extra_behavior="ignore",  # unknown names are found here, and named later
        )
        self._list_of_values = SchemaValidator(positional)
        self._object_by_name = SchemaValidator(named)
        self._lists = SchemaValidator(core_schema.list_schema(positional))
        names = tuple(values)
        self._in_order = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
        self._count = len(names)
        self._ignored = tuple(ignored)
        self._known = frozenset((*names, *ignored))

    def one(self, item: object) -> Row:
        """Check one instance."""
        if type(item) is dict and (len(item) == self._count or self._is_whole_row(item)):
            return self._in_order(self._object_by_name.validate_python(item))
        return self._list_of_values.validate_python(item)  # type: ignore[no-any-return]

    def many(self, items: list[object]) -> list[Row]:
        """Check many instances."""
        if all(type(item) is list for item in items):
            return self._lists.validate_python(items)  # type: ignore[no-any-return]
        return [self.one(item) for item in items]

    def _is_whole_row(self, item: dict[str, object]) -> bool:
        """Tell whether there are names of the table alone, and numbers that a double may hold."""
        return self._known.issuperset(item) and not _overflows(
            [item[name] for name in self._ignored if name in item]
        )


class RequestSchema:
    """Checks request bodies against a model's features."""

    def __init__(
        self, features: Sequence[Feature], max_batch_rows: int, ignored: Sequence[str] = ()
    ) -> None:
        """Build the validators for rows of these features, in this order.

        Objects may have the ``ignored`` names too, whatever their values.
        """
        self._features = {feature.name: feature for feature in features}
        self._known = {*self._features, *ignored}
        self._max_batch_rows = max_batch_rows
        self._usual = _Rows(features, ignored, usual=True)
        self._accepted = _Rows(features, ignored, usual=False)

    def instance(self, body: bytes) -> Instances:
        """Read the body of ``POST /predict``: ``{"data": X}``.

        Raises:
            Problem: 400 or 422.
        """
        item, mistakes = _data(body)
        if not mistakes:
            try:
                return Instances([self._usual.one(item)])
            except ValidationError:
                pass  # unusual, or wrong
            try:
                row = self._accepted.one(item)
            except ValidationError:
                pass  # told in full below
            else:
                unusual = Unusual()
                self._note_unusual(row, item, ("data",), unusual)
                return Instances([row], unusual)
        _refuse(body, mistakes + self._mistakes(item, ("data",)))

    def batch(self, body: bytes) -> Instances:
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
                return Instances(self._usual.many(items))
            except ValidationError:
                pass  # unusual, or wrong
            try:
                rows = self._accepted.many(items)
            except ValidationError:
                pass  # told in full below
            else:
                unusual = Unusual()
                for index, (row, item) in enumerate(zip(rows, items, strict=True)):
                    self._note_unusual(row, item, ("data", index), unusual)
                return Instances(rows, unusual)
        for index, item in enumerate(items):
            if len(mistakes) >= MAX_PROBLEMS:
                break
            mistakes += self._mistakes(item, ("data", index))
        _refuse(body, mistakes)

    def _note_unusual(self, row: Row, item: object, place: Place, unusual: Unusual) -> None:
        """Note which values of an accepted row training has not seen the like of."""
        for index, (value, feature) in enumerate(zip(row, self._features.values(), strict=True)):
            if value is not None and (detail := unlike_training(value, feature)):
                part = feature.name if type(item) is dict else index
                unusual.add(feature.name, (*place, part), detail)

    def _mistakes(self, item: object, place: Place) -> list[FieldError]:
        """Tell all that is wrong with one instance; nothing, if nothing is."""
        if type(item) is dict:
            values = item
            mistakes = [
                FieldError(pointer(*place, name), "missing")
                for name in self._features
                if name not in item
            ]
            unknown = (_unknown(name, place) for name in item if name not in self._known)
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
            if name in values and (detail := mistake(values[name], feature)):
                part = name if type(item) is dict else index
                mistakes.append(FieldError(pointer(*place, part), detail))
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


def _expected(wanted: str, value: object, place: Place) -> FieldError:
    return FieldError(pointer(*place), f"expected {wanted}, got {kind_of(value)}")


def _unknown(name: str, place: Place) -> FieldError:
    if len(name) > MAX_NAME_CHARS:
        return FieldError(pointer(*place), f"unknown name of {len(name)} characters")
    return FieldError(pointer(*place, name), "unknown name")

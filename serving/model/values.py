"""The values of a row: what each feature accepts, what is usual, and what is wrong in words.

Validation runs in pydantic-core; words are found only for a value that has failed there.
"""

import math
from functools import partial
from typing import Any

from pydantic_core import core_schema

from serving.model.description import (
    Boolean,
    Category,
    Choices,
    Feature,
    Interval,
    Lengths,
    Number,
    Text,
)

Value = float | int | bool | str | None
Row = tuple[Value, ...]

# What no value is.
_NOTHING = core_schema.str_schema(strict=True, min_length=1, max_length=0)


def value_schema(feature: Feature, *, usual: bool) -> core_schema.CoreSchema:
    """Accept the values of a feature in which `mistake` finds nothing wrong.

    The ``usual`` ones are those that `unlike_training` does not tell of.
    """
    value: core_schema.CoreSchema
    match feature:
        case Number():
            interval = feature.trained if usual else feature.bounds
            value = _number(interval) if feature.type == "number" else _integer(interval)
            if feature.known is not None and (usual or isinstance(feature.domain, Choices)):
                is_known = partial(_known, frozenset(feature.known))
                value = core_schema.no_info_after_validator_function(is_known, value)
        case Boolean() if usual and 0 in feature.trained.categories.values():
            value = _NOTHING
        case Boolean():
            value = core_schema.bool_schema(strict=True)
        case Category() if usual:
            seen = list(feature.trained.categories)
            value = core_schema.literal_schema(seen) if seen else _NOTHING
        case Category(domain=Choices(), known=known):
            value = core_schema.literal_schema(list(known or ()))
        case Category(domain=Lengths() as lengths):
            value = _string(lengths)
        case Text():
            value = _string(feature.trained if usual else feature.domain)
    return core_schema.nullable_schema(value) if feature.nullable else value


def _known(known: frozenset[float], value: float) -> float:
    if value not in known:
        raise ValueError
    return value


def _number(interval: Interval) -> core_schema.CoreSchema:
    """Accept an int or a float, but no boolean, no string, no infinity."""
    return core_schema.float_schema(
        strict=True, allow_inf_nan=False, ge=interval.minimum, le=interval.maximum
    )


def _integer(interval: Interval) -> core_schema.CoreSchema:
    """Accept a whole number however it is written: JSON Schema's ``integer`` takes 5.0 too."""
    minimum, maximum = math.ceil(interval.minimum), math.floor(interval.maximum)
    integer = core_schema.int_schema(strict=True, ge=minimum, le=maximum)
    whole = core_schema.no_info_after_validator_function(_whole, _number(interval))
    # Not for an int that is refused as such: as a float it may be rounded to one that is not.
    written_as_float = core_schema.chain_schema([core_schema.is_instance_schema(float), whole])
    return core_schema.union_schema([integer, written_as_float], mode="left_to_right")


def _whole(value: float) -> int:
    if not value.is_integer():
        raise ValueError
    return int(value)


def _string(lengths: Lengths) -> core_schema.CoreSchema:
    return core_schema.str_schema(
        strict=True, min_length=lengths.min_length, max_length=lengths.max_length
    )


def mistake(value: Any, feature: Feature) -> str:  # noqa: ANN401 (any JSON)
    """Tell what is wrong with a value, if anything is."""
    if value is None and feature.nullable:
        return ""
    match feature:
        case Number(domain=domain):
            wanted = "a number" if feature.type == "number" else "a whole number"
            if type(value) is not float and type(value) is not int:
                return f"expected {wanted}, got {kind_of(value)}"
            match domain:
                case Choices() if value not in (feature.known or ()):
                    return f"expected {wanted} that training has seen"
                case Interval(minimum=low, maximum=high) if not low <= value <= high:
                    return f"expected {wanted} between {low!r} and {high!r}"
            if feature.type == "integer" and not float(value).is_integer():
                return "expected a whole number, got a fraction"
        case Boolean():
            if type(value) is not bool:
                return f"expected a boolean, got {kind_of(value)}"
        case Category() | Text():
            if type(value) is not str:
                return f"expected a string, got {kind_of(value)}"
            match feature.domain:
                case Choices() if value not in (feature.known or ()):
                    return "expected a category that training has seen"
                case Lengths(min_length=low, max_length=high) if not low <= len(value) <= high:
                    return f"expected {low} to {high} characters"
    return ""


def unlike_training(value: Any, feature: Feature) -> str:  # noqa: ANN401 (of the feature's type)
    """Tell in what way an accepted value is unlike those seen in training, if it is."""
    match feature:
        case Number():
            low, high = feature.trained.minimum, feature.trained.maximum
            if not low <= value <= high:
                return f"outside of the range seen in training, {low!r} to {high!r}"
            if feature.known is not None and value not in feature.known:
                return "a number not seen in training, which the model takes for a category"
        case Boolean():
            if not feature.trained.categories["true" if value else "false"]:
                return "not seen in training"
        case Category():
            if value not in feature.trained.categories:
                return "a category seen rarely or never in training"
        case Text():
            shortest, longest = feature.trained.min_length, feature.trained.max_length
            if not shortest <= len(value) <= longest:
                return f"a length not seen in training, {shortest} to {longest} characters"
    return ""


def kind_of(value: object) -> str:
    """Name the JSON type of a value."""
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    return kinds.get(type(value), "null" if value is None else "a number")

"""Sets of values, as a feature's description has them: what was seen, and what is accepted."""

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, StrictFloat, StrictInt
from pydantic_core import CoreSchema, core_schema

Schema: TypeAlias = dict[str, Any]  # JSON Schema


def closed(properties: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    """Describe an object that has these members and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


class Frozen(BaseModel):
    """A value that training writes and serving reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(Frozen):
    """A closed interval of numbers, or of whole numbers."""

    minimum: StrictInt | float
    maximum: StrictInt | float

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest number in it."""
        return self.minimum, self.maximum

    @property
    def size(self) -> float:
        """How far from zero its numbers are, at most."""
        return max(-self.minimum, self.maximum)

    def numbers(self) -> CoreSchema:
        """Accept an int or a float, but no boolean, no string, no infinity."""
        return core_schema.float_schema(
            strict=True, allow_inf_nan=False, ge=self.minimum, le=self.maximum
        )

    def integers(self) -> CoreSchema:
        """Accept a whole number however it is written: JSON Schema's ``integer`` takes 5.0 too."""
        minimum, maximum = math.ceil(self.minimum), math.floor(self.maximum)
        integer = core_schema.int_schema(strict=True, ge=minimum, le=maximum)
        whole = core_schema.no_info_after_validator_function(_whole, self.numbers())
        # Not for an int that is refused as such: as a float it may be rounded to one that is not.
        as_float = core_schema.chain_schema([core_schema.is_instance_schema(float), whole])
        return core_schema.union_schema([integer, as_float], mode="left_to_right")

    def json_schema(self) -> Schema:
        """Describe the interval to clients."""
        return {"minimum": self.minimum, "maximum": self.maximum}


def _whole(value: float) -> int:
    if not value.is_integer():
        raise ValueError
    return int(value)


class Lengths(Frozen):
    """A closed interval of lengths of strings, in characters."""

    min_length: int
    max_length: int

    def accepted(self) -> CoreSchema:
        """Accept strings of these lengths."""
        return core_schema.str_schema(
            strict=True, min_length=self.min_length, max_length=self.max_length
        )

    def json_schema(self) -> Schema:
        """Describe them to clients."""
        return {"minLength": self.min_length, "maxLength": self.max_length}


class Choices(Frozen):
    """Some strings or numbers, and more that are not told."""

    values: tuple[str, ...] | tuple[StrictInt | StrictFloat, ...]
    rare: int


class Frequencies(Frozen):
    """How many rows of the training data had each category, the commonest first.

    Categories of few rows are left out, and counted together instead.
    """

    categories: Mapping[str, int]
    rare_categories: int
    rare_rows: int

"""The features of a model: what each accepts, finds usual, calls a mistake, and shows clients.

Training describes them (``description.json``); here they guard the door. Validation runs in
pydantic-core; words are found only for a value that has failed there. They hold what later
comparisons with the training data need, and nothing that gives away a person in it: examples are
synthetic, rare categories are counted but not named, texts are only measured.
"""

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, StrictBool, StrictFloat, StrictInt
from pydantic_core import CoreSchema, core_schema

from serving.json_text import kind_of
from serving.model.domains import Choices, Frequencies, Frozen, Interval, Lengths, Schema

Value: TypeAlias = float | int | bool | str | None
Row: TypeAlias = tuple[Value, ...]

MAX_TOLD = 20  # categories of a feature

# What no value is.
_NOTHING = core_schema.str_schema(strict=True, min_length=1, max_length=0)


class _Feature(Frozen):
    """What all features have in common; ``_accepted`` and its like know of no missing value.

    ``trained`` and ``missing`` are null where it is not known what training saw: then no value is
    told to be unlike that.
    """

    name: str
    type: str
    nullable: bool
    missing: int | None

    def accepted(self) -> CoreSchema:
        """Accept the values in which `mistake` finds nothing wrong."""
        return self._or_null(self._accepted())

    def usual(self) -> CoreSchema:
        """Accept those of them of which `unlike` does not tell."""
        return self._or_null(self._usual())

    def mistake(self, value: object) -> str:
        """Tell what is wrong with a value, any JSON, if anything is."""
        return "" if value is None and self.nullable else self._mistake(value)

    def unlike(self, value: Value) -> str:
        """Tell in what way an accepted value is unlike those seen in training, if it is."""
        return "" if value is None else self._unlike(value)

    def json_schema(self) -> Schema:
        """Describe the accepted values by JSON Schema."""
        kind = "string" if self.type in {"category", "text"} else self.type
        schema: Schema = {"type": [kind, "null"] if self.nullable else kind}
        # Each has an example. Declared here, it would change the order of what training writes.
        examples = [self.example]  # type: ignore[attr-defined]
        return {**schema, **self._narrowed(), "examples": examples}

    def _or_null(self, schema: CoreSchema) -> CoreSchema:
        return core_schema.nullable_schema(schema) if self.nullable else schema

    @abstractmethod
    def _accepted(self) -> CoreSchema: ...

    @abstractmethod
    def _usual(self) -> CoreSchema: ...

    @abstractmethod
    def _mistake(self, value: Any) -> str: ...  # noqa: ANN401 (any JSON)

    @abstractmethod
    def _unlike(self, value: Any) -> str: ...  # noqa: ANN401 (of the feature's type)

    def _narrowed(self) -> Schema:
        return {}

    def _enum(self, values: tuple[Any, ...]) -> Schema:
        return {"enum": [*values, None] if self.nullable else list(values)}


class Number(_Feature):
    """A number, or a whole number.

    ``trained`` is the range seen in training, ``domain`` the range in which every prediction was
    seen to be finite (the service accepts no number outside it), ``quantiles`` what divides the
    training rows, by the share below. ``known`` has the numbers of training where the estimator
    takes them for categories. Another is accepted with a warning, unless the estimator fails on it.
    """

    type: Literal["number", "integer"]
    trained: Interval | None
    domain: Interval | Choices
    known: tuple[StrictInt | StrictFloat, ...] | None = None
    quantiles: Mapping[str, float]
    example: StrictInt | StrictFloat

    @property
    def bounds(self) -> Interval:
        """Within which numbers are accepted, if they are known where they have to be."""
        if isinstance(self.domain, Interval):
            return self.domain
        known = self.known or (0,)
        return self.trained or Interval(minimum=min(known), maximum=max(known))

    def _accepted(self) -> CoreSchema:
        return self._within(self.bounds, only_known=isinstance(self.domain, Choices))

    def _usual(self) -> CoreSchema:
        return self._within(self.trained or self.bounds, only_known=True)

    def _within(self, interval: Interval, *, only_known: bool) -> CoreSchema:
        value = interval.numbers() if self.type == "number" else interval.integers()
        if self.known is None or not only_known:
            return value
        is_known = partial(_known, frozenset(self.known))
        return core_schema.no_info_after_validator_function(is_known, value)

    def _mistake(self, value: Any) -> str:  # noqa: ANN401 (any JSON)
        wanted = "a number" if self.type == "number" else "a whole number"
        if type(value) is not float and type(value) is not int:
            return f"expected {wanted}, got {kind_of(value)}"
        match self.domain:
            case Choices() if value not in (self.known or ()):
                return f"expected {wanted} that training has seen"
            case Interval(minimum=low, maximum=high) if not low <= value <= high:
                return f"expected {wanted} between {low!r} and {high!r}"
        if self.type == "integer" and not float(value).is_integer():
            return "expected a whole number, got a fraction"
        return ""

    def _unlike(self, value: Any) -> str:  # noqa: ANN401 (a number)
        match self.trained:
            case Interval(minimum=low, maximum=high) if not low <= value <= high:
                return f"outside of the range seen in training, {low!r} to {high!r}"
        if self.known is not None and value not in self.known:
            return "a number not seen in training, which the model takes for a category"
        return ""

    def _narrowed(self) -> Schema:
        match self.domain:
            case Interval() as interval:
                return interval.json_schema()
            case Choices(values=values, rare=0):
                return self._enum(values)
        return {}


class Boolean(_Feature):
    """A boolean; ``trained`` counts false and true."""

    type: Literal["boolean"]
    trained: Frequencies | None
    domain: None = None
    example: StrictBool

    def _accepted(self) -> CoreSchema:
        return core_schema.bool_schema(strict=True)

    def _usual(self) -> CoreSchema:
        has_gap = self.trained is not None and 0 in self.trained.categories.values()
        return _NOTHING if has_gap else self._accepted()

    def _mistake(self, value: Any) -> str:  # noqa: ANN401 (any JSON)
        return "" if type(value) is bool else f"expected a boolean, got {kind_of(value)}"

    def _unlike(self, value: Any) -> str:  # noqa: ANN401 (a boolean)
        is_seen = self.trained is None or self.trained.categories["true" if value else "false"]
        return "" if is_seen else "not seen in training"


class Category(_Feature):
    """A string out of few.

    Another than those of training is accepted with a warning, unless the estimator fails on it:
    then those of training are ``known``. They are not published, for the rare ones among them.
    """

    type: Literal["category"]
    trained: Frequencies | None
    domain: Lengths | Choices
    known: tuple[str, ...] | None = None
    example: str

    def _accepted(self) -> CoreSchema:
        if isinstance(self.domain, Lengths):
            return self.domain.accepted()
        return core_schema.literal_schema(list(self.known or ()))

    def _usual(self) -> CoreSchema:
        if self.trained is None:
            return self._accepted()
        seen = list(self.trained.categories)
        return core_schema.literal_schema(seen) if seen else _NOTHING

    def _mistake(self, value: Any) -> str:  # noqa: ANN401 (any JSON)
        if isinstance(self.domain, Lengths) or type(value) is not str:
            return _string_mistake(value, self.domain)
        is_known = value in (self.known or ())
        return "" if is_known else "expected a category that training has seen"

    def _unlike(self, value: Any) -> str:  # noqa: ANN401 (a string)
        is_seen = self.trained is None or value in self.trained.categories
        return "" if is_seen else "a category seen rarely or never in training"

    def _narrowed(self) -> Schema:
        schema: Schema = {}
        match self.domain:
            case Lengths() as lengths:
                schema = lengths.json_schema()
            case Choices(values=values, rare=0):
                schema = self._enum(values)
        return {**schema, "description": self._told()}

    def _told(self) -> str:
        """Tell which strings it takes."""
        if self.trained is None:
            if isinstance(self.domain, Choices):
                return f"Takes {len(self.known or ())} that training has seen, and no others."
            return "Which of them training has seen is not known."
        names, rare = list(self.trained.categories), self.trained.rare_categories
        told = names[:MAX_TOLD]
        if len(names) > MAX_TOLD:
            told.append(f"{len(names) - MAX_TOLD} more")
        if rare:
            told.append(f"{rare} in few rows")
        others = "refused" if isinstance(self.domain, Choices) else "answered with a warning"
        return f"Seen in training: {', '.join(told)}. Others are {others}."


class Text(_Feature):
    """Any string; ``trained`` has the lengths seen in training."""

    type: Literal["text"]
    trained: Lengths | None
    domain: Lengths
    example: str

    def _accepted(self) -> CoreSchema:
        return self.domain.accepted()

    def _usual(self) -> CoreSchema:
        return (self.trained or self.domain).accepted()

    def _mistake(self, value: Any) -> str:  # noqa: ANN401 (any JSON)
        return _string_mistake(value, self.domain)

    def _unlike(self, value: Any) -> str:  # noqa: ANN401 (a string)
        if self.trained is None:
            return ""
        shortest, longest = self.trained.min_length, self.trained.max_length
        if shortest <= len(value) <= longest:
            return ""
        return f"a length not seen in training, {shortest} to {longest} characters"

    def _narrowed(self) -> Schema:
        return self.domain.json_schema()


# All have ``nullable`` if a row of the training data lacked the value; ``missing`` counts those.
Feature = Annotated[Number | Boolean | Category | Text, Field(discriminator="type")]


def _known(known: frozenset[float], value: float) -> float:
    if value not in known:
        raise ValueError
    return value


def _string_mistake(value: object, domain: Lengths | Choices) -> str:
    if type(value) is not str:
        return f"expected a string, got {kind_of(value)}"
    match domain:
        case Lengths(min_length=low, max_length=high) if not low <= len(value) <= high:
            return f"expected {low} to {high} characters"
    return ""

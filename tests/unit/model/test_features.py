"""What a feature accepts, finds usual, calls a mistake and shows clients is one and the same."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator
from pydantic_core import CoreSchema, SchemaValidator, ValidationError

from serving.model.domains import Choices, Frequencies
from serving.model.features import MAX_TOLD, Category, Feature, Value
from tests.unit.drawn import features, near
from tests.unit.samples import (
    LIMIT,
    MIXED,
    boolean,
    category,
    closed_category,
    integer,
    number,
    text,
    unknown,
)

REFUSED = object()
TYPES = {"number": float, "integer": int, "boolean": bool, "category": str, "text": str}

codes = integer("x", (1, 5)).model_copy(update={"known": (1, 3, 5)})
closed_codes = codes.model_copy(update={"domain": Choices(values=(1, 3), rare=1)})
one_sided = boolean("x").model_copy(
    update={
        "trained": Frequencies(categories={"false": 0, "true": 4}, rare_categories=0, rare_rows=0)
    }
)


def checked(schema: CoreSchema, value: object) -> object:
    """Give what a value becomes, or `REFUSED`."""
    try:
        return SchemaValidator(schema).validate_python(value)
    except ValidationError:
        return REFUSED


def taken(feature: Feature, value: object) -> Any:  # noqa: ANN401 (of the feature's type)
    """Give what a value becomes that is accepted."""
    assert feature.mistake(value) == ""
    arrived = checked(feature.accepted(), value)
    assert arrived is not REFUSED
    return arrived


def mistake(feature: Feature, value: object) -> str:
    """Tell what is wrong with a value that is refused."""
    assert checked(feature.accepted(), value) is REFUSED
    return feature.mistake(value)


@settings(max_examples=100)
@given(features().flatmap(lambda feature: st.tuples(st.just(feature), near(feature))))
def test_all_that_a_feature_says_of_a_value_agrees(drawn: tuple[Feature, Any]) -> None:
    feature, value = drawn
    arrived = checked(feature.accepted(), value)
    is_accepted = arrived is not REFUSED
    assert is_accepted == (not feature.mistake(value))
    # Of choices that are not all told, clients can't know which they are.
    if is_accepted or not (isinstance(feature.domain, Choices) and feature.domain.rare):
        assert OAS31Validator(feature.json_schema()).is_valid(value) == is_accepted
    usual = checked(feature.usual(), value)
    if usual is not REFUSED:
        assert is_accepted
        assert repr(usual) == repr(arrived)
        assert feature.unlike(arrived) == ""  # type: ignore[arg-type]
    if is_accepted:
        assert arrived == value
        assert arrived is None or type(arrived) is TYPES[feature.type]


@given(st.floats(-LIMIT, LIMIT))
def test_a_number_arrives_with_every_bit(value: float) -> None:
    assert repr(taken(number("x"), value)) == repr(value)  # -0.0 as well


@pytest.mark.parametrize(
    ("feature", "usual", "unusual"),
    [
        (number("x"), [0, 4.5, 9.0], [-1, 9.5]),
        (integer("x"), [0, 9], [-1, 10]),
        (codes, [1, 3, 5], [0, 2, 6]),
        (closed_codes, [1, 3, 5], []),
        (boolean("x"), [True, False], []),
        (one_sided, [True], [False]),
        (category("x"), ["red", "blue"], ["", "Red", "green", "x" * 20]),
        (closed_category("x"), ["red", "blue"], ["rare"]),
        (unknown(number("x")), [-1, 4.5, 9.5], []),
        (unknown(codes), [1, 3, 5], [0, 2, 6]),
        (unknown(one_sided), [True, False], []),
        (unknown(category("x")), ["red", "green", ""], []),
        (unknown(closed_category("x")), ["red", "blue", "rare"], []),
        (unknown(text("x")), ["", "x" * 11], []),
        (text("x"), ["ab", "x" * 10, "\N{GRINNING FACE}" * 10], ["", "a", "x" * 11, "x" * 30]),
    ],
    ids=lambda value: getattr(value, "type", ""),
)
def test_a_value_is_taken_as_it_is_and_told_if_training_saw_none_like_it(
    feature: Feature, usual: list[Any], unusual: list[Any]
) -> None:
    for value in (*usual, *unusual):
        assert taken(feature, value) == value
        assert bool(feature.unlike(value)) == (value in unusual)
        if feature is not one_sided:  # of which all values are looked at again
            assert (checked(feature.usual(), value) is REFUSED) == (value in unusual)


@pytest.mark.parametrize(
    ("feature", "value", "detail"),
    [
        (number("x"), -1, "outside of the range seen in training, 0.0 to 9.0"),
        (integer("x"), 99, "outside of the range seen in training, 0 to 9"),
        (codes, 2, "a number not seen in training, which the model takes for a category"),
        (one_sided, False, "not seen in training"),
        (category("x"), "green", "a category seen rarely or never in training"),
        (closed_category("x"), "rare", "a category seen rarely or never in training"),
        (text("x"), "x", "a length not seen in training, 2 to 10 characters"),
    ],
    ids=lambda value: getattr(value, "type", ""),
)
def test_in_what_way_a_value_is_unlike_training_is_told(
    feature: Feature, value: Value, detail: str
) -> None:
    assert feature.unlike(value) == detail


@pytest.mark.parametrize(
    ("feature", "wanted", "values"),
    [
        (number("x"), "a number", [True, "1.5", "NaN", [1], {"x": 1}]),
        (integer("x"), "a whole number", [True, False, "1", [1], {}]),
        (closed_codes, "a whole number", [True, "1"]),
        (boolean("x"), "a boolean", [0, 1, 1.0, "true", []]),
        (category("x"), "a string", [1, 1.5, True, ["red"], {}]),
        (closed_category("x"), "a string", [1, True, ["red"]]),
        (text("x"), "a string", [1, False, ["ab"], {}]),
    ],
    ids=lambda value: getattr(value, "type", ""),
)
def test_a_value_of_another_type_is_refused(
    feature: Feature, wanted: str, values: list[object]
) -> None:
    kinds = {bool: "a boolean", str: "a string", list: "an array", dict: "an object"}
    for value in values:
        kind = kinds.get(type(value), "a number")
        assert mistake(feature, value) == f"expected {wanted}, got {kind}"


@pytest.mark.parametrize("feature", MIXED, ids=lambda feature: feature.name)
def test_null_is_taken_only_where_training_saw_missing_values_and_is_usual_there(
    feature: Feature,
) -> None:
    nullable = feature.model_copy(update={"nullable": True})
    assert taken(nullable, None) is None
    assert checked(nullable.usual(), None) is None
    assert nullable.unlike(None) == ""
    refused = feature.model_copy(update={"nullable": False})
    assert mistake(refused, None).endswith(", got null")


def test_of_a_category_of_which_none_is_named_every_string_is_unusual_and_null_is_none() -> None:
    feature = category("x", named=())
    assert feature.unlike(taken(feature, "any"))
    assert checked(feature.usual(), "any") is REFUSED
    assert mistake(feature, None) == "expected a string, got null"


@pytest.mark.parametrize(
    ("feature", "value", "detail"),
    [
        (number("x"), 1e13, f"expected a number between {-LIMIT!r} and {LIMIT!r}"),
        (number("x"), 10**400, f"expected a number between {-LIMIT!r} and {LIMIT!r}"),
        (integer("x"), 10**7, "expected a whole number between -1000000 and 1000000"),
        (integer("x"), 5.5, "expected a whole number, got a fraction"),
        (closed_codes, 2, "expected a whole number that training has seen"),
        (category("x"), "x" * 21, "expected 0 to 20 characters"),
        (closed_category("x"), "green", "expected a category that training has seen"),
        (text("x"), "x" * 31, "expected 0 to 30 characters"),
        (text("x", domain=(1, 30)), "", "expected 1 to 30 characters"),
    ],
    ids=lambda value: getattr(value, "type", ""),
)
def test_a_value_that_the_model_does_not_compute_with_is_refused(
    feature: Feature, value: object, detail: str
) -> None:
    assert mistake(feature, value) == detail


@pytest.mark.parametrize("value", [-3, 0, 7, 10**6])
def test_a_whole_number_may_be_written_with_a_fraction_of_zero(value: int) -> None:
    for written in (value, float(value)):
        arrived = taken(integer("n"), written)
        assert (arrived, type(arrived)) == (value, int)


@pytest.mark.parametrize("value", [2**53 + 1, -(2**53) - 1])
def test_a_whole_number_outside_the_domain_is_not_rounded_into_it(value: int) -> None:
    limit = 2**53
    detail = mistake(integer("n", domain=(-limit, limit)), value)
    assert detail == f"expected a whole number between {-limit!r} and {limit!r}"


def test_the_bounds_of_a_domain_belong_to_it_and_those_of_whole_numbers_may_be_fractions() -> None:
    assert [taken(number("x"), value) for value in (-LIMIT, LIMIT)] == [-LIMIT, LIMIT]
    feature = integer("n", trained=(1, 2), domain=(0.5, 3.5))
    assert [taken(feature, value) for value in (1, 3)] == [1, 3]
    assert mistake(feature, 0) == "expected a whole number between 0.5 and 3.5"
    assert mistake(feature, 4) == "expected a whole number between 0.5 and 3.5"


# What clients are told

OPEN: dict[str, Any] = {"type": "string", "minLength": 0, "maxLength": 20}


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        (number("x"), {"type": "number", "minimum": -LIMIT, "maximum": LIMIT, "examples": [4.5]}),
        (
            integer("x", nullable=True),
            {
                "type": ["integer", "null"],
                "minimum": -(10**6),
                "maximum": 10**6,
                "examples": [9],
            },
        ),
        (closed_codes, {"type": "integer", "examples": [5]}),
        (
            codes.model_copy(update={"domain": Choices(values=(1, 3, 5), rare=0)}),
            {"type": "integer", "enum": [1, 3, 5], "examples": [5]},
        ),
        (boolean("x"), {"type": "boolean", "examples": [False]}),
        (
            category("x"),
            OPEN
            | {
                "description": "Seen in training: red, blue, 1 in few rows. "
                "Others are answered with a warning.",
                "examples": ["red"],
            },
        ),
        (
            category("x", named=()),
            OPEN
            | {
                "description": "Seen in training: 1 in few rows. "
                "Others are answered with a warning.",
                "examples": ["blue"],
            },
        ),
        (
            closed_category("x"),
            {
                "type": "string",
                "description": "Seen in training: red, blue, 1 in few rows. Others are refused.",
                "examples": ["red"],
            },
        ),
        (
            closed_category("x", values=("red", "blue"), nullable=True),
            {
                "type": ["string", "null"],
                "enum": ["red", "blue", None],
                "description": "Seen in training: red, blue. Others are refused.",
                "examples": ["red"],
            },
        ),
        (text("x"), {"type": "string", "minLength": 0, "maxLength": 30, "examples": ["xx"]}),
    ],
    ids=lambda value: str(value.get("type")) if isinstance(value, dict) else "",
)
def test_each_type_of_feature_is_described(feature: Feature, expected: dict[str, Any]) -> None:
    assert feature.json_schema() == expected
    OAS31Validator.check_schema(expected)


def test_of_many_categories_the_first_are_told() -> None:
    names = tuple(f"c{n}" for n in range(MAX_TOLD + 2))
    feature = closed_category("x", names, names)
    assert isinstance(feature, Category)
    told = feature.json_schema()["description"]
    assert told.endswith(f"c{MAX_TOLD - 1}, 2 more. Others are refused.")


@pytest.mark.parametrize("feature", MIXED, ids=lambda feature: feature.type)
def test_no_value_of_an_input_is_repeated(feature: Feature) -> None:
    for value in (31415926e10, "31415926", "31415926 " * 9, ["31415926"], {"31415926": 1}):
        told = feature.mistake(value) or feature.unlike(value)  # type: ignore[arg-type]
        assert "31415926" not in told

"""What is published of each type of column."""

import json

import pytest

from serving.model.domains import Interval, Lengths
from serving.model.features import Boolean, Category, Number, Text
from tests.unit.training.describing.columns import feature_of


def test_of_numbers_the_range_and_what_divides_them_is_told() -> None:
    feature = feature_of("number", [*map(float, range(51)), None, None])

    assert isinstance(feature, Number)
    assert feature.type == "number"
    assert feature.trained == Interval(minimum=0.0, maximum=50.0)
    assert feature.quantiles == {f"0.{tenth}": pytest.approx(5 * tenth) for tenth in range(1, 10)}
    assert feature.nullable
    assert feature.missing == 2
    assert feature.example == 25.0


@pytest.mark.parametrize(
    ("rows", "shares"),
    [(9, []), (10, ["0.5"]), (20, ["0.25", "0.5", "0.75"]), (50, [f"0.{n}" for n in range(1, 10)])],
)
def test_what_divides_numbers_has_five_rows_at_least_on_each_side(
    rows: int, shares: list[str]
) -> None:
    feature = feature_of("integer", [*range(rows)])

    assert isinstance(feature, Number)
    assert list(feature.quantiles) == shares


def test_whole_numbers_stay_whole_though_some_are_missing() -> None:
    feature = feature_of("integer", [3, None, 1, 8])

    assert isinstance(feature, Number)
    assert feature.type == "integer"
    assert feature.trained == Interval(minimum=1, maximum=8)
    assert json.loads(feature.model_dump_json())["trained"] == {"minimum": 1, "maximum": 8}
    assert type(feature.trained.minimum) is type(feature.example) is int
    assert feature.missing == 1


def test_booleans_are_counted() -> None:
    feature = feature_of("boolean", [True, False, True, None])

    assert isinstance(feature, Boolean)
    assert feature.trained
    assert feature.trained.categories == {"false": 1, "true": 2}
    assert feature.trained.rare_rows == feature.trained.rare_categories == 0
    assert feature.example is True
    assert (feature.nullable, feature.missing) == (True, 1)


def test_categories_are_counted_and_the_rare_ones_are_not_named() -> None:
    values = ["red"] * 5 + ["blue"] * 7 + ["rare"] * 4 + ["once"] + [None] * 2
    feature = feature_of("category", values)

    assert isinstance(feature, Category)
    assert feature.trained
    assert dict(feature.trained.categories) == {"blue": 7, "red": 5}
    assert list(feature.trained.categories) == ["blue", "red"]
    assert feature.trained.rare_categories == 2
    assert feature.trained.rare_rows == 5
    assert feature.missing == 2
    assert feature.domain == Lengths(min_length=0, max_length=1000)
    assert feature.example in feature.trained.categories


def test_where_all_categories_are_rare_the_example_is_none_of_them() -> None:
    values = [f"name {number}" for number in range(8)] * 2
    feature = feature_of("category", values)

    assert isinstance(feature, Category)
    assert feature.trained
    assert feature.trained.categories == {}
    assert feature.example not in values


def test_of_texts_the_lengths_are_told_and_nothing_else() -> None:
    feature = feature_of("text", ["ab", "abcd" * 10, "xyz", None])

    assert isinstance(feature, Text)
    assert feature.trained == Lengths(min_length=2, max_length=40)
    assert feature.domain == Lengths(min_length=0, max_length=100_000)
    assert feature.missing == 1
    assert len(feature.example) == 3


def test_texts_may_be_as_long_as_those_of_the_table() -> None:
    feature = feature_of("text", ["a", "b" * 150_000])

    assert feature.domain == Lengths(min_length=0, max_length=150_000)


def test_without_gaps_no_feature_takes_null() -> None:
    for kind, values in (
        ("number", [1.0, 2.0]),
        ("integer", [1, 2]),
        ("boolean", [True, False]),
        ("category", ["a", "b"]),
        ("text", ["a", "b"]),
    ):
        feature = feature_of(kind, values)  # type: ignore[arg-type]
        assert (feature.nullable, feature.missing) == (False, 0)

"""What is published of a table: of each column enough to compare with, and nobody's values."""

import json
import string
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st

from serving.model.description import Description, Metrics
from serving.model.domains import Choices, Interval, Lengths
from serving.model.features import Boolean, Category, Feature, Number, Row, Text
from serving.model.rows import Rows
from training.describing.describe import describe, rows_of
from training.errors import TrainingError
from training.table.columns import FeatureType
from training.table.table import Table

Given = Any  # what estimators take and give
METRICS = Metrics(split="none", values={"r2": 0.5}, dummy={"r2": 0.0})


class Constant:
    """Answers with 1 whatever it is asked."""

    def predict(self, rows: Given) -> Given:
        """Give a number for each row."""
        return np.ones(len(rows))


def table_of(columns: Mapping[str, tuple[FeatureType, Sequence[Any]]]) -> Table:
    """Make a table as `to_table` does, of columns with None where a value is missing."""
    series = {}
    for name, (kind, values) in columns.items():
        gaps = None in values
        dtype: Any = {"integer": "int64", "boolean": "bool", "number": "float64"}.get(kind, object)
        dtype = "float64" if gaps and dtype is not object else dtype
        series[name] = pd.Series([np.nan if v is None else v for v in values], dtype=dtype)
    frame = pd.DataFrame(series)
    types = {name: kind for name, (kind, _) in columns.items()}
    target = pd.DataFrame({"y": np.zeros(len(frame))})
    return Table(frame=frame, types=types, target=target, task="regression", notes=())


def described(columns: Mapping[str, tuple[FeatureType, Sequence[Any]]]) -> Description:
    """Describe a table of columns by an estimator that has no opinion of them."""
    return describe("mine", Constant(), table_of(columns), METRICS, seed=0)


def feature_of(kind: FeatureType, values: Sequence[Any]) -> Feature:
    """Describe one column, beside another that has no gaps."""
    other = ("number", [float(number) for number in range(len(values))])
    description = described({"x": (kind, values), "other": other})  # type: ignore[dict-item]
    return description.features[0]


# Each type


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
    assert feature.trained.categories == {"false": 1, "true": 2}
    assert feature.trained.rare_rows == feature.trained.rare_categories == 0
    assert feature.example is True
    assert (feature.nullable, feature.missing) == (True, 1)


def test_categories_are_counted_and_the_rare_ones_are_not_named() -> None:
    values = ["red"] * 5 + ["blue"] * 7 + ["rare"] * 4 + ["once"] + [None] * 2
    feature = feature_of("category", values)

    assert isinstance(feature, Category)
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


def test_the_rest_of_a_description_is_what_training_knows() -> None:
    table = table_of({"x": ("number", [1.0, 2.0, 3.0])})
    description = describe("mine", Constant(), table, METRICS, seed=0)

    assert description.name == "mine"
    assert description.targets == ("y",)
    assert description.metrics == METRICS
    assert description.training.rows == 3
    assert description.training.fingerprint == table.fingerprint
    assert description.created.utcoffset() is not None
    assert description.versions.keys() == {"python", "scikit-learn", "numpy", "scipy", "joblib"}
    assert description.versions["scikit-learn"] == sklearn.__version__
    assert Description.model_validate_json(description.model_dump_json()) == description


def test_rows_are_as_the_service_has_them() -> None:
    table = table_of(
        {
            "a": ("integer", [1, None]),
            "b": ("boolean", [None, True]),
            "c": ("category", ["x", None]),
            "d": ("number", [None, 2.5]),
        }
    )

    rows = rows_of(table)

    assert rows == [(1, None, "x", None), (None, True, None, 2.5)]
    assert [type(value) for value in rows[0][:1] + rows[1][1:2]] == [int, bool]


def test_targets_that_no_table_names_are_numbered() -> None:
    class Two:
        def predict(self, rows: Given) -> Given:
            return np.ones((len(rows), 2))

    table = table_of({"x": ("number", [1.0, 2.0])})
    unnamed = Table(table.frame, table.types, table.target.iloc[:, :0], "regression", ())

    assert describe("mine", Two(), unnamed, METRICS, seed=0).targets == ("y0", "y1")
    assert describe("mine", Constant(), unnamed, METRICS, seed=0).targets == ("y",)


def test_what_answers_with_nothing_is_refused_with_what_it_says() -> None:
    class Stubborn:
        def predict(self, rows: Given) -> Given:
            raise RuntimeError(f"not today, {type(rows).__name__}")

    table = table_of({"x": ("number", [1.0, 2.0])})

    with pytest.raises(TrainingError) as caught:
        describe("mine", Stubborn(), table, METRICS, seed=0)

    assert str(caught.value).splitlines() == [
        "the estimator does not answer the rows of the table",
        "given an array: RuntimeError: not today, ndarray",
        "given a frame: RuntimeError: not today, DataFrame",
        "given a frame with categories in 'x': RuntimeError: not today, DataFrame",
        "given a list of dicts: RuntimeError: not today, list",
    ]


# Nobody's values

SECRETS = ("Wilhelmina of Ottersum", "08-15-4711", "☃ snowman")


@pytest.mark.parametrize("secret", SECRETS)
def test_rare_categories_and_texts_are_nowhere_in_a_description(secret: str) -> None:
    description = described(
        {
            "color": ("category", ["red"] * 9 + [secret] * 4),
            "rare": ("category", [secret, *"abcdefghijkl"]),
            "note": ("text", [secret] * 7 + [f"{secret} {number}" for number in range(6)]),
            "size": ("number", [float(number) for number in range(13)]),
        }
    )

    written = description.model_dump_json()
    assert secret not in written
    assert secret not in json.loads(written).__repr__()


class Strict(Constant):
    """Fails on any category but two."""

    def predict(self, rows: Given) -> Given:
        """Give a number for each row."""
        if not set(np.ravel(rows)) <= {"red", "rare"}:
            raise ValueError("unknown category")
        return super().predict(rows)


def test_the_rare_categories_of_an_estimator_that_fails_on_others_are_not_published() -> None:
    table = table_of({"color": ("category", ["red"] * 9 + ["rare"])})
    (feature,) = describe("mine", Strict(), table, METRICS, seed=0).features

    assert isinstance(feature, Category)
    assert feature.domain == Choices(values=("red",), rare=1)
    assert feature.known == ("rare", "red")
    assert "rare" not in feature.trained.categories


def test_an_estimator_that_fails_on_others_needs_a_common_category_for_an_example() -> None:
    table = table_of({"color": ("category", ["red", "rare"])})

    with pytest.raises(TrainingError, match="'color' has none that is common enough"):
        describe("mine", Strict(), table, METRICS, seed=0)


NUMBERS = st.one_of(
    st.sampled_from([0.0, 1.0, 2.0, 3.0]),
    st.floats(-1e300, 1e300),
)
VALUES: dict[FeatureType, st.SearchStrategy[Any]] = {
    "number": NUMBERS,
    "integer": st.integers(-2, 4) | st.integers(-(2**53), 2**53),
    "boolean": st.booleans(),
    "category": st.sampled_from("abc"),
    "text": st.text(string.ascii_lowercase, max_size=3),
}


@st.composite
def columns(draw: st.DrawFn) -> dict[str, tuple[FeatureType, list[Any]]]:
    """Draw a small table of mixed types, of which some rows are there often."""
    kinds: list[FeatureType] = draw(st.lists(st.sampled_from([*VALUES]), min_size=1, max_size=3))
    times = draw(st.sampled_from([1, 5]))
    rows = draw(st.lists(st.tuples(*(VALUES[kind] for kind in kinds)), min_size=1, max_size=8))
    made = {}
    for at, kind in enumerate(kinds):
        values = [row[at] for row in rows] * times
        if len(set(values)) > 1 and draw(st.integers(0, 3)) == 0:
            values[0] = None
        made[f"{kind} {at}"] = (kind, values)
    return made


def usual_values(feature: Feature) -> set[Any] | None:
    """Give the values that are like those of training, or None if they can't be counted."""
    match feature:
        case Boolean():
            return {json.loads(name) for name, rows in feature.trained.categories.items() if rows}
        case Category():
            return set(feature.trained.categories) or {feature.example}
        case Number(type="integer", trained=trained):
            low, high = int(trained.minimum), int(trained.maximum)
            return set(range(low, high + 1)) if high - low < 100 else None
        case Number(trained=trained):
            some = np.linspace(trained.minimum / 2, trained.maximum / 2, 99) * 2
            some = some.clip(trained.minimum, trained.maximum)  # the half of the least is zero
            return None if len(np.unique(some)) > 50 else set(some)
        case Text():  # any other text of such a length would do, but for one the example is right
            return {feature.example}
    raise AssertionError


@given(made=columns())
def test_the_example_is_no_row_of_the_table_if_another_row_is_like_its_own(
    made: dict[str, tuple[FeatureType, list[Any]]],
) -> None:
    table = table_of(made)
    features = describe("mine", Constant(), table, METRICS, seed=0).features

    example: Row = tuple(feature.example for feature in features)
    theirs = set(rows_of(table))
    usual = [usual_values(feature) for feature in features]
    ways = product(*(values for values in usual if values is not None))
    if None in usual or any(way not in theirs for way in ways):
        assert example not in theirs


@given(made=columns())
def test_the_example_is_like_what_training_saw(
    made: dict[str, tuple[FeatureType, list[Any]]],
) -> None:
    features = describe("mine", Constant(), table_of(made), METRICS, seed=0).features

    example = {feature.name: feature.example for feature in features}
    warnings = Rows(features, max_rows=1).one(example, ("data",)).warnings

    without_common = {
        f"/data/{feature.name}"
        for feature in features
        if isinstance(feature, Category) and not feature.trained.categories
    }
    assert {warning.pointer for warning in warnings} == without_common


@pytest.mark.parametrize(
    "made",
    [
        {"x": ("number", [1.0, 2.0, 3.0])},
        {"x": ("integer", [1, 2, 4, 5])},
        {"x": ("integer", [1, 2, 2, 3, 3, 9])},
        {"x": ("boolean", [True, False, True]), "y": ("boolean", [True, True, False])},
        {"x": ("category", ["a"] * 9 + ["b"] * 5), "y": ("category", ["u"] * 9 + ["v"] * 5)},
        {"x": ("number", [5.0] * 3), "y": ("number", [1.0, 2.0, 3.0])},
        {
            "x": ("number", [x for x in (1.0, 2, 3) for _ in "abc"]),
            "y": ("number", [1.0, 2, 3] * 3),
        },
        {"x": ("text", ["an", "an", "an"])},
        {"x": ("text", ["", "", "abc"])},
    ],
    ids=str,
)
def test_no_row_is_given_away_by_the_examples(made: Any) -> None:  # noqa: ANN401
    table = table_of(made)
    features = describe("mine", Constant(), table, METRICS, seed=0).features

    assert tuple(feature.example for feature in features) not in set(rows_of(table))


@pytest.mark.parametrize("largest", [1.5e308, 1.79e308])
def test_the_example_of_the_largest_numbers_is_a_number(largest: float) -> None:
    feature = feature_of("number", [largest, largest, largest * 0.9, largest * 0.8])

    assert isinstance(feature, Number)
    assert largest * 0.8 <= feature.example <= largest
    assert all(np.isfinite(value) for value in feature.quantiles.values())

"""Examples are typical, and nobody's."""

import json
import string
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.model.domains import Frequencies, Interval
from serving.model.features import Boolean, Category, Feature, Number, Row, Text
from serving.model.rows import Rows
from tests.unit.training.describing.columns import METRICS, Constant, feature_of, table_of
from training.describing.describe import describe, rows_of
from training.table.columns import FeatureType

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
        case Boolean(trained=Frequencies(categories=seen)):
            return {json.loads(name) for name, rows in seen.items() if rows}
        case Category(trained=Frequencies(categories=seen)):
            return set(seen) or {feature.example}
        case Number(type="integer", trained=Interval(minimum=low, maximum=high)):
            return set(range(int(low), int(high) + 1)) if high - low < 100 else None
        case Number(trained=Interval(minimum=low, maximum=high)):
            some = np.linspace(low / 2, high / 2, 99) * 2
            some = some.clip(low, high)  # the half of the least is zero
            return None if len(np.unique(some)) > 50 else set(some)
        case Text():  # any other text of such a length would do, but for one the example is right
            return {feature.example}
    raise AssertionError


@settings(max_examples=40)
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


@settings(max_examples=40)
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
        if isinstance(feature, Category) and not (feature.trained and feature.trained.categories)
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

"""What a model says of itself is kept as it was said, and nothing else is understood."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serving.model.description import Description, Label, label_key
from serving.model.domains import Interval
from serving.model.features import Feature
from tests.unit.samples import (
    EACH_TASK,
    MIXED,
    boolean,
    category,
    closed_category,
    description,
    number,
    several_labels,
    text,
)

labels = (
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
classes_of_one = st.lists(labels, min_size=1, max_size=4, unique_by=label_key)


def through_json(whole: Description) -> Description:
    """Write a description, and read it back."""
    return Description.model_validate_json(whole.model_dump_json())


@given(st.lists(classes_of_one, min_size=1, max_size=3))
def test_labels_keep_value_and_type_on_their_way_through_json(classes: list[list[Label]]) -> None:
    told = tuple(map(tuple, classes))
    described = several_labels(*told) if len(told) > 1 else description(told[0])
    assert repr(through_json(described).classes_by_target) == repr(told)


ends = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60)


@given(ends, ends)
def test_bounds_keep_every_bit_on_their_way_through_json(one: float, other: float) -> None:
    interval = Interval(minimum=one, maximum=other)
    read_back = Interval.model_validate_json(interval.model_dump_json())
    assert (repr(read_back.minimum), repr(read_back.maximum)) == (repr(one), repr(other))


@pytest.mark.parametrize("whole", EACH_TASK.values(), ids=EACH_TASK)
def test_a_whole_description_survives_json(whole: Description) -> None:
    assert through_json(whole) == whole


def test_features_of_every_type_and_their_examples_survive_json() -> None:
    read_back = through_json(description(features=MIXED))
    assert read_back.features == MIXED
    assert list(map(type, read_back.features)) == list(map(type, MIXED))
    examples = [type(feature.example) for feature in read_back.features]
    assert examples == [float, int, bool, str, str, str]


def test_a_description_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        description().name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "forecasting"},
        {"surprise": 1},
        {"classes": [None]},
        {"classes": [["a"], "b"]},
        {"created": "yesterday"},
        {"features": [{"name": "x", "type": "date"}]},
        {"asked": {"input": "tensor"}},
    ],
    ids=str,
)
def test_what_this_version_does_not_know_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Description.model_validate(description().model_dump() | changes)


@pytest.mark.parametrize(
    ("feature", "changes"),
    [
        (number("x"), {"type": "category"}),
        (number("x"), {"unit": "cm"}),
        (number("x"), {"domain": None}),
        (number("x"), {"example": True}),
        (boolean("x"), {"example": 1}),
        (boolean("x"), {"domain": {"minimum": 0, "maximum": 1}}),
        (category("x"), {"domain": {"minimum": 0, "maximum": 1}}),
        (text("x"), {"domain": {"values": ["a"]}}),
        (closed_category("x"), {"nullable": None}),
    ],
    ids=str,
)
def test_a_feature_that_this_version_does_not_know_is_refused(
    feature: Feature, changes: dict[str, object]
) -> None:
    with pytest.raises(ValidationError):
        type(feature).model_validate(feature.model_dump() | changes)


@pytest.mark.parametrize("classes", [(1, "1"), (True, "true"), ("a", "a")], ids=repr)
def test_classes_that_json_could_not_tell_apart_are_refused(classes: tuple[Label, ...]) -> None:
    told: Any
    for told in (classes, (("a", "b"), classes)):
        with pytest.raises(ValidationError, match="the same name in JSON"):
            Description.model_validate(description().model_dump() | {"classes": told})


def test_classes_are_told_by_target() -> None:
    assert several_labels((0, 1), (0, 1)).classes_by_target == ((0, 1), (0, 1))
    assert description(("a", "b")).classes_by_target == (("a", "b"),)
    for task in ("one number", "clusters", "outliers"):
        assert EACH_TASK[task].classes_by_target == ()


@pytest.mark.parametrize(
    ("label", "key"),
    [
        ("a", "a"),
        ("true", "true"),
        (True, "true"),
        (7, "7"),
        (1.0, "1.0"),
        (2**60 + 1, f"{2**60 + 1}"),
    ],
)
def test_a_label_is_a_key_as_json_writes_it(label: Label, key: str) -> None:
    assert label_key(label) == key

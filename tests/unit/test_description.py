"""What a model says of itself is kept as it was said, and nothing else is understood."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serving.description import Description, Interval, Label, label_key
from tests.unit.samples import description, feature

labels = (
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)


@given(st.lists(labels, min_size=1, max_size=5, unique_by=label_key))
def test_labels_keep_value_and_type_on_their_way_through_json(classes: list[Label]) -> None:
    read_back = Description.model_validate_json(description(tuple(classes)).model_dump_json())
    assert list(map(repr, read_back.classes)) == list(map(repr, classes))


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_bounds_keep_every_bit_on_their_way_through_json(one: float, other: float) -> None:
    interval = Interval(minimum=one, maximum=other)
    assert Interval.model_validate_json(interval.model_dump_json()) == interval


def test_a_whole_description_survives_json() -> None:
    whole = description()
    assert Description.model_validate_json(whole.model_dump_json()) == whole


def test_a_description_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        description().name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    "changes",
    [{"task": "regression"}, {"surprise": 1}, {"classes": [None]}, {"created": "yesterday"}],
    ids=lambda changes: next(iter(changes)),
)
def test_what_this_version_does_not_know_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Description.model_validate(description().model_dump() | changes)


@pytest.mark.parametrize("changes", [{"type": "category"}, {"nullable": True}, {"unit": "cm"}])
def test_a_feature_that_this_version_does_not_know_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        type(feature("x")).model_validate(feature("x").model_dump() | changes)


@pytest.mark.parametrize("classes", [(1, "1"), (True, "true"), ("a", "a")], ids=repr)
def test_classes_that_json_could_not_tell_apart_are_refused(classes: tuple[Label, ...]) -> None:
    with pytest.raises(ValidationError, match="the same name in JSON"):
        Description.model_validate(description().model_dump() | {"classes": classes})

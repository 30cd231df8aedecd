"""Where values fall: each into one bin, whatever it is, and bins are told apart."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.drift.bins import (
    ABOVE,
    BELOW,
    MISSING,
    RARE,
    RESERVED,
    UNSEEN,
    Bins,
    Intervals,
    Lengths,
    Names,
    bins_of_feature,
    bins_of_output,
    digest,
    named_bins,
)
from serving.model.description import Reference, label_key
from serving.model.domains import Interval
from tests.unit.drawn import features, near
from tests.unit.samples import boolean, category, integer, number, text


def fallen(bins: Bins, *values: Any) -> list[str]:  # noqa: ANN401 (what the bins take)
    """Give the bin of each value, alone and in company."""
    each = [bins.names[int(np.flatnonzero(bins.count([value]))[0])] for value in values]
    together = dict(zip(bins.names, bins.count(values).tolist(), strict=True))
    assert together == {name: each.count(name) for name in bins.names}
    return each


def test_a_number_on_an_edge_falls_below_it() -> None:
    bins = Intervals((1.0, 2.0), Interval(minimum=0, maximum=3), nullable=True)

    assert bins.names == (BELOW, "0", "1", "2", ABOVE, MISSING)
    assert fallen(bins, -5e-324, 0, -0.0, 1.0, 1 + 1e-6) == [BELOW, "0", "0", "0", "1"]
    assert fallen(bins, 2, 2 + 1e-6, 3.0, 3 + 1e-6) == ["1", "2", "2", ABOVE]
    assert fallen(bins, -1e308, 1e308, -5e-324, 5e-324) == [BELOW, ABOVE, BELOW, "0"]
    assert fallen(bins, None, math.nan) == [MISSING, MISSING]


def test_a_number_that_came_in_32_bits_falls_where_it_would_in_64() -> None:
    tenths = [number / 10 for number in range(-50, 51)]
    narrow = np.array(tenths, dtype=np.float32).tolist()
    bins = Intervals(tenths[1:-1], Interval(minimum=tenths[0], maximum=tenths[-1]))
    predicted = bins_of_output(Reference(edges=tuple(tenths), rows={}), is_number=True)
    constant = Intervals((), Interval(minimum=0.7, maximum=0.7))

    assert narrow != tenths
    assert fallen(bins, *narrow) == fallen(bins, *tenths)
    assert fallen(bins, *tenths) == ["0", *map(str, range(100))]
    assert fallen(predicted, *narrow) == fallen(predicted, *tenths)
    assert fallen(constant, *np.array([0.7], dtype=np.float32).tolist()) == ["0"]


def test_what_32_bits_can_t_tell_apart_64_do() -> None:
    year = Interval(minimum=1.7e9, maximum=1.7e9 + 30)
    seconds = Intervals((1.7e9 + 10, 1.7e9 + 20), year)
    numbers = Intervals((2**40, 2**40 + 1), Interval(minimum=0, maximum=2**41), whole=True)

    assert fallen(seconds, 1.7e9 + 10, 1.7e9 + 11, 1.7e9 + 21) == ["0", "1", "2"]
    assert fallen(numbers, 2**40, 2**40 + 1, 2**40 + 2, 2**41 + 1, -1) == [
        *("0", "1", "2", ABOVE, BELOW)
    ]


def test_a_constant_column_has_one_bin_beside_those_outside_of_it() -> None:
    bins = Intervals((), Interval(minimum=7, maximum=7))

    assert bins.names == (BELOW, "0", ABOVE)
    assert fallen(bins, 6.999, 7, 7.0, 7.001) == [BELOW, "0", "0", ABOVE]


@pytest.mark.parametrize("end", [-1.7976931348623157e308, 1.7976931348623157e308, 5e-324, -0.0])
def test_a_range_may_end_where_numbers_do(end: float) -> None:
    bins = Intervals((), Interval(minimum=end, maximum=end))

    assert fallen(bins, end) == ["0"]


def test_whole_numbers_beyond_doubles_fall_where_their_doubles_do() -> None:
    bins = Intervals((), Interval(minimum=2**53 + 1, maximum=2**60 + 1), whole=True)

    assert fallen(bins, 2**53 + 1, 2**60 + 1, 2**60 + 2**10) == ["0", "0", ABOVE]


def test_numbers_taken_for_categories_are_known_or_unseen() -> None:
    codes = integer("x", (1, 9), nullable=True).model_copy(update={"known": (1, 4, 9)})
    bins = bins_of_feature(codes, Reference(edges=(4.0,), rows={}))

    assert bins.names == ("0", "1", MISSING, UNSEEN)
    assert fallen(bins, 1, 4.0, 9, 5, 0, 10, None) == [
        *("0", "0", "1"),
        *(UNSEEN, UNSEEN, UNSEEN, MISSING),
    ]


def test_texts_fall_by_their_characters() -> None:
    bins = bins_of_feature(text("x", (0, 4), nullable=True), Reference(edges=(0.0, 2.5), rows={}))

    assert isinstance(bins, Lengths)
    assert fallen(bins, "", "äö", "\ud800🌸☃", "four", "fives", None) == [
        *("0", "1", "2", "2", ABOVE, MISSING)
    ]


def test_booleans_have_a_bin_each() -> None:
    bins = bins_of_feature(boolean("x", nullable=True), Reference(rows={}))

    assert bins.names == ("false", "true", MISSING)
    assert fallen(bins, True, False, None) == ["true", "false", MISSING]


def test_categories_are_named_rare_or_unseen() -> None:
    taken = ("red", "missing", "rare", '"rare"', '"')
    others = tuple(map(digest, ("unseen", "\ud800")))
    bins = bins_of_feature(category("x", taken, nullable=True), Reference(others=others, rows={}))

    quoted = ('"missing"', '"rare"', r'"\"rare\""', r'"\""')
    assert bins.names == ("red", *quoted, RARE, UNSEEN, MISSING)
    assert fallen(bins, *taken) == ["red", *quoted]
    assert fallen(bins, "unseen", "\ud800", "below", "", '"missing"', None) == [
        *(RARE, RARE, UNSEEN, UNSEEN, UNSEEN, MISSING)
    ]


def test_only_the_commonest_categories_are_named() -> None:
    names = [f"c{at}" for at in range(33)]
    feature = category("x", tuple(names))
    bins = bins_of_feature(feature, Reference(others=tuple(map(digest, names[30:])), rows={}))

    assert bins.names == (*names[:30], RARE, UNSEEN)
    assert fallen(bins, "c29", "c30", "c33") == ["c29", RARE, UNSEEN]


@given(st.lists(st.text(max_size=4) | st.sampled_from([*RESERVED, '"rare"']), unique=True))
def test_no_two_bins_have_the_same_name_whatever_categories_are_called(names: list[str]) -> None:
    bins = Names((*named_bins(names, others=True), UNSEEN, MISSING))

    assert len(set(bins.names)) == len(bins.names)
    named = names[:30]
    assert fallen(bins, *named) == list(bins.names[: len(named)])


@pytest.mark.parametrize("labels", [("a", "missing"), (0, 1), (0.5, -1.0), (False, True)])
def test_labels_of_any_type_are_named_as_json_writes_them(labels: tuple[Any, ...]) -> None:
    rows = dict.fromkeys(named_bins([label_key(label) for label in labels], others=False), 0)
    bins = bins_of_output(Reference(rows=rows), is_number=False)

    assert fallen(bins, *labels) == list(rows)


def test_a_label_without_a_bin_of_its_own_is_rare() -> None:
    bins = bins_of_output(Reference(rows={"0": 5, "1": 3, RARE: 0}), is_number=False)

    assert fallen(bins, 0, 7, 1) == ["0", RARE, "1"]


def test_predicted_numbers_have_no_outside() -> None:
    bins = bins_of_output(Reference(edges=(0.5, 0.9), rows={}), is_number=True)

    assert bins.names == ("0", "1", "2")
    assert fallen(bins, -1e308, 0.5, 0.9, 1.0) == ["0", "0", "1", "2"]


@given(st.data())
def test_each_value_that_a_feature_takes_falls_into_one_bin_that_has_words(
    data: st.DataObject,
) -> None:
    feature = data.draw(features().filter(lambda one: one.trained is not None))
    bins = bins_of_feature(feature, Reference(rows={}))
    values = [v for v in data.draw(st.lists(near(feature))) if not feature.mistake(v)]

    assert bins.count(values).sum() == len(values)
    assert len(bins.words) == len(bins.names) == len(bins.count(values)) == len(set(bins.names))


def test_of_a_feature_that_must_not_be_missing_there_is_no_such_bin() -> None:
    for feature in (number("x"), integer("x"), boolean("x"), category("x"), text("x")):
        assert MISSING not in bins_of_feature(feature, Reference(rows={})).names

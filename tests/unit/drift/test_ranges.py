"""Ranges of numbers are told shortly, but none as another, and none as what it is not."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.drift.ranges import outside, ranges, short
from serving.model.domains import Interval

WITHIN = Interval(minimum=4.3, maximum=7.9)


def test_numbers_lie_between_edges_and_within_what_training_saw() -> None:
    told = ranges([4.8, 6.5200000000000005], WITHIN, whole=False)
    assert told == ["4.3 to 4.8", "4.8 to 6.52", "6.52 to 7.9"]
    assert outside(WITHIN) == ("below 4.3", "above 7.9")


def test_what_has_no_ends_is_told_as_such() -> None:
    assert ranges([0.5, 0.75], None, whole=False) == [
        "at most 0.5",
        "0.5 to 0.75",
        "more than 0.75",
    ]
    assert ranges([], None, whole=False) == ["any number"]


@pytest.mark.parametrize("whole", [True, False])
def test_a_bin_of_one_number_is_told_by_it(*, whole: bool) -> None:
    first, _ = ranges([0.0], Interval(minimum=0, maximum=9), whole=whole)
    assert first == "0"
    assert ranges([], Interval(minimum=5, maximum=5), whole=whole) == ["5"]


def test_of_whole_numbers_those_are_told_that_lie_in_a_bin() -> None:
    within = Interval(minimum=1, maximum=9)
    told = ranges([1.0, 2.0, 5.5, 5.75], within, whole=True)
    assert told == ["1", "2", "3 to 5", "no number", "6 to 9"]


def test_lengths_have_their_unit() -> None:
    within, unit = Interval(minimum=1, maximum=40), " characters"
    assert ranges([1.0, 12.0], within, whole=True, unit=unit) == [
        "1 character",
        "2 to 12 characters",
        "13 to 40 characters",
    ]
    assert outside(within, unit) == ("fewer than 1 character", "more than 40 characters")


def test_large_numbers_are_written_out_and_huge_ones_are_not() -> None:
    written = short([110910.4, 1234567.0, -2.5e-9, 1e20])
    assert list(written.values()) == ["110910", "1234567", "-2.5e-09", "1e+20"]


@given(st.lists(st.floats(-1e300, 1e300), unique=True, min_size=1))
def test_different_numbers_are_written_differently_and_nearly_as_they_are(
    numbers: list[float],
) -> None:
    written = short(numbers)
    assert len(set(written.values())) == len(numbers)
    for number, text in written.items():
        assert math.isclose(float(text), number, rel_tol=1e-3)

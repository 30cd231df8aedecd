"""Cells become values by the model's types, as its training read them."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.dialects.tables import _typed as typed
from serving.files.arrow import array_of
from serving.files.cells import Manner, column_of
from serving.files.source import Taken
from serving.model.columns import Column
from serving.model.features import Feature
from serving.model.reading import PLAINLY, Style
from tests.unit.samples import boolean, category, integer, number, text

COMMA = Style(",")


def read(
    feature: Feature, cells: Sequence[str], style: Style = PLAINLY, marks: Sequence[str] = ()
) -> tuple[Column, Taken]:
    array = pa.array([cell or None for cell in cells], pa.string())
    return column_of(feature, array, Manner(style, tuple(marks)))


def values(column: Column) -> list[Any]:
    """Give values, and what is none of the type where it stands."""
    found: list[Any] = column.objects()
    for place, other in column.others.items():
        found[place] = other
    return found


@pytest.mark.parametrize(
    ("cells", "style", "expected"),
    [
        (["1", "-2.5", "1e3", ".5", "5.", ""], PLAINLY, [1.0, -2.5, 1000.0, 0.5, 5.0, None]),
        (["+1", " 2 ", "007"], PLAINLY, [1.0, 2.0, 7.0]),
        (["1e999", "-Infinity"], PLAINLY, [float("inf"), float("-inf")]),
        # None of these is a number to training, though Python takes some for one.
        (["1_0", "0x10", "1,5", "NAN", "\u0661", "x", "1 2", "nan(1)"], PLAINLY, None),
        (["1,5", "2", ",5", "-1e3", "+2,0"], COMMA, [1.5, 2.0, 0.5, -1000.0, 2.0]),
        (["1.5", "1.000,5"], COMMA, None),
        (["1.234.567,5", "1234", "-1.000"], Style(",", "."), [1234567.5, 1234.0, -1000.0]),
        (["1.23", "12345", "1,5"], Style(",", "."), ["1.23", "12345", 1.5]),
        (["1 234,5", "1\u00a0234", "1\u202f000"], Style(",", " "), [1234.5, 1234.0, 1000.0]),
        (["1'234.5", "1\u2019234"], Style(".", "'"), [1234.5, 1234.0]),
    ],
)
def test_numbers_are_read_as_they_are_written(
    cells: list[str], style: Style, expected: list[Any] | None
) -> None:
    column, _ = read(number("x"), cells, style)

    assert values(column) == (cells if expected is None else expected)


@given(st.lists(st.floats(allow_nan=False) | st.just("x") | st.integers(), max_size=20))
def test_doubles_keep_each_bit_beside_what_is_none(given: list[Any]) -> None:
    column, _ = read(number("x"), [str(value) for value in given])

    assert values(column) == [value if value == "x" else float(value) for value in given]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "+2", "-3", ""], [1, 2, -3, None]),
        ([str(2**53 + 1), "-9007199254740993"], [2**53 + 1, -(2**53) - 1]),
        (["5.0", "1e3", "2.5", str(2**53 + 1)], [5.0, 1000.0, 2.5, 2**53 + 1]),
        ([str(10**30), "1"], [10**30, 1.0]),
        (["x", "1"], ["x", 1]),
    ],
)
def test_whole_numbers_keep_each_digit(cells: list[str], expected: list[Any]) -> None:
    column, _ = read(integer("x"), cells)

    assert values(column) == expected


@pytest.mark.parametrize(
    ("feature", "cells", "marks", "expected", "told"),
    [
        (number("x"), ["NA", "1", "null", "NA"], (), [None, 1.0, None, None], {"NA": 2, "null": 1}),
        (number("x"), ["-999.0", "-999", "1"], ["-999"], [None, None, 1.0], {"-999": 2}),
        (integer("x"), ["?", "+9", "1", "y"], ["?", "9"], [None, None, 1, "y"], {"?": 1, "9": 1}),
        (number("x"), ["9,0", "1,5"], ["9"], None, {}),
        (boolean("x"), ["true", "NA", "?", ""], ["?"], [True, None, None, None], {"NA": 1, "?": 1}),
        (category("x"), ["NA", "?", "red"], ["?"], ["NA", None, "red"], {"?": 1}),
        (text("x", nullable=True), ["", "?"], ["?"], [None, None], {"?": 1}),
    ],
)
def test_marks_of_missing_values_are_taken_for_such_and_counted(
    feature: Feature,
    cells: list[str],
    marks: list[str],
    expected: list[Any] | None,
    told: dict[str, int],
) -> None:
    column, taken = read(feature, cells, marks=marks)

    assert values(column) == (cells if expected is None else expected)
    assert taken == {("x", f"{mark!r} taken for missing"): n for mark, n in told.items()}


def test_numbers_that_are_not_plain_are_told_and_counted() -> None:
    column, taken = read(number("x"), ["1,5", "9,0", "NA", "", "x"], COMMA, ["9"])

    assert values(column) == [1.5, None, None, None, "x"]
    assert taken == {
        ("x", "',' is read as the decimal mark"): 2,
        ("x", "'NA' taken for missing"): 1,
        ("x", "'9' taken for missing"): 1,
    }


def test_booleans_are_those_that_the_service_takes() -> None:
    column, _ = read(boolean("x"), ["true", "FALSE", " True ", "1", "0", "yes"])

    assert values(column) == [True, False, True, True, False, "yes"]


def test_strings_stay_as_they_are_written_and_an_empty_one_is_missing_where_one_may_be() -> None:
    cells = ["007", "1.0", "", " x ", "nan"]

    assert values(read(category("x"), cells)[0]) == cells
    assert values(read(category("x", nullable=True), cells)[0]) == [
        None if cell == "" else cell for cell in cells
    ]


@pytest.mark.parametrize(
    ("feature", "cells", "typed"),
    [
        (number("x"), ["1", "x", ""], pa.array([1.0, None, None])),
        (integer("x"), ["1", "x", ""], pa.array([1, None, None])),
        (
            integer("x"),
            ["5.0", "5.5", "inf", str(10**30)],
            pa.array([5, None, None, None], pa.int64()),
        ),
        (boolean("x"), ["1", "x", ""], pa.array([True, None, None])),
        (category("x", nullable=True), ["a", "", "a"], pa.array(["a", None, "a"])),
    ],
)
def test_what_is_given_back_by_type_has_no_value_where_there_is_none(
    feature: Feature, cells: list[str], typed: pa.Array
) -> None:
    column, _ = read(feature, cells)

    assert array_of(feature, column).equals(typed)


@given(st.lists(st.text("019.eE+-x \t") | st.sampled_from(["inf", "-Infinity"]), max_size=5))
def test_cells_that_are_no_marks_are_read_as_where_the_service_reads_csv(cells: list[str]) -> None:
    # A cell begins with no blank where it is read, and an empty one is missing in either.
    cells = [cell.lstrip(" ") for cell in cells]
    for feature in (number("x", nullable=True), integer("x", nullable=True)):
        column, _ = read(feature, cells)

        assert values(column) == typed(feature, cells)

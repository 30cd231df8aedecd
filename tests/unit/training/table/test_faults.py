"""Columns that are left out, and columns that leak the target."""

from typing import Any

import pandas as pd
import pytest

from tests.unit.training.table.tables import CLASSES, NUMBERS, ROWS, refusal, table_of
from training.table.table import to_table


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("x", range(ROWS)),
        ("x", range(100, 100 - 2 * ROWS, -2)),
        ("id", [(7 * row) % 41 for row in range(ROWS)]),
        ("Unnamed: 0", [(7 * row) % 41 for row in range(ROWS)]),
        ("passengerId", [(7 * row) % 41 for row in range(ROWS)]),
        ("customer_id", [2**60 + (7 * row) % 41 for row in range(ROWS)]),
        ("x", [f"A-{row:03}" for row in range(ROWS)]),
        ("x", [*(f"A-{row:03}" for row in range(ROWS - 1)), None]),
        ("x", [str(10**20 + row**2) for row in range(ROWS)]),
        ("x", [10**20 + row**2 for row in range(ROWS)]),
    ],
)
def test_identifiers_are_left_out_unless_they_are_kept(name: str, values: Any) -> None:  # noqa: ANN401
    table = table_of(values, name=name)

    assert list(table.types) == ["size"]
    (note,) = table.notes
    assert f"column '{name}' is left out: it looks like an identifier" in note
    if name != "customer_id":
        assert name in table_of(values, name=name, keep=[name]).types


def test_row_numbers_are_found_though_rows_are_left_out() -> None:
    raw = pd.DataFrame({"x": range(ROWS), "size": NUMBERS, "kind": [None, *CLASSES[1:]]})
    raw.loc[[7, 20], "kind"] = None

    assert list(to_table(raw, ["kind"]).types) == ["size"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([(7 * row) % 41 for row in range(ROWS)], "integer"),
        ([row + 0.5 for row in range(ROWS)], "number"),
        ([f"row {row}" for row in range(ROWS)], "text"),
        ([f"第{row}行" for row in range(ROWS)], "text"),
        (["one", *[None] * (ROWS - 1)], "text"),
    ],
)
def test_other_values_in_every_row_may_tell_something(values: Any, kind: str) -> None:  # noqa: ANN401
    assert table_of(values).types["x"] == kind


@pytest.mark.parametrize("value", [1, 1.5, True, "a"])
def test_constant_columns_are_left_out_unless_they_are_kept(value: object) -> None:
    left_out = table_of([value] * ROWS)

    assert list(left_out.types) == ["size"]
    assert "the same value in every row: use it all the same with --keep x" in left_out.notes[0]
    assert list(table_of([value] * ROWS, keep=["x"]).types) == ["size", "x"]


def test_one_value_or_none_is_not_constant() -> None:
    assert table_of(["a", None] * (ROWS // 2)).types["x"] == "category"


@pytest.mark.parametrize(
    "copy",
    [
        CLASSES,
        [kind.upper() for kind in CLASSES],
        [len(kind) + ord(kind[0]) for kind in CLASSES],
        [None, *CLASSES[1:]],
    ],
)
def test_a_feature_that_is_the_class_by_another_name_leaks_it(copy: list[Any]) -> None:
    raw = pd.DataFrame({"size": NUMBERS, "the kind": copy, "kind": CLASSES})

    (problem,) = refusal(raw, ["kind"])

    assert problem.startswith("column 'the kind' leaks the target 'kind'")
    assert "--drop 'the kind'" in problem
    assert "the kind" in to_table(raw, ["kind"], keep=["the kind"]).types


@pytest.mark.parametrize(
    "feature",
    [
        ["dog", *CLASSES[1:]],
        [*CLASSES[:-1], "fly"],
        ["a", "b", "c", "b"] * (ROWS // 4),
        [*CLASSES[:8], *[None] * (ROWS - 8)],
    ],
)
def test_a_feature_that_tells_a_little_less_or_more_is_none(feature: list[Any]) -> None:
    assert "x" in table_of(feature).types


@pytest.mark.parametrize(
    "copy",
    [
        NUMBERS,
        [-2.54 * number + 7 for number in NUMBERS],
        [1e308 / 41 * number for number in NUMBERS],
        [None, *NUMBERS[1:]],
    ],
)
def test_a_feature_that_is_the_number_in_another_unit_leaks_it(copy: list[Any]) -> None:
    raw = pd.DataFrame({"size": copy, "other": CLASSES, "y": NUMBERS})

    (problem,) = refusal(raw, ["y"])

    assert problem.startswith("column 'size' leaks the target 'y'")
    assert "size" in to_table(raw, ["y"], keep=["size"]).types


@pytest.mark.parametrize(
    "feature",
    [
        [number + row % 2 * 1e-3 for row, number in enumerate(NUMBERS)],
        [number**2 for number in NUMBERS],
        [*NUMBERS[:9], *[None] * (ROWS - 9)],
        [*[0.0] * 20, *[None] * 20],
        [True, False] * (ROWS // 2),
    ],
)
def test_a_feature_that_only_goes_along_with_the_number_leaks_nothing(feature: list[Any]) -> None:
    raw = pd.DataFrame({"size": feature, "y": NUMBERS})

    assert "size" in to_table(raw, ["y"]).types

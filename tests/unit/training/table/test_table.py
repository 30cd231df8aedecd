"""The table: what is read from files, how columns are understood, and what is refused."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from palmerpenguins import load_penguins, load_penguins_raw
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

from tests.unit.training.table.tables import CLASSES, NUMBERS, ROWS, read, refusal
from training.table.table import Table, to_table


def test_rows_of_nothing_but_delimiters_are_told_where_no_target_lacks(csv: Path) -> None:
    csv.write_text("x,z\n" + "".join(f"{n},{n % 5}\n" for n in NUMBERS) + ",\n,\n")

    table = to_table(read(csv), task="clustering")

    assert "2 rows are without any value: take them out if they are none" in table.notes


def test_the_given_table_is_left_as_it_is() -> None:
    raw = pd.DataFrame({1: NUMBERS, "y": CLASSES}, index=range(5, ROWS + 5))
    before = raw.copy(deep=True)

    assert list(to_table(raw, ["y"]).types) == ["1"]
    pd.testing.assert_frame_equal(raw, before)


def test_all_columns_but_features_are_known_as_ignored_in_the_tables_order() -> None:
    raw = pd.DataFrame(
        {
            "id": range(ROWS),
            "kind": CLASSES,
            "same": 1,
            "when": pd.date_range("2026-01-01", periods=ROWS),
            "size": NUMBERS,
            "nothing": None,
            "said": NUMBERS[::-1],
            7: "x",
        }
    )
    table = to_table(raw, ["kind"], drop=["said"])
    assert table.ignored == ("id", "kind", "same", "when", "nothing", "said", "7")
    clusters = to_table(raw, task="clustering", drop=["kind"])
    assert clusters.ignored == ("id", "kind", "same", "when", "nothing", "7")


def test_columns_are_dropped_without_a_note() -> None:
    raw = pd.DataFrame({"size": NUMBERS, "when": "2020-01-01", "kind": CLASSES})

    table = to_table(raw, ["kind"], drop=["when"])

    assert list(table.types) == ["size"]
    assert table.notes == ()


def test_rows_without_a_target_are_left_out_with_a_note() -> None:
    one, other = pd.Series(CLASSES, dtype=object), pd.Series(CLASSES, dtype=object)
    one[3], other[3], other[5] = None, None, np.nan
    raw = pd.DataFrame({"size": NUMBERS, "one": one, "other": other})

    table = to_table(raw, ["one", "other"])

    assert table.frame["size"].tolist() == [x for i, x in enumerate(NUMBERS) if i not in (3, 5)]
    assert table.frame.index.equals(table.target.index)
    assert table.notes == ("2 rows are left out: the target is missing",)


def test_rows_that_occur_twice_are_noted() -> None:
    raw = pd.DataFrame({"size": [NUMBERS[1], *NUMBERS[1:]], "kind": ["dog", *CLASSES[1:]]})

    table = to_table(raw, ["kind"])

    assert len(table.frame) == ROWS
    assert table.notes == ("1 row is the same as an earlier one",)


def test_row_numbers_are_those_of_the_file_though_rows_are_left_out() -> None:
    raw = pd.DataFrame({"x": NUMBERS, "kind": [None, None, *CLASSES[2:]]})
    raw.loc[9, "x"] = np.inf

    assert "in row 10" in refusal(raw, ["kind"])[0]


def test_all_problems_are_told_together() -> None:
    raw = pd.DataFrame({"a": [np.inf, 1.0, 2.0], "b": ["1", "2", "x"], "y": ["p", "p", "q"]})

    problems = refusal(raw, ["y"])

    assert [problem.split()[1] for problem in problems] == ["rows", "'a'", "'b'", "'y'"]
    assert problems[0] == "3 rows are too few: 10 are the least"


def test_no_feature_left_is_told_with_the_reasons() -> None:
    raw = pd.DataFrame({"x": 1, "kind": CLASSES})

    first, second = refusal(raw, ["kind"])

    assert first == "no column is left to learn from"
    assert second.startswith("column 'x' is left out")


Cell = st.one_of(st.integers(0, 3).map(float), st.just(float("nan")))


@settings(max_examples=30)
@given(
    cells=st.lists(st.tuples(Cell, Cell), min_size=12, max_size=12),
    row=st.integers(0, 11),
    column=st.sampled_from(["x", "y"]),
)
def test_the_fingerprint_tells_any_value(
    cells: list[tuple[float, float]], row: int, column: str
) -> None:
    frame = pd.DataFrame({"a": np.sqrt(range(12)), **pd.DataFrame(cells, columns=["x", "y"])})
    changed = frame.copy()
    changed.loc[row, column] = 5.0

    one, same, other = (
        Table(raw[["a", "x"]], {"a": "number", "x": "number"}, raw[["y"]], "regression", ())
        for raw in (frame, frame.copy(), changed)
    )

    assert one.fingerprint == same.fingerprint
    assert one.fingerprint != other.fingerprint


def test_the_fingerprint_tells_strings_names_types_and_roles() -> None:
    def fingerprint(names: tuple[str, str] = ("x", "y"), **changed: object) -> str:
        columns: dict[str, Any] = {"size": NUMBERS, "x": ["a", "b"] * 20, "y": CLASSES, **changed}
        x, y = names
        raw = pd.DataFrame({"size": columns["size"], x: columns["x"], y: columns["y"]})
        return to_table(raw, [y]).fingerprint

    different = [
        fingerprint(),
        fingerprint(names=("y", "x")),
        fingerprint(names=("xx", "y")),
        fingerprint(x=["a", "b"] * 19 + ["a", None]),
        fingerprint(x=["a", "bc"] * 20),
        fingerprint(x=["ab", ""] * 20),
        fingerprint(x=[0, 1] * 20),
        fingerprint(x=[0.0, 1.0] * 20),
        fingerprint(y=["dog", *CLASSES[1:]]),
    ]

    assert len(set(different)) == len(different)


@pytest.mark.slow
def test_the_fingerprint_is_the_same_in_another_process() -> None:
    program = (
        "import pandas as pd; from training.table.table import to_table\n"
        f"raw = pd.DataFrame({{'size': {NUMBERS}, 'é': {['a', None] * 20}, 'y': {CLASSES}}})\n"
        "print(to_table(raw, ['y']).fingerprint)"
    )
    ours = to_table(
        pd.DataFrame({"size": NUMBERS, "é": ["a", None] * 20, "y": CLASSES}), ["y"]
    ).fingerprint

    theirs = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout

    assert theirs.strip() == ours
    assert ours.startswith("sha256:")


def test_penguins_are_understood() -> None:
    table = to_table(load_penguins(), ["species"])

    assert table.types == {
        "island": "category",
        "bill_length_mm": "number",
        "bill_depth_mm": "number",
        "flipper_length_mm": "number",
        "body_mass_g": "number",
        "sex": "category",
        "year": "integer",
    }
    assert table.task == "classification"
    assert table.notes == ()
    assert to_table(load_penguins(), ["body_mass_g"]).task == "regression"


def test_penguins_as_they_were_noted_down_are_understood() -> None:
    table = to_table(load_penguins_raw(), ["Species"])

    assert {name for name in load_penguins_raw() if name not in table.types} == {
        "Species",
        "Region",
        "Stage",
        "Date Egg",
    }
    assert table.types["Sample Number"] == "integer"
    assert len(table.notes) == 3


@pytest.mark.parametrize(
    ("load", "task", "left_out"),
    [
        (load_breast_cancer, "classification", 0),
        (load_diabetes, "regression", 0),
        (load_digits, "classification", 3),
    ],
)
def test_the_tables_that_scikit_learn_ships_are_understood(
    load: Any,  # noqa: ANN401
    task: str,
    left_out: int,
) -> None:
    raw = load(as_frame=True).frame

    table = to_table(raw, ["target"])

    assert table.task == task
    assert set(table.types.values()) == {"number"}
    assert len(table.types) == raw.shape[1] - 1 - left_out

"""What is to be done with a table, and targets that can't be learnt."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.unit.training.table.tables import CLASSES, NUMBERS, ROWS, refusal, with_target
from training.table.table import to_table


@pytest.mark.parametrize(
    ("target", "task", "dtype"),
    [
        (CLASSES, "classification", "object"),
        (pd.Categorical(CLASSES), "classification", "object"),
        ([True, False] * 20, "classification", "bool"),
        (["true", "False"] * 20, "classification", "object"),
        ([0, 1] * 20, "classification", "int64"),
        ([*range(20)] * 2, "classification", "int64"),
        ([*range(19)] * 2 + [19, 20], "regression", "int64"),
        ([row**2 for row in range(ROWS)], "regression", "int64"),
        ([row**2 + 0.5 for row in range(ROWS)], "regression", "float64"),
        ([0.0, 1.0] * 20, "regression", "float64"),
    ],
)
def test_the_task_is_found_out(target: Any, task: str, dtype: str) -> None:  # noqa: ANN401
    table = with_target(target)

    assert table.task == task
    assert table.labels.dtype == table.target["y"].dtype == dtype
    assert table.labels.tolist() == table.target["y"].tolist()
    assert table.labels.shape == (ROWS,)


@pytest.mark.parametrize(
    ("target", "note"),
    [
        ([0, 1] * 20, "2 different whole numbers, taken for classes: say --task regression if"),
        ([0.0, 1.0] * 20, "taken for numbers: say --task classification if they are classes"),
        ([row**2 for row in range(ROWS)], "taken for numbers: say --task classification"),
    ],
)
def test_how_whole_numbers_were_taken_is_noted_unless_it_was_said(target: Any, note: str) -> None:  # noqa: ANN401
    table = with_target(target)

    assert note in table.notes[0]
    assert with_target(target, task=table.task).notes == ()


@pytest.mark.parametrize("target", [CLASSES, [row**2 + 0.5 for row in range(ROWS)]])
def test_what_is_clear_is_not_noted(target: Any) -> None:  # noqa: ANN401
    assert with_target(target).notes == ()


def test_the_task_can_be_said() -> None:
    assert with_target([0, 1] * 20, task="regression").labels.dtype == "int64"
    assert with_target([0.0, 1.0] * 20, task="classification").labels.dtype == "float64"
    assert with_target([*range(20, 40)] * 2, task="classification").task == "classification"


def test_without_a_target_the_task_has_to_be_said() -> None:
    raw = pd.DataFrame({"x": NUMBERS})

    table = to_table(raw, task="outlier-detection")

    assert table.task == "outlier-detection"
    assert table.target.shape == table.labels.shape == (ROWS, 0)
    assert "--task clustering or --task outlier-detection" in refusal(raw)[0]


def test_a_reference_table_may_lack_the_target() -> None:
    table = to_table(pd.DataFrame({"x": NUMBERS}), task="regression")

    assert table.task == "regression"
    assert table.target.empty


@pytest.mark.parametrize("task", ["clustering", "outlier-detection"])
def test_a_target_is_refused_where_none_is_learnt(task: str) -> None:
    raw = pd.DataFrame({"x": NUMBERS, "y": CLASSES})

    assert f"{task} learns no target" in refusal(raw, ["y"], task=task)[0]


@pytest.mark.parametrize(
    ("target", "task", "fault"),
    [
        ([None] * ROWS, None, "has no values"),
        ([None] * ROWS, "regression", "has no values"),
        (pd.date_range("2020-01-01", periods=ROWS), None, "neither numbers, nor booleans"),
        (["2020-01-01", "2020-01-02"] * 20, None, "neither numbers, nor booleans"),
        (["13/01/2026", "14/01/2026"] * 20, None, "neither numbers, nor booleans"),
        (["22:50", "10:50 PM"] * 20, None, "neither numbers, nor booleans"),
        (["2.500,50", "1,5"] * 20, None, "written with other signs"),
        ([[1], [2]] * 20, None, "neither numbers, nor booleans"),
        ([*NUMBERS[1:], np.inf], None, "an infinite number in row 40: clean it"),
        ([*range(39), 2**60], None, "a whole number beyond 2^53 in row 40"),
        ([*map(str, NUMBERS[1:]), "?"], None, "mixes numbers with other text"),
        (["a"] * ROWS, None, "the same value in every row"),
        ([1.5] * ROWS, None, "the same value in every row"),
        (CLASSES, "regression", "holds no numbers, as regression needs: say --task classification"),
        ([True, False] * 20, "regression", "holds no numbers"),
        (NUMBERS, "classification", "holds 40 different numbers such as 0.5"),
        ([*map(float, range(20)), 30.0] + [1.0] * 19, "classification", "holds 21 different"),
        ([0.5, 1.0] * 20, "classification", "holds 2 different numbers such as 0.5"),
        ([f"text {row}" for row in range(ROWS)], None, "holds 40 different texts in 40 rows"),
        (["one", *CLASSES[1:-1], "two"], None, "has one row only of 'one', 'two': a class needs"),
        ([5, 6, 6, 6] + [7] * 36, "classification", "has one row only of 5"),
    ],
)
def test_a_target_that_can_not_be_learnt_is_told(
    target: Any,  # noqa: ANN401
    task: str | None,
    fault: str,
) -> None:
    raw = pd.DataFrame({"size": [number**2 for number in NUMBERS], "y": target})

    (problem,) = refusal(raw, ["y"], task=task)

    assert problem.startswith("target 'y' ")
    assert fault in problem


@pytest.mark.parametrize(
    ("one", "other", "task", "dtype"),
    [
        (CLASSES, ["p", "q"] * 20, "classification", "object"),
        ([2, 1] * 20, [0, 0, 1, 1] * 10, "classification", "int64"),
        ([True, False] * 20, [False, False, True, True] * 10, "classification", "bool"),
        ([2, 1] * 20, NUMBERS, "regression", "float64"),
    ],
)
def test_several_targets_are_a_matrix(one: Any, other: Any, task: str, dtype: str) -> None:  # noqa: ANN401
    raw = pd.DataFrame({"b": one, "size": [number**2 for number in NUMBERS], "a": other})

    table = to_table(raw, ["a", "b"])

    assert table.task == task
    assert list(table.target.columns) == ["a", "b"]
    assert table.labels.dtype == dtype
    assert table.labels.tolist() == [list(pair) for pair in zip(other, one, strict=True)]


def test_targets_of_text_and_of_numbers_are_not_learnt_together() -> None:
    raw = pd.DataFrame({"size": NUMBERS, "y": ["p", "q"] * 20, "n": [0, 0, 1, 1] * 10})

    (problem,) = refusal(raw, ["y", "n"])

    assert problem.startswith("the targets 'y', 'n' mix text, booleans or numbers")


def test_classes_and_measures_are_not_learnt_together() -> None:
    raw = pd.DataFrame({"x": CLASSES, "size": NUMBERS, "y": ["p", "q"] * 20})

    (problem,) = refusal(raw, ["y", "size"])

    assert problem.startswith("target 'size' holds 40 different numbers")

"""Names of columns that are wrong, or contradict."""

import numpy as np
import pandas as pd

from tests.unit.training.table.tables import CLASSES, NUMBERS, refusal


def test_unknown_names_are_told_with_the_names_there_are() -> None:
    raw = pd.DataFrame({"Age": NUMBERS, "kind": CLASSES})

    assert refusal(raw, ["kid"], drop=["age"], keep=["zzz"]) == [
        "there is no column 'kid' for --target: did you mean 'kind'?",
        "there is no column 'age' for --drop: did you mean 'Age'?",
        "there is no column 'zzz' for --keep",
        "the columns are 'Age', 'kind'",
    ]


def test_of_many_names_not_all_are_told() -> None:
    raw = pd.DataFrame(np.zeros((1, 100)), columns=[f"c{index}" for index in range(100)])

    assert refusal(raw, ["y"])[-1].endswith("'c29' and 70 more")


def test_names_that_contradict_are_told() -> None:
    raw = pd.DataFrame({"x": NUMBERS, "kind": CLASSES})

    assert refusal(raw, ["kind", "kind"])[0] == "target 'kind' is named twice"
    assert refusal(raw, ["kind"], drop=["kind", "x"], keep=["x"]) == [
        "column 'kind' is named by --target and by --drop",
        "column 'x' is named by --keep and by --drop",
    ]


def test_columns_of_the_same_name_are_told() -> None:
    raw = pd.DataFrame([[1, 2]], columns=["1", 1])

    assert refusal(raw, ["1"]) == ["columns have the same name, rename them: '1'"]

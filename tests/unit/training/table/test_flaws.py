"""Values of one column that are wrong."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.unit.training.table.tables import CLASSES, NUMBERS, ROWS, read, refusal, table_of
from training.table.table import to_table


def test_without_them_other_marks_among_numbers_are_a_mixture(csv: Path) -> None:
    rows = (f"{('1', '?', 'NA', '3')[row % 4]},{CLASSES[row]}" for row in range(ROWS))
    csv.write_text("\n".join(["x,kind", *rows]))

    problem = refusal(read(csv), ["kind"])[0]

    assert "20 rows hold numbers, 10 do not, such as '?' in row 2" in problem
    assert "say --missing '?' if that means none" in problem


def test_a_mark_in_most_rows_makes_no_category_of_numbers(csv: Path) -> None:
    rows = [
        f"{n if row % 3 else '?'},{kind}"
        for row, (n, kind) in enumerate(zip(NUMBERS, CLASSES, strict=True))
    ]
    csv.write_text("\n".join(["x,kind", *rows, *("?,cat" for _ in range(ROWS))]))

    assert (
        "26 rows hold numbers, 54 do not, such as '?' in row 1" in refusal(read(csv), ["kind"])[0]
    )


@pytest.mark.parametrize("last", ["Total,", "Source: the office", "\x1a"])
def test_a_last_line_that_is_no_row_makes_no_text_of_numbers(csv: Path, last: str) -> None:
    rows = (f"{n},{kind}" for n, kind in zip(NUMBERS, CLASSES, strict=True))
    csv.write_text("\n".join(["x,kind", *rows, last]))

    problem = refusal(read(csv), ["kind"])[0]

    assert "40 rows hold numbers, 1 does not" in problem
    assert f"{last.strip(',')!r} in row 41" in problem


def test_a_mixture_of_numbers_and_text_is_told_with_an_example() -> None:
    values = [str(number) for number in NUMBERS]
    values[11], values[20] = "n/a?", "?"
    raw = pd.DataFrame({"the age": values, "kind": CLASSES})

    assert refusal(raw, ["kind"]) == [
        "column 'the age' mixes numbers with other text: 38 rows hold numbers, 2 do not, such as "
        "'n/a?' in row 12: clean it, or leave it out with --drop 'the age', or take it as text "
        "with --keep 'the age'"
    ]
    assert to_table(raw, ["kind"], keep=["the age"]).types == {"the age": "text"}


@pytest.mark.parametrize("values", [[1, 2, 3, "x"], [1.5, 2, None, "x"], [1.5, 2.5, 3.5, "x"]])
def test_a_mixture_of_pythons_own_objects_is_told_too(values: list[object]) -> None:
    raw = pd.DataFrame({"x": pd.Series(values * 10, dtype=object), "size": NUMBERS})

    assert "such as 'x' in row 4" in refusal(raw, task="clustering")[0]


def test_numbers_that_json_can_not_hold_are_told_with_their_row() -> None:
    infinite, large, small = list(NUMBERS), [1, 2] * 20, [1, 2] * 20
    infinite[4], large[6], small[0] = -np.inf, 2**53 + 1, -(2**63)
    raw = pd.DataFrame({"x": infinite, "l": large, "s": small, "kind": CLASSES})

    problems = refusal(raw, ["kind"])

    assert problems[0].startswith("column 'x' holds an infinite number in row 5: clean it, or")
    assert problems[1].startswith("column 'l' holds a whole number beyond 2^53 in row 7")
    assert problems[2].startswith("column 's' holds a whole number beyond 2^53 in row 1")
    assert problems[2].endswith("leave it out with --drop s")


def test_one_number_that_is_too_large_makes_no_codes_of_the_others(csv: Path) -> None:
    rows = (f"{(row, 10**20)[row == 7]},{CLASSES[row]}" for row in range(ROWS))
    csv.write_text("\n".join(["x,kind", *rows]))

    assert "a whole number beyond 2^53 in row 8" in refusal(read(csv), ["kind"])[0]


def test_whole_numbers_up_to_the_limit_are_taken() -> None:
    values = [2**53, -(2**53)] * (ROWS // 2)

    assert table_of(values).frame["x"].tolist() == values

"""Dates and times, and what only resembles them."""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from tests.unit.training.table.tables import CLASSES, NUMBERS, ROWS, table_of
from training.table.table import to_table

UNSERVABLE: list[tuple[Any, str]] = [
    ([None] * ROWS, "no values"),
    ([np.nan] * ROWS, "no values"),
    (pd.date_range("2020-01-01", periods=ROWS), "dates or times"),
    (pd.date_range("2020-01-01", periods=ROWS, tz="UTC"), "dates or times"),
    (pd.to_timedelta(range(ROWS), unit="s"), "dates or times"),
    (pd.period_range("2020-01", periods=ROWS, freq="M"), "dates or times"),
    ([date(2020, 1, 1 + row // 2) for row in range(ROWS)], "dates or times"),
    ([*["2020-01-31"] * (ROWS - 2), None, "unknown"], "dates or times"),
    (["2020-01-31T12:00:00Z", "2020-01-31 12:00"] * (ROWS // 2), "dates or times"),
    (["13/01/2026", "1/2/26"] * (ROWS // 2), "dates or times"),
    (["01/13/2026 10:50 PM", "02/01/2026 9:05 AM"] * (ROWS // 2), "dates or times"),
    (["13.01.2026", "1.2.2026, 22:50 Uhr"] * (ROWS // 2), "dates or times"),
    (["13.01.26", "01.02.26"] * (ROWS // 2), "dates or times"),
    (["2026/01/13", "2026.1.2", "2026-01", "01/2026"] * (ROWS // 4), "dates or times"),
    (["22:50", "9:05:10", "10:50 PM", "10 a.m."] * (ROWS // 4), "dates or times"),
    (["13 Jan 2026", "13. Januar 2026", "Jan 13, 2026", "3-Feb-26"] * 10, "dates or times"),
    (["Tue, 13 Jan 2026 10:00:00 GMT", "13 de enero de 2026"] * 20, "dates or times"),
    (["13/01/2026", None, "NA", "14/01/2026"] * 10, "dates or times"),
    (["13. 1. 2026", "2026. 1. 13.", "2026年1月13日", "2026-Q1"] * 10, "dates or times"),
    (["13 stycznia 2026", "13 января 2026", "5th of May 2026"] * 13 + [None], "dates or times"),
    (["Dec-26", "Dec-2026", "13JAN2026", "Tue Jan  6 10:00:00 2026"] * 10, "dates or times"),
    (["130:10:05", "6 days 10:00:00", "PT6H30M", "20260113 2250"] * 10, "dates or times"),
    ([f"{day}.{day % 9 + 1}.26" for day in range(1, 29)] + ["1.2.26"] * 12, "dates or times"),
    ([[1], [2]] * (ROWS // 2), "of the type list"),
    ([{"a": 1}, {}] * (ROWS // 2), "of the type dict"),
    ([b"a", b"b"] * (ROWS // 2), "of the type bytes"),
    ([1 + 2j, 2j] * (ROWS // 2), "of the type complex"),
]


def test_what_no_request_can_hold_is_left_out_even_if_kept() -> None:
    columns = {f"x{at}": pd.Series(values) for at, (values, _) in enumerate(UNSERVABLE)}
    raw = pd.DataFrame({"size": NUMBERS, **columns, "kind": CLASSES})

    for keep in ([], [*columns]):
        table = to_table(raw, ["kind"], keep=keep)

        assert list(table.types) == ["size"]
        assert len(table.notes) == len(UNSERVABLE)
        for at, (_, reason) in enumerate(UNSERVABLE):
            assert table.notes[at].startswith(f"column 'x{at}' is left out: ")
            assert reason in table.notes[at]


RESEMBLING = [
    ["1.2.3", "1.10.24"],
    ["10.0.0.1", "192.168.1.12"],
    ["1/2", "3/4"],
    ["1:2", "16:9"],
    ["2020-2021", "10-20"],
    ["may", "march"],
    ["089/12345", "DE89 3704"],
    ["31/31/2026", "99:99"],
    ["30 days", "60 days"],
    ["28.1.10", "9.10.24"],
    ["12ABC2020", "lip-gloss-12"],
    ["13/01/2026", "unknown"],
]


def test_what_only_resembles_dates_and_times_is_text() -> None:
    columns = {f"x{at}": values * (ROWS // 2) for at, values in enumerate(RESEMBLING)}

    table = to_table(pd.DataFrame({**columns, "size": NUMBERS}), task="clustering")

    assert table.types == {**dict.fromkeys(columns, "category"), "size": "number"}


def test_dates_in_eight_digits_are_left_out_unless_they_are_kept() -> None:
    days = [20260101 + row % 28 for row in range(ROWS)]

    table, minutes = table_of(days), table_of([10_000 * day + 2250 for day in days])

    assert list(table.types) == list(minutes.types) == ["size"]
    assert "column 'x' is left out: it holds dates, such as 20260101" in table.notes[0]
    assert "column 'x' is left out: it holds dates, such as 202601012250" in minutes.notes[0]
    assert table_of(days, keep=["x"]).types["x"] == "integer"
    assert table_of([20260101 + 7 * row for row in range(ROWS)], keep=["x"]).types["x"] == "integer"

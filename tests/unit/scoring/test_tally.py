"""What parts add up to is what the whole would be, also when it went through a journal."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa

from serving.scoring.quantiles import Quantiles
from serving.scoring.summary import text
from serving.scoring.tally import MAX_KINDS, Tally
from tests.unit.samples import description, regression

REPORT = {
    "told": "1 of 2 features has drifted",
    "features": [
        {"name": "length", "drifts": True, "told": "missing in half of the rows"},
        {"name": "width", "drifts": False, "told": "as in training"},
    ],
    "predictions": [],
    "confidence": [{"name": "kind", "drifts": True, "told": "all of them are above 0.9"}],
}


def part(labels: list[str], drift: list[int], *mistakes: tuple[str, str]) -> Tally:
    """Count a part."""
    tally = Tally(len(labels) + len(mistakes), len(mistakes), drift=drift)
    tally.unusual = Counter({"width": 2})
    tally.taken = Counter({("width", "'n/a' taken for missing"): 1})
    tally.count_mistakes(mistakes)
    tally.count_values([pa.array(labels)] if labels else (), is_number=False)
    return tally


def whole(*tallies: Tally) -> Tally:
    """Add up what was counted and noted."""
    tally = Tally()
    for each in tallies:
        tally.add(Tally.of_note(json.loads(json.dumps(each.note()))))
    return tally


def test_parts_add_up_and_are_told() -> None:
    broken = [("", f"expected 5 values, got {got}") for got in (3, 4)]
    wrong = ("length", "expected a number, got a string")
    tally = whole(
        part(["ham", "spam", "ham"], [1, 2], *broken),
        part([], [], wrong),
        part(["ham"], [0, 1], wrong, wrong),
    )
    told = text(tally, description(), REPORT, bad_are="left out", rate="3 rows a second")
    assert told == [
        "9 rows, 4 answered, 3 rows a second",
        "5 bad rows, left out:",
        "  length: expected a number, got a string: 3",
        "  expected … values, got …: 2",
        "converted, or taken for missing:",
        "  width: 'n/a' taken for missing: 3",
        "warnings:",
        "  width: 6",
        "predictions:",
        "  ham: 3 (75 %)",
        "  spam: 1 (25 %)",
        "drift: 1 of 2 features has drifted",
        "  length: missing in half of the rows",
        "  largest probabilities of kind: all of them are above 0.9",
    ]
    assert tally.drift == [1, 3]


def test_numbers_are_told_by_quantiles_and_why_nothing_is_watched() -> None:
    tally = whole(*(Tally(101, numbers=[Quantiles.of(np.arange(101.0))]) for _ in range(2)))
    assert text(tally, regression("price"), "it is off", bad_are="", rate="quick") == [
        "202 rows, 202 answered, quick",
        "predictions:",
        "  least 0, 1 % up to 1, 10 % up to 10, 25 % up to 25, half up to 50, 75 % up to 75, "
        "90 % up to 90, 99 % up to 99, greatest 100",
        "drift: not watched: it is off",
    ]


def test_kinds_that_a_file_makes_up_are_not_all_kept() -> None:
    tally = Tally()
    for at in range(MAX_KINDS + 50):
        tally.count_mistakes([(f"column{at}", "unknown")])
    assert len(tally.mistakes) == MAX_KINDS + 1
    assert sum(tally.mistakes.values()) == MAX_KINDS + 50
    told = text(tally, description(), "", bad_are="", rate="")
    assert len(told) < 30

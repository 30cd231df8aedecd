"""A report has all that was compared, what differs most first."""

import pytest
from openapi_schema_validator import OAS31Validator

from serving.drift.comparison import MIN_ROWS
from serving.drift.report import schemas
from serving.drift.watch import Kind
from tests.unit.drifted import compared, predicted, report
from tests.unit.samples import number

HALVES = {"0": 500, "1": 500}
STAYS = compared(number("stays"), HALVES, {"0": 150, "1": 150}, edges=(4.5,))
LEANS = compared(number("leans"), HALVES, {"0": 140, "1": 160}, edges=(4.5,))
MOVES = compared(number("moves"), HALVES, {"0": 20, "1": 280}, edges=(4.5,))
# Its index is small, but a share tells.
LACKS = compared(
    number("lacks", nullable=True), {"0": 900, "missing": 100}, {"0": 240, "missing": 60}
)
LABELS = predicted({"ham": 900, "spam": 100}, {"ham": 270, "spam": 30})
SURE = predicted(HALVES, {}, edges=(0.75,), kind=Kind.CONFIDENCE)


def test_what_has_drifted_stands_first_and_then_what_is_beyond_chance_most() -> None:
    told = report(STAYS, LACKS, LABELS, LEANS, MOVES, SURE)
    names = [each["name"] for each in told["features"]]
    assert names == ["moves", "lacks", "leans", "stays"]
    assert [each["drifts"] for each in told["features"]] == [True, True, False, False]
    assert LACKS.psi == pytest.approx(0.08, abs=0.01)
    assert told["drifts"]
    assert told["told"] == "2 of 4 features have drifted"
    assert (told["rows"], told["rows_needed"]) == (300, MIN_ROWS)


def test_bins_are_told_as_rows_and_as_shares_beside_training_s() -> None:
    (each,) = report(LABELS)["predictions"]
    assert (each["rows"], each["training_rows"]) == (300, 1000)
    assert each["bins"] == [
        {"bin": "ham", "told": "ham", "rows": 270, "ratio": 0.9, "training_ratio": 0.9},
        {"bin": "spam", "told": "spam", "rows": 30, "ratio": 0.1, "training_ratio": 0.1},
    ]


def test_without_rows_there_is_nothing_but_training() -> None:
    told = report(SURE)
    (each,) = told["confidence"]
    assert (each["psi"], each["critical_psi"], each["shares"]) == (None, None, {})
    assert [each["ratio"] for each in each["bins"]] == [None, None]
    assert (told["drifts"], told["told"]) == (False, "no rows came")


def test_the_report_is_as_described_and_the_description_is_closed() -> None:
    told = {"window": "1h", **report(MOVES, LACKS, LABELS, SURE)}
    reference = {"$ref": "#/components/schemas/DriftReport", "components": {"schemas": schemas()}}
    described = OAS31Validator(reference)
    assert described.is_valid(told)
    assert not described.is_valid({**told, "more": 1})
    for name in told:
        assert not described.is_valid({each: told[each] for each in told if each != name})

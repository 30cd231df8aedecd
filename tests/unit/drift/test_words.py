"""What has changed is told in plain words, for every kind of feature and of change."""

import pytest

from serving.drift.comparison import MIN_ROWS, Comparison
from serving.drift.watch import Kind
from serving.drift.words import percent, ratio, verdict, words
from serving.model.features import Feature
from tests.unit.drifted import Counts, compared, predicted
from tests.unit.samples import boolean, category, integer, number, text

LENGTH = number("length", (0.0, 9.0))
MAYBE = number("length", (0.0, 9.0), nullable=True)
HALVES = {"0": 500, "1": 500}


def told(comparison: Comparison) -> str:
    return "; ".join(words(comparison))


@pytest.mark.parametrize(
    ("now", "wanted"),
    [
        ({}, "no rows came"),
        ({"0": 1}, "1 row is too few to tell: it takes 200"),
        ({"above": MIN_ROWS - 1}, "199 rows are too few to tell: it takes 200"),
        ({"0": 100, "1": 100}, "as in training"),
        ({"above": 200, "0": 100, "1": 100}, "half of the rows lie above all that training saw"),
        ({"below": 300}, "all of the rows lie below all that training saw"),
        (
            {"above": 100, "below": 20, "0": 100, "1": 180},
            "a quarter of the rows lie above all that training saw, 5 % below",
        ),
        ({"0": 190, "1": 10}, "5 % of the rows have 4.5 to 9, in training half"),
    ],
)
def test_numbers(now: Counts, wanted: str) -> None:
    assert told(compared(LENGTH, HALVES, now, edges=(4.5,))) == wanted


def test_what_a_share_tells_is_not_told_again_but_what_else_has_moved_is() -> None:
    now = {"above": 40, "0": 360}
    assert told(compared(LENGTH, HALVES, now, edges=(4.5,))) == (
        "a tenth of the rows lie above all that training saw; "
        "none of the rows have 4.5 to 9, in training half"
    )


@pytest.mark.parametrize(
    ("now", "wanted"),
    [
        ({"missing": 200, "0": 200, "1": 200}, "a third of the rows, in training in a tenth"),
        ({"0": 300, "1": 300}, "none of the rows, in training in a tenth"),
    ],
)
def test_missing_values(now: Counts, wanted: str) -> None:
    seen = {"0": 450, "1": 450, "missing": 100}
    assert told(compared(MAYBE, seen, now, edges=(4.5,))) == f"missing in {wanted}"


COLOURS = {"red": 600, "blue": 300, "rare": 100}
FEW = boolean("is new", nullable=True)
NOTE, COUNT = text("note", (1, 40)), integer("count", (1, 9))


@pytest.mark.parametrize(
    ("comparison", "wanted"),
    [
        (
            compared(category("colour"), COLOURS, {"unseen": 40, "red": 160}, others=("0",)),
            "a fifth of the rows have a value that training never saw; "
            "none of the rows have “blue”, in training 30 %",
        ),
        (
            compared(category("colour"), COLOURS | {"unseen": 225}, {"red": 260, "blue": 140}),
            "none of the rows have a value that training never saw, expected a fifth",
        ),
        (
            compared(category("colour"), COLOURS, {"rare": 300, "red": 100}, others=("0",)),
            "three quarters of the rows have others than those named here, in training a tenth",
        ),
        (
            compared(FEW, {"true": 900, "false": 100}, {"true": 200, "false": 200}),
            "half of the rows have “false”, in training a tenth",
        ),
        (
            compared(NOTE, HALVES, {"above": 100, "0": 100, "1": 100}, edges=(12.0,)),
            "a third of the rows have texts longer than all that training saw",
        ),
        (
            compared(NOTE, HALVES, {"below": 10, "above": 90, "0": 50, "1": 50}, edges=(12.0,)),
            "45 % of the rows have texts longer than all that training saw, 5 % shorter",
        ),
        (
            compared(NOTE, HALVES, {"0": 300}, edges=(12.0,)),
            "none of the rows have 13 to 40 characters, in training half",
        ),
        (
            compared(COUNT, HALVES, {"0": 300}, edges=(1.0,)),
            "none of the rows have 2 to 9, in training half",
        ),
        (
            predicted({"ham": 900, "spam": 100}, {"ham": 200, "spam": 200}),
            "half of the predictions are “spam”, in training a tenth",
        ),
        (
            predicted({"0": 900, "rare": 100}, {"0": 200, "rare": 200}, target=""),
            "half of the predictions are others than those named here, in training a tenth",
        ),
        (
            predicted(HALVES, {"1": 300}, edges=(1.5,)),
            "none of the predictions are at most 1.5, in training half",
        ),
        (
            predicted(HALVES, {"0": 300}, edges=(0.75,), kind=Kind.CONFIDENCE),
            "none of the largest probabilities are more than 0.75, in training half",
        ),
    ],
)
def test_each_kind_of_feature_and_of_prediction(comparison: Comparison, wanted: str) -> None:
    assert told(comparison) == wanted


def test_a_few_rows_outside_of_training_are_told_where_they_change_most() -> None:
    seen = {"0": 5000, "1": 5000}
    now = {"below": 8, "0": 96, "1": 96}
    comparison = compared(number("length", (0.0, 9.0)), seen, now, edges=(4.5,))
    assert comparison.moved
    assert told(comparison) == "4 % of the rows lie below all that training saw, in training none"


@pytest.mark.parametrize(
    ("feature", "seen", "wanted"),
    [
        (
            category("colour", nullable=True),
            {"red": 1, "blue": 1, "rare": 1},
            ["red", "blue", "other categories of training", "never seen in training", "missing"],
        ),
        (category("colour", ("missing", "")), {}, ['"missing"', '""', "never seen in training"]),
        (boolean("is new"), {}, ["false", "true"]),
        (LENGTH, {}, ["below 0", "0 to 4.5", "4.5 to 9", "above 9"]),
    ],
)
def test_bins_have_words(feature: Feature, seen: Counts, wanted: list[str]) -> None:
    others = ("0",) if "rare" in seen else ()
    some = seen or {"0": 1, "red": 1, "false": 1, '"missing"': 1}
    comparison = compared(feature, some, {}, (4.5,) if feature is LENGTH else (), others)
    assert list(comparison.watched.bins.words) == wanted


def test_labels_of_predictions_that_have_no_bin_are_all_others() -> None:
    comparison = predicted({"0": 1, "rare": 1}, {}, target="")
    assert comparison.watched.bins.words == ("0", "all others")


DRIFTS = compared(LENGTH, HALVES, {"0": 300}, edges=(4.5,))
STAYS = compared(LENGTH, HALVES, {"0": 150, "1": 150}, edges=(4.5,))


@pytest.mark.parametrize(
    ("sections", "wanted"),
    [
        ({"features": [STAYS, STAYS], "predictions": [STAYS]}, "nothing has drifted"),
        ({"features": [DRIFTS, STAYS], "predictions": [STAYS]}, "1 of 2 features has drifted"),
        ({"features": [DRIFTS, DRIFTS], "predictions": []}, "2 of 2 features have drifted"),
        ({"features": [STAYS], "predictions": [DRIFTS]}, "the predictions have drifted"),
        ({"features": [STAYS], "confidence": [DRIFTS]}, "the confidence has drifted"),
        (
            {"features": [DRIFTS, STAYS], "predictions": [DRIFTS]},
            "1 of 2 features and the predictions have drifted",
        ),
        (
            {"features": [DRIFTS], "predictions": [DRIFTS, STAYS], "confidence": [DRIFTS, STAYS]},
            "1 of 1 features, the predictions of 1 of 2 targets and the confidence of 1 of 2 "
            "targets have drifted",
        ),
    ],
)
def test_the_verdict_is_one_sentence(sections: dict[str, list[Comparison]], wanted: str) -> None:
    assert verdict(300, sections) == wanted
    assert verdict(199, sections) == "199 rows are too few to tell: it takes 200"
    assert verdict(0, sections) == "no rows came"


@pytest.mark.parametrize(
    ("share", "wanted"),
    [
        (0.0, "none"),
        (0.0004, "0.04 %"),
        (0.047, "4.7 %"),
        (0.104, "a tenth"),
        (0.496, "half"),
        (0.664, "two thirds"),
        (0.92, "92 %"),
        (0.998, "99.8 %"),
        (0.99999, "99.9 %"),
        (1.0, "all"),
    ],
)
def test_shares_are_told_by_name_or_in_percent_and_never_as_all_or_none_if_they_are_not(
    share: float, wanted: str
) -> None:
    assert ratio(share) == wanted


def test_percents_of_nothing_and_of_all() -> None:
    assert (percent(0), percent(1)) == ("0 %", "100 %")

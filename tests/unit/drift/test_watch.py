"""What is watched of a model, and that its counts are those of the rows."""

import numpy as np
import pytest

from serving.drift.bins import MISSING, UNSEEN
from serving.drift.watch import Kind, Watch
from serving.model.description import Description, Reference, References
from serving.model.features import Row
from serving.model.outputs import Prediction
from tests.unit.samples import boolean, category, description, number, regression, several_labels

FEATURES = (number("size", (0, 9), nullable=True), category("colour"), boolean("flag"))
HALVES = Reference(edges=(0.5,), rows={"0": 4, "1": 6})
OF_FEATURES = {
    "size": Reference(edges=(5.0,), rows={"below": 0, "0": 5, "1": 4, "above": 0, "missing": 1}),
    "colour": Reference(rows={"red": 6, "blue": 4, UNSEEN: 0}),
    "flag": Reference(rows={"false": 8, "true": 2}),
}


def watch_of(
    model: Description,
    predictions: dict[str, Reference],
    confidence: dict[str, Reference],
    importance: tuple[str, ...] = (),
    max_features: int = 30,
) -> Watch:
    """Watch a model whose features are all the same."""
    references = References(
        features=OF_FEATURES, predictions=predictions, confidence=confidence, importance=importance
    )
    return Watch(model, references, max_features)


def told(watch: Watch, rows: list[Row], predictions: list[Prediction]) -> dict[str, dict[str, int]]:
    """Give the counts that are not zero, by what is watched and by bin."""
    parts = watch.split(watch.count(rows, predictions))
    return {
        f"{each.kind} {each.name}".rstrip(): {
            name: count for name, count in zip(each.bins.names, part.tolist(), strict=True) if count
        }
        for each, part in zip(watch.all, parts, strict=True)
    }


ROWS: list[Row] = [(5.0, "red", True), (None, "green", False), (9.5, "red", False)]


def test_rows_and_predictions_are_counted_in_one_go() -> None:
    model = description(features=FEATURES)
    watch = watch_of(model, {"kind": Reference(rows={"ham": 5, "spam": 5})}, {"kind": HALVES})
    predictions = [Prediction("ham", [0.5, 0.5]), Prediction("ham", [0.9, 0.1])]

    assert told(watch, ROWS, [*predictions, Prediction("spam", [0.4, 0.6])]) == {
        "feature size": {"0": 1, "above": 1, MISSING: 1},
        "feature colour": {"red": 2, UNSEEN: 1},
        "feature flag": {"true": 1, "false": 2},
        "prediction kind": {"ham": 2, "spam": 1},
        "confidence kind": {"0": 1, "1": 2},
    }
    assert watch.width == 5 + 3 + 2 + 2 + 2
    assert [each.seen.sum() for each in watch.all] == [10] * 5


def test_each_of_several_targets_is_watched() -> None:
    model = several_labels((0, 1), ("a", "b", "c"), features=FEATURES)
    predictions = {
        "label 0": Reference(rows={"0": 5, "1": 5}),
        "label 1": Reference(rows={"b": 9, "a": 1, "c": 0}),
    }
    watch = watch_of(model, predictions, {"label 1": HALVES})

    answer = Prediction([1, "c"], [[0.1, 0.9], [0.3, 0.3, 0.4]])
    counts = told(
        watch, ROWS, [answer, answer, Prediction([0, "a"], [[0.6, 0.4], [0.8, 0.1, 0.1]])]
    )

    assert counts["prediction label 0"] == {"1": 2, "0": 1}
    assert counts["prediction label 1"] == {"c": 2, "a": 1}
    assert counts["confidence label 1"] == {"0": 2, "1": 1}
    assert "confidence label 0" not in counts


def test_numbers_are_watched_by_target_too() -> None:
    one = watch_of(regression("price", features=FEATURES), {"price": HALVES}, {})
    numbers = [Prediction(0.5), Prediction(0.6), Prediction(-1e300)]
    assert told(one, ROWS, numbers)["prediction price"] == {"0": 2, "1": 1}

    two = watch_of(regression("price", "weight", features=FEATURES), {"weight": HALVES}, {})
    pairs = [Prediction([0.0, float(at)]) for at in range(3)]
    assert told(two, ROWS, pairs)["prediction weight"] == {"0": 1, "1": 2}


def test_what_has_no_target_is_watched_without_a_name() -> None:
    model = regression(features=FEATURES)
    watch = watch_of(model, {"": HALVES}, {})

    numbers = [Prediction(0), Prediction(1), Prediction(1)]
    assert told(watch, ROWS, numbers)["prediction"] == {"0": 1, "1": 2}
    assert watch.all[-1].name == ""


@pytest.mark.parametrize(
    ("importance", "most", "watched", "left_out"),
    [
        ((), 2, ["size", "colour"], 1),
        (("flag", "size", "colour"), 1, ["flag"], 2),
        (("flag", "colour", "size"), 2, ["colour", "flag"], 1),
        (("flag",), 2, ["size", "flag"], 1),
        ((), 30, ["size", "colour", "flag"], 0),
        ((), 0, [], 3),
    ],
)
def test_the_most_important_features_are_watched_in_their_order(
    importance: tuple[str, ...], most: int, watched: list[str], left_out: int
) -> None:
    model = description(features=FEATURES)
    watch = watch_of(model, {"kind": Reference(rows={"ham": 1})}, {}, importance, most)

    assert [each.name for each in watch.all if each.kind is Kind.FEATURE] == watched
    assert (watch.features, watch.left_out) == (len(watched), left_out)
    assert watch.count(ROWS, [Prediction("ham")] * 3).sum() == 3 * (len(watched) + 1)


def test_a_thousand_rows_are_the_sum_of_their_parts() -> None:
    model = description(features=FEATURES)
    watch = watch_of(model, {"kind": Reference(rows={"ham": 5, "spam": 5})}, {"kind": HALVES})
    rows = ROWS * 300
    answers = [Prediction("ham", [at / 900, 0.2]) for at in range(900)]

    parts = [watch.count(rows[at : at + 7], answers[at : at + 7]) for at in range(0, len(rows), 7)]
    assert np.array_equal(np.sum(parts, axis=0), watch.count(rows, answers))

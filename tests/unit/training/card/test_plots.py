"""Which plots a card has, and what they tell."""

import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import LinearSVC

from tests.unit.training.card.cards import (
    MODELS,
    ROWS,
    Page,
    classifier,
    data,
    described,
    detector,
    evaluated,
    number,
    regressor,
    text_of,
    written,
    written_for,
)

TITLES = {
    "binary": ["Confusion matrix", "ROC curve", "Precision and recall"],
    "regression": ["Predicted and true", "Residuals"],
    "two targets": [
        "t0: Predicted and true",
        "t0: Residuals",
        "t1: Predicted and true",
        "t1: Residuals",
    ],
    "clustering": ["Sizes of the clusters"],
    "outlier detection": ["Distribution of the score"],
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_card_has_the_plots_of_its_task(kind: str) -> None:
    page = Page(written_for(kind))
    titles = TITLES.get(kind, TITLES["binary"])
    assert page.texts["h3"][: len(titles)] == titles
    drawings = page.texts.get("svg", [])
    assert len(drawings) == (0 if kind == "clustering" else len(titles))
    assert len(page.values("aria-label")) == len(drawings) + 1  # and that of the links


def test_the_matrix_counts_and_the_curves_tell_their_areas() -> None:
    page = written(classifier(["ham", "spam"]))
    matrix, roc, precision = page.texts["figcaption"]
    right = re.match(r"(\d+) of 120 rows have the right label", matrix)
    assert right
    assert 100 < int(right[1]) <= 120
    assert "spam against ham" in roc
    assert "average precision" in precision
    _, _, said, _ = page.values("aria-label")
    assert re.fullmatch(r"ROC curve; spam (1\.000|0\.99\d)", said)


def test_of_many_classes_the_commonest_have_curves_and_of_too_many_there_is_no_matrix() -> None:
    page = written(classifier(range(40), RandomForestClassifier(5, random_state=0), rows=400))
    matrix, roc, _ = page.texts["figcaption"]
    assert matrix == "40 classes are too many to be drawn."
    assert "for the 10 of most rows" in roc
    assert "Predicts kind (one of 40 classes) from" in page.text
    assert len(page.texts["svg"]) == 2
    without_numbers = written(classifier(range(20), RandomForestClassifier(5), rows=400))
    assert len(without_numbers.texts["svg"]) == 3


def test_a_model_without_scores_has_a_sentence_in_the_place_of_its_curves() -> None:
    page = written(classifier("abc", LinearSVC(), scored_by=None))
    assert (
        page.texts["figcaption"][1:]
        == ["There is no curve. The model gives no probability or score for each class."] * 2
    )
    assert written(detector(scored_by=None)).texts["figcaption"] == ["The model gives no scores."]


def test_an_estimator_that_was_fitted_without_a_class_has_no_curves_but_a_matrix() -> None:
    description, evaluation = classifier("ab")
    page = written((description.model_copy(update={"classes": ("a", "b", "c")}), evaluation))
    assert len(page.texts["svg"]) == 1
    assert "There is no curve." in page.texts["figcaption"][1]


def test_rows_of_a_single_class_have_no_curves() -> None:
    description, evaluation = classifier("ab")
    assert evaluation.truth is not None
    same = replace(evaluation, truth=np.full_like(evaluation.truth, "a"))
    _, *curves = written((description, same)).texts["figcaption"]
    assert len(curves) == 2
    assert all("All rows that it was scored on have the same class." in told for told in curves)


def test_a_class_that_only_some_rows_could_show_is_left_out_of_the_curves() -> None:
    description, evaluation = classifier("abc")
    some = evaluation.truth != "c"
    part = replace(evaluation, frame=evaluation.frame[some], truth=evaluation.truth[some])  # type: ignore[index]
    _, roc, _ = written((description, part)).texts["figcaption"]
    assert "where the rows have both" in roc


def test_a_plot_that_fails_is_replaced_by_a_sentence_that_quotes_nothing() -> None:
    description, evaluation = classifier([1, 2])
    unknown = replace(evaluation, truth=np.full(ROWS, "secret"))
    page = written((description, unknown))
    assert page.texts["figcaption"][0] == "It could not be drawn."
    assert "secret" not in page.text


def test_few_rows_are_not_drawn() -> None:
    told = "12 rows are too few to be drawn without showing single ones."
    assert written(regressor(rows=12)).texts["figcaption"] == [told, told]
    description, evaluation = detector()
    few = replace(evaluation, frame=evaluation.frame[:12])
    assert written((description, few)).texts["figcaption"] == [told]


def test_no_plot_tells_how_far_out_the_furthest_rows_lie() -> None:
    description, evaluation = regressor()
    assert evaluation.truth is not None
    truth = evaluation.truth.copy()
    before = text_of(description, replace(evaluation, truth=truth))
    truth[np.argsort(truth)[-3:]] += 1000
    after = text_of(description, replace(evaluation, truth=truth))
    (one, other) = (
        re.findall(r"<use[^>]*x=.*", text[: text.index("Residuals")]) for text in (before, after)
    )
    assert one == other
    assert one


def test_equal_true_values_are_not_drawn() -> None:
    description, evaluation = regressor()
    page = written((description, replace(evaluation, truth=np.ones(ROWS))))
    assert page.texts["figcaption"] == ["Nearly all true values are the same."] * 2


def test_of_many_targets_the_first_are_drawn() -> None:
    page = written(regressor(6))
    titles = [title for title in page.texts["h3"] if ": " in title]
    assert titles[-1] == "t3: Residuals"
    assert "The plots are of the first 4 of 6 targets." in page.text


def test_several_targets_of_classes_have_plots_each() -> None:
    frame = data()
    truth = np.column_stack([np.where(frame["f0"] > 0, "up", "down"), frame["f1"] > 0])
    description = described(
        "classification",
        [number(name) for name in frame],
        ("way", "sign"),
        (("down", "up"), ("False", "True")),
        "predict_proba",
    )
    forest = RandomForestClassifier(5, random_state=0)
    page = written((description, evaluated(description, forest, frame, truth)))
    assert [title for title in page.texts["h3"] if ": " in title][::3] == [
        "way: Confusion matrix",
        "sign: Confusion matrix",
    ]
    assert len(page.texts["svg"]) == 6
    assert "Predicts way (down or up) and sign (False or True) from" in page.text
    assert "Loss of accuracy" in page.text

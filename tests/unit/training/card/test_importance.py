"""How much of a score is lost without each feature."""

import re
from dataclasses import replace

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor

from tests.unit.training.card.cards import (
    ROWS,
    classifier,
    clustering,
    data,
    described,
    evaluated,
    number,
    regressor,
    written,
)
from training.card.importance import MAX_BARS


def test_the_features_stand_in_the_order_of_their_importance() -> None:
    page = written(classifier(["ham", "spam"]))
    heads = [row[0] for row in page.rows]
    start = heads.index("Feature")
    assert heads[start + 1] == "f0"
    loss, bar = page.row("f0")
    assert re.fullmatch(r"0\.\d{3} ± 0\.\d{3}", loss)
    assert bar == ""
    assert "width:100.0%" in page.values("style")
    assert "Measured on 120 rows of those that were scored." in page.text


def test_of_many_features_the_most_important_are_shown() -> None:
    frame = data(features=40)
    description = described("regression", [number(name) for name in frame], ("t",))
    truth = frame["f39"].to_numpy()
    page = written((description, evaluated(description, LinearRegression(), frame, truth)))
    assert f"The {MAX_BARS} most important of 40 features." in page.text
    bars = [row for row in page.rows if len(row) == 3 and "±" in row[1]]
    assert len(bars) == MAX_BARS
    assert bars[0][0] == "f39"


def test_features_are_shuffled_in_a_bounded_number_of_rows() -> None:
    page = written(regressor(rows=2500))
    assert "Measured on 2000 rows of those that were scored." in page.text


def test_importances_that_cannot_be_measured_are_said_to_be_unknown() -> None:
    assert "importance of the features is not known" in written(clustering()).text
    told = "importance of the features could not be measured"
    description, evaluation = regressor()
    assert evaluation.truth is not None
    one = replace(evaluation, frame=evaluation.frame[:1], truth=evaluation.truth[:1])
    assert told in written((description, one)).text
    lacking = replace(evaluation, truth=np.where(np.arange(ROWS) < 30, np.nan, evaluation.truth))
    assert told in written((description, lacking)).text


def test_an_estimator_that_was_fitted_on_arrays_is_given_arrays() -> None:
    description, evaluation = regressor()
    assert evaluation.truth is not None
    model = KNeighborsRegressor().fit(evaluation.frame.to_numpy(), evaluation.truth)
    assert len(written((description, replace(evaluation, estimator=model))).texts["svg"]) == 2

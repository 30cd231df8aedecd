"""Estimators of other libraries are tried: for labels, for parameters, for what they lack."""

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from serving.model.description import Task
from serving.model.wrapped import CodedLabels
from tests.unit.training.fitting.tables import ROWS, TYPES, mixed, steps, table_of
from training.errors import TrainingError
from training.fitting.estimators import make_estimator
from training.fitting.pipeline import fit
from training.fitting.trial import suited

NAMES = np.array(["cat", "dog", "eel"], dtype=object)[np.arange(ROWS) % 3]


def made(name: str, labels: Any, task: Task = "classification", *params: str) -> Pipeline:  # noqa: ANN401
    frame = mixed()[["size", "color", "legs", "tame"]]
    small = ["n_estimators=5"] if "Ranker" not in name else []
    estimator = make_estimator(name, [*small, *params], 0)
    return suited(table_of(frame, labels, task, TYPES), estimator, 0)


@pytest.mark.parametrize("labels", [NAMES, NAMES == "cat", np.arange(ROWS) % 3 + 1])
@pytest.mark.parametrize(
    ("name", "is_coded"),
    [
        ("xgboost.XGBClassifier", True),
        ("ngboost.NGBClassifier", True),
        ("lightgbm.LGBMClassifier", False),
        ("catboost.CatBoostClassifier", False),
    ],
)
def test_labels_are_coded_for_those_who_do_not_take_them(
    name: str,
    is_coded: bool,
    labels: Any,  # noqa: ANN401 (an array)
) -> None:
    pipeline = made(name, labels)
    assert isinstance(pipeline[-1], CodedLabels) == is_coded
    frame = mixed()[["size", "color", "legs", "tame"]]
    fitted = fit(pipeline, frame, labels)
    answers = np.ravel(fitted.predict(frame)).tolist()
    assert {(type(each), each) for each in answers} <= {(type(e), e) for e in labels.tolist()}
    assert fitted.predict_proba(frame).shape == (ROWS, len(set(labels.tolist())))


def test_codes_and_numbers_need_no_coding_and_scikit_learn_no_trial() -> None:
    codes, numbers = np.arange(ROWS) % 3, np.arange(float(ROWS))
    assert steps(made("xgboost.XGBClassifier", codes))[-1] == "XGBClassifier"
    assert steps(made("xgboost.XGBRegressor", numbers, "regression"))[-1] == "XGBRegressor"
    table = table_of(mixed()[["legs"]], NAMES, types=TYPES)
    chosen = suited(table, LogisticRegression(), 0)
    assert steps(chosen) == ["StandardScaler", "LogisticRegression"]


@pytest.mark.parametrize("name", ["xgboost.XGBRegressor", "lightgbm.LGBMRegressor"])
def test_a_parameter_that_is_silently_overlooked_is_refused(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TrainingError, match="not use a parameter max_dept: did you mean max_depth"):
        made(name, np.arange(float(ROWS)), "regression", "max_dept=3")
    assert capfd.readouterr() == ("", "")
    made("lightgbm.LGBMRegressor", np.arange(float(ROWS)), "regression", "lambda_l1=0.5")


@pytest.mark.parametrize(
    "name", ["xgboost.XGBRanker", "lightgbm.LGBMRanker", "catboost.CatBoostRanker"]
)
def test_a_ranker_is_refused_with_what_it_needs(name: str) -> None:
    with pytest.raises(TrainingError, match="learns from groups of rows"):
        made(name, np.arange(ROWS), "regression")


def test_what_never_can_be_fitted_says_why_in_a_sentence() -> None:
    frame, labels = mixed()[["legs"]], np.arange(float(ROWS))
    estimator = make_estimator("xgboost.XGBRegressor", ["max_depth=x"], 0)
    pipeline = suited(table_of(frame, labels, "regression", TYPES), estimator, 0)
    with pytest.raises(TrainingError, match=r"XGBRegressor can't be fitted .* max_depth") as caught:
        fit(pipeline, frame, labels)
    assert "\n" not in str(caught.value)

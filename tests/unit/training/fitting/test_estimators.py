"""Estimators by their names, with parameters as a person types them."""

from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.svm import SVC

from training.errors import TrainingError
from training.fitting.classes import find_estimator
from training.fitting.estimators import make_estimator


@pytest.mark.parametrize(
    "name",
    ["SVC", "Lasso", "KMeans", "IsolationForest", "LocalOutlierFactor", "GaussianProcessRegressor"],
)
def test_an_estimator_is_found_by_its_name(name: str) -> None:
    assert find_estimator(name).__name__ == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("LogisticRegresion", "LogisticRegresion: did you mean LogisticRegression"),
        ("randomforestclassifier", "did you mean RandomForestClassifier"),
        ("StandardScaler", "no classifier, regressor, clusterer or outlier detector"),
        ("Wombat", "detector Wombat$"),
        ("DBSCAN", "DBSCAN can't predict for new rows"),
    ],
)
def test_an_unknown_estimator_is_refused_with_those_of_like_names(name: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        find_estimator(name)


def test_parameters_are_read_as_python_or_as_they_are() -> None:
    made = make_estimator(
        "SVC", ["C=0.5", "kernel=poly", "shrinking=False", "class_weight={0: 2}"], 7
    )
    assert made.get_params() == {
        **SVC().get_params(),
        "C": 0.5,
        "kernel": "poly",
        "shrinking": False,
        "class_weight": {0: 2},
        "random_state": 7,
    }


def test_the_seed_goes_where_it_is_taken_and_not_given() -> None:
    assert make_estimator("Ridge", [], 7).random_state == 7
    assert make_estimator("Ridge", ["random_state=3"], 7).random_state == 3
    assert "random_state" not in make_estimator("GaussianNB", [], 7).get_params()


def test_a_detector_of_outliers_can_judge_new_rows() -> None:
    made = make_estimator("LocalOutlierFactor", [], 7)
    rows = np.arange(40.0).reshape(40, 1)
    assert made.fit(rows).predict([[1000.0]]) == -1


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("SVC", ["gama=1"], "SVC has no parameter gama: did you mean gamma"),
        ("GaussianNB", ["x=1"], "no parameter x\nit has priors, var_smoothing"),
        ("LinearRegression", ["C"], "given as name=value, not as C"),
        ("LogisticRegression", ["C=-1"], "'C' parameter of LogisticRegression must be a float in"),
        ("SVC", ["kernel=cubic"], "'kernel' parameter .* Got 'cubic'"),
        ("VotingClassifier", [], r"made of other estimators \(estimators\)"),
        ("SelfTrainingClassifier", [], "'estimator' parameter"),
        ("LocalOutlierFactor", ["novelty=False"], "can't predict for new rows"),
    ],
)
def test_what_cannot_be_made_is_told_why(name: str, params: Sequence[str], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        make_estimator(name, params, 7)

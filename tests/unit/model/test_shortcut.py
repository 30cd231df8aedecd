"""The shortcuts to boosters give what the estimators that hold them give, to the last bit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_imbalanced
from lightgbm import LGBMClassifier, LGBMRanker, LGBMRegressor, early_stopping
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LinearRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier, XGBRegressor

from serving.model.outputs import Array
from serving.model.shortcut import shortcut
from serving.model.wrapped import CodedLabels
from tests.unit.samples import asked, description, regression

Estimator = Any  # scikit-learn has no type for it
FLOWERS, CODES = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"], dtype=object)[CODES]
PATIENTS, MEASURES = load_diabetes(return_X_y=True)
GAPS = np.where(PATIENTS > 0.08, -1, PATIENTS)
SEEN, HELD_OUT = slice(50, None), (PATIENTS[:50], MEASURES[:50])

FEW: dict[str, Any] = {"n_estimators": 12, "n_jobs": 1}
MANY: dict[str, Any] = {"n_estimators": 200, "n_jobs": 1, "learning_rate": 0.5}
QUIET: dict[str, Any] = {"verbose": -1}
HASTE = {"pred_early_stop": True, "pred_early_stop_freq": 1, "pred_early_stop_margin": 0.5}

REGRESSORS: dict[str, Callable[[], Estimator]] = {
    "LightGBM": lambda: LGBMRegressor(**FEW, **QUIET, objective="poisson").fit(PATIENTS, MEASURES),
    "LightGBM that ranks": lambda: LGBMRanker(**FEW, **QUIET).fit(
        PATIENTS, MEASURES > 140, group=[42, 400]
    ),
    "LightGBM stopped early": lambda: LGBMRegressor(**MANY, **QUIET).fit(
        PATIENTS[SEEN],
        MEASURES[SEEN],
        eval_X=HELD_OUT[0],
        eval_y=HELD_OUT[1],
        callbacks=[early_stopping(2, verbose=False)],
    ),
    "XGBoost with gaps of its own": lambda: XGBRegressor(**FEW, missing=-1).fit(GAPS, MEASURES),
    "XGBoost stopped early": lambda: XGBRegressor(**MANY, early_stopping_rounds=2).fit(
        PATIENTS[SEEN], MEASURES[SEEN], eval_set=[HELD_OUT], verbose=False
    ),
}
CLASSIFIERS: dict[str, Callable[[], Estimator]] = {
    "LightGBM of two in haste": lambda: LGBMClassifier(**FEW, **QUIET, **HASTE).fit(
        FLOWERS[SEEN], NAMES[SEEN]
    ),
    "LightGBM behind a sampler": lambda: make_imbalanced(
        StandardScaler(), RandomOverSampler(), LGBMClassifier(**FEW, **QUIET)
    ).fit(FLOWERS, NAMES),
    "XGBoost of two": lambda: CodedLabels(XGBClassifier(**FEW)).fit(FLOWERS[SEEN], NAMES[SEEN]),
    "XGBoost in a pipeline": lambda: make_pipeline(
        StandardScaler(), "passthrough", CodedLabels(XGBClassifier(**FEW))
    ).fit(FLOWERS, NAMES),
}
NUMBERS = regression("price")
LABELS = description(asked=asked(scored_by="predict_proba", label_by="predict_proba"))


def same(some: Array, others: Array) -> bool:
    return some.dtype == others.dtype and np.array_equal(some, others)


@pytest.mark.parametrize("name", REGRESSORS)
def test_numbers_are_those_of_the_wrapper_alone_as_together(name: str) -> None:
    estimator = REGRESSORS[name]()
    way = shortcut(estimator, NUMBERS)
    assert way is not None
    table = GAPS if "gaps" in name else PATIENTS
    for rows in (table, table[:1]):
        numbers, nothing = way(rows)
        assert same(numbers, estimator.predict(rows))
        assert nothing is None


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_labels_and_probabilities_are_those_of_the_wrapper_alone_as_together(name: str) -> None:
    estimator = CLASSIFIERS[name]()
    way = shortcut(estimator, LABELS)
    assert way is not None
    for rows in (FLOWERS, FLOWERS[:1]):
        labels, shares = way(rows)
        assert labels.tolist() == estimator.predict(rows).ravel().tolist()
        assert shares is not None
        assert same(shares, estimator.predict_proba(rows))


def test_a_label_of_two_that_are_all_but_tied_is_chosen_by_the_estimator_itself() -> None:
    undecided = LGBMClassifier(**FEW, **QUIET).fit(np.zeros((40, 1)), ["a", "b"] * 20)
    way = shortcut(undecided, LABELS)
    assert way is not None
    undecided.predict = lambda rows: np.full(len(rows), "b", dtype=object)
    labels, shares = way(np.zeros((2, 1)))
    assert labels.tolist() == ["b", "b"]
    assert shares is not None
    assert (shares == 0.5).all()


def test_others_are_asked_as_they_are() -> None:
    assert shortcut(LinearRegression().fit(PATIENTS, MEASURES), NUMBERS) is None
    assert shortcut(GaussianNB().fit(FLOWERS, NAMES), LABELS) is None

    class Own(LGBMClassifier):
        """May decide otherwise."""

    assert shortcut(Own(**FEW, **QUIET).fit(FLOWERS, NAMES), LABELS) is None

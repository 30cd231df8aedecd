"""What is put around estimators: labels for codes, and what a pipeline asks of its steps."""

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from xgboost import XGBClassifier

from serving.model.wrapped import CodedLabels, PlainEstimator

ROWS, CODES = load_iris(return_X_y=True)
LABELS = np.array(["setosa", "versicolor", "virginica"], dtype=object)[CODES]


def test_labels_come_back_with_the_probabilities_of_their_codes() -> None:
    bare = XGBClassifier(n_estimators=5, n_jobs=1)
    coded = pickle.loads(pickle.dumps(clone(CodedLabels(bare)).fit(ROWS, LABELS)))  # noqa: S301

    bare.fit(ROWS, CODES)
    assert coded.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert (coded.predict(ROWS) == coded.classes_[bare.predict(ROWS)]).all()
    assert (coded.predict_proba(ROWS) == bare.predict_proba(ROWS)).all()
    assert get_tags(coded).input_tags.allow_nan
    assert not hasattr(coded, "decision_function")

    of_fitted = CodedLabels.of(bare, coded.classes_)
    assert (of_fitted.predict(ROWS) == coded.predict(ROWS)).all()


def test_scores_of_decisions_are_given_where_there_are_such() -> None:
    coded = CodedLabels(RidgeClassifier()).fit(ROWS, LABELS)

    assert coded.decision_function(ROWS).shape == (150, 3)
    with pytest.raises(AttributeError, match="predict_proba"):
        coded.predict_proba(ROWS)


FEW = np.arange(12.0).reshape(6, 2)
ANIMALS = np.array(["cat", "cat", "dog", "dog", "eel", "eel"], dtype=object)


class _Nearest:
    """Gives back nothing when it is fitted, and takes codes alone."""

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"shift": self.shift}

    def fit(self, rows: np.ndarray, labels: np.ndarray) -> None:
        self.rows, self.labels = rows + self.shift, labels.astype(float)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        away = np.abs(rows[:, np.newaxis] - self.rows).sum(axis=2)
        return np.asarray(self.labels[away.argmin(axis=1)])


class _Unordered(_Nearest):
    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(np.eye(3)[self.predict(rows).astype(int)])


class _Sure(_Unordered):
    classes_ = (0, 1, 2)


def test_it_is_fitted_in_a_pipeline_and_asked_after_a_file() -> None:
    pipeline = clone(make_pipeline(StandardScaler(), PlainEstimator(_Nearest())))
    fitted = pickle.loads(pickle.dumps(pipeline.fit(FEW, np.arange(6.0))))  # noqa: S301
    assert fitted.predict(FEW).tolist() == [0, 1, 2, 3, 4, 5]
    assert not hasattr(fitted, "predict_proba")
    assert not hasattr(fitted, "classes_")


def test_numbers_of_labels_in_an_order_that_it_does_not_tell_are_not_given() -> None:
    codes = np.repeat([0, 1, 2], 2)
    assert not hasattr(PlainEstimator(_Unordered()).fit(FEW, codes), "predict_proba")


def test_it_gives_the_labels_of_its_codes_and_its_probabilities() -> None:
    fitted = CodedLabels(PlainEstimator(_Sure())).fit(FEW, ANIMALS)
    assert fitted.predict(FEW).tolist() == ANIMALS.tolist()
    assert fitted.predict_proba(FEW).tolist() == np.repeat(np.eye(3), 2, axis=0).tolist()
    assert fitted.estimator_.classes_.tolist() == [0, 1, 2]
    with pytest.raises(AttributeError, match="decision_function"):
        fitted.decision_function(FEW)

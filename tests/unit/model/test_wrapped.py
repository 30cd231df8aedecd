"""Labels for who learns codes alone: XGBoost itself."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import RidgeClassifier
from sklearn.utils import get_tags
from xgboost import XGBClassifier

from serving.model.wrapped import CodedLabels

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

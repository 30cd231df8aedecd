"""What is not compiled, and why."""

import re
from functools import cache
from typing import Any

import numpy as np
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_sampling_pipeline
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.feature_selection import RFE
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import (
    LogisticRegression,
    Ridge,
)
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    Normalizer,
    PolynomialFeatures,
)
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from skrub import SquashingScaler

from serving.model.description import Description
from serving.model.estimator import to_array
from tests.unit.samples import SCORES, clustering, description, several_labels, text
from tests.unit.training.compiling.compiled import (
    IRIS,
    SPECIES,
    Estimator,
    compiled,
    described,
    flowers,
    patients,
)
from training.compiling.proof import compile_estimator
from training.describing.describe import rows_of
from training.fitting.evaluation import truth_of
from training.table.table import Table, to_table


class Wary(ClassifierMixin, BaseEstimator):
    """Has no counterpart in ONNX."""

    def fit(self, rows: np.ndarray, labels: np.ndarray) -> "Wary":
        """Learn the classes."""
        self.classes_ = np.unique(labels)
        return self

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Give one class to the larger ones, another to the rest."""
        return self.classes_[(rows[:, 0] > 5).astype(int)]  # type: ignore[no-any-return]

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        """Be sure of it."""
        return np.eye(len(self.classes_))[(rows[:, 0] > 5).astype(int)]  # type: ignore[no-any-return]


class Renamed(LogisticRegression):
    """May do other than what it is derived from."""


class RenamedPipeline(Pipeline):
    """May do so too."""


@cache
def rounded() -> tuple[Description, Table]:
    """Describe an estimator of whole numbers, in the place of others."""
    table = to_table(IRIS.data.round().assign(y=SPECIES), ["y"])
    return described(LogisticRegression(), table)[1], table


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (Wary(), "^Wary has no counterpart in ONNX$"),
        (
            make_pipeline(RenamedPipeline([("last", LogisticRegression())])),
            "^RenamedPipeline has no counterpart in ONNX$",
        ),
        (make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()), "it calls log1p"),
        (
            HistGradientBoostingClassifier(max_iter=2, categorical_features=[0]),
            "its trees split by categories",
        ),
        (
            GradientBoostingClassifier(n_estimators=2, init=LogisticRegression()),
            "its boosting starts with another estimator",
        ),
        (make_pipeline(SimpleImputer(missing_values=-99.0), LogisticRegression()), "takes -99"),
        (CalibratedClassifierCV(SVC(), ensemble=False), "its graph computes with floats"),
        (make_pipeline(Binarizer(threshold=0.3), DecisionTreeClassifier()), "decides by"),
        (make_pipeline(KBinsDiscretizer(4), LogisticRegression()), "fails on its KBins"),
        (make_pipeline(PCA(2), DecisionTreeClassifier()), "decides by numbers that may be"),
        (KNeighborsClassifier(), "decides by"),
        (make_pipeline(Normalizer(), RandomForestClassifier(5)), "decides by|with floats"),
    ],
    ids=str,
)
def test_what_has_no_equal_is_not_compiled(estimator: Estimator, reason: str) -> None:
    description, table = rounded()
    estimator.fit(to_array(rows_of(table), has_strings=False), truth_of(table))
    told, graph = compiled(estimator, description, table)
    assert isinstance(told, str)
    assert re.search(reason, told), told
    assert graph is None


@cache
def plain(is_regression: bool) -> tuple[Description, Table]:
    """Describe an estimator that is quickly asked, in the place of one that is not."""
    table = patients() if is_regression else flowers()
    return described(Ridge() if is_regression else LogisticRegression(), table)[1], table


FEW: dict[str, Any] = {"iterations": 2, "verbose": 0, "allow_writing_files": False}


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (CatBoostRegressor(**FEW), "CatBoostRegressor has no counterpart in ONNX"),
        (CatBoostClassifier(**FEW), "CatBoostClassifier has no counterpart in ONNX"),
        (
            make_sampling_pipeline(RandomOverSampler(random_state=0), LogisticRegression()),
            "RandomOverSampler has no counterpart in ONNX",
        ),
        (
            make_pipeline(SquashingScaler(), LogisticRegression()),
            "SquashingScaler has no counterpart in ONNX",
        ),
        (Renamed(), "Renamed has no counterpart in ONNX"),
        (
            CalibratedClassifierCV(CatBoostClassifier(**FEW), cv=2),
            "CatBoostClassifier has no counterpart",
        ),
        (GridSearchCV(Renamed(), {"C": [1.0]}, cv=2), "Renamed has no counterpart in ONNX"),
        (make_pipeline(KNNImputer(), LogisticRegression()), "skl2onnx fails on its KNNImputer"),
        (RFE(LogisticRegression()), "skl2onnx fails on its RFE"),
        (
            make_pipeline(PolynomialFeatures(), LogisticRegression()),
            "ONNX Runtime does not take its graph",
        ),
    ],
    ids=str,
)
def test_what_can_not_be_converted_is_told_in_words_that_name_the_part(
    estimator: Estimator, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    description, table = plain(isinstance(estimator, CatBoostRegressor))
    estimator.fit(to_array(rows_of(table), has_strings=False), truth_of(table))
    told, graph = compiled(estimator, description, table)
    assert isinstance(told, str)
    assert told.startswith(reason)
    assert graph is None
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        (clustering(), "clustering is not compiled"),
        (several_labels((0, 1), (0, 1)), "several targets are not compiled"),
        (description(features=(text("note"),)), "texts are not compiled"),
        (description(asked=SCORES), "classifiers without probabilities are not compiled"),
    ],
)
def test_neither_clusters_nor_several_targets_nor_texts_are_compiled(
    described: Description, reason: str
) -> None:
    assert compile_estimator(None, described, [], 0.0, seed=0) == (reason, None)

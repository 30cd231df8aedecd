"""Estimators by their names, with parameters as a person types them."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from sklearn.svm import SVC

from serving.model.wrapped import unwrapped
from tests.unit.training.fitting.tables import ROWS, TYPES, mixed, table_of
from training.errors import TrainingError
from training.fitting.classes import find_estimator
from training.fitting.estimators import make_estimator
from training.fitting.pipeline import fit
from training.fitting.trial import suited


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


MODULE = """
from abc import ABC, abstractmethod
from sklearn.base import BaseEstimator, RegressorMixin

class Mean(RegressorMixin, BaseEstimator):
    def __init__(self, factor, seed=0):
        self.factor, self.seed = factor, seed
    def fit(self, rows, labels):
        return self
    def predict(self, rows):
        return rows

class Abstract(Mean, ABC):
    @abstractmethod
    def partial_fit(self, rows, labels): ...

class Plain:
    def fit(self, rows, labels): ...
    def predict(self, rows): ...

class Failing(Mean):
    def __init__(self):
        raise RuntimeError("not today")

class Own:
    def __init__(self, shift=0):
        self.shift = shift
    def get_params(self, deep=True):
        return {"shift": self.shift}
    def fit(self, rows, labels):
        self.labels = {str(label): label for label in labels}
        if isinstance(labels[0], str):
            raise TypeError("numbers alone")
    def predict(self, rows):
        return [next(iter(self.labels.values()))] * len(rows)

def mean(): ...
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give modules of a person's own, good and bad."""
    monkeypatch.syspath_prepend(tmp_path)
    for name, text in {
        "some_means": MODULE,
        "some_failing": "import nowhere_to_be_found",
        "some_leaving": "raise SystemExit(3)",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)


@pytest.mark.usefixtures("modules")
def test_an_estimator_of_any_module_is_made_of_what_it_needs() -> None:
    made = make_estimator("some_means.Mean", ["factor=2.5"], 7)
    assert made.get_params() == {"factor": 2.5, "seed": 7}
    assert find_estimator("sklearn.svm.SVC") is SVC
    assert find_estimator("xgboost.XGBClassifier").__name__ == "XGBClassifier"


@pytest.mark.usefixtures("modules")
def test_one_that_has_no_more_than_it_must_learns_labels_too() -> None:
    own = make_estimator("some_means.Own", ["shift=3"], 7)
    assert unwrapped(own).get_params() == {"shift": 3}
    labels = np.array(["cat", "dog"] * (ROWS // 2), dtype=object)
    table = table_of(mixed()[["legs"]], labels, types=TYPES)
    pipeline = suited(table, own, 7)
    assert type(unwrapped(pipeline[-1])).__name__ == "Own"
    assert fit(pipeline, table.frame, table.labels).predict(table.frame).tolist() == ["cat"] * ROWS


@pytest.mark.usefixtures("modules")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("some_means.Means", "some_means has no class Means: did you mean Mean?"),
        ("some_means.mean", "some_means.mean is no class"),
        ("some_means.Plain", "Plain is no estimator, it lacks get_params: .*BaseEstimator$"),
        ("some_means.Abstract", "Abstract is abstract"),
        ("some_means.Mean", "Mean can't be made without factor: give it with --param"),
        ("some_means.Failing", "Failing can't be made: not today"),
        ("some_failing.X", "some_failing can't be imported: No module named 'nowhere_to"),
        ("some_leaving.X", "some_leaving can't be imported: SystemExit: 3"),
        ("nowhere.X", "there is no module nowhere: install the package that has it"),
        ("xgbost.XGBRegressor", "no module xgbost: did you mean xgboost"),
        ("xgboost.nowhere.X", "xgboost has no module nowhere"),
        ("XGBRegressor", "XGBRegressor: did you mean xgboost.XGBRegressor"),
        ("..X", "named as Class or module.Class, not as ..X"),
        ("sklearn.svm.SVR_", "sklearn.svm has no class SVR_: did you mean SVR"),
    ],
)
def test_a_class_that_cannot_be_had_is_told_why(name: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        make_estimator(name, [], 7)


def test_a_family_that_is_not_installed_is_told_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)  # as if it were not there
    with pytest.raises(TrainingError, match="xgboost is not installed: pip install xgboost-cpu=="):
        make_estimator("xgboost.XGBClassifier", [], 7)

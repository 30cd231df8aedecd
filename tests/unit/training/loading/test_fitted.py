"""Estimators from files: loaded when they may be, and refused in words when they can't be."""

import importlib
import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import sklearn
import skops.io
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from serving.model.description import Task
from training.errors import TrainingError
from training.fitting.estimators import task_of
from training.fitting.families import installed_by
from training.loading.code import Code
from training.loading.fitted import load_fitted

Estimator = Any  # scikit-learn has no type for it
VALUES = np.arange(12.0).reshape(6, 2)
LABELS = ["a", "b"] * 3
MINOR = ".".join(sklearn.__version__.split(".")[:2])


def fitted() -> Pipeline:
    """Fit a pipeline of scikit-learn's own."""
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(VALUES, LABELS)


def loaded(path: Path, *, trust: bool) -> Estimator:
    """Load what a file holds."""
    return load_fitted(str(path), trust=trust, code=Code()).estimator


def refusal(path: Path, *, trust: bool) -> str:
    """Give what tells why a file is not loaded."""
    with pytest.raises(TrainingError) as caught:
        loaded(path, trust=trust)
    return str(caught.value)


class Traitor(BaseEstimator):
    """Does something else when it is loaded."""

    loaded = 0

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Count how often that was."""
        type(self).loaded += 1
        super().__setstate__(state)

    def fit(self, values: Estimator, labels: Estimator = None) -> "Traitor":
        """Learn nothing."""
        self.fitted_ = True
        return self

    def predict(self, values: Estimator) -> Estimator:
        """Answer nothing."""
        return np.zeros(len(values))


@pytest.mark.parametrize("trust", [False, True])
def test_skops_files_of_scikit_learns_own_types_are_loaded(tmp_path: Path, trust: bool) -> None:
    skops.io.dump(fitted(), tmp_path / "a.skops")

    estimator = loaded(tmp_path / "a.skops", trust=trust)

    assert (estimator.predict_proba(VALUES) == fitted().predict_proba(VALUES)).all()


@pytest.mark.parametrize("ending", [".joblib", ".pkl", ".pickle"])
def test_pickles_are_loaded_if_they_are_trusted(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(pickle.dumps(fitted()))

    assert list(loaded(path, trust=True).predict(VALUES)) == list(fitted().predict(VALUES))


def test_compressed_pickles_of_joblib_are_loaded(tmp_path: Path) -> None:
    joblib.dump(fitted(), tmp_path / "a.joblib", compress=3)

    assert loaded(tmp_path / "a.joblib", trust=True).predict(VALUES) is not None


@pytest.mark.parametrize("ending", [".pkl", ".joblib", ".pickle", ".skops"])
def test_nothing_of_a_file_runs_without_trust(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    (skops.io.dump if ending == ".skops" else joblib.dump)(Traitor().fit(VALUES), path)
    before = Traitor.loaded

    assert "add --trust if you know who made it" in refusal(path, trust=False)

    assert Traitor.loaded == before
    assert isinstance(loaded(path, trust=True), Traitor)
    assert Traitor.loaded == before + 1


def test_unknown_types_are_named(tmp_path: Path) -> None:
    skops.io.dump(make_pipeline(Traitor()).fit(VALUES), tmp_path / "a.skops")

    assert f"{__name__}.Traitor" in refusal(tmp_path / "a.skops", trust=False)


@pytest.mark.filterwarnings("default")
def test_warnings_of_a_file_are_not_in_the_way(tmp_path: Path) -> None:
    class Noisy(Traitor):
        def __setstate__(self, state: dict[str, Any]) -> None:
            warnings.warn("how old this is", DeprecationWarning, stacklevel=1)
            super().__setstate__(state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "Noisy", Noisy)
        Noisy.__qualname__ = "Noisy"
        joblib.dump(Noisy().fit(VALUES), tmp_path / "a.pkl")
        assert loaded(tmp_path / "a.pkl", trust=True) is not None


def as_fitted_with(version: str, path: Path) -> None:
    """Save a pipeline of which one step is of another version."""
    step = fitted()
    state = step[-1].__getstate__() | {"_sklearn_version": version}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LogisticRegression, "__getstate__", lambda _: state)
        (skops.io.dump if path.suffix == ".skops" else joblib.dump)(step, path)


@pytest.mark.parametrize("ending", [".pkl", ".skops"])
@pytest.mark.parametrize("version", ["0.24.2", "1.0", "99.0.1", f"{MINOR}9.0"])
def test_an_estimator_of_another_minor_version_is_refused(
    tmp_path: Path, version: str, ending: str
) -> None:
    as_fitted_with(version, tmp_path / f"a{ending}")

    message = refusal(tmp_path / f"a{ending}", trust=True)

    assert f"was fitted with scikit-learn {version}, but {sklearn.__version__} is" in message


@pytest.mark.parametrize("ending", [".pkl", ".skops"])
@pytest.mark.parametrize("version", [f"{MINOR}.0", f"{MINOR}.99", f"{MINOR}.dev0", f"{MINOR}rc1"])
def test_an_estimator_of_the_same_minor_version_is_taken(
    tmp_path: Path, version: str, ending: str
) -> None:
    as_fitted_with(version, tmp_path / f"a{ending}")

    with warnings.catch_warnings():
        warnings.simplefilter("error", InconsistentVersionWarning)
        assert loaded(tmp_path / f"a{ending}", trust=True).predict(VALUES) is not None


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"a": 1}, "holds a dict without predict"),
        ([fitted()], "holds a list without predict"),
        (None, "holds a NoneType without predict"),
        (StandardScaler().fit(VALUES), "holds a StandardScaler without predict"),
        (TfidfTransformer(), "holds a TfidfTransformer without predict"),
        (LogisticRegression, "without predict"),
        (LogisticRegression(), "the LogisticRegression in .* is not fitted"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "the Pipeline in .* is not fitted"),
        (GridSearchCV(LogisticRegression(), {}), "the GridSearchCV in .* is not fitted"),
    ],
    ids=str,
)
def test_what_is_no_fitted_estimator_is_refused(
    tmp_path: Path,
    held: object,
    message: str,
) -> None:
    joblib.dump(held, tmp_path / "a.pkl")

    with pytest.raises(TrainingError, match=message):
        loaded(tmp_path / "a.pkl", trust=True)


class Foreign:
    """Predicts, and has no base class of scikit-learn."""

    def __repr__(self) -> str:
        """Give the name alone: a test's name must be the same in all processes."""
        return type(self).__name__

    def predict(self, values: Estimator) -> Estimator:
        """Give zeros."""
        return np.zeros(len(values))


class Fitting(Foreign):
    """Fits, too."""

    def fit(self, values: Estimator, labels: Estimator) -> "Fitting":
        """Learn nothing."""
        return self


class Unmarked(Fitting, BaseEstimator):
    """Does not tell that it is fitted, as NGBoost's do not."""


@pytest.mark.parametrize("held", [Foreign(), Fitting(), Unmarked()])
def test_an_estimator_of_another_library_is_taken_for_fitted(tmp_path: Path, held: Foreign) -> None:
    joblib.dump(held, tmp_path / "a.pkl")

    assert isinstance(loaded(tmp_path / "a.pkl", trust=True), type(held))


@pytest.mark.parametrize("ending", [".pkl", ".joblib", ".pickle", ".skops"])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x80\x04", b"PK\x05\x06" + bytes(18)])
def test_a_damaged_file_is_told_with_what_went_wrong(
    tmp_path: Path, ending: str, content: bytes
) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(content)

    assert f"{path} can't be loaded: " in refusal(path, trust=True)


def test_a_pickle_of_a_class_that_is_no_more_is_told(tmp_path: Path) -> None:
    data = pickle.dumps(Foreign()).replace(b"Foreign", b"Forgone")
    (tmp_path / "a.pkl").write_bytes(data)

    message = refusal(tmp_path / "a.pkl", trust=True)

    assert "can't be loaded: AttributeError: " in message
    assert "Forgone" in message


def test_what_is_no_file_of_a_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n")
    (tmp_path / "folder.pkl").mkdir()

    assert "there is no file" in refusal(tmp_path / "none.pkl", trust=True)
    assert "without a model of MLflow" in refusal(tmp_path / "folder.pkl", trust=True)
    assert ".joblib, .pickle, .pkl, .skops" in refusal(tmp_path / "a.csv", trust=True)


@pytest.mark.parametrize(
    ("estimator", "task"),
    [
        (LogisticRegression(), "classification"),
        (LinearRegression(), "regression"),
        (KMeans(), "clustering"),
        (IsolationForest(), "outlier-detection"),
        (make_pipeline(StandardScaler(), LinearRegression()), "regression"),
        (GridSearchCV(LogisticRegression(), {}), "classification"),
        (GaussianMixture(), None),
        (StandardScaler(), None),
        (Foreign(), None),
        (Fitting(), None),
    ],
    ids=str,
)
def test_the_task_is_what_the_estimator_says(estimator: Estimator, task: Task | None) -> None:
    assert task_of(estimator) == task


def test_a_pickle_of_a_library_that_is_not_there_says_the_line_that_installs_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.pkl").write_bytes(b"cxgboost.absent.sklearn\nXGBClassifier\n.")

    assert refusal(tmp_path / "a.pkl", trust=True).endswith(f": {installed_by(['xgboost'])}")


def test_a_class_of_a_module_that_is_not_there_has_to_be_brought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_steps.py").write_text("class Own:\n    predict = None\n")
    monkeypatch.syspath_prepend(tmp_path)
    joblib.dump(importlib.import_module("own_steps").Own(), tmp_path / "a.pkl")
    del sys.modules["own_steps"]
    (tmp_path / "own_steps.py").rename(tmp_path / "b.txt")

    assert refusal(tmp_path / "a.pkl", trust=True).endswith(
        "can't be loaded: ModuleNotFoundError: No module named 'own_steps': bring it along with "
        "--code if it is yours, or install the package that has it"
    )

    (tmp_path / "brought").mkdir()
    brought = tmp_path / "brought" / "own_steps.py"
    (tmp_path / "b.txt").rename(brought)
    with Code() as code:
        code.add([brought])
        assert load_fitted(str(tmp_path / "a.pkl"), trust=True, code=code).estimator is not None


def test_a_class_of_a_script_has_to_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = sys.modules["__main__"]
    own = type("Own", (), {"__module__": "__main__", "predict": None})
    monkeypatch.setattr(main, "Own", own, raising=False)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(own()))
    monkeypatch.delattr(main, "Own")

    told = refusal(tmp_path / "a.pkl", trust=True)

    assert "it was defined in a notebook or a script" in told
    assert "bring that along with --code" in told

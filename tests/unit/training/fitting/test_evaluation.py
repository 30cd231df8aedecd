"""Scores: of held-out rows, beside a dummy's, for each task; those that can't be are left out."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import ExtraTreesClassifier, IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression, Perceptron
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score, silhouette_score
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, RadiusNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from serving.model.description import Metrics, Task
from serving.model.estimator import Estimator
from training.errors import TrainingError
from training.fitting import evaluation as module
from training.fitting.evaluation import evaluate
from training.fitting.evaluation import score as score_asked
from training.fitting.pipeline import build_pipeline
from training.table.table import Table

ROWS = 80


def score(estimator: Estimator, table: Table, split: str) -> Metrics:
    """Score an estimator, asked as it was fitted: with a frame, or with an array."""
    strings = (table.frame.dtypes == "object").any()
    array = table.frame.to_numpy("object" if strings else "float64")
    named = hasattr(estimator, "feature_names_in_")
    return score_asked(estimator, table, table.frame if named else array, split)


def numbers(rows: int = ROWS) -> pd.DataFrame:
    values = np.random.default_rng(0).normal(size=(rows, 2))
    return pd.DataFrame(values, columns=["a", "b"])


def table_of(frame: pd.DataFrame, labels: Any, task: Task = "classification") -> Table:  # noqa: ANN401
    return Table(frame, dict.fromkeys(frame.columns, "number"), pd.DataFrame(labels), task, ())


def untold(frame: pd.DataFrame, task: Task) -> Table:
    """Give a table without targets."""
    return table_of(frame, np.empty((len(frame), 0)), task)


def iris() -> Table:
    data = load_iris(as_frame=True)
    return table_of(data.data, data.target_names.astype(object)[data.target])


def sides(frame: pd.DataFrame) -> Any:  # noqa: ANN401 (an array of labels)
    return np.where(frame["a"] + 0.3 * frame["b"] > 0, "up", "down").astype(object)


@pytest.mark.parametrize("seed", [42, 7])
def test_iris_has_the_scores_of_the_default_model_as_ever(seed: int) -> None:
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(random_state=seed))
    data = load_iris()
    values, held_out, target, truth = train_test_split(
        data.data,
        data.target_names[data.target],
        test_size=0.25,
        random_state=seed,
        stratify=data.target_names[data.target],
    )
    fitted = make_pipeline(StandardScaler(), LogisticRegression(random_state=seed))
    labels = fitted.fit(values, target).predict(held_out)
    got = evaluate(pipeline, iris(), 0.25, seed)
    assert got.metrics.split == f"held out: 38 of 150 rows, stratified, seed {seed}"
    assert got.metrics.values["accuracy"] == accuracy_score(truth, labels)
    assert got.metrics.values["f1_macro"] == f1_score(truth, labels, average="macro")
    assert got.metrics.values["log_loss"] == pytest.approx(
        log_loss(truth, fitted.predict_proba(held_out)), rel=1e-9
    )


def test_the_estimator_knows_nothing_of_the_rows_that_it_is_scored_on() -> None:
    pipeline = make_pipeline(KNeighborsClassifier(1))
    frame = numbers()
    table = table_of(frame, np.random.default_rng(1).choice(["x", "y"], ROWS).astype(object))
    got = evaluate(pipeline, table, 0.25, 0)
    assert got.estimator is not pipeline
    with pytest.raises(NotFittedError):
        pipeline.predict(frame)
    assert got.metrics.values["accuracy"] < 0.9
    assert got.truth is not None
    assert len(got.frame) == len(got.truth) == 20
    np.testing.assert_array_equal(got.truth, table.labels[got.frame.index])
    assert got.metrics.values["accuracy"] == got.estimator.score(got.frame, got.truth)
    rest = table.frame.drop(index=got.frame.index)
    assert got.estimator.score(rest, table.labels[rest.index]) == 1


def test_a_classifier_has_all_scores_beside_those_of_a_dummy() -> None:
    frame = numbers()
    table = table_of(frame, sides(frame))
    got = evaluate(make_pipeline(LogisticRegression()), table, 0.25, 0)
    values, dummy = got.metrics.values, got.metrics.dummy
    assert list(values) == ["accuracy", "balanced_accuracy", "f1_macro", "log_loss", "roc_auc"]
    assert got.truth is not None
    up = got.estimator.predict_proba(got.frame)[:, 1]
    assert values["roc_auc"] == roc_auc_score(got.truth == "up", up)
    rest = frame.drop(index=got.frame.index)
    prior = DummyClassifier(strategy="prior").fit(rest, table.labels[rest.index])
    assert dummy == {
        "accuracy": prior.score(got.frame, got.truth),
        "balanced_accuracy": 0.5,
        "f1_macro": f1_score(got.truth, prior.predict(got.frame), average="macro"),
        "log_loss": log_loss(got.truth, prior.predict_proba(got.frame)),
        "roc_auc": 0.5,
    }
    assert values["log_loss"] < dummy["log_loss"]


def test_the_area_for_several_classes_is_the_mean_of_each_against_the_rest() -> None:
    got = evaluate(make_pipeline(LogisticRegression()), iris(), 0.25, 3)
    assert got.truth is not None
    areas = [
        roc_auc_score(got.truth == label, shares)
        for label, shares in zip(
            got.estimator.classes_, got.estimator.predict_proba(got.frame).T, strict=True
        )
    ]
    assert got.metrics.values["roc_auc"] == pytest.approx(np.mean(areas))
    assert got.metrics.dummy["roc_auc"] == 0.5


def test_without_probabilities_what_needs_them_is_left_out() -> None:
    frame = numbers()
    two = evaluate(make_pipeline(SVC()), table_of(frame, sides(frame)), 0.25, 0).metrics
    assert list(two.values) == ["accuracy", "balanced_accuracy", "f1_macro", "roc_auc"]
    assert list(two.dummy) == list(two.values)
    three = evaluate(make_pipeline(Perceptron(random_state=0)), iris(), 0.25, 0).metrics
    assert list(three.values) == ["accuracy", "balanced_accuracy", "f1_macro"]
    assert list(three.dummy) == list(three.values)


def test_a_class_that_is_not_held_out_leaves_out_the_area() -> None:
    frame = numbers()
    labels = sides(frame)
    labels[0] = "only once"
    got = evaluate(make_pipeline(LogisticRegression()), table_of(frame, labels), 0.25, 2).metrics
    assert got.split == "held out: 20 of 80 rows, seed 2"
    assert list(got.values) == ["accuracy", "balanced_accuracy", "f1_macro", "log_loss"]
    assert list(got.dummy) == list(got.values)


def test_a_class_that_is_held_out_entirely_leaves_out_the_probabilities_too() -> None:
    frame = numbers()
    labels = sides(frame)
    (_, held_out) = train_test_split(np.arange(ROWS), test_size=0.25, random_state=2)
    labels[held_out[0]] = "only once"
    got = evaluate(make_pipeline(LogisticRegression()), table_of(frame, labels), 0.25, 2).metrics
    assert list(got.values) == ["accuracy", "balanced_accuracy", "f1_macro"]


def test_labels_may_be_numbers_or_booleans() -> None:
    frame = numbers()
    for labels in ((sides(frame) == "up"), (sides(frame) == "up").astype(int)):
        got = evaluate(make_pipeline(LogisticRegression()), table_of(frame, labels), 0.25, 0)
        assert len(got.metrics.values) == len(got.metrics.dummy) == 5
        assert got.metrics.split == "held out: 20 of 80 rows, stratified, seed 0"


def test_several_targets_of_classes_are_scored_together_and_each() -> None:
    frame = numbers()
    labels = np.column_stack([sides(frame), sides(frame[::-1])])
    pipeline = make_pipeline(ExtraTreesClassifier(10, random_state=0))
    got = evaluate(pipeline, table_of(frame, labels), 0.25, 0)
    right = got.estimator.predict(got.frame) == got.truth
    assert got.metrics.values == {
        "subset_accuracy": pytest.approx(right.all(axis=1).mean()),
        "mean_accuracy": pytest.approx(right.mean(axis=0).mean()),
    }
    assert 0 < got.metrics.dummy["subset_accuracy"] < got.metrics.values["subset_accuracy"]
    assert got.metrics.split == "held out: 20 of 80 rows, seed 0"


@pytest.mark.parametrize("targets", [1, 2])
def test_numbers_are_scored_by_what_is_explained_and_by_the_errors(targets: int) -> None:
    frame = numbers()
    noise = np.random.default_rng(1).normal(size=(ROWS, 2))
    truth = (frame.to_numpy() @ [[1, 2], [3, 4]] + noise)[:, :targets]
    got = evaluate(make_pipeline(LinearRegression()), table_of(frame, truth, "regression"), 0.25, 0)
    assert got.truth is not None
    errors = got.estimator.predict(got.frame) - got.truth
    assert got.metrics.values == {
        "r2": pytest.approx(got.estimator.score(got.frame, got.truth)),
        "mean_absolute_error": pytest.approx(np.abs(errors).mean()),
        "root_mean_squared_error": pytest.approx(np.sqrt((errors**2).mean(axis=0)).mean()),
    }
    rest = frame.drop(index=got.frame.index)
    mean = DummyRegressor().fit(rest, truth[rest.index])
    assert got.metrics.dummy["r2"] == pytest.approx(mean.score(got.frame, got.truth))
    assert list(got.metrics.dummy) == list(got.metrics.values)


def test_one_row_explains_nothing_but_has_its_error() -> None:
    frame = numbers(4)
    table = table_of(frame, frame["a"].to_numpy(), "regression")
    got = evaluate(make_pipeline(LinearRegression()), table, 0.25, 0).metrics
    assert list(got.values) == ["mean_absolute_error", "root_mean_squared_error"]


def blobs() -> pd.DataFrame:
    """Give two clusters that are apart in the smaller of two measures."""
    frame = numbers() * [0.1, 1000]
    frame["a"] += np.arange(ROWS) % 2
    return frame


def clusters() -> Pipeline:
    frame = blobs()
    types = dict.fromkeys(frame.columns, "number")
    return build_pipeline(types, frame, KMeans(2, n_init=5, random_state=0))  # type: ignore[arg-type]


def test_clusters_are_measured_as_the_estimator_sees_them() -> None:
    got = evaluate(clusters(), untold(blobs(), "clustering"), 0.25, 0)
    seen = got.estimator[:-1].transform(got.frame)
    found = got.estimator.predict(got.frame)
    assert got.metrics.values == {"silhouette": pytest.approx(silhouette_score(seen, found))}
    assert got.metrics.dummy == {}
    assert got.metrics.split == "held out: 20 of 80 rows, seed 0"
    assert got.truth is None


def test_clusters_of_many_rows_are_measured_on_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluate(clusters(), untold(blobs(), "clustering"), 0.5, 0).metrics.values
    monkeypatch.setattr(module, "MAX_SILHOUETTE_ROWS", 20)
    part = evaluate(clusters(), untold(blobs(), "clustering"), 0.5, 0).metrics.values
    assert 0 < abs(part["silhouette"] - whole["silhouette"]) < 0.2


def test_a_single_cluster_has_no_score() -> None:
    got = evaluate(make_pipeline(KMeans(1)), untold(numbers(), "clustering"), 0.25, 0)
    assert got.metrics.values == {}


def test_of_outliers_their_share_is_told() -> None:
    pipeline = make_pipeline(IsolationForest(n_estimators=10, contamination=0.2, random_state=0))
    got = evaluate(pipeline, untold(numbers(), "outlier-detection"), 0.25, 0)
    share = (got.estimator.predict(got.frame) == -1).mean()
    assert got.metrics == Metrics(
        split="held out: 20 of 80 rows, seed 0", values={"outlier_share": share}, dummy={}
    )


@pytest.mark.parametrize("rows", [1, 2])
def test_too_few_rows_are_refused(rows: int) -> None:
    table = table_of(numbers(rows), np.array(["x", "y"][:rows], object))
    with pytest.raises(TrainingError, match=r"1 rows are too few to hold out 25%|2 classes"):
        evaluate(make_pipeline(LogisticRegression()), table, 0.25, 0)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (MultinomialNB(), "MultinomialNB can't be fitted on this table: Negative values"),
        (RadiusNeighborsClassifier(1e-9), "RadiusNeighborsClassifier can't predict for all rows"),
    ],
)
def test_what_cannot_learn_or_answer_is_told_why(estimator: Any, message: str) -> None:  # noqa: ANN401
    frame = numbers()
    with pytest.raises(TrainingError, match=message):
        evaluate(make_pipeline(estimator), table_of(frame, sides(frame)), 0.25, 0)


def test_an_estimator_from_elsewhere_that_wants_other_columns_is_told_why() -> None:
    frame = numbers()
    fitted = LogisticRegression().fit(frame[["b", "a"]], sides(frame))
    with pytest.raises(TrainingError, match="LogisticRegression can't predict for all rows"):
        score(fitted, table_of(frame, sides(frame)), "all")


def test_several_numbers_for_one_target_cannot_be_scored() -> None:
    class Pair(LinearRegression):
        def predict(self, rows: Any) -> Any:  # noqa: ANN401
            return np.zeros((len(rows), 2))

    frame = numbers()
    with pytest.raises(TrainingError, match=r"Pair can't predict .*: it gives answers of shape"):
        evaluate(make_pipeline(Pair()), table_of(frame, frame["a"], "regression"), 0.25, 0)


def test_what_has_not_converged_is_scored_without_a_word() -> None:
    pipeline = make_pipeline(MLPClassifier((2,), max_iter=1, random_state=0))
    assert "accuracy" in evaluate(pipeline, iris(), 0.25, 0).metrics.values


@pytest.mark.parametrize("named", [True, False])
def test_an_estimator_from_elsewhere_is_scored_on_all_rows(named: bool) -> None:
    table = iris()
    given = table.frame if named else table.frame.to_numpy()
    fitted = LogisticRegression(max_iter=1000).fit(given, table.labels)
    got = score(fitted, table, "as given: 150 rows")
    assert got.split == "as given: 150 rows"
    assert got.values["accuracy"] == fitted.score(given, table.labels)
    assert got.dummy["log_loss"] == pytest.approx(math.log(3))
    assert len(got.values) == len(got.dummy) == 5


def test_an_estimator_that_was_fitted_on_objects_is_asked_so() -> None:
    frame = pd.DataFrame({"color": ["red", "blue"] * 10, "size": 1.0}).astype({"color": object})
    labels = frame["color"].to_numpy()
    pipeline = build_pipeline({"color": "category", "size": "number"}, frame, LogisticRegression())
    fitted = pipeline.fit(frame.to_numpy(), labels)
    assert score(fitted, table_of(frame, labels), "all").values["accuracy"] == 1


@pytest.mark.parametrize(
    ("estimator", "task"),
    [(DummyClassifier(), "classification"), (DummyRegressor(), "regression")],
)
def test_without_a_target_nothing_is_scored(estimator: Any, task: Task) -> None:  # noqa: ANN401
    frame = numbers()
    fitted = estimator.fit(frame, np.arange(ROWS) % 2)
    assert score(fitted, untold(frame, task), "none") == Metrics(split="none", values={}, dummy={})


@pytest.mark.parametrize("labels", [[0, 1, 2, 3] * 20, ["up", "other"] * 40])
def test_labels_that_the_estimator_does_not_know_leave_out_what_cannot_be(
    labels: Sequence[int | str],
) -> None:
    frame = numbers()
    known = sides(frame) if isinstance(labels[0], str) else np.arange(ROWS) % 3
    fitted = LogisticRegression().fit(frame, known)
    got = score(fitted, table_of(frame, np.array(labels, type(labels[0]))), "all").values
    assert list(got) == ["accuracy", "balanced_accuracy", "f1_macro"]

"""Which estimator is chosen, where none is named."""

from typing import Any

import numpy as np
import palmerpenguins
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LassoCV, LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from serving.model.description import Task
from tests.unit.training.fitting.tables import ROWS, TYPES, kinds, mixed, shipped, steps, table_of
from training.errors import TrainingError
from training.fitting import choice as module
from training.fitting.choice import TOLERANCE, boosters, candidates, choose
from training.table.table import Table


def penguins() -> Table:
    frame = palmerpenguins.load_penguins().astype({"island": object, "sex": object})
    species = frame.pop("species").to_numpy(dtype=object)
    return table_of(
        frame,
        species,
        types={
            name: "category" if name in {"island", "sex"} else "number" for name in frame.columns
        },
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [42, 7])
def test_the_iris_are_told_apart_by_the_simplest_estimator_as_it_is(seed: int) -> None:
    lines: list[str] = []
    chosen, scores = choose(shipped(load_iris), seed, lines.append)
    assert repr(chosen) == repr(
        make_pipeline(StandardScaler(), LogisticRegression(random_state=seed))
    )
    assert list(scores) == list(candidates("classification", seed))
    assert [line.partition(" (")[0] for line in lines] == [
        f"{number}/3 {name}: f1_macro {score:.3f}"
        for number, (name, score) in enumerate(scores.items(), start=1)
    ]


@pytest.mark.slow
def test_the_chosen_is_the_simplest_that_is_about_as_good_as_the_best() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(-1, 1, size=(200, 2)), columns=["a", "b"])
    ring = np.where((frame**2).sum(axis=1) < 0.5, "in", "out").astype(object)
    chosen, scores = choose(table_of(frame, ring), 0, lambda _: None)
    assert scores["LogisticRegression"] < max(scores.values()) - TOLERANCE
    good = [name for name, score in scores.items() if score >= max(scores.values()) - TOLERANCE]
    assert steps(chosen) == good[:1]


@pytest.mark.slow
def test_several_targets_are_learnt_by_what_can() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 2)), columns=["a", "b"])
    numbers = frame.to_numpy() @ [[1, 2, 3], [3, 2, 1]]
    chosen, scores = choose(table_of(frame, numbers, "regression"), 0, lambda _: None)
    assert list(scores) == ["RidgeCV", "ExtraTreesRegressor"]
    assert steps(chosen) == ["StandardScaler", "RidgeCV"]
    signs = np.where(numbers > 0, "plus", "minus").astype(object)
    chosen, scores = choose(table_of(frame, signs), 0, lambda _: None)
    assert steps(chosen) == list(scores) == ["ExtraTreesClassifier"]
    assert scores["ExtraTreesClassifier"] > 0.8


@pytest.mark.slow
def test_words_are_not_learnt_by_forests_where_others_can() -> None:
    frame = mixed()[["note", "legs"]]
    table = table_of(frame, kinds(), types=TYPES)
    _, scores = choose(table, 0, lambda _: None)
    assert list(scores) == ["LogisticRegression", "HistGradientBoostingClassifier"]


@pytest.mark.slow
def test_a_large_table_is_judged_by_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CHOICE_ROWS", 100)
    table = shipped(load_iris)
    lines: list[str] = []
    _, scores = choose(table, 42, lines.append)
    assert lines[0] == "choosing by 100 of 150 rows"
    assert list(scores) == list(candidates("classification", 42))
    assert choose(table, 42, lines.append)[1] == scores


@pytest.mark.slow
def test_a_wide_table_is_judged_by_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_CHOICE_ROWS", 30)
    frame = mixed()[["legs", "weight", "tame"]]
    table = table_of(frame, frame[["legs", "weight"]].to_numpy(), "regression", TYPES)
    lines: list[str] = []
    for cells in (3 * ROWS, 3 * ROWS - 3, 3):
        monkeypatch.setattr(module, "MAX_CHOICE_CELLS", cells)
        choose(table, 42, lines.append)
    assert [line for line in lines if line.startswith("choosing")] == [
        "choosing by 59 of 60 rows",
        "choosing by 30 of 60 rows",
    ]


@pytest.mark.slow
def test_a_class_of_few_rows_makes_for_fewer_folds() -> None:
    table = shipped(load_iris)
    labels = table.labels.copy()
    labels[:3] = "rare"
    _, scores = choose(table_of(table.frame, labels), 0, lambda _: None)
    assert len(scores) == 3
    labels[1:3] = "setosa"  # one is left
    _, scores = choose(table_of(table.frame, labels), 0, lambda _: None)
    assert len(scores) == 3


@pytest.mark.parametrize(
    ("labels", "task"),
    [(["a", "b", "c"], "classification"), ([1.0, 2.0, 3.0], "regression")],
)
def test_too_few_rows_are_no_ground_for_a_choice(labels: list[Any], task: Task) -> None:
    table = table_of(pd.DataFrame({"a": [1.0, 2.0, 3.0]}), np.array(labels, object), task)
    lines: list[str] = []
    with pytest.raises(TrainingError, match="no estimator can be chosen by this table"):
        choose(table, 0, lines.append)
    assert len(lines) == 3
    assert all("left out, " in line for line in lines)


@pytest.mark.parametrize("task", ["clustering", "outlier-detection"])
def test_nothing_is_chosen_where_no_score_tells(task: Task) -> None:
    table = table_of(mixed()[["weight"]], np.empty((ROWS, 0)), task)
    with pytest.raises(TrainingError, match=f"no score tells .* for {task}"):
        choose(table, 0, lambda _: None)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_boosters_are_candidates_as_far_as_they_are_installed(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = "Classifier" if task == "classification" else "Regressor"
    lines: list[str] = []
    found = boosters(task, 7, lines.append)
    assert list(found) == [f"XGB{kind}", f"LGBM{kind}", f"CatBoost{kind}"]
    assert [each.get_params()["random_state"] for each in found.values()] == [7, 7, 7]
    assert lines == []
    monkeypatch.setattr(module, "find_spec", lambda name: name if name == "lightgbm" else None)
    assert list(boosters(task, 7, lines.append)) == [f"LGBM{kind}"]
    assert lines[0].startswith("not compared, since not installed: xgboost, catboost: pip install")
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(
        TrainingError, match=r"no library of boosters .*: pip install xgboost-cpu=="
    ):
        boosters(task, 7, lines.append)


@pytest.mark.slow
def test_boosters_are_compared_with_the_others_where_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = {
        name: each.set_params(n_estimators=3)
        for name, each in boosters("classification", 0, lambda _: None).items()
    }
    monkeypatch.setattr(module, "boosters", lambda *_: small)
    frame = mixed().drop(columns=["note", "name"])
    types = {name: TYPES[name] for name in frame}
    table = table_of(frame, kinds(), types=types)
    lines: list[str] = []
    _, scores = choose(table, 0, lines.append, with_boosters=True)
    assert list(scores) == [*candidates("classification", 0), *small]
    assert [line.partition(":")[0] for line in lines] == [
        f"{number}/6 {name}" for number, name in enumerate(scores, start=1)
    ]
    grouped = table_of(frame, np.empty((ROWS, 0)), "clustering", types)
    with pytest.raises(TrainingError, match="no score tells"):
        choose(grouped, 0, lines.append, with_boosters=True)


def careful(name: str) -> tuple[Table, list[Any]]:
    """Give a table and what a person who knows it would write for it."""
    if name == "penguins":
        numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        categories = make_pipeline(
            SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
        )
        columns = make_column_transformer((categories, ["island", "sex"]), remainder=numbers)
        return penguins(), [
            make_pipeline(columns, SVC()),
            make_pipeline(columns, LogisticRegression()),
        ]
    if name == "diabetes":
        written = [make_pipeline(StandardScaler(), estimator) for estimator in (Ridge(), LassoCV())]
        return shipped(load_diabetes, "regression"), written
    written = [make_pipeline(StandardScaler(), estimator) for estimator in (SVC(), SVC(C=10))]
    return shipped(load_breast_cancer), written


@pytest.mark.slow
@pytest.mark.parametrize("name", ["penguins", "breast_cancer", "diabetes"])
def test_the_chosen_does_about_as_well_as_what_a_careful_person_writes(name: str) -> None:
    table, written = careful(name)
    chosen, _ = choose(table, 42, lambda _: None)
    folds = (KFold if table.task == "regression" else StratifiedKFold)(
        5, shuffle=True, random_state=1
    )
    own, *others = (
        cross_val_score(pipeline, table.frame, table.labels, cv=folds).mean()
        for pipeline in (chosen, *written)
    )
    assert own > max(others) - 0.01

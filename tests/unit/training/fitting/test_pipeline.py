"""Pipelines: made for any estimator and columns, asked with frames and arrays alike, and chosen."""

import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import palmerpenguins
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LassoCV, LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from serving.model.description import Task
from training.errors import TrainingError
from training.fitting import choice as module
from training.fitting.choice import TOLERANCE, candidates, choose
from training.fitting.estimators import find_estimator, make_estimator
from training.fitting.pipeline import MAX_WORDS, MIN_CATEGORY_ROWS, build_pipeline, fit
from training.table.columns import FeatureType
from training.table.table import Table

ROWS = 60
TYPES: dict[str, FeatureType] = {
    "size": "number",
    "note": "text",
    "legs": "integer",
    "color": "category",
    "tame": "boolean",
    "weight": "number",
    "old": "boolean",
    "shape": "category",
    "name": "text",
}


def mixed() -> pd.DataFrame:
    """Give columns of all types, with and without gaps."""
    rng = np.random.default_rng(0)
    words = ["soft fur", "long claws", "a soft tail", "claws"]
    size, old = rng.normal(size=ROWS), rng.integers(0, 2, ROWS).astype(float)
    size[::7] = old[::9] = np.nan
    color = rng.choice(["red", "green", "blue"], ROWS).astype(object)
    note = rng.choice(words, ROWS).astype(object)
    color[::8] = note[::11] = np.nan
    return pd.DataFrame(
        {
            "size": size,
            "note": pd.Series(note, dtype=object),
            "legs": rng.integers(0, 5, ROWS),
            "color": pd.Series(color, dtype=object),
            "tame": rng.integers(0, 2, ROWS).astype(bool),
            "weight": rng.normal(50, 10, size=ROWS),
            "old": old,
            "shape": pd.Series(rng.choice(["round", "flat"], ROWS), dtype=object),
            "name": pd.Series(rng.choice(words, ROWS), dtype=object),
        }
    )


def as_asked(frame: pd.DataFrame) -> Any:  # noqa: ANN401 (an array of floats or of objects)
    """Give the array that the service makes of rows."""
    if (frame.dtypes == "object").any():
        return np.array([list(row) for row in frame.itertuples(index=False)], dtype=object)
    return frame.to_numpy("float64")


def kinds() -> Any:  # noqa: ANN401 (an array)
    return np.where(np.arange(ROWS) % 3 == 0, "cat", "dog").astype(object)


def steps(pipeline: Pipeline) -> list[str]:
    return [type(step).__name__ for _, step in pipeline.steps]


def table_of(
    frame: pd.DataFrame,
    labels: Any,  # noqa: ANN401 (an array)
    task: Task = "classification",
    types: Mapping[str, FeatureType] | None = None,
) -> Table:
    target = pd.DataFrame(labels)
    return Table(frame, types or dict.fromkeys(frame.columns, "number"), target, task, ())


def shipped(load: Any, task: Task = "classification") -> Table:  # noqa: ANN401
    data = load(as_frame=True)
    labels = data.target_names[data.target] if task == "classification" else data.target
    return table_of(
        data.data, np.array(labels, object if task == "classification" else float), task
    )


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


# --- estimators by name


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


# --- pipelines


def test_numbers_without_gaps_take_no_more_than_scaling() -> None:
    frame = mixed()[["legs", "tame", "weight"]]
    assert steps(build_pipeline(TYPES, frame, SVC())) == ["StandardScaler", "SVC"]
    assert steps(build_pipeline(TYPES, frame, GaussianNB())) == ["GaussianNB"]
    assert steps(build_pipeline(TYPES, frame, RandomForestClassifier())) == [
        "RandomForestClassifier"
    ]


def test_an_estimator_that_takes_gaps_gets_them() -> None:
    frame = mixed()[["size", "old"]]
    assert steps(build_pipeline(TYPES, frame, HistGradientBoostingClassifier())) == [
        "HistGradientBoostingClassifier"
    ]
    assert steps(build_pipeline(TYPES, frame, GaussianNB())) == ["ColumnTransformer", "GaussianNB"]


def test_gaps_are_filled_and_marked_only_where_there_are_any() -> None:
    frame = mixed()[["size", "legs", "old"]]
    columns = fit(build_pipeline(TYPES, frame, GaussianNB()), frame, kinds())[0]
    assert {part: positions for part, _, positions in columns.transformers_} == {
        "numbers_with_gaps": [0],
        "numbers": [1],
        "booleans_with_gaps": [2],
    }
    prepared = columns.transform(np.array([[np.nan, 3.0, np.nan]]))
    commonest = frame["old"].mode()[0]
    assert prepared.tolist() == [[frame["size"].median(), 1, 3, commonest, 1]]


def test_rare_and_unseen_categories_are_treated_alike_and_missing_is_one_of_its_own() -> None:
    counts = {"red": 20, "blue": 20, np.nan: 14, "rare": MIN_CATEGORY_ROWS - 1, "odd": 2}
    frame = pd.DataFrame(
        {"color": pd.Series([c for c, n in counts.items() for _ in range(n)], dtype=object)}
    )
    columns = fit(build_pipeline(TYPES, frame, GaussianNB()), frame, kinds())[0]
    asked = np.array([["red"], ["blue"], [np.nan], ["rare"], ["odd"], ["unseen"]], dtype=object)
    prepared = columns.transform(asked)
    assert prepared.shape == (6, 4)
    assert prepared.sum(axis=1).tolist() == [1] * 6
    assert prepared.argmax(axis=1)[3:].tolist() == [3, 3, 3]
    assert len(set(prepared.argmax(axis=1)[:4])) == 4


def test_a_category_is_kept_from_a_number_of_rows_on() -> None:
    frame = pd.DataFrame({"color": ["a"] * MIN_CATEGORY_ROWS + ["b"] * (ROWS - MIN_CATEGORY_ROWS)})
    frame = frame.astype(object)
    columns = fit(build_pipeline(TYPES, frame, GaussianNB()), frame, kinds())[0]
    assert columns.transform(np.array([["a"]], object)).tolist() == [[1.0, 0.0]]


def test_words_stay_sparse_only_for_what_takes_them_so() -> None:
    frame = mixed()
    for estimator, sparse in (
        (LogisticRegression(), True),
        (GaussianNB(), False),
        (HistGradientBoostingClassifier(max_iter=2), False),
        (ExtraTreesClassifier(), False),  # sparse it would take no gaps
    ):
        columns = fit(build_pipeline(TYPES, frame, estimator), frame, kinds())[0]
        assert hasattr(columns.transform(as_asked(frame)), "toarray") == sparse


def test_no_more_words_are_kept_than_the_commonest() -> None:
    texts = [" ".join(f"w{n}" for n in range(row * 40, row * 40 + 41)) for row in range(ROWS)]
    frame = pd.DataFrame({"note": pd.Series(texts, dtype=object)})
    columns = fit(build_pipeline(TYPES, frame, LogisticRegression()), frame, kinds())[0]
    assert columns.transform(frame).shape == (ROWS, MAX_WORDS)


def test_texts_of_single_signs_have_words() -> None:
    frame = pd.DataFrame({"note": pd.Series(["a", "猫"] * (ROWS // 2), dtype=object)})
    fitted = fit(build_pipeline(TYPES, frame, LogisticRegression()), frame, frame["note"])
    assert fitted.predict(np.array([["猫"], ["a"]], object)).tolist() == ["猫", "a"]


ESTIMATORS = [
    LogisticRegression(),
    ExtraTreesClassifier(10, random_state=0),
    HistGradientBoostingClassifier(max_iter=5, random_state=0),
    GaussianNB(),
    KNeighborsClassifier(),
]
SELECTIONS = [
    list(TYPES),
    ["size", "old"],
    ["legs", "tame", "weight"],
    ["color", "shape"],
    ["name", "note", "tame"],
    ["tame", "color"],
]


# scikit-learn's own word to who asks with an array where a frame was fitted: the service knows.
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("names", SELECTIONS, ids="-".join)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_arrays_are_answered_as_frames_are(estimator: Any, names: list[str]) -> None:  # noqa: ANN401
    frame = mixed()[names]
    fitted = fit(build_pipeline(TYPES, frame, clone(estimator)), frame, kinds())
    asked = frame.copy()
    for name in {"color", "note"} & set(names):
        asked.loc[:9, name] = "something never seen"
    for name in {"size", "old", "shape", "name"} & set(names):
        asked.loc[5:14, name] = np.nan
    for one in (frame, asked):
        np.testing.assert_array_equal(
            fitted.predict_proba(as_asked(one)), fitted.predict_proba(one), strict=True
        )
        np.testing.assert_array_equal(fitted.predict(as_asked(one)), fitted.predict(one))


@pytest.mark.parametrize("names", SELECTIONS, ids="-".join)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_it_is_all_one_whether_a_frame_or_its_array_was_fitted(
    estimator: Any,  # noqa: ANN401
    names: list[str],
) -> None:
    frame = mixed()[names]
    pipeline = build_pipeline(TYPES, frame, estimator)
    by_frame, by_array = (
        fit(clone(pipeline), rows, kinds()).predict_proba(rows) for rows in (frame, as_asked(frame))
    )
    np.testing.assert_allclose(by_array, by_frame, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("names", SELECTIONS, ids="-".join)
def test_columns_that_are_prepared_cause_no_warning_when_asked_by_array(names: list[str]) -> None:
    frame = mixed()[names]
    fitted = fit(build_pipeline(TYPES, frame, GaussianNB()), frame, kinds())
    if "columns" in fitted.named_steps:
        fitted.predict(as_asked(frame))


def test_the_prepared_columns_have_names() -> None:
    frame = mixed()
    fitted = fit(build_pipeline(TYPES, frame, LogisticRegression()), frame, kinds())
    names = fitted[:-1].get_feature_names_out()
    assert {"numbers_with_gaps__size", "numbers__tame", "categories__color_red"} < set(names)
    assert "text_1__claws" in names
    assert len(names) == fitted[:-1].transform(frame).shape[1]


def test_a_pipeline_loads_where_this_project_is_not(tmp_path: Path) -> None:
    frame = mixed()
    fitted = fit(build_pipeline(TYPES, frame, LogisticRegression()), frame, kinds())
    (tmp_path / "pipeline.pkl").write_bytes(pickle.dumps((fitted, as_asked(frame))))
    script = (
        "import pickle, sys; fitted, asked = pickle.load(open('pipeline.pkl', 'rb'));"
        "print(*fitted.predict(asked), not {'training', 'serving'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], cwd=tmp_path, check=True, capture_output=True
    )
    assert done.stdout.decode().split() == [*fitted.predict(frame), "True"]


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("LogisticRegression", "classifier"),
        ("Ridge", "regressor"),
        ("KMeans", "clusterer"),
        ("IsolationForest", "outlier_detector"),
    ],
)
def test_any_task_has_a_pipeline(name: str, step: str) -> None:
    frame = mixed()
    pipeline = build_pipeline(TYPES, frame, make_estimator(name, [], 7))
    assert list(pipeline.named_steps) == ["columns", step]
    labels = frame["legs"].to_numpy() if step in {"classifier", "regressor"} else None
    assert len(fit(pipeline, frame, labels).predict(as_asked(frame))) == ROWS


def test_a_fit_that_does_not_converge_is_no_noise() -> None:
    frame = mixed()[["weight", "legs"]]
    fitted = fit(build_pipeline(TYPES, frame, LogisticRegression(max_iter=1)), frame, kinds())
    assert fitted[-1].n_iter_ == [1]


# --- the choice


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


def test_the_chosen_is_the_simplest_that_is_about_as_good_as_the_best() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(-1, 1, size=(200, 2)), columns=["a", "b"])
    ring = np.where((frame**2).sum(axis=1) < 0.5, "in", "out").astype(object)
    chosen, scores = choose(table_of(frame, ring), 0, lambda _: None)
    assert scores["LogisticRegression"] < max(scores.values()) - TOLERANCE
    good = [name for name, score in scores.items() if score >= max(scores.values()) - TOLERANCE]
    assert steps(chosen) == good[:1]


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


def test_words_are_not_learnt_by_forests_where_others_can() -> None:
    frame = mixed()[["note", "legs"]]
    table = table_of(frame, kinds(), types=TYPES)
    _, scores = choose(table, 0, lambda _: None)
    assert list(scores) == ["LogisticRegression", "HistGradientBoostingClassifier"]


def test_a_large_table_is_judged_by_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CHOICE_ROWS", 100)
    table = shipped(load_iris)
    lines: list[str] = []
    _, scores = choose(table, 42, lines.append)
    assert lines[0] == "choosing by 100 of 150 rows"
    assert list(scores) == list(candidates("classification", 42))
    assert choose(table, 42, lines.append)[1] == scores


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
    load = {"iris": load_iris, "wine": load_wine, "breast_cancer": load_breast_cancer}[name]
    written = [make_pipeline(StandardScaler(), estimator) for estimator in (SVC(), SVC(C=10))]
    return shipped(load), written


@pytest.mark.parametrize("name", ["penguins", "iris", "wine", "breast_cancer", "diabetes"])
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

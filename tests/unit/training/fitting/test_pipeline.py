"""Pipelines: made for any estimator and columns, asked with frames and arrays alike, and chosen."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from tests.unit.training.fitting.tables import ROWS, TYPES, as_asked, kinds, mixed, steps
from training.fitting.estimators import make_estimator
from training.fitting.pipeline import MAX_WORDS, MIN_CATEGORY_ROWS, build_pipeline, fit


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
# All columns with each estimator, and each selection with one.
PAIRS = [(list(TYPES), estimator) for estimator in ESTIMATORS] + [
    (names, ESTIMATORS[0]) for names in SELECTIONS[1:]
]


# scikit-learn's own word to who asks with an array where a frame was fitted: the service knows.
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize(("names", "estimator"), PAIRS, ids=str)
def test_arrays_are_answered_as_frames_are(names: list[str], estimator: Any) -> None:  # noqa: ANN401
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


@pytest.mark.slow
@pytest.mark.parametrize(("names", "estimator"), PAIRS, ids=str)
def test_it_is_all_one_whether_a_frame_or_its_array_was_fitted(
    names: list[str],
    estimator: Any,  # noqa: ANN401
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


@pytest.mark.slow
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

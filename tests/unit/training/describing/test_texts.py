"""Estimators of texts and of dicts."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from serving.model.estimator import FittedEstimator
from tests.unit.training.describing.houses import (
    TOWNS,
    TRAINED,
    Estimator,
    brought,
    houses,
    with_gaps,
)
from training.describing.describe import rows_of
from training.errors import TrainingError


@pytest.mark.parametrize("vectorizer", [TfidfVectorizer(), HashingVectorizer(n_features=64)])
def test_an_estimator_of_texts_is_given_a_list_of_them(
    vectorizer: Estimator, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(TOWNS[rng.integers(0, 4, 5)]) + f" {n}" for n in range(TRAINED)]
    labels = ["Rome" in text for text in texts]
    estimator = make_pipeline(vectorizer, LogisticRegression()).fit(texts, labels)

    description, table = brought(estimator, pd.DataFrame({"text": texts}), labels, tmp_path)

    assert description.asked.input == "texts"
    assert FittedEstimator(estimator, description).table(rows_of(table)) == texts


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_frame_of_texts_that_is_read_as_the_names_of_its_columns_is_no_form(
    kind: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(TOWNS[rng.integers(0, 4, 3)]) + f" {n}" for n in range(TRAINED)]
    labels = ["Rome" in text for text in texts]
    bare = make_pipeline(TfidfVectorizer(), LogisticRegression())
    estimator = CalibratedClassifierCV(bare, cv=2).fit(texts, labels)
    frame = pd.DataFrame({"text": texts})
    assert estimator.predict(frame).shape == (TRAINED,)

    description, _ = brought(estimator, frame, labels, tmp_path, kind=kind)

    assert description.asked.input == "texts"


def records() -> tuple[pd.DataFrame, list[dict[str, Any]], list[str]]:
    """Give houses as dicts."""
    frame, _ = houses(TRAINED, seed=0)
    chosen = frame[["town", "rooms", "lift"]]
    labels = np.where((chosen.town == "Rome") & (chosen.rooms > 2), "sold", "kept").tolist()
    return chosen, chosen.to_dict("records"), labels


def test_an_estimator_of_dicts_is_given_a_list_of_them(tmp_path: Path) -> None:
    frame, rows, labels = records()
    estimator = make_pipeline(DictVectorizer(), LogisticRegression()).fit(rows, labels)

    description, table = brought(estimator, frame, labels, tmp_path)

    assert description.asked.input == "dicts"
    asked = FittedEstimator(estimator, description).table(rows_of(table))
    np.testing.assert_array_equal(estimator.predict_proba(asked), estimator.predict_proba(rows))


def test_numbers_that_were_texts_in_dicts_are_texts(tmp_path: Path) -> None:
    frame, rows, labels = records()
    rows = [{**row, "rooms": str(row["rooms"])} for row in rows]
    estimator = make_pipeline(DictVectorizer(), LogisticRegression()).fit(rows, labels)

    description, table = brought(estimator, frame, labels, tmp_path)

    asked = FittedEstimator(estimator, description).table(rows_of(table))
    np.testing.assert_array_equal(estimator.predict_proba(asked), estimator.predict_proba(rows))


def gapped_records() -> tuple[pd.DataFrame, list[dict[str, Any]], np.ndarray[Any, Any]]:
    """Give houses as dicts which lack what is missing."""
    frame, labels = houses(TRAINED, seed=0)
    chosen = with_gaps(lambda frame: frame[["x", "town", "lift"]])(frame)
    rows = chosen.to_dict("records")
    return chosen, [{k: v for k, v in row.items() if not pd.isna(v)} for row in rows], labels


@pytest.mark.parametrize("vectorizer", [DictVectorizer(), FeatureHasher(32)])
def test_what_is_missing_has_no_key_in_dicts_if_the_estimator_takes_no_gaps(
    vectorizer: Estimator, tmp_path: Path
) -> None:
    frame, rows, labels = gapped_records()
    frame["lift"] = frame.lift.fillna(value=False)
    rows = [{**row, "lift": bool(row.get("lift"))} for row in rows]
    estimator = make_pipeline(vectorizer, LogisticRegression()).fit(rows, labels)

    description, table = brought(estimator, frame, labels, tmp_path)

    assert FittedEstimator(estimator, description).table(rows_of(table)) == rows


def test_where_dicts_with_and_without_gaps_are_answered_otherwise_training_refuses(
    tmp_path: Path,
) -> None:
    frame, rows, labels = gapped_records()
    estimator = make_pipeline(DictVectorizer(sparse=False), HistGradientBoostingClassifier())
    estimator.fit(rows, labels)

    with pytest.raises(TrainingError, match="Leave rows with missing values out"):
        brought(estimator, frame, labels, tmp_path)


def test_a_column_of_which_dicts_knew_nothing_is_refused(tmp_path: Path) -> None:
    frame, rows, labels = records()
    estimator = make_pipeline(DictVectorizer(), LogisticRegression()).fit(rows, labels)

    with pytest.raises(TrainingError, match="was fitted without 'street'"):
        brought(estimator, frame.assign(street=["A"] * TRAINED), labels, tmp_path)

"""Estimators that were fitted elsewhere, on rows in some form: asked in that form, or refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
)
from skrub import TableVectorizer

from serving.model.estimator import FittedEstimator
from tests.unit.training.describing.houses import (
    ASKED,
    BOOSTERS,
    FITTED,
    TRAINED,
    UNKNOWN,
    Estimator,
    Form,
    Given,
    brought,
    categories,
    houses,
    light,
    sent,
)
from training.describing.describe import describe, rows_of
from training.describing.evidence import Evidence
from training.errors import TrainingError
from training.table.table import to_table


@pytest.mark.slow
@pytest.mark.parametrize(("form", "booster"), FITTED)
@pytest.mark.filterwarnings("ignore")
def test_what_is_served_is_the_estimators_own_whatever_form_it_was_fitted_on(
    form: Form, booster: Callable[[pd.DataFrame], Estimator], tmp_path: Path
) -> None:
    frame, labels = houses(TRAINED, seed=0)
    estimator = booster(form(frame)).fit(form(frame), labels)
    others, _ = houses(ASKED, seed=1)
    answers = estimator.predict_proba(form(others))

    for kind in ("csv", "parquet"):
        description, _ = brought(estimator, form(frame), labels, tmp_path, kind=kind)
        model = FittedEstimator(estimator, description)
        table = model.table(sent(form(others), description))

        np.testing.assert_array_equal(estimator.predict_proba(table), answers)
        assert (estimator.predict(table) == answers.argmax(axis=1)).all()


@pytest.mark.filterwarnings("ignore")
def test_the_categories_that_an_estimator_keeps_decide_and_not_that_it_answers_an_array(
    tmp_path: Path,
) -> None:
    frame, labels = houses(TRAINED, seed=0)
    given = categories("rooms")(frame)
    estimator = light(given).fit(given, labels)

    description, table = brought(estimator, given, labels, tmp_path)

    assert description.asked.input == "frame"
    array = np.array(rows_of(table), dtype=float)
    assert (estimator.predict(array) != estimator.predict(given)).any()
    asked = FittedEstimator(estimator, description).table(rows_of(table))
    assert (estimator.predict(asked) == estimator.predict(given)).all()


class Hidden:
    """A class of one's own around an estimator, which tells nothing of it."""

    classes_ = np.array([0, 1])
    __slots__ = ("ask",)

    def __init__(self, ask: Given) -> None:
        """Take what answers."""
        self.ask = ask

    def __reduce__(self) -> Given:
        """Be pickled."""
        return Hidden, (self.ask,)

    def predict(self, rows: Given) -> Given:
        """Answer."""
        return self.ask(rows)


def of_columns(rows: Given) -> Given:
    """Tell categories from numbers, as gradient boosting does."""
    rooms = rows["rooms"] if isinstance(rows, pd.DataFrame) else pd.Series(np.asarray(rows)[:, 0])
    codes = rooms.cat.codes if rooms.dtype == "category" else rooms
    return (np.asarray(codes).astype(int) % 2 == 0).astype(int)


@pytest.mark.parametrize(
    ("options", "kind", "categories_given"),
    [("--category rooms", "csv", ["rooms"]), ("--category", "csv", []), ("", "parquet", ["rooms"])],
)
def test_where_nothing_tells_the_form_training_refuses_until_it_is_told(
    options: str, kind: str, categories_given: list[str], tmp_path: Path
) -> None:
    frame, labels = houses(TRAINED, seed=0)
    given, hidden = categories("rooms")(frame), Hidden(of_columns)
    task = "--task classification"

    with pytest.raises(TrainingError, match=r"nothing tells on which it was fitted\. .*--category"):
        brought(hidden, given, labels, tmp_path, task)

    description, _ = brought(hidden, given, labels, tmp_path, f"{task} {options}", kind)
    assert list(description.asked.dtypes) == categories_given


def test_a_column_that_is_no_feature_is_none_of_the_categories(tmp_path: Path) -> None:
    frame, labels = houses(TRAINED, seed=0)

    with pytest.raises(TrainingError, match="'rom', as --category says"):
        brought(Hidden(of_columns), frame, labels, tmp_path, "--category rom --task classification")


def dummies(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.get_dummies(frame, columns=["town"])


def test_what_answers_only_tables_that_have_all_categories_is_refused() -> None:
    frame, labels = houses(TRAINED, seed=0)
    given = frame[["town", "x"]]
    estimator = make_pipeline(FunctionTransformer(dummies), LogisticRegression()).fit(given, labels)
    table = to_table(given.assign(sold=labels), ["sold"])

    with pytest.raises(TrainingError, match="no finite answer to a typical row"):
        describe("mine", estimator, table, UNKNOWN, seed=0, evidence=Evidence(named=True))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("booster", BOOSTERS)
def test_an_estimator_that_was_fitted_on_an_array_needs_no_names_of_columns(
    booster: Callable[[pd.DataFrame], Estimator], tmp_path: Path
) -> None:
    frame, labels = houses(TRAINED, seed=0)
    given = frame[["rooms", "x"]]
    estimator = booster(given).fit(given.to_numpy(), labels)

    description, _ = brought(estimator, given, labels, tmp_path)

    assert description.asked.input == "array"


@pytest.mark.filterwarnings("ignore")
def test_a_vectorizer_of_tables_is_asked_as_it_answers(tmp_path: Path) -> None:
    frame, labels = houses(TRAINED, seed=0)
    estimator = make_pipeline(TableVectorizer(), LogisticRegression(max_iter=500))
    estimator.fit(frame, labels)

    description, table = brought(estimator, frame, labels, tmp_path)

    asked = FittedEstimator(estimator, description).table(rows_of(table))
    np.testing.assert_allclose(
        estimator.predict_proba(asked), estimator.predict_proba(frame), rtol=1e-12
    )

"""Whether rows are answered alone and in batches alike."""

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.ensemble import (
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from serving.model.description import Task
from tests.unit.training.describing.asked import (
    SMALL,
    SPECIES,
    WIDTHS,
    Estimator,
    Foreign,
    Given,
    asked_as_it_is,
    described,
    regressor,
    table_of,
)


@pytest.mark.parametrize(
    ("estimator", "labels", "task", "batching"),
    [
        (DecisionTreeClassifier(), SPECIES, "classification", "invariant"),
        (RandomForestClassifier(3), SPECIES, "classification", "invariant"),
        (IsolationForest(n_estimators=5), None, "outlier-detection", "invariant"),
        (LogisticRegression(), SPECIES, "classification", "tolerant"),
        (LinearRegression(), WIDTHS, "regression", "tolerant"),
        (DecisionTreeRegressor(), WIDTHS, "regression", "tolerant"),
        # Labels alone don't show how near they were to be others.
        (KMeans(3, n_init=1, random_state=0), None, "clustering", "alone"),
    ],
    ids=lambda value: "" if isinstance(value, np.ndarray) else str(value),
)
def test_how_rows_compare_in_batches_is_found(
    estimator: Estimator,
    labels: Given,
    task: Task,
    batching: str,
) -> None:
    assert described(estimator, labels=labels, task=task).asked.batching == batching


@pytest.mark.slow
def test_neighbours_weighted_by_distance_are_asked_alone() -> None:
    """A row of the table is at a distance of 0 from itself, or of 1e-8, as the batch may be."""
    digits = load_digits()
    frame = pd.DataFrame(digits.data).rename(columns=str) / 10
    estimator = KNeighborsClassifier(algorithm="brute", weights="distance")

    assert described(estimator, frame, digits.target).asked.batching == "alone"


def by_batch(error: float) -> Given:
    """Give answers that differ by so much as soon as rows have company."""
    return lambda rows: rows[:, 0] + (error if len(rows) > 1 else 0)


@pytest.mark.parametrize(
    ("error", "batching"), [(0.0, "tolerant"), (1e-14, "tolerant"), (1e-11, "alone")]
)
def test_numbers_may_differ_by_rounding_and_no_more(error: float, batching: str) -> None:
    table = table_of(SMALL, np.zeros(len(SMALL)), "regression")

    assert asked_as_it_is(regressor(by_batch(error)), table).asked.batching == batching


@pytest.mark.parametrize(
    ("error", "batching"), [(0.0, "tolerant"), (1e-14, "tolerant"), (1e-11, "alone")]
)
def test_scores_may_differ_by_rounding_if_they_tell_near_ties(error: float, batching: str) -> None:
    labels = np.where(SMALL["a"] > 0, "dog", "cat").astype(object)
    estimator = Foreign(
        classes_=["cat", "dog"],
        predict=lambda rows: np.where(rows[:, 0] > 0, "dog", "cat"),
        decision_function=by_batch(error),
    )

    assert asked_as_it_is(estimator, table_of(SMALL, labels)).asked.batching == batching


def test_scores_that_differ_and_tell_no_ties_mean_that_rows_are_asked_alone() -> None:
    labels = np.where(SMALL["a"] > 0.5, "dog", "cat").astype(object)
    estimator = Foreign(
        classes_=["cat", "dog"],
        predict=lambda rows: np.where(rows[:, 0] > 0.5, "dog", "cat"),
        decision_function=by_batch(1e-14),
    )

    asked = asked_as_it_is(estimator, table_of(SMALL, labels)).asked

    assert (asked.label_by, asked.batching) == (None, "alone")


def test_numbers_that_differ_in_rows_as_the_table_has_none_mean_that_rows_are_asked_alone() -> None:
    frame = pd.DataFrame(np.eye(2)[np.arange(60) % 2] * (np.arange(60) < 6)[:, None])
    frame = frame.rename(columns="x{}".format)
    labels = np.where(frame["x0"] > 0, "dog", "cat").astype(object)

    def probabilities(rows: np.ndarray) -> np.ndarray:
        """Round in company what has several numbers to add."""
        dog = 0.25 + rows.sum(axis=1) / 8
        dog += np.where((rows > 0).all(axis=1) & (len(rows) > 1), 1e-16, 0)
        return np.column_stack([1 - dog, dog])

    estimator = Foreign(
        classes_=["cat", "dog"],
        predict=lambda rows: np.where(rows[:, 0] > 0, "dog", "cat"),
        predict_proba=probabilities,
    )

    assert asked_as_it_is(estimator, table_of(frame, labels)).asked.batching == "alone"


def test_labels_that_differ_mean_that_rows_are_asked_alone() -> None:
    labels = np.where(SMALL["a"] > 0, "dog", "cat").astype(object)
    estimator = regressor(lambda rows: np.where((rows[:, 0] > 0) & (len(rows) != 7), "dog", "cat"))

    assert asked_as_it_is(estimator, table_of(SMALL, labels)).asked.batching == "alone"

"""Labels, gaps and large tables, found out by asking."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import (
    RandomForestClassifier,
)
from sklearn.linear_model import (
    LogisticRegression,
)
from sklearn.tree import DecisionTreeClassifier

from serving.model.description import Description
from serving.model.domains import Interval
from tests.unit.training.describing.asked import (
    FLOWERS,
    LARGE,
    SMALL,
    SPECIES,
    Foreign,
    Given,
    asked_as_it_is,
    described,
    regressor,
    table_of,
)
from training.describing.probe import MAX_COMPARED_ROWS
from training.errors import TrainingError
from training.table.table import Table


def classifier(labels: Sequence[Any], values: Given) -> Foreign:
    """Make an estimator that always answers with the first of its classes."""

    def predict(rows: Given) -> Given:
        answers = np.empty(len(rows), object)
        answers[:] = [labels[0]] * len(rows)
        return answers

    return Foreign(classes_=values, predict=predict)


@pytest.mark.parametrize(
    "labels",
    [
        ("a", "b"),
        (0, 1),
        (-1, 5, 2),
        (False, True),
        (0.5, 1.5),
        (2**53 + 1, 2**53 + 2),
        (-(2**63), 2**64 - 1),
        ("0", "False", "ünï", ""),
    ],
)
def test_labels_keep_their_types(labels: tuple[Any, ...]) -> None:
    table = table_of(SMALL, [labels[index % len(labels)] for index in range(len(SMALL))])
    held = np.empty(len(labels), object)
    held[:] = labels

    description = asked_as_it_is(classifier(labels, held), table)

    assert description.classes == labels
    read = Description.model_validate_json(description.model_dump_json())
    assert read.classes == labels
    assert [*map(type, read.classes or ())] == [*map(type, labels)]


@pytest.mark.parametrize(
    "array", [np.array([3, 7]), np.array([True, False]), np.array(["x", "y"]), np.array([1.5, 2.0])]
)
def test_labels_in_arrays_become_pythons_own(array: Given) -> None:
    table = table_of(SMALL, np.resize(array, len(SMALL)))

    description = asked_as_it_is(classifier(array, array), table)

    assert description.classes == tuple(array.tolist())
    assert type((description.classes or (None,))[0]) is type(array.tolist()[0])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ((2**64, 1), "beyond 64 bits"),
        ((-(2**63) - 1, 1), "beyond 64 bits"),
        ((1, "1"), "two classes have the same name in JSON"),
        ((True, "true"), "two classes have the same name in JSON"),
        ((float("nan"), 1.0), "can't be written as JSON"),
        ((float("inf"), 1.0), "can't be written as JSON"),
        ((b"a", b"b"), "can't be written as JSON"),
        ((None, "a"), "can't be written as JSON"),
    ],
)
def test_labels_that_json_loses_are_refused(labels: Given, message: str) -> None:
    held = np.empty(len(labels), object)
    held[:] = labels

    with pytest.raises(TrainingError, match=message):
        asked_as_it_is(classifier(labels, held), table_of(SMALL, [0, 1] * 10))


def test_without_classes_of_its_own_an_estimator_has_those_of_the_table() -> None:
    labels = np.where(SMALL["a"] > 0, "dog", "cat").astype(object)
    estimator = regressor(lambda rows: np.where(rows[:, 0] > 0, "dog", "cat"))

    assert asked_as_it_is(estimator, table_of(SMALL, labels)).classes == ("cat", "dog")


def test_several_targets_have_a_list_of_classes_each() -> None:
    labels = np.column_stack([SPECIES, LARGE])
    forest = RandomForestClassifier(3, random_state=0).fit(FLOWERS.data.to_numpy(), labels)
    types: Any = dict.fromkeys(FLOWERS.data.columns, "number")
    target = pd.DataFrame({"species": SPECIES, "size": LARGE})
    table = Table(FLOWERS.data, types, target, "classification", ())

    description = asked_as_it_is(forest, table)

    assert description.classes == (("setosa", "versicolor", "virginica"), ("large", "small"))
    assert description.asked.scored_by == "predict_proba"
    assert not description.asked.scores_by_class


def with_gaps() -> pd.DataFrame:
    """Give the flowers, some of whose widths are missing."""
    frame = FLOWERS.data.copy()
    frame.iloc[::10, 1] = np.nan
    return frame


def test_gaps_are_taken_where_the_estimator_takes_them() -> None:
    features = described(DecisionTreeClassifier(), with_gaps()).features

    assert [feature.nullable for feature in features] == [False, True, False, False]
    assert features[1].missing == 15


def test_gaps_of_the_table_are_not_taken_if_the_estimator_fails_on_them() -> None:
    estimator = LogisticRegression(max_iter=1000).fit(FLOWERS.data.to_numpy(), SPECIES)

    description = asked_as_it_is(estimator, table_of(with_gaps(), SPECIES))

    assert [feature.nullable for feature in description.features] == [False] * 4
    assert description.features[1].missing == 15
    assert description.asked.scored_by == "predict_proba"


def test_an_estimator_that_fails_where_every_row_has_gaps_is_refused() -> None:
    estimator = LogisticRegression(max_iter=1000).fit(FLOWERS.data.to_numpy(), SPECIES)
    frame = FLOWERS.data.copy()
    for at in range(4):
        frame.iloc[at::4, at] = np.nan

    with pytest.raises(TrainingError, match="given an array: ValueError: Input X contains NaN"):
        asked_as_it_is(estimator, table_of(frame, SPECIES))


def test_not_all_rows_of_a_large_table_are_asked_for() -> None:
    seen = []

    def predict(rows: Given) -> Given:
        seen.append(len(rows))
        return np.zeros(len(rows))

    frame = pd.DataFrame({"a": np.arange(5000.0)})
    asked_as_it_is(regressor(predict), table_of(frame, np.zeros(5000), "regression"))

    assert max(seen) <= MAX_COMPARED_ROWS


def test_trained_ranges_stay_those_of_the_whole_table() -> None:
    frame = pd.DataFrame({"a": np.arange(5000.0)})
    table = table_of(frame, np.zeros(5000), "regression")

    (feature,) = asked_as_it_is(regressor(lambda rows: np.zeros(len(rows))), table).features

    assert feature.trained == Interval(minimum=0.0, maximum=4999.0)

"""Which methods tell more than ``predict``, and which of them decides."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.ensemble import (
    IsolationForest,
)
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    RidgeClassifier,
)
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from tests.unit.training.describing.asked import (
    FLOWERS,
    LARGE,
    SMALL,
    SPECIES,
    WIDTHS,
    Estimator,
    Foreign,
    Given,
    asked_as_it_is,
    described,
    table_of,
)


@pytest.mark.parametrize(
    ("estimator", "labels", "expected"),
    [
        (LogisticRegression(), "species", ("predict_proba", False, "predict_proba")),
        (RidgeClassifier(), "species", ("decision_function", True, "decision_function")),
        (RidgeClassifier(), "size", ("decision_function", True, "decision_function")),
        (SVC(), "size", ("decision_function", True, "decision_function")),
        # Its columns are made of votes: where the label changes, the best two are not tied.
        (SVC(), "species", ("decision_function", True, None)),
        # Three classes, and three pairs of them.
        (SVC(decision_function_shape="ovo"), "species", ("decision_function", False, None)),
        # Its probabilities may say otherwise.
        (
            SVC(probability=True, random_state=0),
            "size",
            ("predict_proba", False, "decision_function"),
        ),
        # From one leaf to the next the probabilities jump.
        (DecisionTreeClassifier(), "species", ("predict_proba", False, None)),
        (
            FixedThresholdClassifier(LogisticRegression(), threshold=0.9),
            "size",
            ("predict_proba", False, None),
        ),
    ],
    ids=str,
)
def test_the_method_that_tells_most_and_the_one_that_decides_are_found(
    estimator: Estimator, labels: str, expected: tuple[str, bool, str | None]
) -> None:
    asked = described(estimator, labels={"species": SPECIES, "size": LARGE}[labels]).asked

    assert (asked.scored_by, asked.scores_by_class, asked.label_by) == expected


def test_four_classes_in_pairs_are_no_scores_by_class() -> None:
    frame = FLOWERS.data.iloc[:120]
    asked = described(
        SVC(decision_function_shape="ovo"), frame, [index % 4 for index in range(120)]
    ).asked

    assert (asked.scored_by, asked.scores_by_class, asked.label_by) == (
        "decision_function",
        False,
        None,
    )


@pytest.mark.slow
def test_what_learns_no_classes_has_no_scores_but_a_detector_has() -> None:
    numbers = described(LinearRegression(), labels=WIDTHS, task="regression").asked
    groups = described(KMeans(3, n_init=1), labels=None, task="clustering").asked
    outliers = described(
        IsolationForest(n_estimators=5, random_state=0), labels=None, task="outlier-detection"
    ).asked

    assert numbers.scored_by is groups.scored_by is None
    assert outliers.scored_by == "decision_function"
    assert not outliers.scores_by_class


def test_a_method_that_fails_or_gives_nonsense_is_not_asked() -> None:
    def fails(rows: Given) -> Given:
        raise NotImplementedError

    for broken in (fails, lambda rows: np.ones((len(rows), 7)), lambda rows: None):
        estimator = Foreign(
            classes_=["dog", "cat"],
            predict=lambda rows: np.where(rows[:, 0] > 0, "dog", "cat"),
            predict_proba=broken,
            decision_function=lambda rows: -rows[:, 0],
        )
        labels = np.where(SMALL["a"] > 0, "dog", "cat").astype(object)
        description = asked_as_it_is(estimator, table_of(SMALL, labels))
        assert description.asked.scored_by == "decision_function"
        assert description.asked.scores_by_class
        assert description.asked.label_by == "decision_function"
        assert description.classes == ("dog", "cat")


def test_scores_that_only_mostly_agree_are_by_class_but_decide_nothing() -> None:
    estimator = Foreign(
        classes_=["cat", "dog"],
        predict=lambda rows: np.where(rows[:, 0] > 0, "dog", "cat"),
        decision_function=lambda rows: rows[:, 0] + 0.1,  # wrong for one row of twenty
    )
    labels = np.where(SMALL["a"] > 0, "dog", "cat").astype(object)

    asked = asked_as_it_is(estimator, table_of(SMALL, labels)).asked

    assert (asked.scores_by_class, asked.label_by) == (True, None)


@pytest.mark.parametrize(("order", "scored_by"), [([0, 1], "predict_proba"), ([1, 0], None)])
def test_probabilities_in_an_order_that_nothing_tells_have_to_show_it(
    order: list[int], scored_by: str | None
) -> None:
    estimator = Foreign(
        predict=lambda rows: np.where(rows[:, 0] > 0, "dog", "cat"),
        predict_proba=lambda rows: np.eye(2)[(rows[:, 0] > 0).astype(int)][:, order],
    )
    labels = np.where(SMALL["a"] > 0, "dog", "cat").astype(object)

    assert asked_as_it_is(estimator, table_of(SMALL, labels)).asked.scored_by == scored_by

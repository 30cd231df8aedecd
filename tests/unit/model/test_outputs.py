"""What an estimator gives: made predictions of, as Python's own; refused if no estimator may."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from serving.model.description import INLIER, OUTLIER, Description
from serving.model.outputs import (
    MANY_ROWS,
    TIE_TOLERANCE,
    Array,
    OutputChecks,
    Prediction,
    WrongOutputError,
    tied,
)
from tests.unit.samples import (
    EACH_TASK,
    PROBABILITIES,
    SCORES,
    asked,
    clustering,
    description,
    outlier_detection,
    regression,
    several_labels,
)

NAN = float("nan")
HAM = ["ham"] * 3
SCORED = description(asked=SCORES)
LIKELY = description(asked=PROBABILITIES)
SEVERAL = EACH_TASK["several labels"]
TWO_TARGETS = several_labels((0, 1), (0, 1))


def predictions(
    described: Description,
    values: Any,  # noqa: ANN401 (whatever an estimator may give)
    scores: Any = None,  # noqa: ANN401
    count: int = 3,
) -> list[Prediction]:
    """Check what was given for so many rows, and make predictions of it."""
    checks = OutputChecks(described)
    return checks.predictions(checks.outputs(count, values, scores))


# Labels


@pytest.mark.parametrize(
    ("classes", "values", "expected"),
    [
        (("a", "b"), np.array(["b", "a", "b"], dtype=object), ["b", "a", "b"]),
        ((0, 1), [1.0, 0.0, 1.0], [1, 0, 1]),
        ((False, True), [1, 0, 1], [True, False, True]),
        ((0.0, 1.0), [1, 0, 1], [1.0, 0.0, 1.0]),
        ((2**53 + 1, 2**53 + 3), np.array([2**53 + 1] * 3), [2**53 + 1] * 3),
    ],
    ids=repr,
)
def test_a_label_is_given_as_it_stands_in_the_classes(
    classes: tuple[Any, ...],
    values: Any,  # noqa: ANN401
    expected: list[Any],
) -> None:
    given = predictions(description(classes), values)
    assert repr([prediction.value for prediction in given]) == repr(expected)


def test_the_label_is_that_of_predict_and_not_of_the_largest_probability() -> None:
    likely = np.array([[0.9, 0.1]])
    assert predictions(LIKELY, ["spam"], likely, 1) == [Prediction("spam", [0.9, 0.1])]


@pytest.mark.parametrize(
    ("scores", "by_class", "expected"),
    [
        ([1.5, -0.5, 2.0], True, [[-1.5, 1.5], [0.5, -0.5], [-2.0, 2.0]]),
        ([1.5, -0.5, 2.0], False, [1.5, -0.5, 2.0]),
        ([[1.0, 2.0]] * 3, True, [[1.0, 2.0]] * 3),
        ([[1.0, 2.0, 3.0]] * 3, False, [[1.0, 2.0, 3.0]] * 3),
    ],
)
def test_scores_come_with_one_for_each_class_where_they_belong_to_classes(
    scores: list[Any], by_class: bool, expected: list[Any]
) -> None:
    described = description(asked=asked(scored_by="decision_function", scores_by_class=by_class))
    wanted = [Prediction("ham", scores=score) for score in expected]
    assert predictions(described, HAM, scores) == wanted


def test_several_labels_come_with_probabilities_for_each_target() -> None:
    values = np.array([[1.0, "a"], [0.0, "c"]], dtype=object)
    by_target = [
        np.array([[0.25, 0.75], [1.0, 0.0]]),
        np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]),
    ]
    given = predictions(SEVERAL, values, by_target, 2)
    assert given == [
        Prediction([1, "a"], [[0.25, 0.75], [0.5, 0.25, 0.25]]),
        Prediction([0, "c"], [[1.0, 0.0], [0.0, 0.0, 1.0]]),
    ]
    assert repr([prediction.value for prediction in given]) == "[[1, 'a'], [0, 'c']]"


def test_several_labels_may_have_their_probabilities_in_one_array() -> None:
    described = several_labels((0, 1), (0, 1), asked=PROBABILITIES)
    of_second_class = np.array([[0.75, 0.25], [0.25, 1.0]])
    assert predictions(described, [[1, 0], [0, 1]], of_second_class, 2) == [
        Prediction([1, 0], [[0.25, 0.75], [0.75, 0.25]]),
        Prediction([0, 1], [[0.75, 0.25], [0.0, 1.0]]),
    ]


# Numbers


@pytest.mark.parametrize("values", [[1.5, -2.0, 3.0], [[1.5], [-2.0], [3.0]]], ids=["flat", "one"])
def test_a_number_is_given_for_each_row_whichever_shape_they_come_in(values: list[Any]) -> None:
    wanted = [Prediction(1.5), Prediction(-2.0), Prediction(3.0)]
    assert predictions(regression("price"), values) == wanted


def test_several_numbers_are_given_in_the_order_of_the_targets() -> None:
    given = predictions(regression("price", "weight"), [[1.5, 2.5], [3.0, 4.0]], count=2)
    assert given == [Prediction([1.5, 2.5]), Prediction([3.0, 4.0])]


def test_numbers_are_python_s_own() -> None:
    for value in (np.float32(0.5), np.int64(3)):
        (prediction,) = predictions(regression("price"), np.array([value]), count=1)
        assert type(prediction.value) in {float, int}


def test_a_cluster_is_given_by_its_number() -> None:
    given = predictions(clustering(), np.array([2, 0, 1], dtype=np.int32))
    assert repr([prediction.value for prediction in given]) == "[2, 0, 1]"


def test_an_outlier_is_given_by_name_with_its_score() -> None:
    given = predictions(outlier_detection(), [1, -1], np.array([0.25, -0.5]), 2)
    assert given == [Prediction(INLIER, scores=0.25), Prediction(OUTLIER, scores=-0.5)]


@pytest.mark.parametrize("form", [csr_matrix, lambda matrix: matrix.astype(object)])
def test_numbers_are_taken_in_whatever_they_come(form: Callable[[Array], Any]) -> None:
    given = predictions(regression("a", "b"), form(np.array([[0.0, 1.5], [2.5, 0.0]])), None, 2)
    assert [prediction.value for prediction in given] == [[0.0, 1.5], [2.5, 0.0]]


def test_sparse_labels_come_with_sparse_probabilities() -> None:
    described = several_labels((0, 1), (0, 1), asked=PROBABILITIES)
    labels, shares = csr_matrix([[0, 1]]), csr_matrix([[0.25, 1.0]])
    assert predictions(described, labels, shares, 1) == [
        Prediction([0, 1], probabilities=[[0.75, 0.25], [0.0, 1.0]])
    ]


# What is no answer

HALVES = np.full((3, 2), 0.5)
THIRDS_WITH_NAN = np.array([[0.5, NAN, 0.5]] * 3)
NO_ANSWERS: dict[str, tuple[Description, Any, Any, str]] = {
    "probability nan": (LIKELY, HAM, [[0.5, NAN]] * 3, "not finite"),
    "probability inf": (LIKELY, HAM, [[np.inf, 0.0]] * 3, "not finite"),
    "three for two": (LIKELY, HAM, [[0.2] * 3] * 3, r"arrays of shapes \[\(3, 3\)\]"),
    "one for all": (LIKELY, HAM, [[0.2, 0.8]], r"arrays of shapes \[\(1, 2\)\]"),
    "nan in the second target": (SEVERAL, [[0, 0]] * 3, [HALVES, THIRDS_WITH_NAN], "not finite"),
    "a target's shape": (SEVERAL, [[0, 0]] * 3, [HALVES] * 2, r"\[\(3, 2\), \(3, 2\)\]"),
    "a target too few": (SEVERAL, [[0, 0]] * 3, [HALVES], r"arrays of shapes \[\(3, 2\)\]"),
    "score nan": (SCORED, HAM, [0.0, NAN, 1.0], "not finite"),
    "score for all": (SCORED, HAM, [0.0], r"decision_function gave .* shape \(1,\)"),
    "scores in depth": (SCORED, HAM, np.zeros((3, 2, 2)), r"shape \(3, 2, 2\)"),
    "no score": (SCORED, HAM, 1.0, r"shape \(\)"),
    "label for all": (description(), "ham", None, r"predict gave .* shape \(\)"),
    "a label too few": (description(), HAM[:2], None, r"shape \(2,\)"),
    "labels in columns": (description(), [HAM[:2]] * 3, None, r"shape \(3, 2\)"),
    "a column too few": (TWO_TARGETS, [[0]] * 3, None, r"shape \(3,\)"),
    "a flat list for several": (TWO_TARGETS, [0] * 3, None, r"shape \(3,\)"),
    "unknown label": (description(), ["eggs"] * 3, None, "none of the classes"),
    "label nan": (description((0, 1)), [NAN] * 3, None, "none of the classes"),
    "label none": (description(), [None] * 3, None, "none of the classes"),
    "unknown second label": (TWO_TARGETS, [[0, 1], [1, 1], [0, 2]], None, "none of the classes"),
    "neither in nor out": (outlier_detection(), [1, 0, -1], [1.0, 0.0, -1.0], "none of the"),
    "numbers of rows apart": (regression("a", "b"), [[1.0], [1.0, 2.0]], None, "different lengths"),
    "number nan": (regression("price"), [0.0, NAN, 1.0], None, "no finite number"),
    "number inf": (regression("a", "b"), [[0, 1], [1, np.inf], [0, 0]], None, "no finite number"),
    "a string for a number": (regression("price"), ["1", "2", "3"], None, "no finite number"),
    "an object among numbers": (
        regression("price"),
        np.array([1.0, {"mean": 2.0}, 3.0], dtype=object),
        None,
        "no finite number",
    ),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_an_answer_that_is_no_answer_is_an_error(name: str) -> None:
    described, values, scores, complaint = NO_ANSWERS[name]
    with pytest.raises(WrongOutputError, match=complaint):
        predictions(described, values, scores)


# Ties


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([[0.5, 0.5], [0.5 + TIE_TOLERANCE / 4, 0.5 - TIE_TOLERANCE / 4], [0.4, 0.6]], [1, 1, 0]),
        ([[0.25, 0.375, 0.375], [0.25, 0.25, 0.5], [1 / 3] * 3], [1, 0, 1]),
        ([0.0, 1e-10, 0.5], [1, 1, 0]),
        ([-1e-10, -0.5, 1e9], [1, 0, 0]),
        ([[1.0, 1.0], [1e9, 1e9 + 0.1], [1.0, 2.0]], [1, 1, 0]),
        ([[3.0, 1.0, 3.0], [1.0, 1.0, 1 - 1e-10], [1.0, 1.0, 2.0]], [1, 1, 0]),
        ([[1.0], [1.0], [0.0]], [0, 0, 0]),
    ],
    ids=["probabilities", "of three", "a vector", "its signs", "two", "three", "one class"],
)
def test_classes_are_tied_where_rounding_could_change_their_places(
    scores: list[Any], expected: list[int]
) -> None:
    assert tied(np.array(scores)).tolist() == list(map(bool, expected))
    assert tied(np.array([*scores] * MANY_ROWS)).tolist() == list(map(bool, expected)) * MANY_ROWS

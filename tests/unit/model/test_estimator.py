"""The model: it asks the estimator as it has to be asked, and answers as the estimator would."""

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from serving.model.description import INLIER, OUTLIER, Asked, Description, Task
from serving.model.estimator import Estimator, FittedEstimator
from serving.model.features import Feature, Row
from serving.model.outputs import TIE_TOLERANCE, Prediction, WrongOutputError
from tests.unit.fakes import FixedEstimator, ProbaEstimator, SignEstimator
from tests.unit.samples import (
    EACH_TASK,
    PROBABILITIES,
    SCORES,
    asked,
    boolean,
    category,
    clustering,
    description,
    integer,
    number,
    outlier_detection,
    regression,
    several_labels,
    text,
)

AGREEMENT = 1e-12  # of numbers, relative and absolute: the contract's
ROWS: list[Row] = [(-1.0, 0.0), (2.0, 0.0), (3.0, 0.0)]
FAR: Row = (1e6, 0.0)
NAN = float("nan")


def answers(model: FittedEstimator, rows: list[Row]) -> list[Prediction]:
    """Ask as the batcher does: in company, and again alone where the model wants that."""
    predictions, sensitive = model.predict(rows)
    again = {index: model.predict([rows[index]])[0][0] for index in sensitive}
    return [again.get(index) or predictions[index] for index in range(len(rows))]


def given(features: tuple[Feature, ...], rows: list[Row], **changes: Any) -> Any:  # noqa: ANN401
    """Tell what table an estimator is given."""
    estimator = FixedEstimator(np.zeros(len(rows)))
    described = regression("price", features=features, asked=asked(**changes))
    FittedEstimator(estimator, described).predict(rows)
    (table,) = estimator.tables
    return table


# What the estimator is given

NUMBERS = (number("x", nullable=True), integer("n"), boolean("b"))
WITH_STRINGS = (*NUMBERS, category("c", nullable=True), text("t"))
ROWS_WITH_STRINGS: list[Row] = [
    (1.5, 2, True, "red", "some text"),
    (None, -3, False, None, ""),
]


def test_an_array_of_numbers_has_doubles_and_nan_for_what_is_missing() -> None:
    table = given(NUMBERS, [(1.5, 2, True), (None, -3, False)])
    assert table.dtype == np.float64
    np.testing.assert_array_equal(table, [[1.5, 2, 1], [NAN, -3, 0]])


def test_an_array_with_strings_has_objects_and_nan_for_what_is_missing() -> None:
    table = given(WITH_STRINGS, ROWS_WITH_STRINGS)
    assert table.dtype == object
    assert repr(table.tolist()) == repr(
        [[1.5, 2, True, "red", "some text"], [NAN, -3, False, NAN, ""]]
    )


def test_a_frame_has_the_names_and_types_of_the_features() -> None:
    table = given(WITH_STRINGS, ROWS_WITH_STRINGS, input="frame")
    assert list(table.columns) == ["x", "n", "b", "c", "t"]
    assert list(map(str, table.dtypes)) == ["float64", "int64", "bool", "object", "object"]
    assert repr(table.to_numpy().tolist()) == repr(
        [[1.5, 2, True, "red", "some text"], [NAN, -3, False, NAN, ""]]
    )


def test_a_categorical_frame_has_categories_for_strings() -> None:
    table = given(WITH_STRINGS, ROWS_WITH_STRINGS, input="categorical-frame")
    assert list(map(str, table.dtypes)) == ["float64", "int64", "bool", "category", "category"]
    assert table["c"].isna().tolist() == [False, True]
    assert table["c"][0] == "red"


@pytest.mark.parametrize("feature", [integer("x", nullable=True), boolean("x", nullable=True)])
def test_whatever_may_be_missing_in_a_frame_is_a_double(feature: Feature) -> None:
    for rows, expected in (([(1,)], [1.0]), ([(1,), (None,)], [1.0, NAN]), ([(None,)], [NAN])):
        table = given((feature,), rows, input="frame")  # type: ignore[arg-type]
        assert str(table["x"].dtype) == "float64"
        np.testing.assert_array_equal(table["x"], expected)


def test_an_estimator_is_not_asked_to_check_what_was_checked_at_the_door() -> None:
    configurations = []

    class Curious(SignEstimator):
        def predict(self, features: np.ndarray) -> np.ndarray:
            configurations.append(sklearn.get_config())
            return super().predict(features)

    FittedEstimator(Curious(), description()).predict(ROWS)
    (inside,) = configurations
    assert inside["skip_parameter_validation"]
    assert not inside["assume_finite"]  # what it computes on its way may not be
    assert not sklearn.get_config()["skip_parameter_validation"]


def test_an_estimator_fitted_on_a_frame_may_be_given_arrays_without_a_warning() -> None:
    frame = pd.DataFrame({"length": [-1.0, 1.0], "a/b ~c": [0.0, 0.0]})
    estimator = LogisticRegression().fit(frame, ["ham", "spam"])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        estimator.predict(frame.to_numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predictions = answers(FittedEstimator(estimator, description()), [(-1.0, 0.0), (1.0, 0.0)])
        assert [prediction.value for prediction in predictions] == ["ham", "spam"]
        with pytest.raises(UserWarning, match="another"):
            warnings.warn("another", UserWarning, stacklevel=1)


def test_where_the_estimator_is_given_a_frame_all_warnings_are_kept() -> None:
    before = list(warnings.filters)
    FittedEstimator(SignEstimator(), description(asked=asked(input="frame")))
    assert list(warnings.filters) == before


# How rows are asked for together

TIED = [0.5, 0.5]
DECIDED = [0.25, 0.75]


def sensitive(
    estimator: Estimator, rows: list[Row], described: Description | None = None
) -> list[int]:
    """Tell which rows have to be asked for alone."""
    return FittedEstimator(estimator, described or description(asked=PROBABILITIES)).predict(rows)[
        1
    ]


def test_rows_far_from_what_was_seen_in_training_are_asked_for_alone() -> None:
    rows: list[Row] = [(900.0, 0.0), (901.0, 0.0), (0.0, -900.0), (0.0, -901.0)]
    assert sensitive(ProbaEstimator(DECIDED), rows) == [1, 3]


def test_rows_whose_best_classes_are_all_but_tied_are_asked_for_alone() -> None:
    half = 0.5 + TIE_TOLERANCE / 4
    for probabilities in ([TIED, DECIDED], [[half, 1 - half], [0.6, 0.4]]):
        assert sensitive(ProbaEstimator(probabilities), ROWS[:2]) == [0]
    described = description(("a", "b", "c"), asked=PROBABILITIES)
    values = ["a", "b", "a"]
    probabilities = [[0.25, 0.375, 0.375], [0.25, 0.25, 0.5], [1 / 3] * 3]
    estimator = FixedEstimator(values, probabilities=probabilities)
    assert sensitive(estimator, ROWS, described) == [0, 2]


@pytest.mark.parametrize(
    "scores",
    [
        [0.0, 1e-10, 0.5],
        [[1.0, 1.0], [1e9, 1e9 + 0.1], [1.0, 2.0]],
        [[3.0, 1.0, 3.0], [1.0, 1.0, 1 - 1e-10], [1.0, 1.0, 2.0]],
    ],
    ids=["one", "two", "three"],
)
def test_scores_may_be_tied_as_well(scores: list[Any]) -> None:
    classes = ("ham", "spam", "eggs")[: np.ndim(scores) and np.shape(scores)[-1]]
    described = description(classes if np.ndim(scores) > 1 else ("ham", "spam"), asked=SCORES)
    estimator = FixedEstimator(["ham"] * 3, scores=np.array(scores))
    assert sensitive(estimator, ROWS, described) == [0, 1]


def test_a_tie_is_one_of_what_decides_the_label() -> None:
    """As with SVC, whose labels follow its decision function and not its probabilities."""
    decides = PROBABILITIES.model_copy(update={"label_by": "decision_function"})
    estimator = FixedEstimator(
        ["ham"] * 2, probabilities=[TIED, DECIDED], scores=np.array([2.0, 0.0])
    )
    assert sensitive(estimator, ROWS[:2], description(asked=decides)) == [1]


def test_where_no_scores_decide_there_are_no_ties() -> None:
    undecided = PROBABILITIES.model_copy(update={"label_by": None})
    assert sensitive(ProbaEstimator(TIED), [*ROWS, FAR], description(asked=undecided)) == [3]


def test_a_model_of_one_class_has_no_ties() -> None:
    described = description(("spam",), asked=PROBABILITIES)
    model = FittedEstimator(ProbaEstimator([1.0]), described)
    rows: list[Row] = [(1.0, 0.0)] * 2
    assert model.predict(rows) == ([Prediction("spam", [1.0])] * 2, [])


def test_a_row_alone_is_not_asked_for_again() -> None:
    assert sensitive(ProbaEstimator(TIED), [FAR]) == []


def test_a_model_whose_rows_do_not_touch_each_other_needs_none_of_them_alone() -> None:
    invariant = PROBABILITIES.model_copy(update={"batching": "invariant"})
    estimator = ProbaEstimator(TIED)
    assert sensitive(estimator, [ROWS[0], FAR]) == [0, 1]
    assert sensitive(estimator, [ROWS[0], FAR], description(asked=invariant)) == []


@pytest.mark.parametrize("form", ["array", "frame"])
def test_a_model_whose_rows_may_not_meet_is_given_one_at_a_time(form: str) -> None:
    estimator = FixedEstimator(np.array([7.0]))
    model = FittedEstimator(
        estimator, regression("price", asked=asked(batching="alone", input=form))
    )
    assert model.predict([*ROWS, FAR]) == ([], [0, 1, 2, 3])
    assert estimator.tables == []
    assert [model.predict([row]) for row in (*ROWS, FAR)] == [([Prediction(7.0)], [])] * 4


@pytest.mark.parametrize("form", ["array", "frame"])
def test_only_numbers_can_be_far(form: str) -> None:
    features = (category("c"), number("x", nullable=True), boolean("b"))
    rows: list[Row] = [("red", 1.0, True), ("a" * 20, 1e6, True), ("red", None, False)]
    described = regression("price", features=features, asked=asked(input=form))
    assert sensitive(FixedEstimator(np.zeros(3)), rows, described) == [1]


def test_numbers_in_a_frame_can_be_far() -> None:
    rows: list[Row] = [(1.0, 2), (None, 10**6), (None, 1)]
    features = (number("x", nullable=True), integer("n"))
    described = regression("price", features=features, asked=asked(input="frame"))
    assert sensitive(FixedEstimator(np.zeros(3)), rows, described) == [1]


def test_without_numbers_nothing_is_far() -> None:
    described = regression("price", features=(text("t"), boolean("b")))
    rows: list[Row] = [("x" * 30, True), ("", False)]
    assert sensitive(FixedEstimator(np.zeros(2)), rows, described) == []


# What the estimator says


def test_a_model_without_scores_gives_labels_alone() -> None:
    expected = [Prediction("ham"), Prediction("spam"), Prediction("spam")]
    assert answers(FittedEstimator(SignEstimator(), description()), ROWS) == expected


def test_the_label_is_that_of_predict_and_not_of_the_largest_probability() -> None:
    model = FittedEstimator(ProbaEstimator([0.9, 0.1]), description(asked=PROBABILITIES))
    assert answers(model, [(1.0, 0.0)]) == [Prediction("spam", [0.9, 0.1])]


@pytest.mark.parametrize(
    ("classes", "values", "expected"),
    [
        ((0, 1), [1.0, 0.0, 1.0], [1, 0, 1]),
        ((False, True), [1, 0, 1], [True, False, True]),
        ((0.0, 1.0), [1, 0, 1], [1.0, 0.0, 1.0]),
        ((2**53 + 1, 2**53 + 3), np.array([2**53 + 1] * 3), [2**53 + 1] * 3),
        (("a", "b"), np.array(["b", "a", "b"], dtype=object), ["b", "a", "b"]),
    ],
    ids=repr,
)
def test_a_label_is_given_as_it_stands_in_the_classes(
    classes: tuple[Any, ...],
    values: Any,  # noqa: ANN401 (whatever numpy takes)
    expected: list[Any],
) -> None:
    predictions = answers(FittedEstimator(FixedEstimator(values), description(classes)), ROWS)
    assert repr([prediction.value for prediction in predictions]) == repr(expected)


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
    estimator = FixedEstimator(["ham"] * 3, scores=scores)
    predictions = FittedEstimator(estimator, described).predict(ROWS)[0]
    assert predictions == [Prediction("ham", scores=score) for score in expected]


def test_several_labels_come_with_probabilities_for_each_target() -> None:
    scored = asked(scored_by="predict_proba", batching="invariant")
    described = several_labels((0, 1), ("a", "b", "c"), asked=scored)
    estimator = FixedEstimator(
        np.array([[1.0, "a"], [0.0, "c"]], dtype=object),
        probabilities=[
            np.array([[0.25, 0.75], [1.0, 0.0]]),
            np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]),
        ],
    )
    predictions = FittedEstimator(estimator, described).predict(ROWS[:2])[0]
    assert predictions == [
        Prediction([1, "a"], [[0.25, 0.75], [0.5, 0.25, 0.25]]),
        Prediction([0, "c"], [[1.0, 0.0], [0.0, 0.0, 1.0]]),
    ]
    assert repr([prediction.value for prediction in predictions]) == "[[1, 'a'], [0, 'c']]"


def test_several_labels_may_have_their_probabilities_in_one_array() -> None:
    scored = asked(scored_by="predict_proba", batching="invariant")
    each = np.array([[0.75, 0.25], [0.25, 1.0]])
    estimator = FixedEstimator([[1, 0], [0, 1]], probabilities=each)
    model = FittedEstimator(estimator, several_labels((0, 1), (0, 1), asked=scored))
    assert model.predict(ROWS[:2])[0] == [
        Prediction([1, 0], [[0.25, 0.75], [0.75, 0.25]]),
        Prediction([0, 1], [[0.75, 0.25], [0.0, 1.0]]),
    ]


@pytest.mark.parametrize("values", [[1.5, -2.0, 3.0], [[1.5], [-2.0], [3.0]]], ids=["flat", "one"])
def test_a_number_is_given_for_each_row_whichever_shape_they_come_in(values: list[Any]) -> None:
    model = FittedEstimator(FixedEstimator(values), regression("price"))
    assert model.predict(ROWS)[0] == [Prediction(1.5), Prediction(-2.0), Prediction(3.0)]


def test_several_numbers_are_given_in_the_order_of_the_targets() -> None:
    model = FittedEstimator(FixedEstimator([[1.5, 2.5], [3.0, 4.0]]), regression("price", "weight"))
    assert model.predict(ROWS[:2])[0] == [Prediction([1.5, 2.5]), Prediction([3.0, 4.0])]


def test_numbers_are_python_s_own() -> None:
    for value in (np.float32(0.5), np.int64(3)):
        model = FittedEstimator(FixedEstimator(np.array([value])), regression("price"))
        ((prediction,), _) = model.predict(ROWS[:1])
        assert type(prediction.value) in {float, int}


def test_a_cluster_is_given_by_its_number() -> None:
    model = FittedEstimator(FixedEstimator(np.array([2, 0, 1], dtype=np.int32)), clustering())
    assert repr([p.value for p in model.predict(ROWS)[0]]) == "[2, 0, 1]"


def test_an_outlier_is_given_by_name_with_its_score() -> None:
    estimator = FixedEstimator(np.array([1, -1]), scores=np.array([0.25, -0.5]))
    assert FittedEstimator(estimator, outlier_detection()).predict(ROWS[:2])[0] == [
        Prediction(INLIER, scores=0.25),
        Prediction(OUTLIER, scores=-0.5),
    ]


def test_warming_up_gives_the_prediction_of_the_example() -> None:
    assert FittedEstimator(SignEstimator(), description()).warm_up() == Prediction("spam")


def test_warming_up_asks_in_company_and_alone() -> None:
    lengths = []

    class Counting(SignEstimator):
        def predict(self, features: np.ndarray) -> np.ndarray:
            lengths.append(len(features))
            return super().predict(features)

    FittedEstimator(Counting(), description()).warm_up()
    assert lengths == [2, 1]


@pytest.mark.parametrize(
    ("task", "few"),
    [
        ("one label", True),
        ("clusters", True),
        ("outliers", True),
        ("several labels", False),
        ("one number", False),
        ("several numbers", False),
    ],
)
def test_labels_are_few_where_each_prediction_is_one_of_them(task: str, few: bool) -> None:
    assert FittedEstimator(SignEstimator(), EACH_TASK[task]).labels_are_few == few


# What is no answer

SCORED = asked(scored_by="decision_function")
NO_ANSWERS: dict[str, tuple[Estimator, Description, str]] = {
    "probability nan": (ProbaEstimator([0.5, NAN]), EACH_TASK["one label"], "not finite"),
    "probability inf": (ProbaEstimator([np.inf, 0.0]), EACH_TASK["one label"], "not finite"),
    "three for two": (ProbaEstimator([0.2] * 3), EACH_TASK["one label"], r"shapes \[\(3, 3\)\]"),
    "one for all": (ProbaEstimator([[0.2, 0.8]]), EACH_TASK["one label"], r"shapes \[\(1, 2\)\]"),
    "nan in the second target": (
        FixedEstimator(
            [[0, "a"]] * 3,
            probabilities=[np.full((3, 2), 0.5), np.array([[0.5, NAN, 0.5]] * 3)],
        ),
        EACH_TASK["several labels"],
        "not finite",
    ),
    "a target's shape": (
        FixedEstimator([[0, "a"]] * 3, probabilities=[np.full((3, 2), 0.5)] * 2),
        EACH_TASK["several labels"],
        r"predict_proba gave arrays of shapes \[\(3, 2\), \(3, 2\)\]",
    ),
    "a target too few": (
        FixedEstimator([[0, "a"]] * 3, probabilities=[np.full((3, 2), 0.5)]),
        EACH_TASK["several labels"],
        r"arrays of shapes \[\(3, 2\)\]",
    ),
    "score nan": (
        FixedEstimator(["ham"] * 3, scores=[0.0, NAN, 1.0]),
        description(asked=SCORED),
        "not finite",
    ),
    "score for all": (
        FixedEstimator(["ham"] * 3, scores=[0.0]),
        description(asked=SCORED),
        r"decision_function gave an array of shape \(1,\)",
    ),
    "scores in depth": (
        FixedEstimator(["ham"] * 3, scores=np.zeros((3, 2, 2))),
        description(asked=SCORED),
        r"shape \(3, 2, 2\)",
    ),
    "no score": (
        FixedEstimator(["ham"] * 3, scores=1.0),
        description(asked=SCORED),
        r"shape \(\)",
    ),
    "label for all": (FixedEstimator("ham"), description(), r"predict gave .* shape \(\)"),
    "a label too few": (FixedEstimator(["ham"] * 2), description(), r"shape \(2,\)"),
    "labels in columns": (FixedEstimator([["ham"] * 2] * 3), description(), r"shape \(3, 2\)"),
    "a column too few": (
        FixedEstimator([[0]] * 3),
        several_labels((0, 1), (0, 1)),
        r"shape \(3, 1\)",
    ),
    "a flat list for several": (
        FixedEstimator([0] * 3),
        several_labels((0, 1), (0, 1)),
        r"shape \(3,\)",
    ),
    "unknown label": (FixedEstimator(["eggs"] * 3), description(), "none of the classes"),
    "label nan": (FixedEstimator([NAN] * 3), description((0, 1)), "none of the classes"),
    "label none": (
        FixedEstimator(np.array([None] * 3)),
        description(),
        "none of the classes",
    ),
    "unknown second label": (
        FixedEstimator([[0, 1], [1, 1], [0, 2]]),
        several_labels((0, 1), (0, 1)),
        "none of the classes",
    ),
    "number nan": (FixedEstimator([0.0, NAN, 1.0]), regression("price"), "no finite number"),
    "number inf": (
        FixedEstimator([[0.0, 1.0], [1.0, np.inf], [0.0, 0.0]]),
        regression("price", "weight"),
        "no finite number",
    ),
    "a string for a number": (
        FixedEstimator(["1", "2", "3"]),
        regression("price"),
        "no finite number",
    ),
    "an object for a number": (
        FixedEstimator(np.array([1.0, 2.0, 3.0], dtype=object)),
        regression("price"),
        "no finite number",
    ),
    "neither in nor out": (
        FixedEstimator([1, 0, -1], scores=[1.0, 0.0, -1.0]),
        outlier_detection(),
        "none of the classes",
    ),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_an_answer_that_is_no_answer_is_an_error(name: str) -> None:
    estimator, described, complaint = NO_ANSWERS[name]
    with pytest.raises(WrongOutputError, match=complaint):
        FittedEstimator(estimator, described).predict(ROWS)


def test_what_the_estimator_raises_comes_out() -> None:
    class Broken:
        def predict(self, features: np.ndarray) -> np.ndarray:
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        FittedEstimator(Broken(), description()).predict(ROWS)


# Fidelity

IRIS = load_iris()
SPECIES = IRIS.target_names[IRIS.target]
ALONE = asked(batching="alone")


def _scaled(estimator: Estimator) -> Estimator:
    return make_pipeline(StandardScaler(), estimator)


@dataclass(frozen=True, slots=True)
class Case:
    """An estimator, what it learns, and how it has to be asked."""

    estimator: Estimator
    target: np.ndarray | None
    asked: Asked
    task: Task = "classification"


CASES: dict[str, Case] = {
    "logistic": Case(_scaled(LogisticRegression(random_state=0)), SPECIES, PROBABILITIES),
    "two classes": Case(
        _scaled(LogisticRegression(random_state=0)), SPECIES == "virginica", PROBABILITIES
    ),
    "integers": Case(LinearDiscriminantAnalysis(), IRIS.target, PROBABILITIES),
    "network": Case(
        _scaled(MLPClassifier(8, max_iter=2000, tol=0.01, random_state=0)), SPECIES, PROBABILITIES
    ),
    "forest": Case(
        RandomForestClassifier(5, random_state=0),
        SPECIES,
        asked(scored_by="predict_proba", batching="invariant"),
    ),
    "kernel": Case(_scaled(SVC(random_state=0)), SPECIES, SCORES),
    "linear": Case(_scaled(LinearSVC(random_state=0)), SPECIES, SCORES),
    "linear, two classes": Case(_scaled(LinearSVC(random_state=0)), IRIS.target == 1, SCORES),
    "ridge, as integers": Case(RidgeClassifier(), IRIS.target, SCORES),
    "several labels": Case(
        RandomForestClassifier(3, random_state=0),
        np.column_stack([IRIS.target, IRIS.target > 0]),
        asked(scored_by="predict_proba", batching="invariant"),
    ),
    "number": Case(_scaled(Ridge()), IRIS.data[:, 0] * 2.5, asked(), "regression"),
    "numbers": Case(_scaled(Ridge()), IRIS.data[:, :2] - 3, asked(), "regression"),
    "clusters": Case(KMeans(3, n_init=1, random_state=0), None, ALONE, "clustering"),
    "outliers": Case(
        IsolationForest(n_estimators=5, random_state=0),
        None,
        outlier_detection().asked.model_copy(update={"batching": "invariant"}),
        "outlier-detection",
    ),
}


@cache
def fitted(name: str) -> Estimator:
    """Fit one of the estimators."""
    case = CASES[name]
    return case.estimator.fit(IRIS.data, case.target)


def served(name: str) -> FittedEstimator:
    """Serve one of the estimators."""
    case, estimator = CASES[name], fitted(name)
    features = tuple(number(name) for name in IRIS.feature_names)
    classes: Any = None
    count = 0 if case.target is None else case.target.reshape(len(case.target), -1).shape[1]
    if case.task == "classification":
        own = estimator.classes_
        classes = tuple(own.tolist() if count == 1 else (tuple(c.tolist()) for c in own))
    described = description(
        classes,
        features,
        task=case.task,
        targets=tuple(f"target {index}" for index in range(count)),
        asked=case.asked,
    )
    return FittedEstimator(estimator, described)


@cache
def telling_rows(name: str) -> list[Row]:
    """Give rows as measured, from around, from far away, and from both sides of boundaries."""
    random = np.random.default_rng(0)
    around = random.uniform(-10, 20, size=(40, 4))
    exponents = random.uniform(0, np.repeat([[3], [12]], 30, axis=0), size=(60, 4))
    far_away = random.choice((-1, 1), size=(60, 4)) * 10**exponents
    parts = [IRIS.data[::2], around, far_away]
    if CASES[name].task != "regression":
        # Where large numbers all but cancel, their rounding shows in the probabilities.
        undecided = _boundary(name, far_away, random)
        parts.append(undecided + random.normal(size=undecided.shape))
        parts.append(_boundary(name, IRIS.data, random))
    return [tuple(row) for row in np.concatenate(parts).tolist()]


def _boundary(name: str, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Bisect between rows of different labels until nothing lies between the labels."""
    estimator = fitted(name)
    labels = estimator.predict(rows).reshape(len(rows), -1)[:, 0]
    found = [rows[:0]]
    for start, end in random.integers(len(rows), size=(24, 2)):
        if labels[start] == labels[end]:
            continue
        origin, way = rows[start], rows[end] - rows[start]
        low, high = 0.0, 1.0
        while low < (middle := (low + high) / 2) < high:
            if np.ravel(estimator.predict([origin + middle * way]))[0] == labels[start]:
                low = middle
            else:
                high = middle
        found.append(np.array([origin + low * way, origin + high * way]))
    return np.concatenate(found)


@cache
def alone(name: str) -> list[tuple[Any, Any]]:
    """Ask the estimator itself, in process, for each row by itself: what it says, and how sure."""
    estimator, scored_by = fitted(name), CASES[name].asked.scored_by
    return [
        (estimator.predict([row]).tolist()[0], _score(estimator, scored_by, row))
        for row in telling_rows(name)
    ]


def _score(estimator: Estimator, scored_by: str | None, row: Row) -> Any:  # noqa: ANN401
    if scored_by is None:
        return None
    scores = getattr(estimator, scored_by)([row])
    if isinstance(scores, list):
        return [array[0].tolist() for array in scores]
    return scores.tolist()[0]


def assert_faithful(name: str, answers: list[Prediction], tolerance: float) -> None:
    """Check answers against the fitted estimator's own."""
    by_class, outliers = CASES[name].asked.scores_by_class, CASES[name].task == "outlier-detection"
    value: Any
    for answer, (value, sure) in zip(answers, alone(name), strict=True):
        if CASES[name].task == "regression":
            told_value: Any = answer.value
            np.testing.assert_allclose(told_value, value, rtol=tolerance, atol=tolerance)
        else:
            expected = {1: INLIER, -1: OUTLIER}[value] if outliers else value
            assert repr(answer.value) == repr(expected)
        told = answer.probabilities if answer.scores is None else answer.scores
        if by_class and isinstance(sure, float):
            sure = [-sure, sure]
        if sure is None:
            assert told is None
        else:
            assert told is not None
            np.testing.assert_allclose(_flat(told), _flat(sure), rtol=tolerance, atol=tolerance)


def _flat(numbers: Any) -> np.ndarray:  # noqa: ANN401 (a number, or a list of numbers or of lists)
    return np.hstack(numbers) if isinstance(numbers, list) else np.array([numbers])


def test_boundary_rows_lie_at_the_boundary() -> None:
    """Otherwise the tests below would show nothing."""
    on_both_sides = alone("logistic")[-20:]
    for (one, likely), (other, _) in zip(on_both_sides[::2], on_both_sides[1::2], strict=True):
        assert one != other
        best, second = np.sort(likely)[[-1, -2]]
        assert best - second < 1e-9


@pytest.mark.parametrize("size", [2, 64, 300])
@pytest.mark.parametrize("name", CASES)
def test_a_row_has_the_answer_that_it_would_have_alone_in_a_batch_of_any_size(
    name: str, size: int
) -> None:
    model, rows = served(name), telling_rows(name)
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    together = [answer for batch in batches for answer in answers(model, batch)]
    assert_faithful(name, together, AGREEMENT)


@pytest.mark.parametrize("name", CASES)
def test_a_row_alone_has_bit_for_bit_the_estimator_s_answer(name: str) -> None:
    model = served(name)
    by_itself = [answers(model, [row])[0] for row in telling_rows(name)]
    assert_faithful(name, by_itself, 0)

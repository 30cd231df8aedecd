"""A fitted estimator is asked as it has to be asked, and in company only as far as that is safe."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression

from serving.model.columns import by_columns
from serving.model.description import Categories, Description
from serving.model.estimator import Estimator, FittedEstimator
from serving.model.features import Feature, Row
from serving.model.outputs import Prediction, WrongOutputError
from tests.unit.fakes import FixedEstimator, ProbaEstimator, SignEstimator
from tests.unit.samples import (
    PROBABILITIES,
    asked,
    boolean,
    category,
    description,
    integer,
    number,
    regression,
    text,
    unknown,
)

ROWS: list[Row] = [(-1.0, 0.0), (2.0, 0.0), (3.0, 0.0)]
FAR: Row = (1e6, 0.0)
NAN = float("nan")


def given(features: tuple[Feature, ...], rows: list[Row], **changes: Any) -> Any:  # noqa: ANN401
    """Tell what table an estimator is given."""
    estimator = FixedEstimator(np.zeros(len(rows)))
    described = regression("price", features=features, asked=asked(**changes))
    FittedEstimator(estimator, described).predict(rows)
    (table,) = estimator.tables
    return table


class Counting(SignEstimator):
    """Keeps the numbers of rows that it was asked for."""

    def __init__(self) -> None:
        """Start with none."""
        self.counts: list[int] = []

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Count them."""
        self.counts.append(len(features))
        return super().predict(features)


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


@pytest.mark.parametrize(
    ("form", "features", "expected"),
    [
        ("texts", (text("t", nullable=True),), "['some text', nan]"),
        (
            "dicts",
            (number("x", nullable=True), text("t")),
            "[{'x': 1.5, 't': 'a'}, {'x': nan, 't': ''}]",
        ),
        (
            "gapped-dicts",
            (number("x", nullable=True), text("t")),
            "[{'x': 1.5, 't': 'a'}, {'t': ''}]",
        ),
    ],
)
def test_texts_and_dicts_are_given_in_a_list(
    form: str, features: tuple[Feature, ...], expected: str
) -> None:
    rows: list[Row] = [("some text",), (None,)] if form == "texts" else [(1.5, "a"), (None, "")]
    assert repr(given(features, rows, input=form)) == expected


def test_a_column_of_a_frame_has_the_dtype_that_training_has_told() -> None:
    categories = Categories(values=("blue", "red"), dtype="object", ordered=True)
    table = given(
        (category("c", nullable=True), integer("n")),
        [("red", 1), ("green", 2), (None, 3)],
        input="frame",
        dtypes={"c": categories, "n": "int8"},
    )
    assert (str(table["n"].dtype), str(table["c"].dtype)) == ("int8", "category")
    assert table["c"].cat.ordered
    assert table["c"].cat.categories.tolist() == ["blue", "red", "green"]  # as in training first
    assert table["c"].cat.codes.tolist() == [1, 2, -1]


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
        model = FittedEstimator(estimator, description(asked=asked(batching="invariant")))
        told = model.predict([(-1.0, 0.0), (1.0, 0.0)])
        assert told == [Prediction("ham"), Prediction("spam")]
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
    model = FittedEstimator(estimator, described or description(asked=PROBABILITIES))
    return [index for index, answer in enumerate(model.predict(rows)) if answer is None]


def test_rows_far_from_what_was_seen_in_training_are_asked_for_alone() -> None:
    rows: list[Row] = [(900.0, 0.0), (901.0, 0.0), (0.0, -900.0), (0.0, -901.0)]
    assert sensitive(ProbaEstimator(DECIDED), rows) == [1, 3]


def test_rows_whose_best_classes_are_all_but_tied_are_asked_for_alone() -> None:
    assert sensitive(ProbaEstimator([TIED, DECIDED]), ROWS[:2]) == [0]


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
    assert model.predict([*ROWS, FAR]) == [None] * 4
    assert estimator.tables == []
    assert [model.predict([row]) for row in (*ROWS, FAR)] == [[Prediction(7.0)]] * 4


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


def test_where_it_is_not_known_what_training_saw_numbers_are_far_from_those_tried() -> None:
    features = (unknown(number("x")), number("y"))
    rows: list[Row] = [(299.0, 1.0), (301.0, 1.0), (-301.0, 1.0)]
    how = asked(input="array", tried={"x": 3.0})
    described = regression("price", features=features, asked=how)
    assert sensitive(FixedEstimator(np.zeros(3)), rows, described) == [1, 2]


def test_without_numbers_nothing_is_far() -> None:
    described = regression("price", features=(text("t"), boolean("b")))
    rows: list[Row] = [("x" * 30, True), ("", False)]
    assert sensitive(FixedEstimator(np.zeros(2)), rows, described) == []


# What it answers


def test_a_prediction_has_what_the_estimator_says_of_its_row() -> None:
    expected = [Prediction("ham"), Prediction("spam"), Prediction("spam")]
    assert FittedEstimator(SignEstimator(), description()).predict(ROWS) == expected


def test_what_no_estimator_may_give_is_an_error() -> None:
    for estimator in (ProbaEstimator([0.5, NAN]), ProbaEstimator([[0.5, 0.5]])):
        with pytest.raises(WrongOutputError):
            FittedEstimator(estimator, description(asked=PROBABILITIES)).predict(ROWS)


def test_what_the_estimator_raises_comes_out() -> None:
    class Broken:
        def predict(self, features: np.ndarray) -> np.ndarray:
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        FittedEstimator(Broken(), description()).predict(ROWS)


def test_warming_up_asks_for_the_example_in_company_and_alone() -> None:
    estimator = Counting()
    assert FittedEstimator(estimator, description()).warm_up() == Prediction("spam")
    assert estimator.counts == [2, 1]


def test_no_estimator_is_asked_where_it_could_hold_up_all_others() -> None:
    model = FittedEstimator(SignEstimator(), description())
    model.warm_up()
    assert model.max_at_once == 0


# Numbers alone


@pytest.mark.parametrize(("batching", "counts"), [("tolerant", [3]), ("alone", [1, 1, 1])])
def test_numbers_are_asked_for_together_and_without_labels(
    batching: str, counts: list[int]
) -> None:
    class Scoring(Counting):
        def predict_proba(self, features: np.ndarray) -> np.ndarray:
            self.counts.append(len(features))
            return np.tile([0.5, 0.5], (len(features), 1))

        def predict(self, features: np.ndarray) -> np.ndarray:
            raise AssertionError("it was asked for labels")

    estimator = Scoring()
    scored = asked(scored_by="predict_proba", label_by="predict_proba", batching=batching)
    described = description(asked=scored)
    numbers = FittedEstimator(estimator, described).numbers(by_columns(described.features, ROWS))
    assert numbers.tolist() == [[0.5, 0.5]] * 3
    assert estimator.counts == counts


def test_numbers_of_a_model_without_scores_are_what_it_predicts() -> None:
    described = regression("price", "weight")
    estimator = FixedEstimator([[1, 2], [3, 4], [5, 6]])
    numbers = FittedEstimator(estimator, described).numbers(by_columns(described.features, ROWS))
    assert numbers.dtype == np.float64
    assert numbers.tolist() == [[1, 2], [3, 4], [5, 6]]


def test_numbers_that_are_none_are_refused() -> None:
    described = description(asked=PROBABILITIES)
    model = FittedEstimator(ProbaEstimator([0.5, NAN]), described)
    with pytest.raises(WrongOutputError, match="not finite"):
        model.numbers(by_columns(described.features, ROWS))

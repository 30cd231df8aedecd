"""Within which numbers answers stay finite."""

import numpy as np
import pandas as pd
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    RidgeClassifier,
)
from sklearn.naive_bayes import CategoricalNB
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from serving.model.estimator import FittedEstimator
from serving.model.features import Number
from tests.unit.training.describing.asked import (
    FLOWERS,
    SMALL,
    WIDTHS,
    Estimator,
    Given,
    asked_as_it_is,
    described,
    domains,
    regressor,
    table_of,
)
from training.errors import TrainingError
from training.table.columns import MAX_WHOLE


def test_a_trees_domain_is_that_of_float32() -> None:
    ((low, high), *others) = domains(described(DecisionTreeClassifier()))

    assert all(other == (low, high) for other in others)
    assert 1e37 <= high == -low <= np.finfo(np.float32).max


@pytest.mark.parametrize("estimator", [LogisticRegression(), SVC(), RidgeClassifier()], ids=str)
def test_a_linear_domain_is_as_wide_as_sums_of_doubles_allow(estimator: Estimator) -> None:
    ((_, high), *_) = domains(described(estimator))

    assert 1e300 <= high <= np.finfo(float).max


@pytest.mark.slow
def test_what_takes_nothing_beyond_training_has_the_domain_of_training() -> None:
    isotonic = described(IsotonicRegression(), FLOWERS.data.iloc[:, :1], WIDTHS, task="regression")
    whole = FLOWERS.data.round().astype("int64")
    categorical = described(CategoricalNB(), whole)

    for description in (isotonic, categorical):
        for feature in description.features:
            assert isinstance(feature, Number)
            assert feature.domain == feature.trained
    assert type(categorical.features[0].domain.minimum) is int  # type: ignore[union-attr]


def test_what_clips_takes_any_number() -> None:
    clipped = IsotonicRegression(out_of_bounds="clip")
    description = described(clipped, FLOWERS.data.iloc[:, :1], WIDTHS, task="regression")

    assert domains(description) == [(-1e308, 1e308)]


def test_an_exponential_has_a_narrow_domain_in_which_all_answers_are_finite() -> None:
    table = table_of(FLOWERS.data, WIDTHS, "regression")
    estimator = PoissonRegressor().fit(FLOWERS.data.to_numpy(), WIDTHS)
    description = asked_as_it_is(estimator, table)

    ((low, high), *_) = domains(description)

    assert 10 <= high < 1e6
    random = np.random.default_rng(0).uniform(low, high, size=(500, 4))
    rows = [tuple(row) for row in random.tolist()]
    assert len(FittedEstimator(estimator, description).predict(rows)) == 500


@pytest.mark.parametrize("estimator", [LinearRegression(), DecisionTreeRegressor()], ids=str)
def test_whole_numbers_go_no_further_than_doubles_hold_them(estimator: Estimator) -> None:
    frame = FLOWERS.data.round().astype("int64")
    description = described(estimator, frame, WIDTHS, task="regression")

    assert set(domains(description)) == {(-int(MAX_WHOLE), int(MAX_WHOLE))}
    assert {type(low) for low, _ in domains(description)} == {int}


def test_a_number_that_spoils_the_others_narrows_all_domains() -> None:
    def predict(rows: Given) -> Given:
        if (np.abs(rows).sum(axis=1) > 1500).any():
            raise OverflowError
        return rows[:, 0]

    table = table_of(SMALL, np.zeros(len(SMALL)), "regression")

    assert domains(asked_as_it_is(regressor(predict), table)) == [(-100.0, 100.0)] * 2


def test_a_domain_holds_what_training_saw_though_that_is_no_power_of_ten() -> None:
    frame = pd.DataFrame({"a": np.linspace(0, 250, 20), "b": np.linspace(0, 1, 20)})

    def predict(rows: Given) -> Given:
        if (np.abs(rows) > 300).any():
            raise OverflowError
        return rows[:, 0]

    table = table_of(frame, np.zeros(len(frame)), "regression")

    (one, other) = domains(asked_as_it_is(regressor(predict), table))

    assert one[0] <= 0
    assert 250 <= one[1] <= 300
    assert other == (-100.0, 100.0)


def test_many_numbers_are_tried_in_random_corners_the_same_each_time() -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(30, 14))).rename(columns=str)
    labels = np.where(frame["0"] > 0, "dog", "cat").astype(object)

    one, other = (domains(described(LogisticRegression(), frame, labels)) for _ in range(2))

    assert one == other
    assert one[0][1] > 1e300


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize(
    "estimator", [LogisticRegression(), DecisionTreeClassifier(), SVC()], ids=str
)
def test_every_number_in_the_domain_has_a_finite_answer(estimator: Estimator) -> None:
    description = described(estimator)
    ((low, high), *_) = domains(description)
    random = np.random.default_rng(0)
    exponents = random.uniform(-5, np.log10(high), size=(100, 4))
    points = np.clip(random.choice((-1, 1), size=(100, 4)) * 10**exponents, low, high)
    corners = random.choice((low, high, 0.0), size=(50, 4))

    model = FittedEstimator(estimator, description)
    for batch in (points, corners):
        with np.errstate(over="raise", invalid="raise"):
            predictions = model.predict([tuple(row) for row in batch.tolist()])
        assert len(predictions) == len(batch)


def test_an_estimator_without_an_answer_to_a_typical_row_is_refused() -> None:
    table = table_of(SMALL, np.zeros(len(SMALL)), "regression")
    for wrong in (np.nan, np.inf):
        with pytest.raises(TrainingError, match="no finite answer to some of the table's own rows"):
            asked_as_it_is(regressor(lambda rows, wrong=wrong: np.full(len(rows), wrong)), table)

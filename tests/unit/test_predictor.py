"""The predictor: what the estimator says, what it must be asked again, and how it fails."""

import asyncio
from collections.abc import Mapping

import numpy as np
import pytest

from serving.answers import Prediction
from serving.batching import Again
from serving.description import Description, Label
from serving.model import Estimator, Model
from serving.predictor import EstimatorError
from serving.values import Row
from tests.unit.fakes import Counts, FixedEstimator, ProbaEstimator, SignEstimator, computing
from tests.unit.samples import EACH_TASK, PROBABILITIES, asked, description


class FailingEstimator(SignEstimator):
    """Raises something."""

    def __init__(self, failure: BaseException) -> None:
        """Take what to raise."""
        self.failure = failure

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Raise it."""
        raise self.failure


class Fixture:
    """A predictor and what it observed."""

    def __init__(self, estimator: Estimator, described: Description | None = None) -> None:
        """Put them together."""
        counts = Counts()
        self.observed = counts.observed
        self.predictor = computing(Model(estimator, described or description()), counts)

    def predict(self, *first_features: float) -> list[Prediction | Again]:
        """Predict rows of which only the first feature counts."""
        rows: list[Row] = [(value, 0.0) for value in first_features]
        return self.predictor.compute(rows)


def test_each_row_gets_its_prediction_in_order() -> None:
    assert Fixture(SignEstimator()).predict(-1, 2, 3) == [
        Prediction("ham"),
        Prediction("spam"),
        Prediction("spam"),
    ]


def test_predictions_are_counted_by_label() -> None:
    fixture = Fixture(SignEstimator())
    fixture.predict(-1, 3, 4)
    assert fixture.observed == [{"ham": 1, "spam": 2}]


def test_a_row_far_from_what_was_seen_in_training_is_asked_for_again_alone() -> None:
    fixture = Fixture(SignEstimator())
    assert fixture.predict(-1, 1e6) == [Prediction("ham"), Again.ALONE]
    assert fixture.predict(1e6) == [Prediction("spam")]
    assert fixture.observed == [{"ham": 1}, {"spam": 1}]


def test_a_row_whose_best_classes_are_tied_is_asked_for_again_alone() -> None:
    fixture = Fixture(ProbaEstimator([0.5, 0.5]), description(asked=PROBABILITIES))
    assert fixture.predict(1, 2) == [Again.ALONE] * 2
    assert fixture.predict(1) == [Prediction("spam", [0.5, 0.5])]
    assert fixture.observed == [{}, {"spam": 1}]


def test_a_label_is_counted_as_it_stands_in_the_classes() -> None:
    fixture = Fixture(FixedEstimator([1.0, 0.0, 1.0]), description((False, True)))
    fixture.predict(1, 2, 3)
    assert repr(fixture.observed) == "[Counter({True: 2, False: 1})]"


@pytest.mark.parametrize(
    ("task", "values", "expected"),
    [
        ("clusters", [3, 3, 0], {3: 2, 0: 1}),
        ("outliers", [1, -1, 1], {"inlier": 2, "outlier": 1}),
        ("one number", [1.5, 1.5, 2.5], {"": 3}),
        ("several numbers", [[1.5, 2.5]] * 3, {"": 3}),
        ("several labels", np.array([[0, "a"]] * 3, dtype=object), {"": 3}),
    ],
)
def test_predictions_are_counted_by_label_where_each_is_one_of_few(
    task: str, values: object, expected: Mapping[Label, int]
) -> None:
    described = EACH_TASK[task].model_copy(update={"asked": asked(batching="invariant")})
    fixture = Fixture(FixedEstimator(values), described)
    fixture.predict(1, 2, 3)
    assert fixture.observed == [expected]


def test_predictions_that_have_to_be_made_again_are_not_counted_yet() -> None:
    fixture = Fixture(FixedEstimator([1.5, 2.5]), EACH_TASK["one number"])
    assert fixture.predict(1, 1e6) == [Prediction(1.5), Again.ALONE]
    assert fixture.observed == [{"": 1}]


@pytest.mark.parametrize(
    "failure",
    [
        ArithmeticError(),
        StopIteration(),
        SystemExit(),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_whatever_the_estimator_raises_is_a_failure_of_the_estimator(
    failure: BaseException,
) -> None:
    fixture = Fixture(FailingEstimator(failure))
    with pytest.raises(EstimatorError) as caught:
        fixture.predict(1)
    assert caught.value.__cause__ is failure
    assert fixture.observed == []

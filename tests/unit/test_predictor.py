"""The predictor: what the estimator says, what it must be asked again, and how it fails."""

import asyncio
from collections.abc import Mapping

import numpy as np
import pytest

from serving.batching import Again
from serving.description import Label
from serving.model import Model
from serving.predictor import EstimatorError, Predictor
from serving.schemas import Prediction, Row
from tests.unit.fakes import ProbaEstimator, SignEstimator
from tests.unit.samples import description


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

    def __init__(self, estimator: SignEstimator | ProbaEstimator) -> None:
        """Put them together."""
        self.observed: list[Mapping[Label, int]] = []
        self.predictor = Predictor(Model(estimator, description()), self.observed.append)

    def predict(self, *first_features: float) -> list[Prediction | Again]:
        """Predict rows of which only the first feature counts."""
        rows: list[Row] = [(value, 0.0) for value in first_features]
        return self.predictor.predict(rows)


def test_each_row_gets_its_prediction_in_order() -> None:
    assert Fixture(SignEstimator()).predict(-1, 2, 3) == [
        Prediction("ham", None),
        Prediction("spam", None),
        Prediction("spam", None),
    ]


def test_predictions_are_counted_by_label() -> None:
    fixture = Fixture(SignEstimator())
    fixture.predict(-1, 3, 4)
    assert fixture.observed == [{"ham": 1, "spam": 2}]


def test_a_row_far_from_what_was_seen_in_training_is_asked_for_again_alone() -> None:
    fixture = Fixture(SignEstimator())
    assert fixture.predict(-1, 1e6) == [Prediction("ham", None), Again.ALONE]
    assert fixture.predict(1e6) == [Prediction("spam", None)]
    assert fixture.observed == [{"ham": 1}, {"spam": 1}]


def test_a_row_whose_best_classes_are_tied_is_asked_for_again_alone() -> None:
    assert Fixture(ProbaEstimator([0.5, 0.5])).predict(1, 2) == [Again.ALONE] * 2
    assert Fixture(ProbaEstimator([0.5, 0.5])).predict(1) == [Prediction("spam", [0.5, 0.5])]


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

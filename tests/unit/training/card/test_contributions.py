"""How much each feature contributes to predictions, as the card tells it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from serving.explaining import explanation
from serving.explaining.attribution import Attribution, Part
from serving.explaining.kept import Kept
from serving.model.description import Description
from serving.model.estimator import FittedEstimator
from serving.model.features import Row
from serving.model.outputs import Array
from tests.unit.model.saved import explained_by
from tests.unit.training.card.cards import (
    ANSWER,
    Page,
    classifier,
    clustering,
    data,
    described,
    detector,
    number,
    regressor,
    written,
)
from training.card import contributions
from training.card.card import card
from training.card.contributions import Contributions, contributions_of
from training.card.findings import find
from training.card.importance import MAX_BARS
from training.fitting.evaluation import Evaluation

Model = tuple[Description, Evaluation]


class FirstTakesAll:
    """Explains all of a number by the first column, but what a row's second column says is off."""

    def __init__(self, kept: Kept, description: Description, ask: object) -> None:
        """Take whether some rows' explanations are off."""
        self._some_off = bool(kept.told["some_off"])
        self._columns = len(description.features)

    def parts(self, row: Row) -> Sequence[Part]:
        """Give the row's size once more, as if that took its time."""
        return [lambda: np.array(0.5), lambda: np.array(0.5)]

    def joined(self, row: Row, numbers: Array, results: Sequence[Array]) -> Attribution:
        """Give the columns their shares."""
        shares = np.zeros((self._columns, len(numbers)))
        shares[0] = numbers * sum(results)
        shares[1, :] = 1.0 if self._some_off and float(row[1] or 0) > 0 else 0.0
        return Attribution(np.zeros(len(numbers)), shares)


@pytest.fixture(autouse=True)
def one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Explain so, whatever the method."""
    monkeypatch.setattr(explanation, "WAYS", {"trees": FirstTakesAll})


def explained(model: Model, output: str = "value", **changes: Any) -> Model:  # noqa: ANN401
    """Say that a model is explained."""
    description, evaluation = model
    proof = explained_by(b"", output=output, **changes)
    return description.model_copy(update={"explained": proof}), evaluation


def found(model: Model, *, some_off: bool = False) -> Contributions | None:
    """Explain the rows that were scored."""
    description, evaluation = model
    rows = [tuple(row) for row in evaluation.frame.to_numpy().tolist()]
    served: Any = FittedEstimator(evaluation.estimator, description)
    kept = Kept({"some_off": some_off}).packed()
    return contributions_of(served, description, kept, rows, 1)


def page_of(model: Model, *, some_off: bool = False) -> Page:
    """Write the card of an explained model."""
    description, evaluation = model
    told = find(description, evaluation, contributions=found(model, some_off=some_off))
    return Page(card(description, evaluation, told, "Model", ANSWER))


def bars_below(page: Page, head: str) -> list[tuple[str, str]]:
    """Give names and numbers of the bars below a head."""
    start = next(at for at, row in enumerate(page.rows) if row[1:2] == [head])
    return [(row[0], row[1]) for row in page.rows[start + 1 :] if len(row) == 3]


def test_the_mean_sizes_of_contributions_are_told_the_largest_first() -> None:
    model = explained(regressor())
    page = page_of(model)
    predicted = model[1].estimator.predict(model[1].frame)
    (first, told), *others = bars_below(page, "Mean size, in units of t0")
    assert first == "f0"
    assert float(told) == pytest.approx(np.abs(predicted).mean(), rel=1e-3)
    assert others == [("f1", "0"), ("f2", "0")]
    assert "How far a feature moves the value predicted, up or down, from what rows of" in page.text
    assert "not what causes what" in page.text
    assert "Explained exactly, for 120 rows of those that were scored" in page.text


def test_of_classes_it_is_that_of_the_class_predicted() -> None:
    model = explained(classifier([0, 1, 2]), "probability", background="published")
    page = page_of(model)
    largest = model[1].estimator.predict_proba(model[1].frame).max(axis=1)
    _, told = bars_below(page, "Mean size, in probability")[0]
    assert float(told) == pytest.approx(largest.mean(), rel=1e-3)
    assert "moves the probability of the class predicted, up or down, from what rows made" in (
        page.text
    )


@pytest.mark.parametrize(
    ("model", "output", "told"),
    [
        (detector, "score", "moves the score, up"),
        (lambda: classifier("ab"), "log-odds", "moves the log-odds of the class predicted, up"),
        (
            lambda: classifier("abc"),
            "log-ratio",
            "moves the log-ratio of the class predicted (the logarithm of its probability, less "
            "the mean of those of all classes), up",
        ),
    ],
)
def test_it_is_told_of_what_they_are_contributions(
    model: Callable[[], Model], output: str, told: str
) -> None:
    description, evaluation = explained(model(), output, exact=False)
    contributions = Contributions(7, {"": ()})
    told_of = find(description, evaluation, contributions=contributions)
    page = Page(card(description, evaluation, told_of, "Model", ANSWER))
    assert told in page.text
    assert f"Mean size, in {output}" in page.text
    assert "Explained nearly, for 7 rows" in page.text


def test_each_target_has_its_own() -> None:
    page = page_of(explained(regressor(2)))
    for target in ("t0", "t1"):
        ((name, _), *others) = bars_below(page, f"Mean size, in units of {target}")[:3]
        assert (name, len(others)) == ("f0", 2)
    assert "t1: feature" in page.text


def test_a_row_of_which_no_right_explanation_is_had_does_not_count() -> None:
    model = explained(regressor())
    right = (model[1].frame["f1"] <= 0).sum()
    told = found(model, some_off=True)
    assert told is not None
    assert told.rows == right
    frame = model[1].frame[model[1].frame["f1"] > 0]
    off = Evaluation(model[1].metrics, model[1].estimator, frame, None)
    assert found((model[0], off), some_off=True) is None
    assert "None of the rows that were scored could be explained." in (
        page_of((model[0], off), some_off=True).text
    )


def test_a_row_that_the_model_does_not_answer_does_not_count() -> None:
    description, evaluation = explained(regressor())
    assert found((description, evaluation)) is not None

    class Failing:
        def predict(self, table: Array) -> Array:
            raise RuntimeError

    failing = Evaluation(evaluation.metrics, Failing(), evaluation.frame, None)
    assert found((description, failing)) is None


def test_no_more_rows_are_explained_than_a_person_would_wait_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many, slow = found(explained(regressor(rows=500))), explained(regressor())
    assert many is not None
    assert many.rows == contributions.MAX_ROWS
    monkeypatch.setattr(contributions, "MAX_S", 0.0)
    assert found(slow) == found(slow)
    assert "for 1 row of those" in page_of(slow).text


def test_of_many_features_the_largest_are_shown() -> None:
    frame = data(features=40)
    description = described("regression", [number(name) for name in frame], ("t",))
    page = page_of(explained((description, regressor_of(frame, description))))
    assert f"The {MAX_BARS} largest of 40 features." in page.text


def regressor_of(frame: Any, description: Description) -> Evaluation:  # noqa: ANN401 (a frame)
    """Fit a regressor on a frame."""
    from sklearn.linear_model import LinearRegression

    truth = frame["f0"].to_numpy()
    return Evaluation(description.metrics, LinearRegression().fit(frame, truth), frame, truth)


def test_why_single_predictions_are_not_explained_is_told() -> None:
    description, evaluation = clustering()
    why_not = description.model_copy(update={"explained": "a cluster is no number"})
    assert "Single predictions are not explained: a cluster is no number." in (
        written((why_not, evaluation)).text
    )

"""Compiled models: alike in all that is asked of them, and refused where they are not."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import (
    RandomForestClassifier,
)
from sklearn.linear_model import (
    LogisticRegression,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from serving.model.compiled import CompiledGraph
from serving.model.description import Compiled
from serving.model.estimator import FittedEstimator
from serving.model.outputs import OutputChecks, Outputs, Prediction
from tests.unit.samples import number, regression
from tests.unit.training.compiling.compiled import TOLERANCE, Estimator, compiled, fitted, flowers
from training.compiling import proof as compiling
from training.compiling.conversion import convert
from training.describing.describe import rows_of


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (LogisticRegression(C=1.0000001), "its numbers differ by"),
        (RandomForestClassifier(10, random_state=1), "its numbers differ by"),
    ],
    ids=str,
)
@pytest.mark.slow  # two of each
def test_a_graph_that_tells_otherwise_is_found_out(
    other: Estimator, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = flowers()
    another, description = fitted(other, table)
    graph = convert(another, description, rows_of(table))
    estimator, description = fitted(clone(other).set_params(**CHANGED[type(other)]), table)
    monkeypatch.setattr(compiling, "convert", lambda *_: graph)
    told, nothing = compiled(estimator, description, table)
    assert isinstance(told, str)
    assert told.startswith(reason)
    assert nothing is None


CHANGED: dict[type, dict[str, Any]] = {
    LogisticRegression: {"C": 1.0},
    RandomForestClassifier: {"random_state": 0},
}


def test_labels_by_another_rule_than_the_largest_probability_are_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = flowers()
    estimator, description = fitted(LogisticRegression(), table)
    given = OutputChecks.predictions

    def flipped(self: OutputChecks, outputs: Outputs) -> list[Prediction]:
        first, *rest = given(self, outputs)
        return [replace(first, value="setosa" if first.value != "setosa" else "virginica"), *rest]

    monkeypatch.setattr(OutputChecks, "predictions", flipped)
    told, _ = compiled(estimator, description, table)
    assert isinstance(told, str)
    assert re.fullmatch("1 of .* labels differ from the estimator's", told)


def test_a_graph_that_is_slower_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    table = flowers()
    estimator, description = fitted(DecisionTreeClassifier(), table)
    call = CompiledGraph.__call__

    def slow(self: CompiledGraph, table: np.ndarray) -> np.ndarray:
        for _ in range(100):
            scores = call(self, table)
        return scores

    monkeypatch.setattr(CompiledGraph, "__call__", slow)
    assert compiled(estimator, description, table)[0] == "its graph is slower for 1 rows at a time"


def test_a_graph_that_changes_bits_in_company_is_kept_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiling, "keep_rows_apart", lambda _: None)
    table = flowers()
    estimator, description = fitted(LogisticRegression(), table)
    proof, graph = compiled(estimator, description, table)
    assert isinstance(proof, Compiled)
    assert graph is not None
    assert not proof.same_bits


def test_a_zero_of_another_sign_has_other_bits_and_what_is_no_number_has_none() -> None:
    zero = np.array([[0.0, np.nan]])
    assert compiling._same_bits(zero, -zero * [-1, 1])
    assert not compiling._same_bits(zero, -zero)
    assert not compiling._same_bits(zero, np.zeros((1, 2)))


def test_numbers_need_be_no_closer_than_the_tolerance() -> None:
    table = flowers()
    estimator, description = fitted(LogisticRegression(), table)
    proof, _ = compiled(estimator, description, table)
    assert isinstance(proof, Compiled)
    assert 0 < proof.largest_difference <= TOLERANCE == proof.tolerance
    told, _ = compiled(estimator, description, table, tolerance=0)
    assert isinstance(told, str)
    assert told.startswith("its numbers differ by")


def test_rows_that_the_estimator_fails_on_are_left_out_of_the_proof() -> None:
    class Picky(DecisionTreeRegressor):
        def predict(self, rows: np.ndarray) -> np.ndarray:
            if (np.asarray(rows)[:, 0] == 5e-324).any():
                raise ValueError("too small")
            return super().predict(rows)  # type: ignore[no-any-return]

    model = FittedEstimator(
        Picky().fit([[0.0], [1.0]], [0, 1]), regression("price", features=(number("length"),))
    )
    rows, outputs = compiling.answered(model, [(5e-324,), (1.0,), (0.0,)])
    assert (rows, outputs.values.tolist()) == ([(1.0,), (0.0,)], [1, 0])

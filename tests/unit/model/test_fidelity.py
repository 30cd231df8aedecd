"""A row gets the answer that its estimator gives it in process, whatever company it has."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from serving.model.description import INLIER, OUTLIER, Asked, Task
from serving.model.estimator import Estimator, FittedEstimator
from serving.model.features import Row
from serving.model.outputs import Prediction
from tests.unit.columns import assert_same_by_columns
from tests.unit.samples import PROBABILITIES, SCORES, asked, description, number, outlier_detection

SLOW = pytest.mark.slow
AGREEMENT = 1e-12  # of numbers, relative and absolute: the contract's


def answers(model: FittedEstimator, rows: list[Row]) -> list[Prediction]:
    """Ask as the batcher does: in company, and again alone where the model wants that."""
    given = []
    for row, together in zip(rows, model.predict(rows), strict=True):
        (answer,) = model.predict([row]) if together is None else [together]
        assert answer is not None
        given.append(answer)
    return given


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
    "probabilities": Case(_scaled(LogisticRegression(random_state=0)), SPECIES, PROBABILITIES),
    "a score for each class": Case(_scaled(SVC(random_state=0)), SPECIES, SCORES),
    "one score": Case(_scaled(LinearSVC(random_state=0)), IRIS.target == 1, SCORES),
    "several labels": Case(
        RandomForestClassifier(3, random_state=0),
        np.column_stack([IRIS.target, IRIS.target > 0]),
        asked(scored_by="predict_proba", batching="invariant"),
    ),
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
    around = random.uniform(-10, 20, size=(20, 4))
    exponents = random.uniform(0, np.repeat([[3], [12]], 15, axis=0), size=(30, 4))
    far_away = random.choice((-1, 1), size=(30, 4)) * 10**exponents
    parts = [IRIS.data[::5], around, far_away]
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
    for start, end in random.integers(len(rows), size=(8, 2)):
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


@pytest.mark.parametrize(
    "name", [name if name == "probabilities" else pytest.param(name, marks=SLOW) for name in CASES]
)
def test_a_row_has_the_answer_that_it_would_have_alone_in_a_batch_of_any_size(name: str) -> None:
    model, rows = served(name), telling_rows(name)
    for size in (1, 2, 64, 300):
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        together = [answer for batch in batches for answer in answers(model, batch)]
        assert_faithful(name, together, AGREEMENT if size > 1 else 0)  # alone, to the last bit
    assert_same_by_columns(model, rows, model.predict(rows))


def test_boundary_rows_lie_at_the_boundary() -> None:
    """Otherwise the test above would show nothing."""
    on_both_sides = alone("probabilities")[-6:]
    for (one, likely), (other, _) in zip(on_both_sides[::2], on_both_sides[1::2], strict=True):
        assert one != other
        best, second = np.sort(likely)[[-1, -2]]
        assert best - second < 1e-9

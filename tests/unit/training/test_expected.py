"""What drift is told of, by what training has written: of what has changed, and of nothing else."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import is_regressor
from sklearn.cluster import KMeans
from sklearn.ensemble import ExtraTreesClassifier, IsolationForest
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from serving.drift.watch import Kind
from serving.model.description import Asked
from serving.model.estimator import Estimator
from tests.unit.training.mixed import Served, part, penguins, served
from training.card.findings import Findings, ask
from training.describing.describe import before_asking
from training.expected import expected
from training.fitting.evaluation import Evaluation, score, truth_of
from training.table.table import Table

LARGE, SMALL = 5000, 150
LOGISTIC = LogisticRegression()
TREE = DecisionTreeClassifier(max_depth=4, random_state=0)


def false_alarms(estimator: Estimator, rows: int, windows: tuple[int, ...], seed: int) -> list[str]:
    """Train on some rows of a table, send others, and give what is told of them."""
    table = penguins(rows + max(windows), seed, regression=is_regressor(estimator))
    model = served(part(table, 0, rows), estimator)
    return [told for window in windows for told in model.told(part(table, rows, window))]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_the_other_half_of_a_table_is_no_drift(seed: int) -> None:
    assert false_alarms(LOGISTIC, LARGE, (200, 1000, LARGE), seed) == []


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [LOGISTIC, TREE, RidgeCV()], ids=lambda e: type(e).__name__)
def test_rows_like_those_of_a_small_table_are_no_drift(estimator: Estimator) -> None:
    told = [false_alarms(estimator, SMALL, (200, 1000), seed) for seed in range(20)]

    # In one of a thousand windows chance alone is told: in one of these models, at most.
    assert sum(map(bool, told)) <= 1, told


@pytest.mark.slow
@pytest.mark.parametrize(
    "estimator",
    [
        TREE,
        DecisionTreeRegressor(max_depth=4, random_state=0),
        ExtraTreesClassifier(20, random_state=0),
    ],
    ids=lambda e: type(e).__name__,
)
def test_an_estimator_that_fitted_anew_gives_other_values_is_no_drift(estimator: Estimator) -> None:
    assert [false_alarms(estimator, 2000, (1000,), seed) for seed in range(5)] == [[]] * 5


@pytest.fixture(scope="module")
def trained() -> tuple[Served, Table]:
    """Give a model of 10,000 rows, and as many others."""
    table = penguins(20_000, seed=7)
    return served(part(table, 0, 10_000), LOGISTIC), part(table, 10_000, 10_000)


def changed(table: Table, rows: int, seed: int, **columns: Any) -> Table:  # noqa: ANN401 (values)
    """Give some rows of a table, with other columns."""
    first = seed * rows
    some = part(table, first, rows)
    return replace(some, frame=some.frame.assign(**columns))


def features(told: list[str]) -> list[str]:
    """Leave out what predictions make of it."""
    return [name.removeprefix("feature ") for name in told if name.startswith("feature")]


@pytest.mark.parametrize("name", ["bill", "flipper"])
def test_a_column_that_moves_by_its_spread_is_told_after_200_rows_and_no_other_is(
    trained: tuple[Served, Table], name: str
) -> None:
    model, others = trained
    spread = others.frame[name].std()

    def moved(column: pd.Series) -> pd.Series:
        return (column + spread).round().astype(column.dtype)

    for seed in range(10):
        some = changed(others, 200, seed, **{name: lambda frame: moved(frame[name])})
        assert features(model.told(some)) == [name]
        fewer = part(some, 0, 199)
        assert model.told(fewer) == []


def test_a_category_unseen_in_a_fifth_of_the_rows_has_that_very_share(
    trained: tuple[Served, Table],
) -> None:
    model, others = trained
    some = changed(
        others, 200, 0, island=lambda frame: frame["island"].where(frame.index % 5 > 0, "atlantis")
    )

    (island,) = [each for each in model.compared(some) if each.watched.name == "island"]
    assert island.shares["unseen"].now == 0.2
    assert island.shares["unseen"].differs


@pytest.mark.parametrize(("share", "rows"), [(0.2, 1000), (0.4, 200)])
def test_values_that_are_missing_more_often_are_told(
    trained: tuple[Served, Table], share: float, rows: int
) -> None:
    model, others = trained
    for seed in range(10):
        present = changed(others, rows, seed).frame["bill"].fillna(40.0)
        gone = np.random.default_rng(seed).permutation(rows) < share * rows
        some = changed(others, rows, seed, bill=present.mask(gone))

        (bill,) = [each for each in model.compared(some) if each.watched.name == "bill"]
        assert bill.shares["missing"].now == share
        assert bill.shares["missing"].differs


def adopted(estimator: Estimator, task: Any, scored_by: Any = None) -> dict[Kind, list[str]]:  # noqa: ANN401
    """Give what is watched of an estimator that was fitted elsewhere, on a table with a gap."""
    table = penguins(60, seed=1)
    frame = table.frame[["flipper", "bill"]].assign(bill=lambda f: f["bill"].fillna(40.0))
    is_learnt = task in {"classification", "regression"}
    target = table.target if task == "classification" else frame[["bill"]]
    target = target if is_learnt else target.iloc[:, :0]
    types = {name: table.types[name] for name in frame}
    fitted = estimator.fit(frame, target.to_numpy().ravel() if is_learnt else None)
    gap = frame.assign(bill=frame["bill"].where(frame.index > 0))
    whole = Table(frame.iloc[1:].reset_index(drop=True), types, target.iloc[1:], task, ())
    metrics = score(fitted, whole, whole.frame, "some")
    asked = Asked(
        input="frame", batching="alone", scored_by=scored_by, scores_by_class=False, label_by=None
    )
    described = before_asking("x", fitted, Table(gap, types, target, task, ()), metrics)
    refusing = tuple(f.model_copy(update={"nullable": False}) for f in described.features)
    classes = tuple(fitted.classes_) if task == "classification" else None
    described = described.model_copy(
        update={"asked": asked, "features": refusing, "classes": classes}
    )
    evaluation = Evaluation(metrics, fitted, whole.frame, truth_of(whole))
    found = Findings(ask(described, fitted, whole.frame), importances=None)
    table = Table(gap, types, target, task, ())
    references = expected(fitted, described, table, evaluation, found)
    assert references is not None
    assert sum(references.features["flipper"].rows.values()) == 60
    assert sum(references.features["bill"].rows.values()) == 59
    assert all(sum(each.rows.values()) == 59 for each in references.predictions.values())
    return {
        Kind.PREDICTION: [*references.predictions],
        Kind.CONFIDENCE: [*references.confidence],
    }


def test_of_an_adopted_estimator_it_is_not_compared_what_it_may_know_by_heart() -> None:
    forest = ExtraTreesClassifier(5, random_state=0)

    assert adopted(forest, "classification", "predict_proba") == {
        Kind.PREDICTION: ["species"],
        Kind.CONFIDENCE: [],
    }
    assert adopted(RidgeCV(), "regression") == {Kind.PREDICTION: [], Kind.CONFIDENCE: []}


def test_rows_that_an_estimator_refuses_are_not_asked_for() -> None:
    found = adopted(KMeans(2, n_init=1, random_state=0), "clustering")
    assert found == {Kind.PREDICTION: [""], Kind.CONFIDENCE: []}

    forest = IsolationForest(n_estimators=5, random_state=0)
    found = adopted(forest, "outlier-detection", "decision_function")
    assert found == {Kind.PREDICTION: [""], Kind.CONFIDENCE: []}

"""Linear models in closed form: what is added up is what was answered, as brute force finds."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    RANSACRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDOneClassSVM,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    SplineTransformer,
    StandardScaler,
)
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeRegressor

from serving.explaining.attribution import Attribution, adds_up
from serving.explaining.linear import Linear
from serving.explaining.numbers import Outputs
from serving.model.description import Description
from serving.model.estimator import Estimator, FittedEstimator
from serving.model.features import Number, Row
from serving.model.outputs import Array
from tests.shapley import shapley
from tests.unit.training.compiling.compiled import described, fitted, flowers, mixed
from training.describing.describe import rows_of
from training.explaining.built import Built, CannotExplainError
from training.explaining.images import Images, images_of
from training.explaining.leaves import build as build_leaves
from training.explaining.linear import build
from training.table.table import Table, to_table

pytestmark = pytest.mark.usefixtures("quick")

BACKGROUND = 10
COUNT = 60


def name(value: object) -> str:
    """Name a parameter alike in each process."""
    return getattr(value, "__name__", str(value))


class Explained:
    """A fitted model, and its explanations in closed form."""

    def __init__(self, estimator: Estimator, description: Description, table: Table) -> None:
        """Keep what explains it."""
        self.model = FittedEstimator(estimator, description)
        self.outputs = Outputs(description)
        self.rows = rows_of(table)
        self.images = images_of(self.model, estimator, self.rows, np.random.default_rng(0))
        self.background = self.images.shown[-BACKGROUND:]  # with gaps, and unseen categories
        built = build(self.images, self.background, description)
        self.output, self.way = built.output, Linear(built.kept, description, lambda _: np.empty(0))
        assert built.background_rows == BACKGROUND

    def of(self, row: Row) -> Attribution:
        """Explain a row, and see that it adds up to what the model answers."""
        (prediction,) = self.model.predict([row])
        assert prediction is not None
        numbers = self.outputs.of_prediction(prediction)
        attribution = self.way.joined(row, numbers, ())
        assert adds_up(attribution, self.output, numbers)
        return attribution

    def raw(self, rows: Any) -> Array:  # noqa: ANN401 (a sequence of rows)
        """Give what is explained, before probabilities lose its digits."""
        part = self.images.part
        ask = getattr(part, "decision_function", part.predict)
        raw = np.asarray(ask(self.images.encoded(rows))).reshape(len(rows), -1)
        if self.output == "log-ratio":
            raw = raw - raw.mean(axis=1, keepdims=True)
        return np.hstack((-raw, raw)) if len(self.outputs.all) > raw.shape[1] else raw


def masses() -> Table:
    """Make a table for regressions: with gaps, categories and a column far from zero."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "time": 1.7e9 + rng.normal(0, 1e5, COUNT).round(),
            "bill": rng.normal(40, 5, COUNT).round(1),
            "island": rng.choice(["Dream", "Biscoe"], COUNT).astype(object),
            "male": rng.random(COUNT) < 0.5,
        }
    )
    frame["y"] = 3000 + 20 * frame["bill"] + 300 * frame["male"] + rng.normal(0, 50, COUNT)
    frame.loc[rng.random(COUNT) < 0.2, "bill"] = np.nan
    return to_table(frame, ["y"])


@pytest.mark.parametrize(
    ("estimator", "table", "output"),
    [
        (LogisticRegression(), mixed, "log-odds"),
        (LogisticRegression(), flowers, "log-ratio"),
        (LinearDiscriminantAnalysis(), flowers, "log-ratio"),
        (LinearSVC(), mixed, "score"),
        (RidgeClassifier(), flowers, "score"),
        (Ridge(), masses, "value"),
    ],
    ids=name,
)
def test_contributions_are_those_of_all_coalitions(
    estimator: Estimator, table: Callable[[], Table], output: str
) -> None:
    explained = Explained(*fitted(clone(estimator), table()), table())
    assert explained.output == output
    far = tuple(
        f.bounds.maximum if isinstance(f, Number) else f.example
        for f in explained.model.description.features
    )
    for row in (*explained.images.shown[::6], far):
        explained.of(row)
    for row in (explained.rows[0], *explained.images.shown[-3:]):
        attribution = explained.of(row)
        base, contributions = shapley(explained.raw, row, explained.background)
        size = 1 + np.abs(contributions).sum()
        assert attribution.base == pytest.approx(base, rel=1e-9, abs=1e-9 * size)
        assert attribution.contributions == pytest.approx(contributions, rel=1e-9, abs=1e-9 * size)


def test_a_column_that_the_model_ignores_adds_exactly_nothing() -> None:
    table = masses()
    kept = make_column_transformer((StandardScaler(), [0, 3]))  # neither bill nor island
    estimator, description = described(make_pipeline(kept, Lasso(alpha=100)), table)
    assert (estimator[-1].coef_ != 0).tolist() == [False, True]
    explained = Explained(estimator, description, table)
    for row in explained.images.shown[::6]:
        contributions = explained.of(row).contributions
        assert (contributions[:3] == 0).all()
        assert contributions[3] != 0


@pytest.mark.parametrize(
    "estimator",
    [
        RANSACRegressor(random_state=0),
        TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
    ],
    ids=str,
)
def test_what_is_linear_is_found_whatever_it_calls_its_weights(estimator: Estimator) -> None:
    explained = Explained(*fitted(clone(estimator), masses()), masses())
    for row in explained.images.shown[::6]:
        explained.of(row)


def test_each_of_several_targets_has_its_own() -> None:
    table = flowers()
    frame = table.frame.assign(one=table.frame.sum(axis=1), other=table.frame.prod(axis=1))
    table = to_table(frame, ["one", "other"])
    explained = Explained(*fitted(LinearRegression(), table), table)
    assert explained.of(explained.rows[0]).contributions.shape == (4, 2)


def test_scores_of_outliers_are_explained() -> None:
    table = to_table(flowers().frame, [], task="outlier-detection")
    explained = Explained(*fitted(SGDOneClassSVM(random_state=0), table), table)
    assert explained.output == "score"
    assert explained.of(explained.rows[0]).contributions.shape == (4, 1)


@pytest.mark.parametrize(
    ("estimator", "table", "why"),
    [
        (SGDClassifier(loss="log_loss", random_state=0), flowers, "no softmax of weighted sums"),
        (PoissonRegressor(), masses, "PoissonRegressor is no weighted sum"),
        (KNeighborsClassifier(), flowers, "KNeighborsClassifier is no weighted sum"),
        (RandomForestClassifier(3, random_state=0), mixed, "is no weighted sum"),
    ],
    ids=name,
)
def test_what_is_no_weighted_sum_is_told(
    estimator: Estimator, table: Callable[[], Table], why: str
) -> None:
    with pytest.raises(CannotExplainError, match=why):
        Explained(*fitted(clone(estimator), table()), table())


@pytest.mark.parametrize("scaler", [SplineTransformer(), MinMaxScaler(clip=True)], ids=str)
def test_a_number_of_which_no_line_is_made_is_told(scaler: Estimator) -> None:
    estimator = make_pipeline(clone(scaler), LogisticRegression())
    with pytest.raises(CannotExplainError, match=r"what is made of 'sepal.*' is no line"):
        Explained(*described(estimator, flowers()), flowers())


def test_a_step_is_no_line_though_the_table_has_but_two_numbers() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.integers(0, 2, COUNT) * 1.0, "z": rng.integers(0, 2, COUNT)})
    table = to_table(frame.assign(y=3 * frame["x"] + rng.normal(size=COUNT)), ["y"])
    with pytest.raises(CannotExplainError, match="no weighted sum"):
        Explained(*fitted(DecisionTreeRegressor(max_depth=1), table), table)


@pytest.mark.parametrize(
    ("last", "keep"),
    [(Ridge(), build), (DecisionTreeRegressor(), build_leaves)],
    ids=["line", "tree"],
)
def test_many_columns_are_asked_for_together(
    last: Estimator, keep: Callable[[Images, list[Row], Description], Built]
) -> None:
    asked = []

    def seen(matrix: Array) -> Array:
        asked.append(len(matrix))
        return matrix

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(80, 30))).add_prefix("c")
    table = to_table(frame.assign(y=rng.normal(size=80)), ["y"])
    estimator, description = described(make_pipeline(FunctionTransformer(seen), last), table)
    rows = rows_of(table)
    asked.clear()
    images = images_of(FittedEstimator(estimator, description), estimator, rows, rng)
    keep(images, rows, description)
    assert len(asked) < 2 * len(images.all)  # as each time all columns are filled

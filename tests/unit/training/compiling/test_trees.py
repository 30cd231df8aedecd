"""Trees, and what is made of several, compiled bit for bit; and what else is compiled."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tests.unit.training.compiling.compiled import (
    SPECIES,
    Estimator,
    assert_alike,
    compiled,
    fitted,
    flowers,
    others,
    patients,
    served,
)
from training.compiling import tree

TREES = (
    DecisionTreeClassifier(random_state=0),
    RandomForestClassifier(10, random_state=0),
    ExtraTreesClassifier(10, random_state=0),
    RandomForestClassifier(2, max_depth=2, random_state=0),  # votes are tied often
)
CLASSIFIERS = (
    *TREES,
    BaggingClassifier(random_state=0),
    LogisticRegression(),
    GaussianNB(),
    GradientBoostingClassifier(n_estimators=10, random_state=0),
    HistGradientBoostingClassifier(max_iter=10, random_state=0),
    MLPClassifier((5,), max_iter=50, random_state=0),
)
EXACT_REGRESSORS = (
    DecisionTreeRegressor(random_state=0),
    RandomForestRegressor(10, random_state=0),
    ExtraTreesRegressor(10, random_state=0),
    GradientBoostingRegressor(n_estimators=10, random_state=0),
    HistGradientBoostingRegressor(max_iter=10, random_state=0),
)
REGRESSORS = (
    *EXACT_REGRESSORS,
    LinearRegression(),
    Ridge(),
    PoissonRegressor(),
    HistGradientBoostingRegressor(loss="poisson", max_iter=10, random_state=0),
)


def quick_among(estimators: Sequence[Estimator], quick: type) -> list[Any]:
    """Give estimators as parameters, of which only those of one kind are not slow."""
    return [
        pytest.param(e, id=str(e), marks=[] if type(e) is quick else [pytest.mark.slow])
        for e in estimators
    ]


@pytest.mark.parametrize("labels", [SPECIES, SPECIES == "virginica"], ids=["three", "two"])
@pytest.mark.parametrize("estimator", quick_among(CLASSIFIERS, LogisticRegression))
def test_a_compiled_classifier_gives_the_same_answers(
    estimator: Estimator, labels: np.ndarray
) -> None:
    table = flowers(labels)
    estimator, description = fitted(clone(estimator), table)
    model, proof = served(estimator, description, table)
    assert proof.exact == isinstance(estimator[-1], tuple(map(type, TREES)))
    assert_alike(model, estimator, others(description, estimator, table))


@pytest.mark.parametrize("estimator", quick_among(REGRESSORS, DecisionTreeRegressor))
def test_a_compiled_regressor_gives_the_same_answers(estimator: Estimator) -> None:
    is_exact = any(estimator is other for other in EXACT_REGRESSORS)
    table = patients()
    estimator, description = fitted(clone(estimator), table)
    model, proof = served(estimator, description, table)
    assert proof.exact == is_exact
    assert_alike(model, estimator, others(description, estimator, table))


def test_a_forest_that_is_too_large_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_LEAVES", 10)
    table = flowers()
    estimator, description = fitted(RandomForestClassifier(10, random_state=0), table)
    told, _ = compiled(estimator, description, table)
    assert isinstance(told, str)
    assert re.fullmatch("it has .* leaves, more than 10", told)

"""What estimators give for a row, one number or several, is found out by asking."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostRanker, CatBoostRegressor
from lightgbm import LGBMRanker
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBRanker, XGBRegressor

from serving.model.description import Task
from training.describing.answers import target_names, task_by_answers
from training.table.table import to_table

Estimator = Any  # scikit-learn has no type for it
RNG = np.random.default_rng(0)
HOUSES = pd.DataFrame(RNG.normal(size=(60, 2)), columns=["size", "age"])
PRICES = HOUSES["size"] * 2 + RNG.normal(size=60)
RANKS = (PRICES > 0).astype(int)
FEW: dict[str, Any] = {"n_estimators": 3}
QUIET: dict[str, Any] = {"verbose": 0, "allow_writing_files": False}
LEVELS = [0.1, 0.5, 0.9]


class Pair(BaseEstimator):
    """Gives two numbers of which nothing is told."""

    def predict(self, rows: Any) -> Any:  # noqa: ANN401, D102 (as scikit-learn's)
        return np.zeros((len(rows), 2))


@pytest.mark.parametrize(
    ("estimator", "task"),
    [
        (LGBMRanker(**FEW, verbose=-1).fit(HOUSES, RANKS, group=[30, 30]), "regression"),
        (XGBRanker(**FEW).fit(HOUSES, RANKS, qid=[0] * 30 + [1] * 30), "regression"),
        (CatBoostRanker(**FEW, **QUIET).fit(HOUSES, RANKS, group_id=[0] * 60), "regression"),
        (Pair(), "regression"),
        (KMeans(2, n_init=1).fit(HOUSES), None),
        (LogisticRegression().fit(HOUSES, PRICES > 0), None),
    ],
    ids=lambda given: type(given).__name__,
)
def test_who_gives_numbers_and_knows_no_classes_is_a_regressor(
    estimator: Estimator, task: Task | None
) -> None:
    assert task_by_answers(estimator, HOUSES) == task


@pytest.mark.parametrize(
    ("estimator", "names"),
    [
        (LinearRegression().fit(HOUSES, PRICES), ["price"]),
        (
            make_pipeline(
                StandardScaler(),
                XGBRegressor(**FEW, objective="reg:quantileerror", quantile_alpha=LEVELS),
            ).fit(HOUSES, PRICES),
            ["price at 0.1", "price at 0.5", "price at 0.9"],
        ),
        (
            CatBoostRegressor(**FEW, **QUIET, loss_function="MultiQuantile:alpha=0.1, 0.9").fit(
                HOUSES, PRICES
            ),
            ["price at 0.1", "price at 0.9"],
        ),
        (Pair(), ["price0", "price1"]),
    ],
    ids=lambda given: type(given).__name__,
)
def test_several_numbers_for_one_target_are_told_apart(
    estimator: Estimator, names: list[str]
) -> None:
    table = to_table(HOUSES.assign(price=PRICES), ["price"])
    assert list(target_names(estimator, table)) == names

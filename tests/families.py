"""Estimators of other libraries, fitted on frames as their users fit them, on six small tables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from catboost import CatBoostClassifier, CatBoostRegressor
from imblearn.ensemble import BalancedRandomForestClassifier
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_sampled
from interpret.glassbox import (
    ExplainableBoostingClassifier,
    ExplainableBoostingRegressor,
)
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from skrub import TableVectorizer
from xgboost import XGBClassifier, XGBRegressor

from serving.model.wrapped import CodedLabels

Estimator = Any  # scikit-learn has no type for it
ROWS = 2000
FITTED = 400
FEWER = 8  # rows that are probed, rather than hundreds
SOME = 200  # of the table, in each form; all are compared with what is served
FEW: dict[str, Any] = {"n_estimators": 8, "random_state": 0}
SMALL: dict[str, Any] = {"max_rounds": 10, "outer_bags": 1, "interactions": 2, "n_jobs": 1}


@dataclass(frozen=True, slots=True)
class Small:
    """A table of two thousand rows: the first are fitted on, and all are asked."""

    frame: pd.DataFrame
    target: pd.Series

    @property
    def texts(self) -> list[str]:
        """Name the columns of texts."""
        return list(self.frame.select_dtypes(exclude=["number", "bool"]))

    @property
    def with_categories(self) -> pd.DataFrame:
        """Give texts as pandas' categories, as LightGBM and XGBoost want them."""
        return self.frame.astype(dict.fromkeys(self.texts, "category"))


def tables() -> dict[str, Small]:
    """Make the tables."""
    rng = np.random.default_rng(0)
    size, age = rng.normal(60, 20, ROWS).round(1), rng.exponential(30, ROWS)
    numbers = pd.DataFrame({"size": size, "age": age, "rooms": rng.integers(1, 7, ROWS)})
    price = pd.Series(size * 3 - age + rng.normal(0, 9, ROWS), name="y")
    dear = (price > price.median()).astype(int)
    town = rng.choice(["Bari", "Como", "Lodi", "Pisa"], ROWS).astype(object)
    kind = np.where(rng.random(ROWS) < 0.4, "flat", "house").astype(object)
    moved = price + 40 * (town == "Bari") - 30 * (kind == "flat")
    gaps = numbers.astype({"rooms": float}).mask(rng.random((ROWS, 3)) < 0.1)
    flags = {"lift": rng.random(ROWS) < 0.5, "garden": rng.random(ROWS) < 0.3}
    raised = price + 60 * flags["garden"]
    thirds = pd.qcut(price, 3, labels=False).rename("y")
    return {
        "strings": Small(
            numbers.assign(town=town, kind=kind), (moved > moved.median()).astype(int)
        ),
        "missing": Small(gaps, dear),
        "booleans": Small(numbers.assign(**flags), (raised > raised.median()).astype(int)),
        "string labels": Small(numbers, dear.map({0: "cheap", 1: "dear"}).astype(object)),
        "regression": Small(numbers, price),
        "three classes": Small(numbers, thirds),
    }


def is_regression(table: Small) -> bool:
    """Tell whether numbers are to be predicted."""
    return bool(pd.api.types.is_float_dtype(table.target))


def _xgboost(table: Small) -> tuple[Estimator, pd.DataFrame]:
    kind: Any = XGBRegressor if is_regression(table) else XGBClassifier
    booster = kind(**FEW, n_jobs=1, enable_categorical=True)
    are_codes = pd.api.types.is_integer_dtype(table.target)
    coded = CodedLabels(booster) if not (are_codes or is_regression(table)) else booster
    return coded, table.with_categories


def _lightgbm(table: Small) -> tuple[Estimator, pd.DataFrame]:
    kind: Any = LGBMRegressor if is_regression(table) else LGBMClassifier
    return kind(**FEW, n_jobs=1, verbose=-1), table.with_categories


def _catboost(table: Small) -> tuple[Estimator, pd.DataFrame]:
    kind: Any = CatBoostRegressor if is_regression(table) else CatBoostClassifier
    quiet: dict[str, Any] = {"verbose": 0, "allow_writing_files": False, "thread_count": 1}
    return kind(**FEW, **quiet, cat_features=table.texts), table.frame


def _imblearn(table: Small) -> tuple[Estimator, pd.DataFrame]:
    if table.frame.isna().any(axis=None) or table.texts:
        prepare = make_column_transformer(
            (OneHotEncoder(), table.texts),
            remainder=make_pipeline(SimpleImputer(), StandardScaler()),
        )
        sampler = RandomOverSampler(random_state=0)
        return make_sampled(prepare, sampler, LogisticRegression()), table.frame
    return BalancedRandomForestClassifier(**FEW, n_jobs=1), table.frame


def _skrub(table: Small) -> tuple[Estimator, pd.DataFrame]:
    # It gives floats: linear models add them up otherwise for a row alone, and trees don't.
    kind = DecisionTreeRegressor if is_regression(table) else DecisionTreeClassifier
    return make_pipeline(TableVectorizer(), kind(max_depth=4, random_state=0)), table.frame


def _interpret(table: Small) -> tuple[Estimator, pd.DataFrame]:
    kind = ExplainableBoostingRegressor if is_regression(table) else ExplainableBoostingClassifier
    return kind(**SMALL), table.frame


# Each gives an estimator, and the table's features as its users have them.
FAMILIES: Mapping[str, Callable[[Small], tuple[Estimator, pd.DataFrame]]] = {
    "XGBoost": _xgboost,
    "LightGBM": _lightgbm,
    "CatBoost": _catboost,
    "imblearn": _imblearn,  # which has no regressors
    "skrub": _skrub,
    "EBM": _interpret,
}


def ask_less(patch: Callable[[Any, str, Any], object]) -> None:
    """Leave out of an adoption what is not about answers, and probe few rows; by ``setattr``.

    The estimator is not loaded in other processes: which packages it needs, other tests look at.
    """
    # Not imported at the top: bentoml warns, and what is to be let pass is not yet known there.
    from training import publish
    from training.card import findings
    from training.compiling import hostile, proof, shortcut
    from training.describing import batches, boundary, probe
    from training.describing.packages import Needed

    patch(publish, "needed_by", lambda *_: Needed((), ()))
    patch(publish, "card", lambda *_: "a card")
    patch(findings, "importances_of", lambda *_: None)
    patch(probe, "MAX_PROBED_ROWS", 2 * FEWER)
    patch(batches, "MAX_MIXED_ROWS", FEWER)
    patch(boundary, "MAX_BOUNDARIES", FEWER // 2)
    patch(shortcut, "MAX_IN_PARTS", FEWER)
    patch(probe, "MAX_COMPARED_ROWS", SOME)
    for room in (hostile, proof, shortcut):
        patch(room, "MAX_ROWS", SOME)

"""LightGBM compiled: what it adds up alike bit for bit, wherever a row falls."""

from typing import Any

import numpy as np
import pytest
from lightgbm import Booster, LGBMClassifier, LGBMModel, LGBMRegressor
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from serving.model.lightgbm_file import BoosterRegressor
from serving.model.wrapped import CodedLabels
from tests.unit.samples import asked, description, number
from tests.unit.training.compiling.boosted import (
    CODES,
    ODD,
    adopted,
    assert_same,
    boxes,
    graph_of,
    hostile_rows,
    rows,
)
from tests.unit.training.compiling.compiled import assert_alike, described, mixed, others, served
from training.compiling import tree
from training.compiling.conversion import convert
from training.compiling.graph import CannotConvertError

FEW: dict[str, Any] = {"n_estimators": 12, "num_leaves": 16, "verbose": -1, "n_jobs": 1}
FEW |= {"min_data_per_group": 5, "cat_smooth": 1}  # or few rows are never split by categories
FOREST = {"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1}


def own_objective(truth: np.ndarray, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return raw - truth, np.ones_like(truth)


CLASSIFIERS: list[tuple[int, dict[str, Any]]] = [
    (2, {}),
    (2, {"sigmoid": 0.7}),
    (2, {"objective": "cross_entropy"}),
    (2, FOREST),
    (2, {"boosting_type": "dart"}),
    (2, {"zero_as_missing": True}),
    (3, {}),
    (3, {"objective": "multiclassova", "sigmoid": 2.0}),
    (3, FOREST),
]
EXACT: list[dict[str, Any]] = [
    {},
    {"zero_as_missing": True},
    {"use_missing": False},
    {"max_cat_to_onehot": 100},
    {"min_child_samples": 10_000},  # of one leaf each
    {"objective": own_objective},
    {"reg_sqrt": True},
    FOREST,
    *({"objective": name} for name in ("regression_l1", "huber", "fair", "quantile", "mape")),
]
ROUNDING = 1e-15  # of the exponential
LINKED = ("poisson", "gamma", "tweedie", "cross_entropy", "cross_entropy_lambda")


def splits_of(model: LGBMModel) -> dict[int, list[float]]:
    """Give the numbers by which a model's trees split each feature."""
    told = model.booster_.trees_to_dataframe().dropna(subset="split_feature")
    numbers = told[told["decision_type"] == "<="]
    at = numbers["split_feature"].str.removeprefix("Column_").astype(int)
    return {key: group.astype(float).tolist() for key, group in numbers["threshold"].groupby(at)}


def assert_alike_at_splits(model: LGBMModel, table: np.ndarray, tolerance: float = 0.0) -> None:
    """Compare a model with its graph where it splits, next to that, and far off."""
    odd = (*ODD, np.inf, -np.inf)
    assert_same(model, table.shape[1], hostile_rows(table, splits_of(model), odd), tolerance)


@pytest.mark.parametrize("codes", [CODES, ()], ids=["categories", "numbers"])
@pytest.mark.parametrize(("classes", "params"), CLASSIFIERS, ids=str)
def test_a_classifier_gives_the_same_probabilities_and_labels(
    classes: int, params: dict[str, Any], codes: tuple[int, ...]
) -> None:
    table, value = rows()
    labels = np.digitize(value, [2.0] if classes == 2 else [1.0, 2.5])
    model = LGBMClassifier(**FEW, **params).fit(table, labels, categorical_feature=codes)
    assert_alike_at_splits(model, table, ROUNDING)


@pytest.mark.parametrize("params", EXACT, ids=", ".join)
def test_a_regressor_gives_the_same_numbers_bit_for_bit(params: dict[str, Any]) -> None:
    table, value = rows()
    model = LGBMRegressor(**FEW, **params).fit(table, np.abs(value), categorical_feature=CODES)
    assert_alike_at_splits(model, table)


@pytest.mark.parametrize("objective", LINKED)
def test_a_regressor_with_a_link_gives_the_same_numbers(objective: str) -> None:
    table, value = rows()
    learnt = (value > 2).astype(float) if "cross" in objective else np.abs(value) + 1 + 1
    model = LGBMRegressor(**FEW, objective=objective).fit(table, learnt, categorical_feature=CODES)
    assert_alike_at_splits(model, table, ROUNDING)


def test_only_trees_up_to_the_best_iteration_are_compiled() -> None:
    table, value = rows()
    model = LGBMRegressor(**FEW).fit(table, value)
    every = model.predict(table)
    model.booster_.best_iteration = 5
    assert (model.predict(table) != every).all()
    assert_alike_at_splits(model, table)


def test_a_booster_of_a_file_is_compiled() -> None:
    table, value = rows()
    booster = LGBMRegressor(**FEW).fit(table, value).booster_
    assert_same(BoosterRegressor(booster), table.shape[1], hostile_rows(table, {}))


def test_a_class_that_may_answer_otherwise_is_not_compiled() -> None:
    class Floored(LGBMRegressor):
        def predict(self, table: np.ndarray) -> np.ndarray:
            return np.asarray(super().predict(table)).clip(-1e6)  # which no row tells

    class Holder(RegressorMixin, BaseEstimator):
        def __init__(self, booster: Booster) -> None:
            self.booster = booster

        def predict(self, table: np.ndarray) -> np.ndarray:
            return np.asarray(self.booster.predict(table)).clip(-1e6)

    table, value = rows()
    floored = Floored(**FEW).fit(table, value)
    for model in (floored, Holder(floored.booster_)):
        reason = f"^{type(model).__name__} has no counterpart in ONNX$"
        with pytest.raises(CannotConvertError, match=reason):
            graph_of(model, table.shape[1])


@pytest.mark.parametrize(
    ("kind", "params", "reason"),
    [
        (LGBMRegressor, {"linear_tree": True}, "its leaves are linear models"),
        (LGBMClassifier, {"pred_early_stop": True}, "it stops early when it predicts"),
        (LGBMClassifier, {"objective": own_objective}, "its objective is a function of your own"),
    ],
)
def test_what_is_not_converted_is_told(
    kind: type[LGBMModel], params: dict[str, Any], reason: str
) -> None:
    table, value = rows()
    model = kind(**FEW, **params).fit(table, (value > 2).astype(int))
    with pytest.raises(CannotConvertError, match=f"^{reason}$"):
        graph_of(model, table.shape[1])


def test_an_objective_that_is_not_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    table, value = rows()
    model = LGBMRegressor(**FEW).fit(table, value)
    text = model.booster_.model_to_string().replace("objective=regression", "objective=newest")
    monkeypatch.setattr(type(model.booster_), "model_to_string", lambda *_: text)
    with pytest.raises(CannotConvertError, match=r"^its objective is newest$"):
        graph_of(model, table.shape[1])


def test_too_many_categories_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_TABLE", 1000)
    table, value = rows()
    model = LGBMRegressor(**FEW).fit(table, value, categorical_feature=[3])
    with pytest.raises(CannotConvertError, match=r"^its trees split by too many categories$"):
        graph_of(model, table.shape[1])


def test_categories_of_a_frame_are_looked_up() -> None:
    raw = boxes()
    categories = ["colour", "code", "ripe"]
    frame = raw.drop(columns="y").astype(dict.fromkeys(categories, "category"))
    booster = LGBMClassifier(**FEW, min_child_samples=2)
    estimator = CodedLabels(booster).fit(frame, raw["y"])
    table, told = adopted(estimator, raw)
    assert told.asked.input in {"frame", "categorical-frame"}
    model, _ = served(estimator, told, table)
    assert_alike(model, estimator, others(told, estimator, table))


def test_an_array_has_codes_for_the_categories_of_a_frame() -> None:
    raw = boxes()[["length", "width", "y"]].assign(dark=boxes()["colour"] == "red")
    frame = raw.drop(columns="y").astype({"dark": "category"})
    estimator = LGBMClassifier(**FEW, min_child_samples=2).fit(frame, raw["y"])
    table, told = adopted(estimator, raw)
    assert told.asked.input == "array"
    model, _ = served(estimator, told, table)
    assert_alike(model, estimator, others(told, estimator, table))


def test_categories_that_a_step_makes_are_told() -> None:
    raw = boxes()
    frame = raw.drop(columns="y").astype({"colour": "category", "ripe": float})
    booster = LGBMClassifier(**FEW, min_child_samples=2).fit(frame, raw["y"])
    told = description(features=tuple(map(number, frame.columns)), asked=asked(input="frame"))
    with pytest.raises(CannotConvertError, match=r"^it takes categories that are not those of"):
        convert(booster, told, [])


def test_what_encodes_categories_may_stand_before_it() -> None:
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    columns = ColumnTransformer([("words", encoder, [3])], remainder="passthrough")
    booster = LGBMClassifier(**FEW, min_child_samples=2)
    estimator, told = described(make_pipeline(columns, booster), mixed())
    model, _ = served(estimator, told, mixed())
    assert_alike(model, estimator, others(told, estimator, mixed()))

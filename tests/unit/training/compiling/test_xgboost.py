"""XGBoost compiled: alike bit for bit, in floats and in its order, wherever a row falls."""

import json
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from xgboost import XGBClassifier, XGBModel, XGBRegressor, XGBRFClassifier

from serving.model.wrapped import CodedLabels
from tests.unit.training.compiling.boosted import (
    ODD,
    adopted,
    assert_same,
    boxes,
    graph_of,
    hostile_rows,
    rows,
)
from tests.unit.training.compiling.compiled import (
    assert_alike,
    compiled,
    described,
    flowers,
    others,
    served,
)
from training.compiling import xgboost
from training.compiling.graph import CannotConvertError

FEW: dict[str, Any] = {"n_estimators": 12, "max_depth": 5, "n_jobs": 1}
CATEGORIES = {"enable_categorical": True, "feature_types": ["q", "c", "q", "c", "q"]}
DROPPED = {"booster": "dart", "rate_drop": 0.3, "one_drop": 1}

CLASSIFIERS: list[tuple[type[XGBModel], dict[str, Any]]] = [
    (XGBClassifier, {}),
    (XGBClassifier, CATEGORIES),
    (XGBClassifier, DROPPED),
    (XGBClassifier, {"num_parallel_tree": 3, "subsample": 0.5}),
    (XGBClassifier, {"tree_method": "exact", "gamma": 1.0}),  # with nodes that were cut off
    (XGBRFClassifier, {}),
]
OBJECTIVES = (
    *("count:poisson", "reg:gamma", "reg:tweedie", "reg:logistic", "reg:squaredlogerror"),
    *("reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror", "survival:cox"),
)
REGRESSORS: list[dict[str, Any]] = [
    {},
    CATEGORIES | {"max_cat_to_onehot": 100},
    CATEGORIES | {"missing": 0.0},
    CATEGORIES | DROPPED,
    {"missing": -999.0},
    {"base_score": 0.3},
    *({"objective": name, "quantile_alpha": 0.3} for name in OBJECTIVES),
]


def splits_of(model: XGBModel) -> dict[int, list[float]]:
    """Give the numbers by which a model's trees split each feature, and those between floats."""
    booster = json.loads(model.get_booster().save_raw("json"))["learner"]["gradient_booster"]
    found: dict[int, list[float]] = defaultdict(list)
    for tree in booster.get("gbtree", booster)["model"]["trees"]:
        columns = ("split_indices", "split_conditions", "left_children", "split_type")
        for feature, split, left, kind in zip(*(tree[name] for name in columns), strict=True):
            if left >= 0 and kind == 0:
                split = np.float32(split)
                near = [np.nextafter(split, np.float32(way)) for way in (-np.inf, np.inf)]
                found[feature] += [float(split), *(float(split) / 2 + float(n) / 2 for n in near)]
    return found


def assert_alike_at_splits(model: XGBModel, table: np.ndarray) -> None:
    """Compare a model with its graph where it splits, next to that, and far off."""
    odd = (*ODD, -999.0, 7e-46, 3.5e38, 1e300, -1e300, np.inf, -np.inf)
    assert_same(model, table.shape[1], hostile_rows(table, splits_of(model), odd))


@pytest.mark.parametrize("cuts", [[2.0], [1.0, 2.5]], ids=["two", "three"])
@pytest.mark.parametrize(("kind", "params"), CLASSIFIERS, ids=str)
def test_a_classifier_gives_the_same_probabilities_and_labels(
    kind: type[XGBModel], params: dict[str, Any], cuts: list[float]
) -> None:
    table, value = rows()
    model = kind(**FEW, **params).fit(table, np.digitize(value, cuts))
    assert_alike_at_splits(model, table)


@pytest.mark.parametrize("objective", ["binary:hinge", "binary:logitraw"])
def test_what_gives_no_probability_gives_the_same(objective: str) -> None:
    table, value = rows()
    model = XGBClassifier(**FEW, objective=objective).fit(table, (value > 2).astype(int))
    assert_alike_at_splits(model, table)


@pytest.mark.parametrize("params", REGRESSORS, ids=str)
def test_a_regressor_gives_the_same_numbers(params: dict[str, Any]) -> None:
    table, value = rows()
    learnt = (value > 2) if params.get("objective") == "reg:logistic" else np.abs(value) + 1
    assert_alike_at_splits(XGBRegressor(**FEW, **params).fit(table, learnt), table)


def test_only_trees_up_to_the_best_iteration_are_compiled() -> None:
    table, value = rows()
    other = value + np.random.default_rng(3).normal(0, 3, len(value))
    model = XGBRegressor(**FEW | {"n_estimators": 200}, early_stopping_rounds=3)
    model.fit(table, value, eval_set=[(table, other)], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    assert_alike_at_splits(model, table)


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"booster": "gblinear"}, "its booster is gblinear, which has no trees"),
        ({"multi_strategy": "multi_output_tree"}, "its trees have several targets"),
    ],
)
def test_what_is_not_converted_is_told(params: dict[str, Any], reason: str) -> None:
    table, value = rows()
    learnt = np.column_stack([value, -value]) if "multi_strategy" in params else value
    model = XGBRegressor(**FEW, **params).fit(table, learnt)
    with pytest.raises(CannotConvertError, match=f"^{reason}$"):
        graph_of(model, table.shape[1])


def test_an_objective_that_is_not_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    table, value = rows()
    model = XGBRegressor(**FEW).fit(table, value)
    booster = model.get_booster()
    text = bytes(booster.save_raw("json")).replace(b"squarederror", b"newest")
    monkeypatch.setattr(xgboost, "_base_margin", lambda _: np.zeros(1))
    monkeypatch.setattr(type(booster), "save_raw", lambda *_: text)
    with pytest.raises(CannotConvertError, match=r"^its objective is reg:newest$"):
        graph_of(model, table.shape[1])


def test_what_rounds_otherwise_is_compiled_if_the_tolerance_allows_it() -> None:
    table = flowers()
    booster = XGBClassifier(**FEW, objective="multi:softmax")  # probabilities are not XGBoost's own
    estimator, description = described(CodedLabels(booster), table)
    told, _ = compiled(estimator, description, table)
    assert isinstance(told, str)
    assert told.startswith("its numbers differ by ")
    proof, graph = compiled(estimator, description, table, tolerance=1e-6)
    assert not isinstance(proof, str)
    assert 0 < proof.largest_difference < 1e-6
    assert graph is not None


def test_categories_of_a_frame_are_looked_up() -> None:
    raw = boxes().replace({"colour": {"blue": "grün"}})
    categories = ["colour", "code"]
    frame = raw.drop(columns="y").astype(dict.fromkeys(categories, "category"))
    frame["ripe"] = frame["ripe"].astype(float)
    booster = XGBClassifier(**FEW, enable_categorical=True)
    estimator = CodedLabels(booster).fit(frame, raw["y"])
    table, description = adopted(estimator, raw)
    assert list(description.asked.dtypes) == categories
    assert next(f for f in description.features if f.name == "colour").nullable
    model, proof = served(estimator, description, table)
    assert proof.exact
    assert_alike(model, estimator, others(description, estimator, table))

"""Ten small tables, and eight estimators that are fitted on each, for tests of explanations.

Each kind of column is in one. Of the last two tables, and what is fitted on them, it is known what
explanations have to be like, whatever the estimator is.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, SVR
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from serving.model.description import (
    Asked,
    Description,
    ExplainedOutput,
    Metrics,
    ScoringMethod,
    Task,
)
from serving.model.domains import Interval
from serving.model.estimator import FittedEstimator, to_array
from serving.model.features import Category, Feature, Number, Row, Value
from serving.model.outputs import Array
from training.describing.describe import before_asking, rows_of
from training.fitting.evaluation import truth_of
from training.fitting.pipeline import build_pipeline
from training.table.columns import FeatureType
from training.table.table import Table

Estimator = Any  # scikit-learn has no type for it
Numbers: TypeAlias = Callable[[Sequence[Row]], Array]  # of rows, of shape (rows, outputs)
METRICS = Metrics(split="none", values={}, dummy={})
ROWS = 60  # not more than an explanation compares with, so that it compares with all
FAR = 5.0  # times what is largest in a table
KINDS: dict[str, FeatureType] = {"f": "number", "i": "integer", "b": "boolean", "O": "category"}
FEW: Mapping[str, Any] = {"n_estimators": 8, "random_state": 0}

CLASSIFIERS: Mapping[str, Estimator] = {
    "linear": LogisticRegression(),
    "ridge": RidgeClassifier(),
    "forest": RandomForestClassifier(**FEW),
    "extra trees": ExtraTreesClassifier(**FEW),
    "boosting": GradientBoostingClassifier(**FEW),
    "histogram boosting": HistGradientBoostingClassifier(max_iter=8, min_samples_leaf=5),
    "support vectors": SVC(),
    "neighbours": KNeighborsClassifier(),
}
REGRESSORS: Mapping[str, Estimator] = {
    "linear": LinearRegression(),
    "ridge": Ridge(),
    "forest": RandomForestRegressor(**FEW),
    "extra trees": ExtraTreesRegressor(**FEW),
    "boosting": GradientBoostingRegressor(**FEW),
    "histogram boosting": HistGradientBoostingRegressor(max_iter=8, min_samples_leaf=5),
    "support vectors": SVR(),
    "neighbours": KNeighborsRegressor(),
}


def tables() -> dict[str, Table]:
    """Make the tables."""
    rng = np.random.default_rng(0)
    numbers = frame_of(rng.normal(5, 2, (ROWS, 8)))
    whole = frame_of(rng.integers(-3, 9, (ROWS, 4)))
    whole["c3"] *= 10**12
    flags = frame_of(rng.random((ROWS, 4)) < 0.4)
    words = {
        "town": rng.choice(["Bari", "Como", "Lodi", "Pisa"], ROWS, p=[0.5, 0.3, 0.17, 0.03]),
        "kind": np.where(rng.random(ROWS) < 0.4, "flat", "house"),
    }
    strings = numbers[["c0", "c1"]].assign(**words).astype(dict.fromkeys(words, object))
    mixed = strings.assign(rooms=whole["c0"], lift=flags["c0"])
    score = 10.0 * (strings["town"] == "Bari") + numbers["c0"] * (1 + (strings["kind"] == "flat"))
    price = score + mixed["rooms"] * mixed["lift"]
    gaps = numbers[["c0", "c1"]].assign(rooms=whole["c0"].astype(float), lift=flags["c0"])
    gaps["lift"] = gaps["lift"].astype(float)
    gaps = gaps.mask(rng.random(gaps.shape) < 0.15)
    gapped = strings.assign(town=strings["town"].mask(rng.random(ROWS) < 0.1))
    gap_types: Mapping[str, FeatureType] = {"rooms": "integer", "lift": "boolean"}
    dear = gaps["c0"].fillna(7) + 3 * gaps["lift"].fillna(1) + gaps["rooms"].fillna(5) > 9
    many = numbers[["c0", "c1", "c2"]]
    wide = frame_of(rng.normal(size=(ROWS, 60)))
    flat = numbers[["c0", "c1", "c2", "c3"]].assign(always=1.5)
    half = rng.normal(size=(ROWS // 2, 3))
    mirrored = frame_of(np.concatenate([half, half[:, [1, 0, 2]]]))
    circle = (mirrored["c0"] + mirrored["c1"]) * mirrored["c2"] + mirrored["c0"] * mirrored["c1"]
    return {
        "numbers": table_of(numbers, pd.qcut(curve(numbers), 3, labels=["low", "mid", "top"])),
        "gaps": table_of(gaps, np.where(dear, "dear", "cheap"), gap_types),
        "categories": table_of(gapped, score > score.median()),
        "booleans": table_of(flags.assign(size=numbers["c0"]), flags.sum(axis=1) % 2 == 0),
        "whole numbers": table_of(whole, (whole["c0"] * whole["c1"] > whole["c2"]).astype(int)),
        "many classes": table_of(many, pd.qcut(curve(many), 7, labels=list("abcdefg"))),
        "regression": table_of(mixed, price),
        "sixty columns": table_of(wide, wide["c0"] * wide["c1"] + wide["c2"] > 0),
        "ignored columns": table_of(flat, flat["c0"] + flat["c1"] * flat["c2"] > 30),
        "symmetric columns": table_of(mirrored, circle > circle.median()),
    }


def frame_of(values: Array) -> pd.DataFrame:
    """Give columns their names."""
    return pd.DataFrame(values, columns=[f"c{at}" for at in range(values.shape[1])])


def curve(numbers: pd.DataFrame) -> "pd.Series[float]":
    """Give something that is no sum over columns."""
    return numbers["c0"] + numbers["c1"] * numbers["c2"]


def table_of(
    frame: pd.DataFrame,
    target: Any,  # noqa: ANN401 (pandas' and NumPy's own)
    types: Mapping[str, FeatureType] | None = None,
) -> Table:
    """Make a table, in which the dtypes of columns tell their types where nothing else does."""
    found = {str(name): KINDS[dtype.kind] for name, dtype in frame.dtypes.items()}
    labels = pd.Series(np.asarray(target), name="y")
    task: Task = "regression" if labels.dtype.kind == "f" else "classification"
    if task == "classification" and labels.dtype.kind not in "bi":
        labels = labels.astype(object)
    return Table(frame, {**found, **(types or {})}, pd.DataFrame({"y": labels}), task, ())


def fitted(name: str, table: Table) -> tuple[Estimator, Description]:
    """Fit an estimator in the pipeline that training makes for it, and describe it."""
    estimator = clone((REGRESSORS if table.task == "regression" else CLASSIFIERS)[name])
    return described(build_pipeline(table.types, table.frame, estimator), table)


def fitted_on_some(name: str, table: Table) -> tuple[Estimator, Description]:
    """Fit an estimator that never sees the second column."""
    seen = [at for at in range(len(table.types)) if at != 1]
    chosen = ColumnTransformer([("seen", "passthrough", seen)])
    return described(make_pipeline(chosen, StandardScaler(), clone(CLASSIFIERS[name])), table)


def fitted_alike(name: str, table: Table) -> tuple[Estimator, Description]:
    """Fit an estimator, and make it symmetric in the first two columns.

    Neighbours are that where the table is; support vectors are given columns that are.
    """
    estimator = clone(CLASSIFIERS[name])
    both_ways = [FunctionTransformer(sum_and_product)] if name == "support vectors" else []
    pipeline, description = described(make_pipeline(*both_ways, estimator), table)
    last = pipeline[-1]
    if hasattr(last, "coef_"):
        last.coef_[..., :2] = last.coef_[..., :2].mean(axis=-1, keepdims=True)
    elif hasattr(last, "_predictors"):
        last._predictors += [[mirrored(tree) for tree in each] for each in last._predictors]
    elif hasattr(last, "estimators_"):
        trees = np.array(last.estimators_, dtype=object)
        turned = np.array([mirrored(tree) for tree in trees.ravel()], dtype=object)
        both = np.concatenate([trees, turned.reshape(trees.shape)])
        last.estimators_ = both if both.ndim > 1 else both.tolist()
    return pipeline, description


def sum_and_product(matrix: Array) -> Array:
    """Make of two columns what is alike when they change places."""
    one, other, third = matrix.T
    return np.column_stack([one + other, one * other, third])


def mirrored(tree: Estimator) -> Estimator:
    """Exchange the first two columns in a tree."""
    turned = deepcopy(tree)
    columns = turned.nodes["feature_idx"] if hasattr(turned, "nodes") else turned.tree_.feature
    columns[:] = np.where((columns == 0) | (columns == 1), 1 - columns, columns)
    return turned


def described(pipeline: Estimator, table: Table) -> tuple[Estimator, Description]:
    """Fit a pipeline, and describe it without asking: how it is asked is known here."""
    strings = "category" in table.types.values()
    with threadpool_limits(limits=1):
        pipeline.fit(to_array(rows_of(table), has_strings=strings), truth_of(table))
    told = before_asking("mine", pipeline, table, METRICS)
    scored_by: ScoringMethod | None = None
    if table.task == "classification":
        has_shares = hasattr(pipeline, "predict_proba")
        scored_by = "predict_proba" if has_shares else "decision_function"
    asked = Asked(
        input="array",
        batching="tolerant",
        scored_by=scored_by,
        scores_by_class=scored_by == "decision_function",
        label_by=scored_by,
    )
    features = [
        f.model_copy(update={"domain": Interval(minimum=-1e15, maximum=1e15)})
        if isinstance(f, Number)
        else f
        for f in told.features
    ]
    classes = tuple(pipeline.classes_.tolist()) if scored_by else None
    changes = {"asked": asked, "features": tuple(features), "classes": classes}
    return pipeline, told.model_copy(update=changes)


def odd_rows(description: Description, row: Row) -> list[Row]:
    """Make of a row one that lacks what it may, has unseen words and numbers that are far away."""

    def odd(feature: Feature, value: Value) -> Value:
        match feature:
            case Category():
                return "never seen"
            case Number(trained=Interval() as trained):
                return type(feature.example)(trained.maximum * FAR)
        return value

    features = description.features
    return [
        tuple(None if f.nullable else odd(f, v) for f, v in zip(features, row, strict=True)),
        tuple(odd(f, v) for f, v in zip(features, row, strict=True)),
    ]


def explained_numbers(
    estimator: Estimator, description: Description, output: ExplainedOutput
) -> Numbers:
    """Give what makes of rows the numbers (rows, outputs) that are explained, by its own methods.

    Logarithms of probabilities are taken where the estimator has them, before they are rounded.
    """
    table = FittedEstimator(estimator, description).table

    def of_rows(rows: Sequence[Row]) -> Array:
        given = table(rows)
        if output == "value":
            return np.asarray(estimator.predict(given), dtype=np.float64)[:, np.newaxis]
        if output == "probability":
            return np.asarray(estimator.predict_proba(given))
        scores = np.asarray(estimator.decision_function(given))
        if scores.ndim == 1:
            return np.column_stack([-scores, scores])
        if output == "log-ratio":
            return np.asarray(scores - scores.mean(axis=1, keepdims=True))
        return scores

    return of_rows

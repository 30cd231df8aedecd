"""Rows in company: each gets the bits that it gets alone, in any batch and at any place."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    StackingClassifier,
)
from sklearn.linear_model import GammaRegressor, LogisticRegression, PoissonRegressor, Ridge
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from serving.model.compiled import CompiledGraph
from tests.unit.samples import description, number, regression
from training.compiling.company import keep_rows_apart
from training.compiling.conversion import convert

Estimator = Any  # scikit-learn has no type for it
FLOWERS, SPECIES = load_iris(return_X_y=True)
PATIENTS, PROGRESS = load_diabetes(return_X_y=True)
WIDE = (np.arange(60.0)[:, np.newaxis] + np.arange(500) / 7) % 11  # multiplied in several blocks
SIZES = (*range(2, 20), 33, 64, 100)


def graph_of(estimator: Estimator, rows: np.ndarray, targets: np.ndarray) -> ModelProto:
    """Fit an estimator and convert it, as yet without heed to company."""
    columns = tuple(number(f"x{column}") for column in range(rows.shape[1]))
    described = (
        description(tuple(range(targets.max() + 1)), columns)
        if is_classifier(estimator)
        else regression("y", features=columns)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = clone(estimator).fit(rows, targets)
        return convert(fitted, described, rows[:5].tolist())


def changed_in_company(graph: ModelProto, rows: np.ndarray) -> int:
    """Count the rows that have other bits than alone, in batches of all sizes and at all places."""
    compute = CompiledGraph(graph.SerializeToString())
    alone = np.concatenate([compute(row[np.newaxis].copy()) for row in rows])
    changed = np.zeros(len(rows), dtype=bool)
    for size in SIZES:
        for start in range(len(rows) - size):
            found = compute(rows[start : start + size])
            differs = found.view(np.int64) != alone[start : start + size].view(np.int64)
            changed[start : start + size] |= differs.any(axis=1)
    return int(np.count_nonzero(changed))


CLASSIFIERS = (
    LogisticRegression(),
    GaussianNB(),
    MultinomialNB(),
    QuadraticDiscriminantAnalysis(),
    MLPClassifier((7, 3), activation="tanh", max_iter=5),
    MLPClassifier((7,), activation="logistic", max_iter=5),
    GradientBoostingClassifier(n_estimators=3),
    HistGradientBoostingClassifier(max_iter=3),
    BaggingClassifier(LogisticRegression(), 3),
    StackingClassifier([("line", LogisticRegression()), ("bell", GaussianNB())]),
    make_pipeline(StandardScaler(), PCA(3), Normalizer(), LogisticRegression()),
)


@pytest.mark.parametrize("classes", [3, 2])
@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=str)
def test_a_row_gets_the_same_bits_in_any_company(estimator: Estimator, classes: int) -> None:
    graph = graph_of(estimator, FLOWERS, np.minimum(SPECIES, classes - 1))
    keep_rows_apart(graph)
    assert changed_in_company(graph, FLOWERS[::2]) == 0


@pytest.mark.parametrize(
    ("estimator", "rows", "targets"),
    [
        (PoissonRegressor(), PATIENTS, PROGRESS),
        (GammaRegressor(), PATIENTS[:, :3], PROGRESS),
        (HistGradientBoostingRegressor(loss="poisson", max_iter=3), PATIENTS, PROGRESS),
        (MLPRegressor(hidden_layer_sizes=(5,), activation="tanh", max_iter=5), PATIENTS, PROGRESS),
        (CalibratedClassifierCV(LogisticRegression(), cv=2), FLOWERS, SPECIES // 2),
        (Ridge(), WIDE, WIDE[:, 0]),
        (LogisticRegression(max_iter=5), WIDE, np.arange(60) % 17),
    ],
    ids=str,
)
def test_so_it_does_with_one_number_and_with_many(
    estimator: Estimator, rows: np.ndarray, targets: np.ndarray
) -> None:
    graph = graph_of(estimator, rows, targets)
    keep_rows_apart(graph)
    assert changed_in_company(graph, rows[:75]) == 0


def test_without_that_company_changes_bits() -> None:
    assert changed_in_company(graph_of(LogisticRegression(), FLOWERS, SPECIES), FLOWERS) > 0


@pytest.mark.parametrize(
    ("kind", "attributes", "expected"),
    [
        ("ReduceSum", {"axes": [1]}, lambda cubes: cubes.sum(axis=1, keepdims=True)),
        ("ReduceSum", {"axes": [-1], "keepdims": 0}, lambda cubes: cubes.sum(axis=2)),
        ("ReduceSum", {"axes": [1, 2], "keepdims": 0}, lambda cubes: cubes.sum(axis=(1, 2))),
        ("ReduceMean", {"axes": [2, 1]}, lambda cubes: cubes.mean(axis=(1, 2), keepdims=True)),
        ("ReduceMean", {"axes": [2], "keepdims": 0}, lambda cubes: cubes.mean(axis=2)),
        ("Tanh", {}, np.tanh),
        ("Softmax", {"axis": 1}, lambda c: np.exp(c) / np.exp(c).sum(axis=1, keepdims=True)),
        ("Softmax", {}, lambda c: np.exp(c) / np.exp(c).sum(axis=2, keepdims=True)),
    ],
)
def test_what_stands_in_for_a_node_gives_what_the_node_gives(
    kind: str, attributes: dict[str, Any], expected: Callable[[np.ndarray], np.ndarray]
) -> None:
    constants = {"shape": np.array([-1, 3, 5])}
    inputs = ["company_0"]  # a column may be called so
    if "axes" in attributes:
        constants["axes"] = np.array(attributes.pop("axes"))
        inputs.append("axes")
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["X", "shape"], ["company_0"]),
            helper.make_node(kind, inputs, ["Y"], **attributes),
        ],
        "one node",
        [helper.make_tensor_value_info("X", TensorProto.DOUBLE, [None, 15])],
        [helper.make_tensor_value_info("Y", TensorProto.DOUBLE, None)],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    keep_rows_apart(model)
    rows = np.random.default_rng(0).normal(size=(40, 15))
    compute = CompiledGraph(model.SerializeToString())
    found = compute(rows)
    np.testing.assert_allclose(found, expected(rows.reshape(-1, 3, 5)), rtol=1e-14)
    for size in SIZES[:-2]:
        np.testing.assert_array_equal(compute(rows[3 : 3 + size]), found[3 : 3 + size])

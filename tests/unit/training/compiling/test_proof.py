"""Compiled models: alike in all that is asked of them, and refused where they are not."""

import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_sampling_pipeline
from lightgbm import LGBMClassifier
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.decomposition import PCA
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
from sklearn.feature_selection import RFE
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
)
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from skrub import SquashingScaler
from xgboost import XGBRegressor

from serving.model.compiled import CompiledEstimator, CompiledGraph
from serving.model.description import Compiled, Description, Metrics
from serving.model.estimator import FittedEstimator, to_array
from serving.model.features import Row
from serving.model.outputs import OutputChecks, Outputs, Prediction
from tests.unit.samples import number, regression
from training.compiling import proof as compiling
from training.compiling import trees
from training.compiling.conversion import convert
from training.compiling.hostile import MAX_ROWS, hostile
from training.compiling.preparation import Preparation, vocabulary_of
from training.compiling.proof import compile_estimator
from training.describing.describe import describe, rows_of
from training.fitting.evaluation import truth_of
from training.fitting.pipeline import build_pipeline
from training.table.table import Table, to_table

Estimator = Any  # scikit-learn has no type for it
METRICS = Metrics(split="none", values={}, dummy={})
TOLERANCE = 1e-12
COUNT = 120
IRIS = load_iris(as_frame=True)
DIABETES = load_diabetes(as_frame=True)
SPECIES = IRIS.target_names[IRIS.target].astype(object)


def flowers(labels: Any = SPECIES) -> Table:  # noqa: ANN401 (an array of whatever)
    return to_table(IRIS.data.assign(y=labels), ["y"])


@cache
def patients() -> Table:
    return to_table(DIABETES.data.assign(y=DIABETES.target), ["y"])


@cache
def mixed(seed: int = 0) -> Table:
    """Make a table of numbers, categories and booleans, with gaps in each."""
    rng = np.random.default_rng(seed)
    length, width = rng.normal(5, 2, COUNT).round(2), rng.normal(0, 1, COUNT)
    colour = rng.choice(["red", "green", "blue", "rare"], COUNT, p=[0.5, 0.3, 0.18, 0.02])
    ripe = rng.random(COUNT) > 0.5
    frame = pd.DataFrame({"length": length, "width": width, "ripe": ripe, "colour": colour})
    frame["count"] = rng.integers(0, 9, COUNT)
    frame["y"] = np.where(length + 2 * (colour == "red") + ripe > 6, "big", "small")
    frame = frame.astype({"ripe": object, "colour": object})
    for column, share in (("width", 0.1), ("colour", 0.05), ("ripe", 0.1)):
        frame.loc[rng.random(COUNT) < share, column] = None
    return to_table(frame, ["y"])


def fitted(estimator: Estimator, table: Table) -> tuple[Estimator, Description]:
    """Fit an estimator, in the pipeline that training makes for it, and describe it."""
    return described(build_pipeline(table.types, table.frame, estimator), table)


def described(estimator: Estimator, table: Table) -> tuple[Estimator, Description]:
    """Fit an estimator as it is, and describe it."""
    strings = not {"category", "text"}.isdisjoint(table.types.values())
    estimator.fit(to_array(rows_of(table), has_strings=strings), truth_of(table))
    return estimator, describe("mine", estimator, table, METRICS, seed=0)


def compiled(
    estimator: Estimator, description: Description, table: Table, tolerance: float = TOLERANCE
) -> tuple[Compiled | str, bytes | None]:
    return compile_estimator(estimator, description, rows_of(table), tolerance, seed=0)


def served(
    estimator: Estimator, description: Description, table: Table
) -> tuple[CompiledEstimator, Compiled]:
    """Serve an estimator by its compiled form, with itself beside it only where that is needed."""
    proof, graph = compiled(estimator, description, table)
    assert isinstance(proof, Compiled), proof
    assert graph is not None
    assert proof.same_bits
    told = description.model_copy(update={"compiled": proof})
    beside = None if proof.exact else FittedEstimator(estimator, told)
    return CompiledEstimator(CompiledGraph(graph), told, beside), proof


def others(description: Description, estimator: Estimator, table: Table) -> list[Row]:
    """Make rows that the proof has not seen, those where the label changes among them."""
    rng = np.random.default_rng(7)
    made = list(hostile(FittedEstimator(estimator, description), rows_of(table), rng))
    return made[:200] + made[MAX_ROWS:]


def assert_alike(model: CompiledEstimator, estimator: Estimator, rows: list[Row]) -> None:
    """Compare what is served, in batches and alone, with the estimator itself, in process.

    The answers in batches have to be those alone to the last bit.
    """
    itself = FittedEstimator(estimator, model.description)
    expected = answers(itself, rows)
    alone = [repr(answer) for row in rows for answer in answers(model, [row])]
    for size in (1, 7, 64, len(rows)):
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        told = [answer for batch in batches for answer in answers(model, batch)]
        assert list(map(repr, told)) == alone
        for answer, right in zip(told, expected, strict=True):
            close: dict[str, Any] = {"rel": TOLERANCE, "abs": TOLERANCE}
            if model.description.classes:
                assert repr(answer.value) == repr(right.value)
                assert answer.probabilities == pytest.approx(right.probabilities, **close)
            else:
                assert answer.value == pytest.approx(right.value, **close)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Let estimators warn of the odd rows that they are asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def answers(model: FittedEstimator | CompiledEstimator, rows: list[Row]) -> list[Prediction]:
    """Ask a model as the predictor does: what has to be alone, alone."""
    told = zip(rows, model.predict(rows), strict=True)
    answered = [found or model.predict([row])[0] for row, found in told]
    assert None not in answered
    return [found for found in answered if found]


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


@pytest.mark.parametrize("labels", [SPECIES, SPECIES == "virginica"], ids=["three", "two"])
@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=str)
def test_a_compiled_classifier_gives_the_same_answers(
    estimator: Estimator, labels: np.ndarray
) -> None:
    table = flowers(labels)
    estimator, description = fitted(clone(estimator), table)
    model, proof = served(estimator, description, table)
    assert proof.exact == isinstance(estimator[-1], tuple(map(type, TREES)))
    assert_alike(model, estimator, others(description, estimator, table))


@pytest.mark.parametrize("estimator", REGRESSORS, ids=str)
def test_a_compiled_regressor_gives_the_same_answers(estimator: Estimator) -> None:
    is_exact = any(estimator is other for other in EXACT_REGRESSORS)
    table = patients()
    estimator, description = fitted(clone(estimator), table)
    model, proof = served(estimator, description, table)
    assert proof.exact == is_exact
    assert_alike(model, estimator, others(description, estimator, table))


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        RandomForestClassifier(10, random_state=0),  # which takes gaps itself
        pytest.param(
            HistGradientBoostingClassifier(max_iter=10, random_state=0), marks=pytest.mark.slow
        ),
        pytest.param(GaussianNB(), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_categories_booleans_and_gaps_are_compiled(estimator: Estimator) -> None:
    table = mixed()
    estimator, description = fitted(clone(estimator), table)
    model, _ = served(estimator, description, table)
    rows = others(description, estimator, table)
    assert any(None in row for row in rows)
    assert_alike(model, estimator, rows)


@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(handle_unknown="ignore", drop="first"),
        pytest.param(
            OneHotEncoder(handle_unknown="error", sparse_output=False), marks=pytest.mark.slow
        ),
        pytest.param(
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
            marks=pytest.mark.slow,
        ),
    ],
    ids=str,
)
def test_a_pipeline_on_columns_by_name_is_compiled(encoder: Estimator) -> None:
    table = mixed()
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="most_frequent"), encoder), ["colour"]),
        (SimpleImputer(), ["width", "length"]),
        ("passthrough", ["count"]),
    )
    frame = table.frame.astype({"ripe": float})
    estimator = make_pipeline(columns, LogisticRegression()).fit(frame, table.labels)
    description = describe("mine", estimator, table, METRICS, seed=0)
    assert description.asked.input != "array"
    model, _ = served(estimator, description, table)
    assert_alike(model, estimator, others(description, estimator, table))


@pytest.mark.parametrize(
    "encoder",
    [
        OrdinalEncoder(
            categories=[["XS", "S", "M", "L", "XL"]],
            handle_unknown="use_encoded_value",
            unknown_value=-1,
        ),
        make_pipeline(
            SimpleImputer(strategy="constant", fill_value="none"),
            OneHotEncoder(categories=[["S", "M", "L", "XL", "none"]], handle_unknown="ignore"),
        ),
    ],
    ids=str,
)
def test_an_encoder_may_know_categories_that_the_table_lacks(encoder: Estimator) -> None:
    rng = np.random.default_rng(0)
    size = rng.choice(["S", "M", "L"], COUNT).astype(object)
    price = pd.Series(size).map({"S": 10.0, "M": 20.0, "L": 30.0}) + rng.normal(size=COUNT)
    table = to_table(
        pd.DataFrame({"size": size, "weight": rng.normal(size=COUNT), "y": price}), ["y"]
    )
    columns = make_column_transformer((encoder, [0]), remainder="passthrough")
    estimator, description = described(make_pipeline(columns, Ridge()), table)
    model, _ = served(estimator, description, table)
    assert_alike(model, estimator, [("XL", 0.1), ("S", 0.1), ("never seen", 0.1), ("none", -1.0)])


def test_many_categories_are_compiled_in_little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    transform = OrdinalEncoder.transform

    def counting(self: OrdinalEncoder, rows: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        return transform(self, rows)  # type: ignore[no-any-return]

    categories = [[f"{column} {number}" for number in range(500)] for column in range(3)]
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    encoder.fit(np.array(categories, dtype=object).T)
    monkeypatch.setattr(OrdinalEncoder, "transform", counting)
    tables = Preparation(sorted(vocabulary_of(encoder)))._tables(encoder)
    assert asked == [502] * 3
    assert [sorted(table[:, 0])[:2] for table in tables] == [[-1, -1]] * 3
    assert [table.max() for table in tables] == [499] * 3


def test_a_forest_that_is_too_large_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "MAX_LEAVES", 10)
    table = flowers()
    estimator, description = fitted(RandomForestClassifier(10, random_state=0), table)
    told, _ = compiled(estimator, description, table)
    assert isinstance(told, str)
    assert re.fullmatch("it has .* leaves, more than 10", told)


class Wary(ClassifierMixin, BaseEstimator):
    """Has no counterpart in ONNX."""

    def fit(self, rows: np.ndarray, labels: np.ndarray) -> "Wary":
        """Learn the classes."""
        self.classes_ = np.unique(labels)
        return self

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Give one class to the larger ones, another to the rest."""
        return self.classes_[(rows[:, 0] > 5).astype(int)]  # type: ignore[no-any-return]

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        """Be sure of it."""
        return np.eye(len(self.classes_))[(rows[:, 0] > 5).astype(int)]  # type: ignore[no-any-return]


class Renamed(LogisticRegression):
    """May do other than what it is derived from."""


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (Wary(), "^Wary has no counterpart in ONNX$"),
        (RidgeClassifier(), "classifiers without probabilities are not compiled"),
        (make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()), "it calls log1p"),
        (
            HistGradientBoostingClassifier(max_iter=2, categorical_features=[0]),
            "its trees split by categories",
        ),
        (
            GradientBoostingClassifier(n_estimators=2, init=LogisticRegression()),
            "its boosting starts with another estimator",
        ),
        (make_pipeline(SimpleImputer(missing_values=-99.0), LogisticRegression()), "takes -99"),
        (CalibratedClassifierCV(SVC(), ensemble=False), "its graph computes with floats"),
        (make_pipeline(Binarizer(threshold=0.3), DecisionTreeClassifier()), "decides by"),
        (make_pipeline(KBinsDiscretizer(4), LogisticRegression()), "fails on its KBins"),
        (make_pipeline(PCA(2), DecisionTreeClassifier()), "decides by numbers that may be"),
        (KNeighborsClassifier(), "decides by"),
        (make_pipeline(Normalizer(), RandomForestClassifier(5)), "decides by|with floats"),
    ],
    ids=str,
)
def test_what_has_no_equal_is_not_compiled(estimator: Estimator, reason: str) -> None:
    table = to_table(IRIS.data.round().assign(y=SPECIES), ["y"])
    estimator, description = described(estimator, table)
    told, graph = compiled(estimator, description, table)
    assert isinstance(told, str)
    assert re.search(reason, told), told
    assert graph is None


@cache
def plain(is_regression: bool) -> tuple[Description, Table]:
    """Describe an estimator that is quickly asked, in the place of one that is not."""
    table = patients() if is_regression else flowers()
    return described(Ridge() if is_regression else LogisticRegression(), table)[1], table


FEW: dict[str, Any] = {"n_estimators": 2, "verbose": -1}


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (LGBMClassifier(**FEW), "LGBMClassifier has no counterpart in ONNX"),
        (XGBRegressor(n_estimators=2), "XGBRegressor has no counterpart in ONNX"),
        (
            CatBoostClassifier(iterations=2, verbose=0, allow_writing_files=False),
            "CatBoostClassifier has no counterpart in ONNX",
        ),
        (
            make_sampling_pipeline(RandomOverSampler(random_state=0), LogisticRegression()),
            "RandomOverSampler has no counterpart in ONNX",
        ),
        (
            make_pipeline(SquashingScaler(), LogisticRegression()),
            "SquashingScaler has no counterpart in ONNX",
        ),
        (Renamed(), "Renamed has no counterpart in ONNX"),
        (CalibratedClassifierCV(LGBMClassifier(**FEW), cv=2), "LGBMClassifier has no counterpart"),
        (GridSearchCV(Renamed(), {"C": [1.0]}, cv=2), "Renamed has no counterpart in ONNX"),
        (make_pipeline(KNNImputer(), LogisticRegression()), "skl2onnx fails on its KNNImputer"),
        (RFE(LogisticRegression()), "skl2onnx fails on its RFE"),
        (
            make_pipeline(PolynomialFeatures(), LogisticRegression()),
            "ONNX Runtime does not take its graph",
        ),
    ],
    ids=str,
)
def test_what_can_not_be_converted_is_told_in_words_that_name_the_part(
    estimator: Estimator, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    description, table = plain(isinstance(estimator, XGBRegressor))
    estimator.fit(to_array(rows_of(table), has_strings=False), truth_of(table))
    told, graph = compiled(estimator, description, table)
    assert isinstance(told, str)
    assert told.startswith(reason)
    assert graph is None
    assert capfd.readouterr() == ("", "")


def test_neither_clusters_nor_several_targets_nor_texts_are_compiled() -> None:
    table = to_table(IRIS.data, task="clustering")
    estimator, description = fitted(KMeans(2, random_state=0, n_init=1), table)
    assert compiled(estimator, description, table)[0] == "clustering is not compiled"

    table = to_table(IRIS.data.assign(a=SPECIES, b=SPECIES), ["a", "b"])
    estimator, description = fitted(DecisionTreeClassifier(), table)
    assert compiled(estimator, description, table)[0] == "several targets are not compiled"

    words = pd.DataFrame({"text": [f"a text with many words {n} {n % 7}" for n in range(60)]})
    table = to_table(words.assign(y=["odd", "even"] * 30), ["y"])
    estimator, description = fitted(LogisticRegression(), table)
    assert compiled(estimator, description, table)[0] == "texts are not compiled"


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (LogisticRegression(C=1.0000001), "its numbers differ by"),
        (RandomForestClassifier(10, random_state=1), "its numbers differ by"),
    ],
    ids=str,
)
def test_a_graph_that_tells_otherwise_is_found_out(
    other: Estimator, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = flowers()
    another, description = fitted(other, table)
    graph = convert(another, description, rows_of(table))
    estimator, description = fitted(clone(other).set_params(**CHANGED[type(other)]), table)
    monkeypatch.setattr(compiling, "convert", lambda *_: graph)
    told, nothing = compiled(estimator, description, table)
    assert isinstance(told, str)
    assert told.startswith(reason)
    assert nothing is None


CHANGED: dict[type, dict[str, Any]] = {
    LogisticRegression: {"C": 1.0},
    RandomForestClassifier: {"random_state": 0},
}


def test_labels_by_another_rule_than_the_largest_probability_are_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = flowers()
    estimator, description = fitted(LogisticRegression(), table)
    given = OutputChecks.predictions

    def flipped(self: OutputChecks, outputs: Outputs) -> list[Prediction]:
        first, *rest = given(self, outputs)
        return [replace(first, value="setosa" if first.value != "setosa" else "virginica"), *rest]

    monkeypatch.setattr(OutputChecks, "predictions", flipped)
    told, _ = compiled(estimator, description, table)
    assert isinstance(told, str)
    assert re.fullmatch("1 of .* labels differ from the estimator's", told)


def test_a_graph_that_is_slower_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    table = flowers()
    estimator, description = fitted(DecisionTreeClassifier(), table)
    call = CompiledGraph.__call__

    def slow(self: CompiledGraph, table: np.ndarray) -> np.ndarray:
        for _ in range(200):
            scores = call(self, table)
        return scores

    monkeypatch.setattr(CompiledGraph, "__call__", slow)
    assert compiled(estimator, description, table)[0] == "its graph is slower for 1 rows at a time"


def test_a_graph_that_changes_bits_in_company_is_kept_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiling, "keep_rows_apart", lambda _: None)
    table = flowers()
    estimator, description = fitted(LogisticRegression(), table)
    proof, graph = compiled(estimator, description, table)
    assert isinstance(proof, Compiled)
    assert graph is not None
    assert not proof.same_bits


def test_a_zero_of_another_sign_has_other_bits_and_what_is_no_number_has_none() -> None:
    zero = np.array([[0.0, np.nan]])
    assert compiling._same_bits(zero, -zero * [-1, 1])
    assert not compiling._same_bits(zero, -zero)
    assert not compiling._same_bits(zero, np.zeros((1, 2)))


def test_numbers_need_be_no_closer_than_the_tolerance() -> None:
    table = flowers()
    estimator, description = fitted(LogisticRegression(), table)
    proof, _ = compiled(estimator, description, table)
    assert isinstance(proof, Compiled)
    assert 0 < proof.largest_difference <= TOLERANCE == proof.tolerance
    told, _ = compiled(estimator, description, table, tolerance=0)
    assert isinstance(told, str)
    assert told.startswith("its numbers differ by")


def test_rows_that_the_estimator_fails_on_are_left_out_of_the_proof() -> None:
    class Picky(DecisionTreeRegressor):
        def predict(self, rows: np.ndarray) -> np.ndarray:
            if (np.asarray(rows)[:, 0] == 5e-324).any():
                raise ValueError("too small")
            return super().predict(rows)  # type: ignore[no-any-return]

    model = FittedEstimator(
        Picky().fit([[0.0], [1.0]], [0, 1]), regression("price", features=(number("length"),))
    )
    rows, outputs = compiling._answered(model, [(5e-324,), (1.0,), (0.0,)])
    assert (rows, outputs.values.tolist()) == ([(1.0,), (0.0,)], [1, 0])

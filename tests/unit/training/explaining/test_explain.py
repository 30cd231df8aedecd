"""A model is explained in the first way that is proven and quick enough; or it is told why not."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeRegressor

from serving.explaining.attribution import Attribution
from serving.explaining.explanation import Explanation
from serving.explaining.kept import Kept, read
from serving.model.compiled import CompiledGraph
from serving.model.description import Asked, Compiled, Description, Explained, ExplainedOutput
from serving.model.estimator import FittedEstimator, to_array
from serving.model.features import Row
from serving.model.outputs import Array
from tests.shapley import shapley
from tests.unit.training.compiling.compiled import METRICS, flowers, mixed
from training.compiling.proof import compile_estimator
from training.describing.describe import before_asking, rows_of
from training.explaining import case as case_room
from training.explaining import explain as room
from training.explaining.built import Built
from training.explaining.case import BUDGET_S, Case, Pace
from training.explaining.explain import explain
from training.explaining.images import Images
from training.explaining.linear import build as as_lines
from training.fitting.evaluation import truth_of
from training.fitting.pipeline import build_pipeline
from training.table.table import Table

Estimator = Any  # scikit-learn has no type for it
Model = tuple[Estimator, Description, list[Row]]
CLOSE = 1e-9
MEASURED = Case.__dict__["pace"].func
QUICK = Pace(rows=2000, part_s=0.0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask any model as if that took no time."""
    monkeypatch.setattr(Case, "pace", QUICK)


@pytest.fixture
def by_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look into no estimator."""
    monkeypatch.setattr(room, "BUILDERS", {})


def model_of(estimator: Estimator, table: Table, scored_by: Any = None) -> Model:  # noqa: ANN401 (a method)
    """Fit an estimator in a pipeline, and describe it without asking."""
    pipeline = build_pipeline(table.types, table.frame, estimator)
    rows = rows_of(table)
    strings = "category" in table.types.values()
    pipeline.fit(
        to_array(rows, has_strings=strings), truth_of(table) if table.target.size else None
    )
    told = before_asking("mine", pipeline, table, METRICS)
    asked = Asked(
        input="array",
        batching="tolerant",
        scored_by=scored_by,
        scores_by_class=scored_by == "decision_function" and table.task == "classification",
        label_by=scored_by,
    )
    classes = tuple(pipeline.classes_.tolist()) if table.task == "classification" else None
    return pipeline, told.model_copy(update={"asked": asked, "classes": classes}), rows


def without_target(table: Table, task: Any) -> Table:  # noqa: ANN401 (a task)
    return Table(table.frame, table.types, table.target.iloc[:, :0], task, ())


@cache
def wide(columns: int = 12) -> Table:
    """Make a table of many columns, the last of which says nothing."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(120, columns))).rename(columns=lambda at: f"c{at}")
    target = pd.DataFrame({"y": frame["c0"] * frame["c1"] + frame["c2"] - frame["c3"] ** 2})
    return Table(frame, dict.fromkeys(frame.columns, "number"), target, "regression", ())


def found(model: Model) -> Explained:
    """Tell how a model is explained."""
    explained, packed = explain(*model, keeps_background=True, seed=0)
    assert isinstance(explained, Explained), explained
    assert packed is not None
    return explained


def explanation_of(model: Model, folder: Path) -> tuple[Explained, Kept, Explanation]:
    """Give how a model is explained, as it comes from a file."""
    explained, packed = explain(*model, keeps_background=True, seed=0)
    assert isinstance(explained, Explained), explained
    assert packed is not None
    file = folder / "explanation.npz"
    file.write_bytes(packed)
    kept, (estimator, described, _) = read(file), model
    served = FittedEstimator(estimator, described)
    return explained, kept, Explanation(kept, explained, described, served)


def attribution(explanation: Explanation, model: Model, row: Row) -> Attribution:
    """Explain what is answered to a row."""
    (prediction,) = FittedEstimator(*model[:2]).predict([row])
    assert prediction is not None
    results = [part() for part in explanation.parts(row)]
    return explanation.attribution(row, prediction, results)


ASKED: dict[str, tuple[Estimator, str | None, ExplainedOutput]] = {
    "neighbours": (KNeighborsClassifier(), "predict_proba", "probability"),
    "support vectors": (SVC(), "decision_function", "score"),
}


@pytest.mark.usefixtures("by_asking")
@pytest.mark.parametrize("name", ASKED)
def test_a_model_of_few_columns_is_explained_as_brute_force_does(name: str, tmp_path: Path) -> None:
    estimator, scored_by, output = ASKED[name]
    model = model_of(estimator, mixed(), scored_by)
    explained, kept, explanation = explanation_of(model, tmp_path)
    assert (explained.method, explained.output, explained.exact) == ("enumeration", output, True)
    assert explained.background_rows == len(kept.told["rows"]) == len(model[2])
    ask = getattr(model[0], scored_by or "predict")

    def f(rows: Sequence[Row]) -> Array:
        numbers = np.asarray(ask(to_array(rows, has_strings=True)))
        return numbers if numbers.ndim > 1 else np.column_stack([-numbers, numbers])

    odd: list[Row] = [(50.0, None, None, "never seen", 3), (-50.0, 0.1, True, None, 10**6)]
    for row in [*model[2][:3], *odd]:
        base, contributions = shapley(f, row, [tuple(row) for row in kept.told["rows"]])
        told = attribution(explanation, model, row)
        np.testing.assert_allclose(told.base, base, atol=CLOSE)
        np.testing.assert_allclose(told.contributions, contributions, atol=CLOSE)


@pytest.mark.usefixtures("by_asking")
def test_a_model_of_many_columns_is_explained_by_permutations(tmp_path: Path) -> None:
    model = model_of(DecisionTreeRegressor(max_depth=5), wide())
    explained, kept, explanation = explanation_of(model, tmp_path)
    assert (explained.method, explained.output, explained.exact) == ("sampled", "value", False)
    assert explained.background_rows == len(kept.told["rows"]) == 100
    assert explained.largest_difference <= CLOSE
    for row in model[2][:5]:
        told = attribution(explanation, model, row)  # which adds up, or it were refused
        assert told.errors is not None
        assert (told.errors > 0).any()


def test_it_is_told_why_a_model_is_sampled() -> None:
    explained = found(model_of(make_pipeline(PCA(5), Ridge()), wide()))
    assert (explained.method, explained.why_sampled) == ("sampled", "PCA mixes columns")


@pytest.mark.usefixtures("by_asking")
def test_what_is_kept_is_the_same_each_time() -> None:
    model = model_of(DecisionTreeRegressor(max_depth=5), wide())
    assert found(model) == found(model)


@pytest.mark.usefixtures("by_asking")
def test_an_outlier_detector_is_explained_by_its_score(tmp_path: Path) -> None:
    table = without_target(flowers(), "outlier-detection")
    estimator = IsolationForest(n_estimators=10, random_state=0)
    model = model_of(estimator, table, "decision_function")
    explained, _, explanation = explanation_of(model, tmp_path)
    assert (explained.method, explained.output) == ("enumeration", "score")
    (row, *_) = model[2]
    scores = model[0].decision_function(to_array([row], has_strings=False))
    np.testing.assert_allclose(attribution(explanation, model, row).totals, scores, rtol=CLOSE)


@pytest.mark.usefixtures("by_asking")
def test_the_model_that_is_asked_is_the_one_that_will_serve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    estimator, described, rows = model_of(LogisticRegression(), flowers(), "predict_proba")
    compiled, graph = compile_estimator(estimator, described, rows, 1e-12, seed=0)
    assert isinstance(compiled, Compiled), compiled
    described = described.model_copy(update={"compiled": compiled})
    counts = []
    call = CompiledGraph.__call__

    def counting(self: CompiledGraph, table: Any) -> Any:  # noqa: ANN401 (doubles)
        counts.append(len(table))
        return call(self, table)

    monkeypatch.setattr(CompiledGraph, "__call__", counting)
    explained, _ = explain(estimator, described, rows, keeps_background=True, seed=0, graph=graph)
    assert isinstance(explained, Explained), explained
    assert sum(counts) > 14 * explained.background_rows


# How much there is time for

SLOW = {
    110: ("enumeration", 50),
    50: ("enumeration", 20),
    25: ("enumeration", 10),
    15: ("sampled", 100),
    6: ("sampled", 50),
    2: ("sampled", 10),
}


@pytest.mark.usefixtures("by_asking")
@pytest.mark.parametrize("parts", SLOW)
def test_a_slow_model_is_compared_with_fewer_rows(
    parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Case, "pace", Pace(rows=500, part_s=BUDGET_S / parts))
    explained = found(model_of(LinearRegression(), wide(10)))
    assert (explained.method, explained.background_rows) == SLOW[parts]


PACES = {  # a call's cost, a row's, and how many are asked about at a time
    "quick": (1e-4, 1e-7, 4096),
    "by row": (5e-4, 1e-4, 8),
    "by call": (5e-3, 1e-5, 128),
    "slow": (0.2, 0.0, 4096),
    "too slow": (0.3, 0.0, 1),
}


@pytest.mark.parametrize("name", PACES)
def test_a_part_takes_as_many_rows_as_take_little_longer_than_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call_s, row_s, at_once = PACES[name]

    def timed(ask: Callable[[], Array], runs: int) -> float:
        return call_s + row_s * len(ask())

    monkeypatch.setattr(case_room, "shortest_s", timed)
    case = Case(*model_of(KNeighborsClassifier(), mixed(), "predict_proba"), 0, None, True)
    assert MEASURED(case).rows == at_once


# Why not

FLOWERS = flowers()
REASONS: dict[str, tuple[Estimator, Table, str]] = {
    "clusters": (
        KMeans(3, random_state=0),
        without_target(FLOWERS, "clustering"),
        "a cluster is no number",
    ),
    "labels": (
        KNeighborsClassifier(),
        FLOWERS,
        "it tells labels alone, and no number of them",
    ),
    "outliers": (
        IsolationForest(n_estimators=5, random_state=0),
        without_target(FLOWERS, "outlier-detection"),
        "it tells labels alone, and no number of them",
    ),
}


def reason(model: Model) -> str:
    """Tell why a model can't be explained."""
    why_not, nothing = explain(*model, keeps_background=True, seed=0)
    assert isinstance(why_not, str), why_not
    assert nothing is None
    return why_not


@pytest.mark.parametrize("name", REASONS)
def test_what_has_no_number_is_told_not_to_be_explained(name: str) -> None:
    *model, why_not = REASONS[name]
    assert reason(model_of(*model)) == why_not


def test_a_model_of_which_an_example_is_known_alone_is_not_explained() -> None:
    estimator, described, rows = model_of(LinearRegression(), wide())
    model = (estimator, described.model_copy(update={"training": None}), rows)
    assert reason(model) == "nothing is known of what it was fitted on but an example"


@pytest.mark.usefixtures("by_asking")
@pytest.mark.parametrize("columns", [5, 12])
def test_a_model_that_takes_too_long_is_not_explained(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Case, "pace", Pace(rows=1, part_s=BUDGET_S / 100))
    model = model_of(LinearRegression(), wide(columns))
    assert reason(model) == "the model takes too long to be asked so often"


@pytest.mark.usefixtures("by_asking")
def test_a_model_of_very_many_columns_is_not_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "ASKED_ROWS", (15 * 22,))  # a pair of permutations of 12 columns: 22
    model = model_of(LinearRegression(), wide())
    assert reason(model) == "it has too many columns to be asked about"


def test_a_table_without_a_row_that_a_request_may_have_explains_nothing() -> None:
    estimator, described, rows = model_of(LinearRegression(), wide())
    gapped: list[Row] = [(None, *row[1:]) for row in rows]
    assert reason((estimator, described, gapped)) == (
        "no row of the table is one that a request may have"
    )


@pytest.mark.usefixtures("by_asking")
def test_a_model_that_fails_on_hybrids_is_not_explained() -> None:
    class Picky(LinearRegression):
        def predict(self, features: Array) -> Array:
            if not 100 < len(features) < 130:  # as many as the table has
                raise ValueError("not so many")
            return np.asarray(super().predict(features))

    model = model_of(Picky(), wide())
    assert reason(model) == "it fails on rows by which its explanations would be proven"


# Ways that open where an estimator is looked into


def looked_into(monkeypatch: pytest.MonkeyPatch, *, add: float = 0.0, shift: float = 0.0) -> None:
    """Look into linear models alone, and add a number, or give one column what another had."""

    def build(images: Images, background: Sequence[Row], described: Description) -> Built:
        built = as_lines(images, background, described)
        offsets = built.kept.arrays["offsets"].copy()
        offsets[0] += shift
        offsets[1] -= shift
        changed = {"base": built.kept.arrays["base"] + add, "offsets": offsets}
        return built._replace(kept=Kept(built.kept.told, {**built.kept.arrays, **changed}))

    monkeypatch.setattr(room, "BUILDERS", {"linear": build})


def two_kinds(columns: int) -> Table:
    """Make a table of two classes."""
    table = wide(columns)
    labels = np.where(table.target["y"] > table.target["y"].median(), "a", "b").astype(object)
    return Table(table.frame, table.types, pd.DataFrame({"y": labels}), "classification", ())


@pytest.mark.parametrize("columns", [4, 12])
def test_a_sum_that_is_proven_is_taken(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(LinearRegression(), wide(columns))
    looked_into(monkeypatch)
    explained = found(model)
    assert (explained.method, explained.output, explained.exact) == ("linear", "value", True)
    assert explained.background_rows == 100
    assert explained.rows > 100
    assert 0 < explained.largest_difference < CLOSE

    model = model_of(LogisticRegression(), two_kinds(columns), "predict_proba")
    explained = found(model)
    assert (explained.method, explained.output, explained.exact) == ("linear", "log-odds", True)


@pytest.mark.parametrize("columns", [4, 12])
def test_what_adds_up_to_something_else_is_found_out(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(LinearRegression(), wide(columns))
    looked_into(monkeypatch, add=1e-7)
    assert found(model).method == ("enumeration" if columns == 4 else "sampled")


@pytest.mark.parametrize("columns", [4, 12])
@pytest.mark.parametrize("output", ["value", "log-odds"])
def test_contributions_that_add_up_but_are_others_are_found_out(
    columns: int, output: ExplainedOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(LinearRegression(), wide(columns))
    if output == "log-odds":
        model = model_of(LogisticRegression(), two_kinds(columns), "predict_proba")
    looked_into(monkeypatch, shift=1e-6)
    assert found(model).method == ("enumeration" if columns == 4 else "sampled")


def test_probabilities_of_many_classes_are_told_rather_than_logarithms_if_there_is_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = model_of(LogisticRegression(), flowers(), "predict_proba")
    looked_into(monkeypatch)
    explained = found(model)
    assert (explained.method, explained.output) == ("enumeration", "probability")
    monkeypatch.setattr(Case, "pace", Pace(rows=1, part_s=1.0))
    explained = found(model)
    assert (explained.method, explained.output) == ("linear", "log-ratio")


# What is kept


@pytest.mark.usefixtures("by_asking")
def test_without_a_background_no_row_of_the_table_is_kept(tmp_path: Path) -> None:
    model = model_of(KNeighborsClassifier(), mixed(), "predict_proba")
    explained, packed = explain(*model, keeps_background=False, seed=0)
    assert isinstance(explained, Explained), explained
    assert packed is not None
    assert (explained.background, explained.background_rows) == ("published", 100)
    file = tmp_path / "explanation.npz"
    file.write_bytes(packed)
    kept = {tuple(row) for row in read(file).told["rows"]}
    assert len(kept) > 90
    assert kept.isdisjoint(model[2])

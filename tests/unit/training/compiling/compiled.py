"""Tables, and estimators on them that are described, compiled, and compared with themselves."""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_iris

from serving.model.compiled import CompiledEstimator, CompiledGraph
from serving.model.description import Compiled, Description, Metrics
from serving.model.estimator import FittedEstimator, to_array
from serving.model.features import Row
from serving.model.outputs import Prediction
from training.compiling.hostile import hostile
from training.compiling.proof import compile_estimator
from training.describing.describe import describe, rows_of
from training.fitting.evaluation import truth_of
from training.fitting.pipeline import build_pipeline
from training.table.table import Table, to_table

Estimator = Any  # scikit-learn has no type for it
METRICS = Metrics(split="none", values={}, dummy={})
TOLERANCE = 1e-12
COUNT = 60
OTHER_ROWS = 30
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
    return made[:OTHER_ROWS] + made[-OTHER_ROWS:]  # those where the label changes come last


def assert_alike(model: CompiledEstimator, estimator: Estimator, rows: list[Row]) -> None:
    """Compare what is served, in batches and alone, with the estimator itself, in process.

    The answers in batches have to be those alone to the last bit.
    """
    itself = FittedEstimator(estimator, model.description)
    expected = answers(itself, rows)
    alone = [repr(answer) for row in rows for answer in answers(model, [row])]
    for size in (1, 7, len(rows)):
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


def answers(model: FittedEstimator | CompiledEstimator, rows: list[Row]) -> list[Prediction]:
    """Ask a model as the predictor does: what has to be alone, alone."""
    told = zip(rows, model.predict(rows), strict=True)
    answered = [found or model.predict([row])[0] for row, found in told]
    assert None not in answered
    return [found for found in answered if found]

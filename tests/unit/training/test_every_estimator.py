"""Whatever of scikit-learn predicts is served as it answers in process."""

import json
import pickle
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from serving.dialects.dialect import Sent
from serving.dialects.ours import one
from serving.model.about import About
from serving.model.compiled import CompiledEstimator, CompiledGraph
from serving.model.description import Compiled, Description, Metrics
from serving.model.estimator import Estimator, FittedEstimator
from serving.model.features import Number
from serving.model.rows import Rows
from tests.unit.columns import assert_same_by_columns
from tests.zoo import (
    NOT_SERVED,
    Specimen,
    all_names,
    assert_alike,
    edge_rows,
    in_process,
    specimens,
)
from training.compiling.proof import compile_estimator
from training.describing.describe import describe, rows_of
from training.table.table import Table

SPECIMENS = {specimen.name: specimen for specimen in specimens()}
CLOSING = {"warnings", "model", "request_id"}
ROWS_COMPARED, ROWS_FAR = 16, 8
BOUNDARIES = 3
RAW = re.compile(r"Error|Exception|Missing[A-Z]|[<>\[\]/]")  # what libraries say to developers
UNMEASURED = Metrics(split="none", values={}, dummy={})


def test_all_of_scikit_learn_is_served_or_has_a_reason_not_to_be() -> None:
    served = {specimen.kind for specimen in SPECIMENS.values()}
    assert all_names() - served == set(NOT_SERVED)
    assert len(served) > 95


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::Warning")  # what scikit-learn says while it is probed
@pytest.mark.parametrize("name", SPECIMENS)
def test_an_estimator_is_served_as_it_answers_in_process(name: str) -> None:
    specimen: Specimen = SPECIMENS[name]
    estimator, table = specimen.fit()
    description = describe("zoo", estimator, table, UNMEASURED, seed=0)
    rows = rows_of(table)
    proof, graph = compile_estimator(estimator, description, rows, tolerance=1e-12, seed=0)
    assert isinstance(proof, Compiled) or not RAW.search(proof), proof
    rows = rows[:ROWS_COMPARED]
    if table.task != "regression":
        rows += map(tuple, edge_rows(estimator, table, BOUNDARIES))
    far = far_rows(estimator, description, rows)
    for model in loaded(estimator, description.model_copy(update={"compiled": proof}), graph):
        if model.runtime == "onnx" or description.asked.batching != "tolerant":
            assert_keeps_bits(model, rows)
        assert_served(model, estimator, table, rows)
        assert_served(model, estimator, table, far)


def loaded(
    estimator: Estimator, description: Description, graph: bytes | None
) -> Iterator[FittedEstimator | CompiledEstimator]:
    """Give an estimator as it comes from the store, by itself and compiled."""
    read = Description.model_validate_json(description.model_dump_json())
    by_itself = FittedEstimator(pickle.loads(pickle.dumps(estimator)), read)  # noqa: S301 (ours)
    by_itself.warm_up()
    yield by_itself
    if graph is not None:
        proof = read.compiled
        assert isinstance(proof, Compiled)
        assert proof.same_bits or proof.exact
        compiled = CompiledEstimator(CompiledGraph(graph), read, None if proof.exact else by_itself)
        compiled.warm_up()
        yield compiled


def far_rows(estimator: Estimator, description: Description, rows: list[Any]) -> list[Any]:
    """Give rows far outside of what was trained, as far as they are accepted and answered."""
    rng = np.random.default_rng(2)
    far = []
    for row in rows[:ROWS_FAR]:
        moved = [
            float(np.clip(value * factor, feature.bounds.minimum, feature.bounds.maximum))
            if isinstance(feature, Number) and feature.type == "number"
            else value
            for value, factor, feature in zip(
                row, rng.choice((0.1, 3, 30, 300), len(row)), description.features, strict=True
            )
        ]
        with suppress(ValueError):  # there may be no neighbours as near as they have to be
            answer = estimator.predict([moved])
            if answer.dtype.kind != "f" or np.isfinite(answer).all():
                far.append(moved)
    return far


def assert_keeps_bits(model: FittedEstimator | CompiledEstimator, rows: list[Any]) -> None:
    """Compare what rows get in company, to the last bit, with what they get alone."""
    alone = [model.predict([row])[0] for row in rows]
    for size in (2, 7, len(rows)):
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        given = [answer for batch in batches for answer in model.predict(batch)]
        for answer, right in zip(given, alone, strict=True):
            assert answer is None or repr(answer) == repr(right)


def assert_served(
    model: FittedEstimator | CompiledEstimator,
    estimator: Estimator,
    table: Table,
    rows: list[Any],
) -> None:
    """Send rows as bytes, all in one batch, and compare the bytes of the answers."""
    about = About(model.description, "v1")
    reader = Rows(model.description.features, max_rows=1)
    read = [one.read(Sent(json.dumps({"data": row}).encode()), about, reader) for row in rows]
    asked = [question.rows[0] for question, _ in read]
    assert_same_by_columns(model, asked, model.predict(asked))
    for (_, write), row, prediction in zip(read, asked, model.predict(asked), strict=True):
        answer = prediction or model.predict([row])[0]
        assert answer is not None
        got = json.loads(write([answer], "id").body)
        wanted = in_process(estimator, table, row)
        assert_alike({name: value for name, value in got.items() if name not in CLOSING}, wanted)

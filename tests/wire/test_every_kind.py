"""Answers of other shapes over the wire: scores of outliers, clusters, and several targets.

In process all of scikit-learn's estimators are walked, from the bytes of a body to those of the
answer (`tests/unit/training/test_every_estimator.py`).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server import BATCH, Server, run_python, serving
from tests.tensors import LENGTH_HEADER, outputs_of
from tests.trained import copy_of
from tests.wire.tallies import counts_of, tallied
from tests.zoo import assert_alike

WATCHED = {  # how many series beside the features: what is predicted, and how surely
    "IsolationForest": 1,
    "KMeans": 1,
    "KNeighborsRegressor of several targets": 2,
    "RandomForestClassifier of several targets": 3,  # always as sure of one of the two
}
SAMPLE = tuple(WATCHED)


def fit(home: Path) -> None:
    """Save the sample, and what each says in process."""
    (home / "told.json").write_text(run_python(home, "-m", "tests.wire.zoo_models", *SAMPLE))


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, Any]]]:
    """Serve the sample; give the server, and what each says in process."""
    home = copy_of(fit, "zoo", tmp_path_factory.mktemp("zoo"))
    told = json.loads((home / "told.json").read_text())
    models = ",".join(told[name]["model"] for name in SAMPLE)
    with serving(home, home / "output", SERVING_MODELS=models) as server:
        yield server, told


@pytest.mark.parametrize("name", SAMPLE)
def test_it_answers_over_the_wire_as_in_process(
    zoo: tuple[Server, dict[str, Any]], name: str
) -> None:
    server, told = zoo
    model, rows, answers = (told[name][member] for member in ("model", "rows", "answers"))
    before = tallied(server, model_name=model)
    batch = server.ask(rows, f"/models/{model}{BATCH}").raise_for_status().json()
    for row, together, wanted in zip(rows, batch["predictions"], answers, strict=True):
        assert_alike(together, wanted)
        alone = server.ask(row, f"/models/{model}/predict").raise_for_status().json()
        assert_alike({member: alone[member] for member in wanted}, wanted)
        assert alone.keys() - wanted.keys() == {"model", "request_id"}
    assert_tensors_alike(server, model, rows, batch["predictions"])
    assert len(before) == len(rows[0]) + WATCHED[name]
    # In a batch, alone, and as tensors twice.
    counts_of(server, 4 * len(rows), before, model_name=model)


def assert_tensors_alike(
    server: Server, model: str, rows: list[list[float]], predictions: list[dict[str, Any]]
) -> None:
    """Check that the Open Inference Protocol's answers have the same doubles and labels."""
    known = [
        [*leaves(each["prediction"]), *leaves(each.get("probabilities", each.get("score", [])))]
        for each in predictions
    ]
    tensor = {"name": "x", "shape": [len(rows), len(rows[0])], "datatype": "FP64", "data": rows}
    for parameters in ({}, {"binary_data_output": True}):
        answer = server.http.post(
            f"/v2/models/{model}/infer", json={"inputs": [tensor], "parameters": parameters}
        ).raise_for_status()
        outputs = outputs_of(answer.content, answer.headers.get(LENGTH_HEADER)).values()
        widths = [len(elements) // len(rows) for elements in outputs]
        assert [
            [
                element
                for elements, width in zip(outputs, widths, strict=True)
                for element in elements[at * width : (at + 1) * width]
            ]
            for at in range(len(rows))
        ] == known


def leaves(value: Any) -> list[Any]:  # noqa: ANN401 (any JSON)
    """Give what is in lists and objects, in order."""
    if isinstance(value, dict):
        value = list(value.values())
    return [leaf for each in value for leaf in leaves(each)] if isinstance(value, list) else [value]

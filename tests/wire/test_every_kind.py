"""Ten estimators of all kinds over the wire; in process all of scikit-learn's are walked."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.server import run_python, serving
from tests.zoo import assert_alike

SAMPLE = (
    "CategoricalNB",  # whole numbers, and none outside of what was trained
    "GaussianProcessRegressor",
    "HistGradientBoostingClassifier",
    "IsolationForest",
    "KMeans",
    "KNeighborsRegressor of several targets",
    "MLPClassifier of several targets",  # a matrix of labels
    "NuSVC",  # scores
    "RandomForestClassifier of several targets",
    "TunedThresholdClassifierCV",  # two classes, and labels that go by no largest score
)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Save the sample; give the model store, and what each says in process."""
    home = tmp_path_factory.mktemp("zoo")
    return home, json.loads(run_python(home, "-m", "tests.wire.zoo_models", *SAMPLE))


@pytest.mark.parametrize("name", SAMPLE)
def test_it_answers_over_the_wire_as_in_process(
    zoo: tuple[Path, dict[str, Any]], name: str, tmp_path: Path
) -> None:
    home, told = zoo
    rows, answers = told[name]["rows"], told[name]["answers"]
    with serving(home, tmp_path / "output", SERVING_MODEL=told[name]["model"]) as server:
        batch = server.http.post("/predict/batch", json={"data": rows}).raise_for_status().json()
        for row, together, wanted in zip(rows, batch["predictions"], answers, strict=True):
            assert_alike(together, wanted)
            alone = server.http.post("/predict", json={"data": row}).raise_for_status().json()
            assert_alike({member: alone[member] for member in wanted}, wanted)
            assert alone.keys() - wanted.keys() == {"model", "request_id"}

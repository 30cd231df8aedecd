"""Answers of other shapes over the wire: scores of outliers, and several targets.

In process all of scikit-learn's estimators are walked, from the bytes of a body to those of the
answer (`tests/unit/training/test_every_estimator.py`).
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.server import BATCH, run_python, serving
from tests.trained import copy_of
from tests.zoo import assert_alike

SAMPLE = (
    "IsolationForest",
    "KNeighborsRegressor of several targets",
    "RandomForestClassifier of several targets",
)


def fit(home: Path) -> None:
    """Save the sample, and what each says in process."""
    (home / "told.json").write_text(run_python(home, "-m", "tests.wire.zoo_models", *SAMPLE))


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Save the sample; give the model store, and what each says in process."""
    home = copy_of(fit, "zoo", tmp_path_factory.mktemp("zoo"))
    return home, json.loads((home / "told.json").read_text())


@pytest.mark.parametrize("name", SAMPLE)
def test_it_answers_over_the_wire_as_in_process(
    zoo: tuple[Path, dict[str, Any]], name: str, tmp_path: Path
) -> None:
    home, told = zoo
    rows, answers = told[name]["rows"], told[name]["answers"]
    with serving(home, tmp_path / "output", SERVING_MODEL=told[name]["model"]) as server:
        batch = server.ask(rows, BATCH).raise_for_status().json()
        for row, together, wanted in zip(rows, batch["predictions"], answers, strict=True):
            assert_alike(together, wanted)
            alone = server.ask(row).raise_for_status().json()
            assert_alike({member: alone[member] for member in wanted}, wanted)
            assert alone.keys() - wanted.keys() == {"model", "request_id"}

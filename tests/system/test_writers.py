"""Models that MLflow itself has written, of both versions, are taken as they are.

Needs the environments of the writers, which ``make test-system`` makes.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.server import BIN, ROOT, run_python, serving
from training.loading.code import Code
from training.loading.fitted import load_fitted
from training.loading.signature import Sample

ENVIRONMENTS = BIN.parent / "writers"
COLUMNS = ["rooms", "size", "town", "lift"]
WRITERS = ("mlflow2", "mlflow3")


@dataclass(frozen=True, slots=True)
class Written:
    """A folder of models, the rows that they were fitted on, and what they answered."""

    folder: Path
    rows: list[list[Any]]
    answers: dict[str, Any]


@pytest.fixture(scope="module", params=WRITERS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Have a version write models."""
    folder = tmp_path_factory.mktemp(request.param)
    done = subprocess.run(
        [
            ENVIRONMENTS / request.param / "bin" / "python",
            "-m",
            "tests.system.writers.mlflow",
            folder,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("rows", "answers")}
    return Written(folder, told["rows"], told["answers"])


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_each_flavour_and_format_answers_as_before(written: Written) -> None:
    frame = pd.DataFrame(written.rows, columns=COLUMNS)
    models = [path.parent for path in written.folder.glob("*/MLmodel")]
    assert len(models) >= 6

    for model in models:
        with Code() as code:
            brought = load_fitted(str(model), trust=True, code=code)
            assert isinstance(brought.sample, Sample), brought.sample
            given = frame[list(brought.sample.frame)]
            name = model.name.partition("-")[0]
            name = name if name in written.answers else "houses"
            assert set(code.files) == ({"own_steps.py"} if name == "houses" else set())
            given = given if name == "houses" else given.to_numpy()
            found = brought.estimator.predict_proba(given)
        assert np.array_equal(found, np.array(written.answers[name])), model.name


def test_a_run_becomes_a_server_in_one_line(written: Written, tmp_path: Path) -> None:
    (run,) = {
        path for path in written.folder.glob("runs/*/*/") if (path / "artifacts").is_dir()
    } - {path for path in written.folder.glob("runs/*/models")}

    told = run_python(tmp_path, "train.py", "--model", str(run), "--trust")

    assert "Saved houses:" in told
    rows = written.rows[:50]
    with serving(tmp_path, tmp_path / "log", SERVING_MODEL="houses") as server:
        answers = server.http.post("/predict/batch", json={"data": rows}).json()["predictions"]
        info = server.http.get("/model/info").json()
    assert info["training"] is None
    probabilities = np.array([list(each["probabilities"].values()) for each in answers])
    expected = np.array(written.answers["houses"][:50])
    np.testing.assert_allclose(probabilities, expected, rtol=1e-12, atol=1e-12)

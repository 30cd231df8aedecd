"""Explanations of models of numbers are those of shap, which computes them in its own way.

Needs the environment of the judge, which ``make test-system`` makes.
"""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import joblib
import numpy as np
import pytest

from serving.model.features import Row
from serving.model.outputs import Array
from tests.explained import Case, case_of, whatever_the_machine
from tests.server import BIN, ROOT

JUDGE = BIN.parent / "judges" / "shap" / "bin" / "python"
ALIKE = 1e-6
ROWS = 5
# Of sixty columns there are two classes, of numbers three: each output is among them. No number is
# at a threshold, where shap, which has these in 32 bits, takes the other side now and then.
MODELS = (
    *(("sixty columns", name) for name in ("linear", "ridge", "forest", "boosting")),
    *(("numbers", name) for name in ("ridge", "forest", "extra trees")),
    *(("numbers", name) for name in ("support vectors", "neighbours")),
    *((table, "histogram boosting") for table in ("sixty columns", "gaps")),
)


@dataclass(frozen=True)
class Judged:
    """A model, and what the judge says of its rows: base (outputs,), (rows, columns, outputs)."""

    case: Case
    base: Array
    contributions: Array

    @property
    def rows(self) -> Sequence[Row]:
        """Those that are explained."""
        return self.case.rows[:ROWS]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Judged]:
    """Fit all models, and have shap explain them."""
    folder = tmp_path_factory.mktemp("judged")
    with whatever_the_machine():
        cases = {each: case_of(*each, folder) for each in MODELS}
    for name, case in cases.items():
        file = folder / f"{'-'.join(name)}.joblib"
        joblib.dump(case.fitted, file)
        background, rows = matrix(case.background), matrix(case.rows[:ROWS])
        np.savez(file.with_suffix(".npz"), background=background, rows=rows)
    command = [str(JUDGE), "-m", "tests.system.judges.shap", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {}
    for name, case in cases.items():
        told = json.loads((folder / f"{'-'.join(name)}.json").read_text())
        found[name] = Judged(case, np.array(told["base"]), np.array(told["contributions"]))
    return found


def matrix(rows: Sequence[Row]) -> Array:
    """Give rows as an array, with NaN for what is missing."""
    return np.array(rows, dtype=np.float64)


@pytest.mark.parametrize("name", MODELS, ids="-".join)
def test_shap_finds_the_same(name: tuple[str, str], judged: dict[tuple[str, str], Judged]) -> None:
    model = judged[name]
    outputs = len(model.base)  # of two classes there may be one: the second one's
    within = ALIKE * max(1.0, np.abs(model.contributions).max())
    for row, wanted in zip(model.rows, model.contributions, strict=True):
        base, found, errors = model.case.of(row)
        assert errors is None
        assert outputs in {1, len(base)}
        np.testing.assert_allclose(base[-outputs:], model.base, rtol=0, atol=within)
        np.testing.assert_allclose(found[:, -outputs:], wanted, rtol=0, atol=within)

"""Estimators of other libraries are served with the answers that they give in process."""

from typing import Any

import bentoml
import joblib
import numpy as np
import pandas as pd
import pytest

from serving.model.outputs import Prediction
from serving.model.store import LoadedModel, load
from serving.model.stored import verify
from tests.families import FAMILIES, FITTED, ROWS, ask_less, is_regression, tables
from tests.unit.columns import assert_same_by_columns
from tests.unit.training.pets import run

TABLES = tables()
CASES = [
    (family, name)
    for family in FAMILIES
    for name, table in TABLES.items()
    if not (family == "imblearn" and is_regression(table))
]
CLOSE = 1e-12
ALONE = 500
ALONE_IN_FRAMES = 30  # each of which takes milliseconds


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask less."""
    ask_less(monkeypatch.setattr)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::Warning")  # what libraries say while they are probed
@pytest.mark.parametrize(("family", "name"), CASES)
@pytest.mark.usefixtures("folder", "near")
def test_an_estimator_is_adopted_and_answers_as_in_process(family: str, name: str) -> None:
    table = TABLES[name]
    estimator, features = FAMILIES[family](table)
    estimator.fit(features[:FITTED], table.target[:FITTED])
    joblib.dump(estimator, "mine.joblib")
    table.frame.assign(y=table.target).to_csv("reference.csv", index=False)

    run("--model mine.joblib --reference reference.csv --target y --trust")

    model, _ = load(verify(bentoml.models.get("mine")))
    rows = [
        tuple(None if value != value else value for value in row)
        for row in table.frame.astype(object).itertuples(index=False)
    ]
    assert_alike(answers(model, rows, [ROWS]), estimator, features)
    part = rows[:ALONE_IN_FRAMES]
    assert_same_by_columns(model, part, model.predict(part))
    sizes = np.random.default_rng(0).integers(1, 64, ROWS).tolist()
    assert_alike(answers(model, rows, sizes), estimator, features)
    alone = ALONE if model.description.asked.input == "array" else ALONE_IN_FRAMES
    assert_alike(answers(model, rows[:alone], [1] * alone), estimator, features[:alone])


def answers(model: LoadedModel, rows: list[Any], sizes: list[int]) -> list[Prediction]:
    """Ask for rows in batches of some sizes, and alone for what has to be."""
    told: list[Prediction] = []
    for size in sizes:
        batch = rows[len(told) : len(told) + size]
        for row, found in zip(batch, model.predict(batch) if batch else [], strict=True):
            answer = found or model.predict([row])[0]
            assert answer is not None
            told.append(answer)
    return told


def assert_alike(told: list[Prediction], estimator: Any, features: pd.DataFrame) -> None:  # noqa: ANN401
    """Compare with what the estimator says of the frame, of all of its rows at once."""
    close: dict[str, Any] = {"rtol": CLOSE, "atol": CLOSE}
    values: Any = [one.value for one in told]
    wanted = np.ravel(estimator.predict(features))
    if not hasattr(estimator, "predict_proba"):
        np.testing.assert_allclose(values, wanted, **close)
        return
    shares: Any = [one.probabilities for one in told]
    assert values == wanted.tolist()
    np.testing.assert_allclose(shares, estimator.predict_proba(features), **close)

"""A shortcut is taken where it was seen to lead to the same answers, and sooner."""

from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMRegressor
from xgboost import XGBClassifier

from serving.model.description import Description
from serving.model.estimator import FittedEstimator
from serving.model.shortcut import Shortcut
from tests.unit.training.compiling.compiled import Estimator, described, flowers, patients
from training.compiling.shortcut import with_shortcut
from training.describing.describe import rows_of
from training.table.table import Table


def codes() -> Table:
    """Give flowers whose species are codes."""
    return flowers(np.unique(flowers().target["y"], return_inverse=True)[1])


def asked_quickly(estimator: Estimator, description: Description, table: Table) -> bool:
    return with_shortcut(estimator, description, rows_of(table), seed=0).asked.shortcut


@pytest.mark.parametrize(
    ("estimator", "table"),
    [
        (LGBMRegressor(n_estimators=10, n_jobs=1, verbose=-1), patients()),
        (XGBClassifier(n_estimators=3, n_jobs=1), codes()),
    ],
    ids=["LightGBM", "XGBoost"],
)
def test_it_is_taken_where_the_answers_are_the_same(estimator: Estimator, table: Table) -> None:
    estimator, description = described(estimator, table)
    assert not description.asked.shortcut
    assert asked_quickly(estimator, description, table)

    quick = description.asked.model_copy(update={"shortcut": True})
    model = FittedEstimator(estimator, description)
    served = FittedEstimator(estimator, description.model_copy(update={"asked": quick}))
    rows = rows_of(table)[:20]
    assert served.predict(rows) == model.predict(rows)
    assert [served.predict([row]) for row in rows] == [model.predict([row]) for row in rows]


def test_what_fails_or_takes_longer_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    table = patients()
    booster = LGBMRegressor(n_estimators=10, n_jobs=1, verbose=-1)
    estimator, description = described(booster, table)
    call = Shortcut.__call__

    def slow(self: Shortcut, table: Any) -> Any:  # noqa: ANN401 (as it has it)
        for _ in range(100):
            told = call(self, table)
        return told

    monkeypatch.setattr(Shortcut, "__call__", slow)
    assert not asked_quickly(estimator, description, table)
    monkeypatch.setattr(Shortcut, "__call__", lambda *_: [][0])
    assert not asked_quickly(estimator, description, table)

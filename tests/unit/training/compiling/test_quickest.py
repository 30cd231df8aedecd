"""The quickest way is taken where it was seen to lead to the same answers, and sooner."""

from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.neighbors import KNeighborsClassifier

from serving.model.description import Description
from serving.model.estimator import FittedEstimator
from serving.model.natively import QuickWay
from tests.unit.training.compiling.compiled import Estimator, described, flowers, patients
from training.compiling.quickest import with_quickest_way
from training.describing.describe import rows_of
from training.table.table import Table


def asked_quickly(estimator: Estimator, description: Description, table: Table) -> bool:
    return with_quickest_way(estimator, description, rows_of(table), seed=0).asked.natively


@pytest.mark.parametrize(
    ("estimator", "table"),
    [
        (LGBMRegressor(n_estimators=10, n_jobs=1, verbose=-1), patients()),
        (KNeighborsClassifier(4), flowers()),
    ],
    ids=["a booster", "with labels that are often tied"],
)
def test_it_is_taken_where_the_answers_are_the_same(estimator: Estimator, table: Table) -> None:
    estimator, description = described(estimator, table)
    assert not description.asked.natively
    assert asked_quickly(estimator, description, table)

    quick = description.asked.model_copy(update={"natively": True})
    model = FittedEstimator(estimator, description)
    served = FittedEstimator(estimator, description.model_copy(update={"asked": quick}))
    rows = rows_of(table)[:20]
    assert served.predict(rows) == model.predict(rows)
    assert [served.predict([row]) for row in rows] == [model.predict([row]) for row in rows]


def test_labels_by_another_rule_than_the_largest_probability_are_found_out() -> None:
    species = flowers().target["y"].to_numpy()
    two = flowers(np.where(species == "virginica", "yes", "no"))
    other = FixedThresholdClassifier(LogisticRegression(), threshold=0.51, pos_label="yes")
    estimator, description = described(other, two)
    assert description.asked.scored_by == "predict_proba"
    assert not asked_quickly(estimator, description, two)


def test_what_fails_or_takes_longer_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    table = flowers()
    estimator, description = described(LogisticRegression(), table)
    call = QuickWay.__call__

    def slow(self: QuickWay, table: Any) -> Any:  # noqa: ANN401 (as it has it)
        for _ in range(100):
            told = call(self, table)
        return told

    monkeypatch.setattr(QuickWay, "__call__", slow)
    assert not asked_quickly(estimator, description, table)
    monkeypatch.setattr(QuickWay, "__call__", lambda *_: [][0])
    assert not asked_quickly(estimator, description, table)

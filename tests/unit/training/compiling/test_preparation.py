"""Categories, booleans and gaps, compiled."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    LogisticRegression,
    Ridge,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    OneHotEncoder,
    OrdinalEncoder,
)

from tests.unit.training.compiling.compiled import (
    COUNT,
    METRICS,
    Estimator,
    assert_alike,
    described,
    fitted,
    mixed,
    others,
    served,
)
from training.compiling.preparation import Preparation, vocabulary_of
from training.describing.describe import describe
from training.table.table import to_table


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        RandomForestClassifier(10, random_state=0),  # which takes gaps itself
        HistGradientBoostingClassifier(max_iter=10, random_state=0),
    ],
    ids=str,
)
@pytest.mark.slow
def test_categories_booleans_and_gaps_are_compiled(estimator: Estimator) -> None:
    table = mixed()
    estimator, description = fitted(clone(estimator), table)
    model, _ = served(estimator, description, table)
    rows = others(description, estimator, table)
    assert any(None in row for row in rows)
    assert_alike(model, estimator, rows)


@pytest.mark.slow  # of frames, each row takes its time
def test_a_pipeline_on_columns_by_name_is_compiled() -> None:
    table = mixed()
    one_hot = OneHotEncoder(handle_unknown="error", drop="first")
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="most_frequent"), one_hot), ["colour"]),
        (make_pipeline(SimpleImputer(strategy="most_frequent"), ordinal), ["colour"]),
        (SimpleImputer(), ["width", "length"]),
        ("passthrough", ["count"]),
    )
    frame = table.frame.astype({"ripe": float})
    estimator = make_pipeline(columns, LogisticRegression()).fit(frame, table.labels)
    description = describe("mine", estimator, table, METRICS, seed=0)
    assert description.asked.input != "array"
    model, _ = served(estimator, description, table)
    assert_alike(model, estimator, others(description, estimator, table))


@pytest.mark.parametrize(
    "encoder",
    [
        OrdinalEncoder(
            categories=[["XS", "S", "M", "L", "XL"]],
            handle_unknown="use_encoded_value",
            unknown_value=-1,
        ),
        make_pipeline(
            SimpleImputer(strategy="constant", fill_value="none"),
            OneHotEncoder(categories=[["S", "M", "L", "XL", "none"]], handle_unknown="ignore"),
        ),
    ],
    ids=str,
)
def test_an_encoder_may_know_categories_that_the_table_lacks(encoder: Estimator) -> None:
    rng = np.random.default_rng(0)
    size = rng.choice(["S", "M", "L"], COUNT).astype(object)
    price = pd.Series(size).map({"S": 10.0, "M": 20.0, "L": 30.0}) + rng.normal(size=COUNT)
    table = to_table(
        pd.DataFrame({"size": size, "weight": rng.normal(size=COUNT), "y": price}), ["y"]
    )
    columns = make_column_transformer((encoder, [0]), remainder="passthrough")
    estimator, description = described(make_pipeline(columns, Ridge()), table)
    model, _ = served(estimator, description, table)
    assert_alike(model, estimator, [("XL", 0.1), ("S", 0.1), ("never seen", 0.1), ("none", -1.0)])


def test_many_categories_are_compiled_in_little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    transform = OrdinalEncoder.transform

    def counting(self: OrdinalEncoder, rows: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        return transform(self, rows)  # type: ignore[no-any-return]

    categories = [[f"{column} {number}" for number in range(500)] for column in range(3)]
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    encoder.fit(np.array(categories, dtype=object).T)
    monkeypatch.setattr(OrdinalEncoder, "transform", counting)
    tables = Preparation(sorted(vocabulary_of(encoder)))._tables(encoder)
    assert asked == [502] * 3
    assert [sorted(table[:, 0])[:2] for table in tables] == [[-1, -1]] * 3
    assert [table.max() for table in tables] == [499] * 3

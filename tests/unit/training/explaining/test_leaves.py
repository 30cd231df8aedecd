"""Sums of trees, explained by their leaves: as brute force finds, and adding up at each cut."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder, SplineTransformer
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

from serving.explaining import leaves as by_leaves
from serving.model.wrapped import CodedLabels
from tests.unit.training.compiling.compiled import SPECIES, described, fitted, flowers, mixed
from tests.unit.training.explaining.explained import Explained
from training.explaining import leaves
from training.explaining.images import CannotExplainError
from training.table.table import Table, to_table

Estimator = Any  # scikit-learn has no type for it
ROWS = 4  # that are compared with brute force
COUNT = 60
BOOSTED: dict[str, Any] = {"n_estimators": 8, "random_state": 0}
HISTOGRAM: dict[str, Any] = {"max_iter": 8, "min_samples_leaf": 4, "random_state": 0}
LIGHT: dict[str, Any] = {"n_estimators": 8, "min_child_samples": 4, "verbose": -1}
CLASSIFIERS = (
    DecisionTreeClassifier(random_state=0),
    ExtraTreeClassifier(random_state=0),
    RandomForestClassifier(8, random_state=0),
    ExtraTreesClassifier(8, random_state=0),
    GradientBoostingClassifier(**BOOSTED),
    HistGradientBoostingClassifier(**HISTOGRAM),
    LGBMClassifier(**LIGHT),
)
REGRESSORS = (
    DecisionTreeRegressor(random_state=0),
    RandomForestRegressor(8, random_state=0),
    GradientBoostingRegressor(loss="huber", **BOOSTED),
    GradientBoostingRegressor(init="zero", **BOOSTED),
    HistGradientBoostingRegressor(**HISTOGRAM),
    LGBMRegressor(**LIGHT),
    LGBMRegressor(boosting_type="rf", subsample=0.5, subsample_freq=1, **LIGHT),
)


def lengths(**columns: Any) -> Table:  # noqa: ANN401 (an array of whatever)
    """Make a table of numbers for regressions, one of which says nothing."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(COUNT, 3)), columns=["a", "b", "c"])
    frame["constant"] = 1.5
    return to_table(frame.assign(**columns, y=frame.a * frame.b + frame.c), ["y"])


def pairs(second: Any) -> Table:  # noqa: ANN401 (an array of whatever)
    """Make a table with two targets."""
    frame = mixed().frame[["length", "count"]].assign(first=mixed().frame["y"], second=second)
    return to_table(frame, ["first", "second"])


@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=str)
def test_classes_are_explained_as_defined_with_gaps_categories_and_booleans(
    estimator: Estimator,
) -> None:
    pipeline, description = fitted(clone(estimator), mixed())
    explained = Explained(getattr(pipeline, "plain", lambda: pipeline)(), description, mixed())
    gaps = explained.images.shown[-40:]
    for row in [*explained.rows[:ROWS], *gaps[:ROWS]]:
        explained.assert_as_defined(row)
    for row in [*explained.rows, *gaps, *explained.at_cuts()]:
        explained.of(row)


@pytest.mark.parametrize("estimator", CLASSIFIERS[2:], ids=str)
def test_more_than_two_classes_are_explained_as_defined(estimator: Estimator) -> None:
    explained = Explained(*fitted(clone(estimator), flowers()), flowers())
    for row in explained.rows[::40]:
        explained.assert_as_defined(row)
    for row in [*explained.rows, *explained.at_cuts()]:
        explained.of(row)


@pytest.mark.parametrize("estimator", REGRESSORS, ids=str)
def test_numbers_are_explained_as_defined_and_what_is_ignored_has_nothing(
    estimator: Estimator,
) -> None:
    explained = Explained(*fitted(clone(estimator), lengths()), lengths())
    assert explained.built.output == "value"
    for row in explained.rows[:ROWS]:
        explained.assert_as_defined(row)
    for row in [*explained.rows, *explained.at_cuts()]:
        assert explained.of(row).contributions[3].tolist() == [0.0]


@pytest.mark.parametrize("forest", [RandomForestRegressor, RandomForestClassifier])
def test_several_targets_of_a_forest_are_explained(forest: type) -> None:
    second: Any = np.arange(COUNT) % 5 / 2
    if forest is RandomForestClassifier:
        second = np.array(["x", "y", "z"], dtype=object)[np.arange(COUNT) % 3]
    table = pairs(second)
    if forest is RandomForestRegressor:
        table = to_table(
            table.frame.assign(first=np.arange(COUNT) / 7, second=second), ["first", "second"]
        )
    explained = Explained(*fitted(forest(5, random_state=0), table), table)
    assert len(explained.outputs.all) == (2 if forest is RandomForestRegressor else 5)
    for row in explained.rows[:ROWS]:
        explained.assert_as_defined(row)


def test_labels_may_be_coded_and_losses_have_their_scale() -> None:
    inside = GradientBoostingClassifier(loss="exponential", **BOOSTED)
    labels = np.where(SPECIES == "setosa", "setosa", "other").astype(object)
    labels[::7] = "setosa"
    explained = Explained(*fitted(CodedLabels(inside), flowers(labels)), flowers(labels))
    assert explained.built.output == "log-odds"
    for row in explained.rows[::40]:
        explained.assert_as_defined(row)


def test_categories_may_be_codes_that_trees_compare() -> None:
    table = to_table(mixed().frame[["length", "colour", "y"]].dropna(), ["y"])
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    estimator = make_pipeline(
        make_column_transformer((codes, [1]), remainder="passthrough"),
        RandomForestClassifier(8, random_state=0),
    )
    explained = Explained(*described(estimator, table), table)
    unseen = (5.0, "never seen")
    for row in [*explained.rows[:ROWS], unseen]:
        explained.assert_as_defined(row)


def test_histogram_boosting_may_split_by_categories_itself() -> None:
    codes = np.arange(COUNT) * 7 % 11
    table = lengths(code=codes, a=np.where(codes % 3, 0.0, 1.0) + np.arange(COUNT) / COUNT)
    estimator = HistGradientBoostingRegressor(categorical_features=[4], **HISTOGRAM)
    explained = Explained(*described(estimator, table), table)
    assert any(told["values"] for told in explained.built.kept.told["columns"])
    for row in explained.rows[:ROWS]:
        explained.assert_as_defined(row)
        explained.of((*row[:4], 4000))  # a code that training has not seen


def test_a_falling_curve_and_steps_are_found_by_their_cuts() -> None:
    def curves(rows: Any) -> Any:  # noqa: ANN401 (arrays)
        return np.column_stack((-np.exp(-rows), np.floor(-3 * rows), rows**3))

    prepare = FunctionTransformer(curves)
    estimator = make_pipeline(prepare, RandomForestRegressor(8, random_state=0))
    explained = Explained(*described(estimator, lengths()), lengths())
    explained.assert_as_defined(explained.rows[0])
    for row in [*explained.rows, *explained.at_cuts()]:
        explained.of(row)


def test_columns_in_which_a_model_is_symmetric_get_the_same() -> None:
    frame = pd.DataFrame(
        np.random.default_rng(2).integers(0, 2, (COUNT, 2)) * 1.0, columns=["a", "b"]
    )
    table = to_table(frame.assign(c=np.arange(COUNT) / 7, y=frame.a + frame.b), ["y"])
    explained = Explained(*fitted(DecisionTreeRegressor(), table), table)
    explained.way = by_leaves.Leaves(
        leaves.build(explained.images, [(0.0, 0.0, 1.0)], explained.model.description).kept,
        explained.model.description,
        explained.numbers,
    )
    assert explained.of((1.0, 1.0, 2.0)).contributions.ravel() == pytest.approx([1, 1, 0])


def test_many_columns_have_places_of_their_own_at_each_leaf(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for room in (leaves, by_leaves):
        monkeypatch.setattr(room, "FEW", 1)
    monkeypatch.setattr(by_leaves, "PART_NS", 4000)
    explained = Explained(*fitted(RandomForestClassifier(8, random_state=0), mixed()), mixed())
    assert len(explained.way.parts(explained.rows[0])) > 2
    for row in explained.rows[:ROWS]:
        explained.assert_as_defined(row)


def test_more_conditions_than_a_byte_has_bits_are_told_apart() -> None:
    frame = pd.DataFrame(np.random.default_rng(3).normal(size=(COUNT, 9)))
    table = to_table(frame.rename(columns=str).assign(y=frame.sum(axis=1)), ["y"])
    explained = Explained(*fitted(RandomForestRegressor(4, random_state=0), table), table)
    explained.background = explained.background[:3]
    kept = leaves.build(explained.images, explained.background, explained.model.description).kept
    assert kept.arrays["masks16"].dtype == np.uint16
    explained.way = by_leaves.Leaves(kept, explained.model.description, explained.numbers)
    explained.assert_as_defined(explained.rows[0])


def test_of_too_many_patterns_fewer_rows_are_compared_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaves, "MAX_PATTERNS", 1500)
    monkeypatch.setattr(leaves, "MIN_ROWS", 2)
    explained = Explained(*fitted(RandomForestRegressor(8, random_state=0), lengths()), lengths())
    count = explained.built.background_rows
    assert 2 <= count < len(explained.background)
    explained.assert_as_defined(explained.rows[0], leaves.thinned(explained.background, count))
    monkeypatch.setattr(leaves, "MAX_PATTERNS", 100)
    with pytest.raises(CannotExplainError, match="too many leaves"):
        leaves.build(explained.images, explained.background, explained.model.description)


def test_a_tree_that_is_one_leaf_has_a_base_alone() -> None:
    explained = Explained(*fitted(DecisionTreeRegressor(min_samples_leaf=50), lengths()), lengths())
    attribution = explained.of(explained.rows[0])
    assert not attribution.contributions.any()


@pytest.mark.parametrize(
    ("estimator", "why"),
    [
        (LogisticRegression(), "LogisticRegression is no sum of trees"),
        (
            VotingClassifier([("t", DecisionTreeClassifier())]),
            "VotingClassifier is no sum of trees",
        ),
        (
            GradientBoostingClassifier(init=DecisionTreeClassifier(max_depth=1), **BOOSTED),
            "its boosting starts with another estimator",
        ),
        (LGBMClassifier(zero_as_missing=True, **LIGHT), "its trees take zeros for missing values"),
        (LGBMClassifier(objective="multiclassova", **LIGHT), "is not what it answers"),
        (
            make_pipeline(SplineTransformer(), DecisionTreeClassifier()),
            "what is made of 'sepal length .cm.' neither rises nor falls with it",
        ),
    ],
    ids=str,
)
def test_it_is_told_why_not(estimator: Estimator, why: str) -> None:
    with pytest.raises(CannotExplainError, match=why):
        Explained(*described(estimator, flowers()), flowers())


def test_numbers_that_are_powers_of_what_trees_add_up_are_not_explained() -> None:
    table = lengths()
    table = to_table(table.frame.assign(y=table.frame.y**2 + 1), ["y"])
    for estimator in (
        HistGradientBoostingRegressor(loss="poisson", **HISTOGRAM),
        LGBMRegressor(objective="poisson", **LIGHT),
    ):
        with pytest.raises(CannotExplainError, match="is not what it answers"):
            Explained(*fitted(estimator, table), table)

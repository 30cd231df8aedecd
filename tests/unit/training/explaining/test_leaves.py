"""Sums of trees, explained by their leaves: as brute force finds, and adding up at each cut."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder, SplineTransformer
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from serving.explaining import leaves as by_leaves
from serving.model.wrapped import CodedLabels
from tests.unit.samples import asked, description, outlier_detection, regression
from tests.unit.training.compiling.compiled import (
    IRIS,
    SPECIES,
    described,
    fitted,
    flowers,
    mixed,
)
from tests.unit.training.explaining.explained import Explained
from training.explaining import leaves
from training.explaining.built import CannotExplainError
from training.explaining.ensembles import ensemble_of
from training.table.table import Table, to_table

pytestmark = pytest.mark.usefixtures("quick")

Estimator = Any  # scikit-learn has no type for it
ROWS = 4  # that are compared with brute force
COUNT = 60
BOOSTED: dict[str, Any] = {"n_estimators": 8, "random_state": 0}
HISTOGRAM: dict[str, Any] = {"max_iter": 8, "min_samples_leaf": 4, "random_state": 0}
LIGHT: dict[str, Any] = {"n_estimators": 8, "min_child_samples": 4, "n_jobs": 1, "verbose": -1}
CLASSIFIERS = (
    DecisionTreeClassifier(random_state=0),
    RandomForestClassifier(8, random_state=0),
    GradientBoostingClassifier(**BOOSTED),
    HistGradientBoostingClassifier(**HISTOGRAM),
    LGBMClassifier(**LIGHT),
)
REGRESSORS = (
    RandomForestRegressor(8, random_state=0),
    GradientBoostingRegressor(loss="huber", **BOOSTED),
    GradientBoostingRegressor(init="zero", **BOOSTED),
    HistGradientBoostingRegressor(**HISTOGRAM),
    LGBMRegressor(**LIGHT),
    LGBMRegressor(boosting_type="rf", subsample=0.5, subsample_freq=1, **LIGHT),
)


def lengths(**columns: Any) -> Table:  # noqa: ANN401 (an array of whatever)
    """Make a table of numbers for regressions."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(COUNT, 3)), columns=["a", "b", "c"])
    return to_table(frame.assign(y=frame.a * frame.b + frame.c).assign(**columns), ["y"])


@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=str)
def test_classes_are_explained_as_defined_with_gaps_categories_and_booleans(
    estimator: Estimator,
) -> None:
    pipeline, description = fitted(clone(estimator), mixed())
    explained = Explained(getattr(pipeline, "plain", lambda: pipeline)(), description, mixed())
    gaps = explained.images.shown[-40:]
    explained.assert_as_defined([*explained.rows[:ROWS], *gaps[:ROWS]])
    explained.of([*explained.rows, *gaps, *explained.at_cuts()])


@pytest.mark.parametrize("estimator", CLASSIFIERS[1:], ids=str)
def test_more_than_two_classes_are_explained_as_defined(estimator: Estimator) -> None:
    explained = Explained(*fitted(clone(estimator), flowers()), flowers())
    explained.assert_as_defined(explained.rows[::40])
    explained.of([*explained.rows, *explained.at_cuts()])


@pytest.mark.parametrize("estimator", REGRESSORS, ids=str)
def test_numbers_are_explained_as_defined(estimator: Estimator) -> None:
    explained = Explained(*fitted(clone(estimator), lengths()), lengths())
    assert explained.built.output == "value"
    explained.assert_as_defined(explained.rows[:ROWS])
    explained.of([*explained.rows, *explained.at_cuts()])


def test_a_column_that_is_ignored_gets_nothing_at_all() -> None:
    columns = make_column_transformer(("passthrough", [0, 2]))
    estimator = make_pipeline(columns, RandomForestRegressor(8, random_state=0))
    explained = Explained(*described(estimator, lengths()), lengths())
    assert {a.contributions[1, 0] for a in explained.of(explained.rows)} == {0.0}


@pytest.mark.parametrize("forest", [RandomForestRegressor, RandomForestClassifier])
def test_several_targets_of_a_forest_are_explained(forest: type) -> None:
    numbers = np.arange(COUNT)
    two = {"first": numbers / 7, "second": numbers % 5 / 2}
    if forest is RandomForestClassifier:
        two = {"first": np.array(["big", "small"])[numbers % 2]}
        two["second"] = np.array(["x", "y", "z"])[numbers % 3]
    frame = lengths().frame.assign(**{name: list(values) for name, values in two.items()})
    table = to_table(frame, list(two))
    explained = Explained(*fitted(forest(5, random_state=0), table), table)
    assert len(explained.outputs.all) == (2 if forest is RandomForestRegressor else 5)
    explained.assert_as_defined(explained.rows[:ROWS])


def test_labels_may_be_coded_and_losses_have_their_scale() -> None:
    inside = GradientBoostingClassifier(loss="exponential", **BOOSTED)
    labels = np.where(SPECIES == "setosa", "setosa", "other").astype(object)
    labels[::7] = "setosa"
    explained = Explained(*fitted(CodedLabels(inside), flowers(labels)), flowers(labels))
    assert explained.built.output == "log-odds"
    explained.assert_as_defined(explained.rows[::40])


def test_categories_may_be_codes_that_trees_compare() -> None:
    table = lengths(colour=list("abcdef" * 10))
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    estimator = make_pipeline(
        make_column_transformer((codes, [3]), remainder="passthrough"),
        RandomForestRegressor(8, random_state=0),
    )
    explained = Explained(*described(estimator, table), table)
    explained.assert_as_defined([*explained.rows[:ROWS], (0.1, 0.2, 0.3, "never seen")])


def test_histogram_boosting_may_split_by_categories_itself() -> None:
    at = np.arange(COUNT) * 7 % 4
    table = lengths(colour=[list("abcd")[i] for i in at], y=at % 2 + np.arange(COUNT) / COUNT)
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    estimator = make_pipeline(
        make_column_transformer(("passthrough", [0, 1, 2]), (codes, [3])),
        HistGradientBoostingRegressor(categorical_features=[3], **HISTOGRAM),
    )
    explained = Explained(*described(estimator, table), table)
    assert any(told["values"] for told in explained.built.kept.told["columns"])
    explained.assert_as_defined([*explained.rows[:ROWS], (0.1, 0.2, 0.3, "never seen")])


def test_categories_among_plain_numbers_are_not_looked_for() -> None:
    at = np.arange(COUNT) * 7 % 4
    table = lengths(code=at, y=at % 2 + np.arange(COUNT) / COUNT)
    estimator = HistGradientBoostingRegressor(categorical_features=[3], **HISTOGRAM)
    with pytest.raises(CannotExplainError, match="its trees split by categories of 'code'"):
        Explained(*described(estimator, table), table)


def test_curves_and_steps_that_fall_and_rise_are_found_by_their_cuts() -> None:
    def curves(rows: Any) -> Any:  # noqa: ANN401 (arrays)
        return np.column_stack((-rows / 3, np.floor(-3 * rows), np.sqrt(rows + 100)))

    prepare = FunctionTransformer(curves)
    estimator = make_pipeline(prepare, RandomForestRegressor(8, random_state=0))
    explained = Explained(*described(estimator, lengths()), lengths())
    explained.assert_as_defined(explained.rows[:1])
    explained.of([*explained.rows, *explained.at_cuts()])


def test_columns_in_which_a_model_is_symmetric_get_the_same() -> None:
    frame = pd.DataFrame(np.random.default_rng(2).normal(size=(COUNT, 3)), columns=list("abc"))
    table = to_table(frame.assign(y=1.0 * ((frame.a > 0) & (frame.b > 0))), ["y"])
    explained = Explained(*fitted(DecisionTreeRegressor(), table), table)
    explained.compare_with([(-2.0, -2.0, 1.0)])
    (attribution,) = explained.of([(2.0, 2.0, 2.0)])
    assert attribution.contributions.ravel().tolist() == [0.5, 0.5, 0.0]


def test_many_columns_have_places_of_their_own_at_each_leaf(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for room in (leaves, by_leaves):
        monkeypatch.setattr(room, "FEW", 1)
    monkeypatch.setattr(by_leaves, "PART_NS", 400)
    explained = Explained(*fitted(RandomForestClassifier(8, random_state=0), mixed()), mixed())
    assert len(explained.way.parts(explained.rows[0])) > 2
    explained.assert_as_defined(explained.rows[:ROWS])


def test_more_conditions_than_a_byte_has_bits_are_told_apart() -> None:
    frame = pd.DataFrame(np.random.default_rng(3).normal(size=(COUNT, 9)))
    table = to_table(frame.rename(columns=str).assign(y=frame.sum(axis=1)), ["y"])
    explained = Explained(*fitted(RandomForestRegressor(4, random_state=0), table), table)
    explained.compare_with(explained.background[:3])
    assert explained.built.kept.arrays["masks16"].dtype == np.uint16
    explained.assert_as_defined(explained.rows[:1])


def test_of_too_many_patterns_fewer_rows_are_compared_with(monkeypatch: pytest.MonkeyPatch) -> None:
    explained = Explained(*fitted(RandomForestRegressor(8, random_state=0), lengths()), lengths())
    count = len(explained.built.kept.arrays["masks8"])
    monkeypatch.setattr(leaves, "MIN_ROWS", 2)
    monkeypatch.setattr(leaves, "MAX_PATTERNS", count - 1)
    explained.compare_with(explained.background)
    assert 2 <= explained.built.background_rows < len(explained.background)
    explained.assert_as_defined(explained.rows[:1])
    monkeypatch.setattr(leaves, "MAX_PATTERNS", 100)
    with pytest.raises(CannotExplainError, match="too many leaves"):
        explained.compare_with(explained.background)


def test_a_tree_that_is_one_leaf_has_a_base_alone() -> None:
    explained = Explained(*fitted(DecisionTreeRegressor(min_samples_leaf=50), lengths()), lengths())
    (attribution,) = explained.of(explained.rows[:1])
    assert not attribution.contributions.any()


def test_of_what_rises_and_falls_it_is_told_that_it_does() -> None:
    estimator = make_pipeline(SplineTransformer(), DecisionTreeRegressor())
    with pytest.raises(CannotExplainError, match=r"what is made of '.' neither rises nor falls"):
        Explained(*described(estimator, lengths()), lengths())


@pytest.mark.parametrize(
    ("estimator", "why"),
    [
        (LogisticRegression(max_iter=5000), "LogisticRegression is no sum of trees"),
        (
            GradientBoostingClassifier(init=DecisionTreeClassifier(max_depth=1), **BOOSTED),
            "its boosting starts with another estimator",
        ),
        (LGBMClassifier(zero_as_missing=True, **LIGHT), "its trees take zeros for missing values"),
        (LGBMClassifier(objective="multiclassova", **LIGHT), "is not what it answers"),
        (LGBMRegressor(objective="poisson", **LIGHT), "is not what it answers"),
        (HistGradientBoostingRegressor(loss="poisson", **HISTOGRAM), "is not what it answers"),
    ],
    ids=str,
)
def test_it_is_told_why_a_model_is_not_explained_so(estimator: Estimator, why: str) -> None:
    is_classifier = hasattr(estimator, "predict_proba")
    told = description(asked=asked(scored_by="predict_proba")) if is_classifier else regression("y")
    fitted_one = clone(estimator).fit(IRIS.data.to_numpy(), IRIS.target + 1)
    with pytest.raises(CannotExplainError, match=why):
        ensemble_of(fitted_one, told)


def test_without_probabilities_and_of_what_is_no_number_nothing_is_explained() -> None:
    tree = DecisionTreeClassifier().fit(IRIS.data, IRIS.target)
    for told, why in (
        (description(asked=asked(scored_by=None)), "without probabilities"),
        (outlier_detection(), "no number that it answers"),
    ):
        with pytest.raises(CannotExplainError, match=why):
            ensemble_of(tree, told)

"""Training: the same each time, honest in what it says, and nothing of the data given away."""

import runpy
import sys
from typing import Any

import bentoml
import numpy as np
import pytest
import sklearn
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

import train
from serving.description import Description, Interval, Metrics
from serving.model import Model, verify
from train import Table, build_pipeline, describe, evaluate, iris, numeric_domain

Estimator = Any  # scikit-learn has no type for it
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
SEED = 42
METRICS = Metrics(split="none", values={})


@pytest.fixture(scope="module")
def table() -> Table:
    """Give the iris data."""
    return iris()


@pytest.fixture(scope="module")
def pipeline(table: Table) -> Estimator:
    """Give the fitted default pipeline."""
    return build_pipeline(SEED).fit(table.values, table.target)


def run(*argv: str) -> Description:
    """Train, and give the description of what was saved."""
    train.main(list(argv))
    name = argv[argv.index("--name") + 1] if "--name" in argv else "iris"
    return verify(bentoml.models.get(f"{name}:latest")).description


# The whole


def test_two_runs_give_the_same_fingerprint_and_scores(capsys: pytest.CaptureFixture[str]) -> None:
    one, other = run(), run()
    assert one.training == other.training
    assert one.metrics == other.metrics
    assert one.features == other.features
    models = [model for model in bentoml.models.list("iris") if model.tag.name == "iris"]
    assert len(models) >= 2


def test_the_seed_decides_which_rows_are_held_out() -> None:
    one, other = run("--seed", "1"), run("--seed", "2")
    assert one.training == other.training
    assert one.metrics != other.metrics
    assert one.metrics.split == "held out: 38 of 150 rows, stratified, seed 1"


def test_the_share_and_the_name_can_be_chosen() -> None:
    description = run("--name", "flowers", "--test-size", "0.5")
    assert description.name == "flowers"
    assert description.metrics.split.startswith("held out: 75 of 150 rows")


def test_what_was_saved_is_the_estimator_fitted_on_all_rows(
    table: Table, pipeline: Estimator
) -> None:
    run()
    estimator = bentoml.sklearn.load_model("iris:latest")
    assert (estimator.predict_proba(table.values) == pipeline.predict_proba(table.values)).all()


def test_a_person_is_told_what_was_trained(capsys: pytest.CaptureFixture[str]) -> None:
    description = run()
    told = capsys.readouterr().out
    for expected in (
        f"Saved {bentoml.models.get('iris:latest').tag}",
        "StandardScaler → LogisticRegression",
        "150 rows, 4 features",
        description.training.fingerprint[:19],
        "setosa, versicolor, virginica",
        "accuracy 0.",
        description.metrics.split,
        f"scikit-learn {sklearn.__version__}",
        "bentoml serve",
    ):
        assert expected in told
    assert "nan" not in told


def test_it_is_a_command_that_needs_no_arguments(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])
    runpy.run_path(train.__file__, run_name="__main__")
    assert capsys.readouterr().out.startswith("Saved iris:")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--test-size", "0"),
        ("--test-size", "1"),
        ("--test-size", "-0.5"),
        ("--test-size", "nan"),
        ("--test-size", "many"),
        ("--test-size", "0.001"),
        ("--test-size", "0.999"),
        ("--seed", "1.5"),
        ("--seed", "-1"),
        ("--seed", str(2**32)),
        ("--name", "No Name"),
        ("--name", "iris:v1"),
        ("--name", ""),
    ],
)
def test_a_bad_argument_is_named_and_nothing_is_saved(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {model.tag for model in bentoml.models.list()}
    with pytest.raises(SystemExit) as caught:
        train.main([f"{option}={value}"])
    assert caught.value.code == 2
    assert option in capsys.readouterr().err
    assert {model.tag for model in bentoml.models.list()} == before


# The description


def test_the_description_tells_all_that_was_learnt(table: Table) -> None:
    description = run()
    assert description.task == "classification"
    assert description.classes == ("setosa", "versicolor", "virginica")
    assert description.training.rows == 150
    assert description.training.fingerprint == table.fingerprint
    assert set(description.metrics.values) == {"accuracy", "f1_macro", "log_loss"}
    assert description.metrics.values["accuracy"] > 0.9
    assert description.created.tzinfo is not None
    assert description.versions["scikit-learn"] == sklearn.__version__
    assert [feature.name for feature in description.features] == list(table.feature_names)
    for feature, column in zip(description.features, table.values.T, strict=True):
        assert feature.trained == Interval(minimum=min(column), maximum=max(column))
        assert feature.domain.minimum <= feature.trained.minimum
        assert feature.trained.maximum <= feature.domain.maximum
        assert feature.trained.minimum <= feature.example <= feature.trained.maximum


def test_scores_are_those_of_rows_that_were_not_fitted_on(table: Table) -> None:
    """Labels that mean nothing can be learnt by heart, but not foretold."""
    noise = Table(
        table.feature_names,
        table.values,
        np.random.default_rng(0).choice(["a", "b"], size=len(table.target)),
    )
    learner = sklearn.pipeline.make_pipeline(KNeighborsClassifier(1))
    by_heart = learner.fit(noise.values, noise.target).score(noise.values, noise.target)
    metrics = evaluate(learner, noise, 0.25, SEED)
    assert by_heart > 0.95
    assert metrics.values["accuracy"] < 0.8


def test_evaluating_leaves_the_pipeline_unfitted(table: Table) -> None:
    pipeline = build_pipeline(SEED)
    evaluate(pipeline, table, 0.25, SEED)
    assert not hasattr(pipeline[-1], "classes_")


TABLES = {
    "iris": iris(),
    "one feature": Table(("x",), np.array([[1.0], [2.0], [3.0]]), np.array(["a", "b", "b"])),
    "features that go together": Table(
        ("x", "y"), np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]), np.array(["a", "b", "b"])
    ),
    "a feature that never changes": Table(
        ("x", "y"), np.array([[5.0, 1.0], [5.0, 2.0], [5.0, 3.0]]), np.array(["a", "b", "b"])
    ),
    "every combination": Table(
        ("x", "y"),
        np.array([[x, y] for x in (1.0, 2.0, 3.0) for y in (1.0, 2.0, 3.0)]),
        np.array(["a", "b", "b"] * 3),
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_no_row_is_given_away_by_the_examples(name: str) -> None:
    table = TABLES[name]
    pipeline = build_pipeline(SEED).fit(table.values, table.target)
    description = describe("mail", table, pipeline, METRICS, SEED)
    example = tuple(feature.example for feature in description.features)
    assert example not in set(map(tuple, table.values.tolist()))


@pytest.mark.parametrize(
    "other",
    [
        Table(("b", "a"), np.array([[1.0, 2.0]]), np.array(["x"])),
        Table(("a", "b"), np.array([[1.0, 2.5]]), np.array(["x"])),
        Table(("a", "b"), np.array([[2.0, 1.0]]), np.array(["x"])),
        Table(("a", "b"), np.array([[1.0, 2.0]]), np.array(["y"])),
    ],
    ids=["names", "values", "order", "target"],
)
def test_other_data_has_another_fingerprint(other: Table) -> None:
    same = [Table(("a", "b"), np.array([[1.0, 2.0]]), np.array(["x"])) for _ in range(2)]
    assert same[0].fingerprint == same[1].fingerprint
    assert other.fingerprint != same[0].fingerprint


def test_the_fingerprint_is_that_of_the_values_and_not_of_their_layout() -> None:
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    target = np.array(["x", "y"])
    prints = {
        Table(("a", "b"), layout, target).fingerprint
        for layout in (values, np.asfortranarray(values), values.astype(np.float32))
    }
    assert len(prints) == 1


# The numeric domain


ESTIMATORS = {
    "logistic": build_pipeline(SEED),
    "unscaled": LogisticRegression(max_iter=10_000),
    "forest": RandomForestClassifier(5, random_state=SEED),
    "neighbours": KNeighborsClassifier(3),
    "bayes": GaussianNB(),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_number_in_the_domain_has_a_finite_answer(name: str, table: Table) -> None:
    estimator = sklearn.base.clone(ESTIMATORS[name]).fit(table.values, table.target)
    limit = numeric_domain(estimator, np.median(table.values, axis=0), SEED)
    assert limit >= 1
    description = describe("mail", table, estimator, METRICS, SEED)
    assert {feature.domain.maximum for feature in description.features} == {limit}
    random = np.random.default_rng(0)
    exponents = random.uniform(-5, np.log10(limit), size=(150, 4))
    points = random.choice((-1, 1), size=(150, 4)) * 10**exponents
    corners = random.choice((-limit, limit, 0.0), size=(100, 4))
    model = Model(estimator, description)
    with np.errstate(over="raise", invalid="raise"):
        for batch in (np.clip(points, -limit, limit), corners):
            for prediction in model.predict(list(map(tuple, batch.tolist())))[0]:
                assert prediction.probabilities is not None
                assert sum(prediction.probabilities) == pytest.approx(1)


def test_the_domain_of_a_forest_is_that_of_float32(table: Table) -> None:
    forest = RandomForestClassifier(5, random_state=SEED).fit(table.values, table.target)
    limit = numeric_domain(forest, np.median(table.values, axis=0), SEED)
    assert 1e30 < limit <= LARGEST_FLOAT32


def test_beyond_the_domain_lies_what_the_estimator_cannot_compute(
    table: Table,
    pipeline: Estimator,
) -> None:
    limit = numeric_domain(pipeline, np.median(table.values, axis=0), SEED)
    corners = 10 * limit * np.array([[1, -1, 1, -1], [-1, 1, 1, 1], [1, 1, 1, 1], [1, -1, -1, 1]])
    with np.errstate(all="ignore"), pytest.raises((ValueError, AssertionError)):
        assert np.isfinite(pipeline.predict_proba(np.concatenate([corners, -corners]))).all()


def test_many_features_are_probed_at_random_corners() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(30, 12))
    estimator = build_pipeline(SEED).fit(values, values[:, 0] > 0)
    limits = {numeric_domain(estimator, values[0], SEED) for _ in range(2)}
    assert len(limits) == 1
    assert limits.pop() > 1


def test_an_estimator_that_cannot_compute_at_all_is_refused() -> None:
    class Hopeless:
        def predict(self, features: np.ndarray) -> np.ndarray:
            return np.zeros(len(features))

        def predict_proba(self, features: np.ndarray) -> np.ndarray:
            return np.full((len(features), 2), np.nan)

    with pytest.raises(ValueError, match="no finite answers"):
        numeric_domain(Hopeless(), np.zeros(2), SEED)

"""Estimators of other libraries: what installs them, how they are made, told and kept quiet."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from serving.model.estimator import Estimator
from serving.model.wrapped import CodedLabels
from tests.unit.training.fitting.tables import ROWS, TYPES, as_asked, kinds, mixed
from training.fitting.estimators import make_estimator
from training.fitting.families import FAMILIES, installed_by
from training.fitting.pipeline import build_pipeline, fit, one_job
from training.fitting.telling import TellingPipeline

REQUIREMENTS = Path(__file__).parents[4] / "requirements-dev.txt"
NATIVE = {
    "xgboost.XGBRegressor": ["n_estimators=5"],
    "lightgbm.LGBMRegressor": ["n_estimators=5", "min_child_samples=2", "min_data_per_group=2"],
    "catboost.CatBoostRegressor": ["n_estimators=5"],
    "interpret.glassbox.ExplainableBoostingRegressor": ["max_rounds=5", "outer_bags=2"],
}


def test_what_installs_a_family_is_what_it_is_tested_with() -> None:
    pinned = REQUIREMENTS.read_text("utf-8").splitlines()
    assert [each for each in FAMILIES.values() if each.requirement not in pinned] == []
    assert installed_by(["xgboost"]).startswith("pip install xgboost-cpu==")


@pytest.mark.parametrize(
    ("name", "params", "told"),
    [
        ("xgboost.XGBClassifier", [], {"n_jobs": 1, "random_state": 7}),
        ("xgboost.XGBClassifier", ["nthread=3"], {"n_jobs": None, "nthread": 3}),
        ("lightgbm.LGBMClassifier", [], {"n_jobs": 1, "random_state": 7, "verbose": -1}),
        ("lightgbm.LGBMClassifier", ["seed=3", "verbosity=1"], {"random_state": None, "seed": 3}),
        ("catboost.CatBoostRegressor", [], {"thread_count": 1, "random_state": 7, "verbose": 0}),
        ("catboost.CatBoostRegressor", ["random_seed=3", "silent=True"], {"random_seed": 3}),
    ],
)
def test_they_are_made_quiet_with_one_thread_and_the_seed_unless_told_otherwise(
    name: str, params: list[str], told: dict[str, Any]
) -> None:
    made = make_estimator(name, params, 7)
    given = made.get_params()
    assert {key: given[key] for key in told} == told
    if "catboost" in name:  # which refuses two names for one parameter, but only now
        made.set_params(iterations=1).fit(np.arange(40.0).reshape(20, 2), np.arange(20) % 2)


@pytest.mark.parametrize("name", NATIVE)
def test_categories_and_gaps_get_to_what_takes_them_as_they_are(
    name: str, capfd: pytest.CaptureFixture[str], folder: Path
) -> None:
    frame = mixed()
    color = frame["color"].to_numpy()
    labels = np.where(color == "red", 5.0, 0.0) + np.where(frame["size"].isna(), 20.0, 0.0)
    pipeline = build_pipeline(TYPES, frame, make_estimator(name, NATIVE[name], 0))
    assert isinstance(pipeline, TellingPipeline)
    fitted = fit(pipeline, as_asked(frame), labels)
    assert type(fitted) is Pipeline
    assert next(iter(fitted[0].named_transformers_)).startswith("categories_as_")
    prepared = fitted[0].transform(as_asked(frame))
    assert prepared.shape[1] == 7 + len(fitted[0].transformers_[-1][1][-1].vocabulary_) * 2
    assert (np.isnan(prepared[:, 2].astype(float)) == frame["size"].isna()).all()  # as they are

    answers = fitted.predict(as_asked(frame))
    known = answers[~frame["size"].isna()]
    red = color[~frame["size"].isna()] == "red"
    assert known[red].mean() > known[~red].mean()
    assert answers[frame["size"].isna()].mean() > known.mean() + 2
    assert (fitted.predict(frame) == answers).all()
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301 (our own)
    odd = frame.assign(color="an unseen one")
    assert (again.predict(as_asked(odd)) == fitted.predict(odd)).all()
    assert np.isfinite(fitted.predict(odd)).all()
    assert capfd.readouterr() == ("", "")
    assert list(folder.iterdir()) == []


def test_rare_unseen_and_missing_categories_have_no_codes_of_their_own() -> None:
    frame = mixed()[["color"]]
    frame["color"] = ["red"] * 40 + ["blue"] * 12 + ["odd", "rare"] * 4
    frame["color"] = frame["color"].astype(object)
    pipeline = build_pipeline(TYPES, frame, make_estimator("lightgbm.LGBMClassifier", [], 0))
    columns = fit(pipeline, frame, kinds())[0]
    asked = np.array([["blue"], ["red"], ["odd"], ["rare"], ["new"], [np.nan]], dtype=object)
    np.testing.assert_equal(columns.transform(asked).ravel(), [0, 1, 2, 2, np.nan, np.nan])


@pytest.mark.parametrize("name", NATIVE)
def test_names_of_columns_are_no_matter(name: str) -> None:
    frame = mixed()[["legs", "tame", "weight"]].set_axis(["a[x]", 'a "b" <c>', "ü"], axis=1)
    types = dict(zip(frame, ("integer", "boolean", "number"), strict=True))
    pipeline = build_pipeline(types, frame, make_estimator(name, NATIVE[name], 0))
    fitted = fit(pipeline, frame, np.arange(float(ROWS)))
    assert (fitted.predict(frame) == fitted.predict(as_asked(frame))).all()


def of_threads(estimator: Estimator) -> Estimator:
    rows = np.arange(80.0).reshape(40, 2)
    return estimator.fit(rows, np.arange(40) % 2)


def test_none_starts_threads_of_its_own_when_it_is_served() -> None:
    xgboost, other = (
        of_threads(make_estimator("xgboost.XGBClassifier", [f"n_jobs={n}", "n_estimators=1"], 0))
        for n in (2, None)
    )
    inside = CodedLabels.of(other, ["a", "b"])
    lightgbm = of_threads(make_estimator("lightgbm.LGBMClassifier", ["num_threads=4"], 0))
    catboost = of_threads(make_estimator("catboost.CatBoostClassifier", ["iterations=2"], 0))
    forest = of_threads(RandomForestClassifier(5, n_jobs=2))
    for estimator in (xgboost, inside, lightgbm, catboost, forest):
        one_job(Pipeline([("estimator", estimator)]))
    for booster in (xgboost, inside.estimator_):
        assert booster.n_jobs == 1
        again = pickle.loads(pickle.dumps(booster)).get_booster()  # noqa: S301 (our own)
        assert json.loads(again.save_config())["learner"]["generic_param"]["nthread"] == "1"
    assert lightgbm.get_params()["num_threads"] == 1
    assert forest.n_jobs is None  # which is one to scikit-learn

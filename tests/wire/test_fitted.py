"""Estimators that were fitted elsewhere, on data frames with named columns and with texts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import joblib
import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from tests.adopted import adopt, fitted, known_penguins
from tests.server import BATCH, ROOT, Server, run_python, serving
from tests.trained import copy_of

CLOSE = 1e-12


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Give what it was fitted on."""
    return known_penguins()


def adopt_mine(home: Path) -> None:
    """Fit it, and bring it as a person would."""
    frame = known_penguins()
    adopt(frame, fitted(frame), home, home)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a model store with it."""
    return copy_of(adopt_mine, "mine", tmp_path_factory.mktemp("fitted"))


@pytest.fixture(scope="module")
def estimator(home: Path) -> Any:  # noqa: ANN401 (scikit-learn has no type for it)
    """Load it as it was brought."""
    return joblib.load(home / "mine.joblib")


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    """Serve it."""
    with serving(home, home / "output", SERVING_MODEL="mine") as running:
        yield running


def test_a_pipeline_with_named_columns_answers_as_in_process(
    server: Server,
    estimator: Any,  # noqa: ANN401
    frame: pd.DataFrame,
) -> None:
    features = frame.drop(columns="species").sample(40, random_state=0)
    for index in features.index:
        row = features.loc[[index]]
        (named,) = row.to_dict("records")
        answer = server.http.post("/predict", json={"data": named}).raise_for_status().json()
        assert answer["prediction"] == estimator.predict(row)[0]
        (probabilities,) = estimator.predict_proba(row)
        np.testing.assert_allclose(
            list(answer["probabilities"].values()), probabilities, rtol=CLOSE, atol=CLOSE
        )


def test_a_category_that_it_would_fail_on_is_refused(server: Server, frame: pd.DataFrame) -> None:
    (named,) = frame.drop(columns="species").head(1).to_dict("records")
    answer = server.http.post("/predict", json={"data": {**named, "island": "Atlantis"}})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error == {
        "pointer": "/data/island",
        "detail": "expected a category that training has seen",
    }
    schemas = server.http.get("/docs.json").json()["components"]["schemas"]
    assert schemas["Named"]["properties"]["island"]["enum"] == ["Biscoe", "Dream", "Torgersen"]


def flats() -> pd.DataFrame:
    """Give flats with a column of categories that are whole numbers, as a file has them."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"rooms": rng.choice([1, 2, 4, 5], 300), "x": rng.normal(size=300)})
    return frame.assign(let=np.where((frame.rooms == 2) ^ (frame.x > 0), "yes", "no"))


def adopt_booster(home: Path) -> None:
    """Fit a booster to them, and bring it as a person would."""
    frame = flats()
    features = frame[["rooms", "x"]].astype({"rooms": "category"})
    booster = LGBMClassifier(n_estimators=20, min_data_per_group=10, verbose=-1)
    joblib.dump(booster.fit(features, frame["let"]), home / "flats.joblib")
    frame.to_csv(home / "reference.csv", index=False)
    command = "--model flats.joblib --reference reference.csv --target let --trust"
    run_python(home, str(ROOT / "train.py"), *command.split(), folder=home)


def test_categories_of_numbers_are_asked_for_as_such_and_unseen_ones_are_told(
    tmp_path: Path,
) -> None:
    home = copy_of(adopt_booster, "boosted", tmp_path)
    booster, frame = joblib.load(home / "flats.joblib"), flats()
    features = frame[["rooms", "x"]].astype({"rooms": "category"})
    rows = frame[["rooms", "x"]].to_numpy(object).tolist()
    with serving(home, tmp_path / "output", SERVING_MODEL="flats") as server:
        many = server.ask(rows, BATCH).raise_for_status().json()
        alone = [server.ask(row).json() for row in rows[:20]]
        whole = server.ask(frame.iloc[0].to_dict()).json()
        unseen = server.ask([3, 0.5]).json()

    assert [one["prediction"] for one in many["predictions"]] == list(booster.predict(features))
    told = [[one["probabilities"][name] for name in ("no", "yes")] for one in many["predictions"]]
    np.testing.assert_allclose(told, booster.predict_proba(features), rtol=CLOSE, atol=CLOSE)
    for one, other in zip(alone, many["predictions"], strict=False):
        assert one["probabilities"] == other["probabilities"]
    assert whole["prediction"] == alone[0]["prediction"]
    assert [warning["pointer"] for warning in unseen["warnings"]] == ["/data/0"]


TEXTS = [f"{word} {n}" for n in range(30) for word in ("good", "fine", "bad", "poor")]


def adopt_moods(home: Path) -> None:
    """Fit an estimator of texts with a function that stands in no module, and bring it."""
    labels = ["up", "up", "down", "down"] * 30
    shout = FunctionTransformer(lambda rows: [text.upper() for text in rows])
    estimator = make_pipeline(shout, TfidfVectorizer(), LogisticRegression()).fit(TEXTS, labels)
    (home / "mood.pkl").write_bytes(cloudpickle.dumps(estimator))
    pd.DataFrame({"text": TEXTS, "mood": labels}).to_csv(home / "reference.csv", index=False)
    command = "--model mood.pkl --reference reference.csv --target mood --trust"
    told = run_python(home, str(ROOT / "train.py"), *command.split(), folder=home)
    assert "needs        cloudpickle==" in told


def test_an_estimator_of_texts_with_a_function_of_a_notebook_answers_as_in_process(
    tmp_path: Path,
) -> None:
    home = copy_of(adopt_moods, "moods", tmp_path)
    estimator = joblib.load(home / "mood.pkl")
    with serving(home, tmp_path / "output", SERVING_MODEL="mood") as server:
        answers = server.ask([[text] for text in TEXTS], BATCH)
        (warning,) = server.ask(["word " * 100]).json()["warnings"]
        assert warning["pointer"] == "/data/0"

    given = [one["probabilities"] for one in answers.raise_for_status().json()["predictions"]]
    np.testing.assert_allclose(
        [[one["down"], one["up"]] for one in given],
        estimator.predict_proba(TEXTS),
        rtol=CLOSE,
        atol=CLOSE,
    )

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
from tests.server import ROOT, Server, run_python, serving

CLOSE = 1e-12


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Give what it was fitted on."""
    return known_penguins()


@pytest.fixture(scope="module")
def estimator(frame: pd.DataFrame) -> Any:  # noqa: ANN401 (scikit-learn has no type for it)
    """Fit it."""
    return fitted(frame)


@pytest.fixture(scope="module")
def server(
    frame: pd.DataFrame,
    estimator: Any,  # noqa: ANN401
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """Serve it, as a person would bring it."""
    folder = tmp_path_factory.mktemp("fitted")
    (folder / "home").mkdir()
    adopt(frame, estimator, folder / "home", folder)
    with serving(folder / "home", folder / "output", SERVING_MODEL="mine") as running:
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


def test_texts_are_served(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = {"praise": ["good", "great", "fine"], "blame": ["bad", "poor", "awful"]}
    rows = [
        {"review": f"a {rng.choice(words[kind])} thing, {n} times", "stars": n % 5, "kind": kind}
        for n in range(40)
        for kind in words
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "reviews.csv", index=False)
    (tmp_path / "home").mkdir()
    command = "--data reviews.csv --target kind --estimator LogisticRegression"
    run_python(tmp_path / "home", str(ROOT / "train.py"), *command.split(), folder=tmp_path)
    with serving(tmp_path / "home", tmp_path / "output", SERVING_MODEL="reviews") as server:
        feature = server.http.get("/model/info").json()["features"][0]
        assert feature["type"] == "text"
        for kind, (word, *_) in words.items():
            body = {"data": {"review": f"a {word} thing, 12 times", "stars": 3}}
            answer = server.http.post("/predict", json=body).raise_for_status().json()
            assert answer["prediction"] == kind
            assert "warnings" not in answer
        body = {"data": {"review": "word " * 100, "stars": 3}}
        (warning,) = server.http.post("/predict", json=body).json()["warnings"]
        assert warning["pointer"] == "/data/review"


@pytest.fixture(scope="module")
def flats() -> pd.DataFrame:
    """Give flats with a column of categories that are whole numbers, as a file has them."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"rooms": rng.choice([1, 2, 4, 5], 300), "x": rng.normal(size=300)})
    return frame.assign(let=np.where((frame.rooms == 2) ^ (frame.x > 0), "yes", "no"))


def test_categories_of_numbers_are_asked_for_as_such_and_unseen_ones_are_told(
    flats: pd.DataFrame, tmp_path: Path
) -> None:
    features = flats[["rooms", "x"]].astype({"rooms": "category"})
    booster = LGBMClassifier(n_estimators=20, min_data_per_group=10, verbose=-1).fit(
        features, flats["let"]
    )
    joblib.dump(booster, tmp_path / "flats.joblib")
    flats.to_csv(tmp_path / "reference.csv", index=False)
    (tmp_path / "home").mkdir()
    command = "--model flats.joblib --reference reference.csv --target let --trust"
    run_python(tmp_path / "home", str(ROOT / "train.py"), *command.split(), folder=tmp_path)

    rows = flats[["rooms", "x"]].to_numpy(object).tolist()
    with serving(tmp_path / "home", tmp_path / "output", SERVING_MODEL="flats") as server:
        many = server.http.post("/predict/batch", json={"data": rows}).raise_for_status().json()
        alone = [server.http.post("/predict", json={"data": row}).json() for row in rows[:20]]
        whole = server.http.post("/predict", json={"data": flats.iloc[0].to_dict()}).json()
        unseen = server.http.post("/predict", json={"data": [3, 0.5]}).json()

    assert [one["prediction"] for one in many["predictions"]] == list(booster.predict(features))
    told = [[one["probabilities"][name] for name in ("no", "yes")] for one in many["predictions"]]
    np.testing.assert_array_equal(told, booster.predict_proba(features))
    for one, other in zip(alone, many["predictions"], strict=False):
        assert one["probabilities"] == other["probabilities"]
    assert whole["prediction"] == alone[0]["prediction"]
    assert [warning["pointer"] for warning in unseen["warnings"]] == ["/data/0"]


def test_an_estimator_of_texts_with_a_function_of_a_notebook_answers_as_in_process(
    tmp_path: Path,
) -> None:
    texts = [f"{word} {n}" for n in range(30) for word in ("good", "fine", "bad", "poor")]
    labels = ["up", "up", "down", "down"] * 30
    shout = FunctionTransformer(lambda rows: [text.upper() for text in rows])
    estimator = make_pipeline(shout, TfidfVectorizer(), LogisticRegression()).fit(texts, labels)
    (tmp_path / "mood.pkl").write_bytes(cloudpickle.dumps(estimator))
    pd.DataFrame({"text": texts, "mood": labels}).to_csv(tmp_path / "reference.csv", index=False)
    (tmp_path / "home").mkdir()
    command = "--model mood.pkl --reference reference.csv --target mood --trust"
    told = run_python(tmp_path / "home", str(ROOT / "train.py"), *command.split(), folder=tmp_path)
    assert "needs        cloudpickle==" in told

    with serving(tmp_path / "home", tmp_path / "output", SERVING_MODEL="mood") as server:
        answers = server.http.post("/predict/batch", json={"data": [[text] for text in texts]})

    given = [one["probabilities"] for one in answers.raise_for_status().json()["predictions"]]
    np.testing.assert_allclose(
        [[one["down"], one["up"]] for one in given],
        estimator.predict_proba(texts),
        rtol=CLOSE,
        atol=CLOSE,
    )

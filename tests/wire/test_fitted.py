"""Estimators that were fitted elsewhere, on data frames with named columns and with texts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

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

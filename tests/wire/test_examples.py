"""The examples, word for word, from the table to answers over the wire."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import bentoml.sklearn
import numpy as np
import pandas as pd
import pytest
from bentoml._internal.models.model import ModelStore

from tests import examples
from tests.server import BATCH, Server, serving

CLOSE = 1e-12
ROWS = 60


@dataclass(frozen=True, slots=True)
class Example:
    """An example that is served, with its estimator as BentoML loads it and its table."""

    name: str
    server: Server
    estimator: Any
    info: Any
    table: pd.DataFrame


@pytest.fixture(scope="module", params=examples.SECTIONS)
def example(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Example]:
    """Train and serve an example."""
    name = request.param
    home = examples.example(name, tmp_path_factory.mktemp(name))
    settings = json.loads((home / "settings.json").read_text())
    with serving(home, home / "output", **settings) as server:
        stored = ModelStore(str(home / "models")).get(settings["SERVING_MODEL"])
        estimator = bentoml.sklearn.load_model(stored)
        info = server.http.get("/model/info").json()
        table = pd.read_csv(home / f"{name}.csv").sample(ROWS, random_state=0)
        yield Example(name, server, estimator, info, table)


def rows(example: Example) -> list[list[Any]]:
    """Give rows of the example's own table as JSON has them."""
    columns = example.table[[feature["name"] for feature in example.info["features"]]]
    return [
        [None if value != value else value for value in row]
        for row in columns.astype(object).itertuples(index=False, name=None)
    ]


def as_array(example: Example, row: list[Any]) -> np.ndarray[Any, Any]:
    """Give a row as a user of scikit-learn would give it to this estimator."""
    strings = {"category", "text"} & {feature["type"] for feature in example.info["features"]}
    values = [np.nan if value is None else value for value in row]
    return np.array([values], dtype=object if strings else float)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
def test_answers_are_those_of_the_estimator_in_process(example: Example) -> None:
    asked = rows(example)
    alone = [example.server.ask(row) for row in asked]
    together = example.server.ask(asked, BATCH)
    many = together.raise_for_status().json()["predictions"]
    for row, answer, other in zip(asked, alone, many, strict=True):
        one = answer.raise_for_status().json()
        (expected,) = example.estimator.predict(as_array(example, row)).tolist()
        if example.info["task"] == "regression":
            assert np.isclose(one["prediction"], expected, rtol=CLOSE, atol=CLOSE)
            assert np.isclose(other["prediction"], expected, rtol=CLOSE, atol=CLOSE)
            continue
        assert one["prediction"] == other["prediction"] == expected
        member = "scores" if "scores" in one else "probabilities"
        method = {"scores": "decision_function", "probabilities": "predict_proba"}[member]
        (numbers,) = getattr(example.estimator, method)(as_array(example, row))
        for got in (one, other):
            assert list(got[member]) == [str(label) for label in example.estimator.classes_]
            np.testing.assert_allclose(list(got[member].values()), numbers, rtol=CLOSE, atol=CLOSE)


def test_rows_of_its_own_table_are_nothing_unusual(example: Example) -> None:
    for row in rows(example)[:5]:
        assert "warnings" not in example.server.ask(row).json()


def test_the_example_of_each_feature_is_answered_by_name(example: Example) -> None:
    named = {feature["name"]: feature["example"] for feature in example.info["features"]}
    answer = example.server.ask(named)
    assert answer.status_code == 200
    assert "warnings" not in answer.json()


def test_the_openapi_document_shows_its_own_features(example: Example) -> None:
    schemas = example.server.http.get("/docs.json").json()["components"]["schemas"]
    types = {"category": "string", "text": "string"}
    for feature in example.info["features"]:
        shown = schemas["Named"]["properties"][feature["name"]]
        kind = types.get(feature["type"], feature["type"])
        assert shown["type"] == ([kind, "null"] if feature["nullable"] else kind)
    names = [*(feature["name"] for feature in example.info["features"]), *example.info["ignored"]]
    assert list(schemas["Named"]["properties"]) == names


def test_the_card_is_served(example: Example) -> None:
    card = example.server.http.get("/model/card")
    assert card.headers["content-type"].startswith("text/html")
    assert example.info["name"] in card.text


def test_a_value_unlike_training_is_answered_with_a_warning_and_counted(example: Example) -> None:
    feature = example.info["features"][-1]
    row = [feature["example"] for feature in example.info["features"]]
    row[-1] = feature["trained"]["maximum"] + 1
    name, last = "serving_unusual_values_total", len(row) - 1
    before = example.server.metric(name, feature=feature["name"])
    if feature["domain"]["maximum"] < row[-1]:
        pytest.skip("nothing is accepted beyond what was trained")
    answer = example.server.ask(row).json()
    (warning,) = answer["warnings"]
    assert warning["pointer"] == f"/data/{last}"
    assert "outside of the range seen in training" in warning["detail"]
    assert example.server.metric(name, feature=feature["name"]) == before + 1

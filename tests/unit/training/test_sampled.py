"""Models of MLflow without a table: what is not known of training is said so, and never guessed."""

import json
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from serving.model.domains import Choices, Interval, Lengths
from serving.model.estimator import FittedEstimator
from serving.model.rows import Rows
from tests.unit.training.loading.mlflow_folders import ROWS, about, of_sklearn, people, write
from tests.unit.training.pets import refusal, run

pytestmark = pytest.mark.usefixtures("folder")
TOWNS = ("Bari", "Lodi", "Pisa")
ADOPT = "--model model --trust"
PICKLED = of_sklearn(pickled_model="model.pkl", serialization_format="pickle")


def bring(
    estimator: Any,  # noqa: ANN401 (scikit-learn has no type for it)
    example: pd.DataFrame | None = None,
    **columns: object,
) -> None:
    """Write a model with a signature of these types, and an example of the first rows."""
    told = about(flavors=PICKLED)
    if columns:
        specs = [{"name": name, "type": kind} for name, kind in columns.items()]
        told["signature"] = {"inputs": json.dumps(specs), "outputs": '[{"type": "long"}]'}
    folder = write(Path("model"), told, estimator)
    if example is not None:
        held = json.loads(example.to_json(orient="split", index=False))
        (folder / "input_example.json").write_text(json.dumps(held), "utf-8")


def houses(rows: int = 80) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
    """Make up houses in towns, and whether they are sold."""
    rng = np.random.default_rng(1)
    town = rng.choice(np.array(TOWNS, dtype=object), rows)
    frame = pd.DataFrame({"size": rng.uniform(40, 200, rows), "town": town})
    return frame, np.where((frame["size"] > 100) ^ (town == "Pisa"), "sold", "kept")


def encoded(**options: Any) -> Any:  # noqa: ANN401
    """Fit a pipeline with an encoder on them."""
    columns = make_column_transformer((OneHotEncoder(**options), ["town"]), remainder="passthrough")
    return make_pipeline(columns, LogisticRegression(max_iter=2000)).fit(*houses())


def test_an_example_is_served_as_the_estimator_answers(
    quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    estimator = LogisticRegression(max_iter=2000).fit(*people())
    bring(estimator)

    description = run(ADOPT)

    age, income = description.features
    assert (age.type, income.type) == ("integer", "number")
    assert [(feature.trained, feature.missing) for feature in (age, income)] == [(None, None)] * 2
    assert isinstance(income.domain, Interval)
    assert income.domain.maximum > 1e100
    assert description.training is None
    assert description.reference is None
    assert description.metrics.split == "none: there is no reference"
    assert list(description.example) not in ROWS
    told = capsys.readouterr()
    assert "what training saw is not known" in told.err
    assert "rows that are not known, 2 features" in told.out
    model = FittedEstimator(bentoml.sklearn.load_model("model:latest"), description)
    rows = people()[0].to_numpy().tolist()
    alone = [model.predict([tuple(row)])[0] for row in rows]
    assert [found and found.value for found in alone] == estimator.predict(people()[0]).tolist()


def test_nothing_is_unlike_what_is_not_known(quick: None) -> None:
    bring(encoded(handle_unknown="ignore"), houses()[0].head(2), size="double", town="string")

    description = run(ADOPT)

    size, town = description.features
    assert (size.type, town.type, town.trained) == ("number", "category", None)
    assert town.domain == Lengths(min_length=0, max_length=1000)
    rows = Rows(description.features, 1)
    assert not rows.one([1e6, "Elsewhere"], ()).warnings
    assert "is not known" in str(town.json_schema()["description"])


def test_categories_that_the_estimator_itself_tells_are_those_that_are_taken(quick: None) -> None:
    bring(encoded(), houses()[0].head(1), size="double", town="string")

    town = run(ADOPT).features[1]

    assert town.domain == Choices(values=(), rare=3)
    assert [town.mistake(name) for name in TOWNS] == [""] * 3  # one was in the example
    assert town.mistake("Rome") == "expected a category that training has seen"


def test_where_nothing_tells_which_values_are_taken_a_table_is_asked_for(
    quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    logarithm = make_pipeline(FunctionTransformer(np.log), LinearRegression())
    sizes = houses()[0][["size"]]
    bring(logarithm.fit(sizes, sizes["size"]), sizes.head(2), size="double")

    told = refusal(ADOPT, capsys)

    assert "fails on some values of 'size' near those of the input example" in told
    assert "bring a table like the one that it was fitted on, with --reference" in told


def test_a_table_is_better_than_an_example(quick: None) -> None:
    frame, member = people()
    bring(LogisticRegression(max_iter=2000).fit(frame, member))
    frame.assign(member=member).to_csv("people.csv", index=False)

    description = run(f"{ADOPT} --reference people.csv --target member")

    assert description.training is not None
    assert description.training.rows == 60
    assert description.metrics.values["accuracy"] > 0.8


def test_rows_that_are_made_up_are_not_scored(quick: None) -> None:
    bring(KMeans(2, n_init=1).fit(people()[0]))

    description = run(ADOPT)

    assert description.metrics.values == {}


def test_names_and_types_are_those_of_the_estimator_and_the_signature(quick: None) -> None:
    frame = pd.DataFrame({"b": [1.0, 2.0, 4.0] * 9, "a": [0.5, 0.25, 2.0] * 9}, dtype="float32")
    bring(LinearRegression().fit(frame, frame["a"] * 3), frame.head(3), a="float", b="float")

    description = run(ADOPT)

    assert [feature.name for feature in description.features] == ["b", "a"]
    assert set(description.asked.tried) == {"a", "b"}
    assert description.targets == ("y",)
    assert run(f"{ADOPT} --target price").targets == ("price",)


def test_what_is_predicted_is_named_by_the_signature(
    quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    told = about(flavors=PICKLED)
    told["signature"]["outputs"] = '[{"type": "string", "name": "member"}]'
    write(Path("model"), told, LogisticRegression(max_iter=2000).fit(*people()))

    assert run(ADOPT).targets == ("member",)
    capsys.readouterr()
    assert "--target names 2, but the estimator predicts 1" in refusal(
        f"{ADOPT} --target a b", capsys
    )


def test_categories_of_a_frame_are_known_by_who_was_fitted_on_it(quick: None) -> None:
    frame, sold = houses()
    given = frame.astype({"town": "category"})
    bring(
        LGBMClassifier(n_estimators=9, verbose=-1, n_jobs=1).fit(given, sold),
        frame.head(3),
        size="double",
        town="string",
    )

    description = run(ADOPT)

    model = FittedEstimator(bentoml.sklearn.load_model("model:latest"), description)
    expected = bentoml.sklearn.load_model("model:latest").predict(given)
    rows = list(frame.itertuples(index=False, name=None))
    alone = [model.predict([row])[0] for row in rows]
    assert [found and found.value for found in alone] == expected.tolist()


@pytest.mark.parametrize(
    ("example", "columns", "told"),
    [
        ({"age": [1]}, {"age": "long"}, "the input example lacks what the estimator needs, income"),
        (None, {"age": "datetime", "income": "double"}, "of the type datetime"),
    ],
)
def test_an_example_of_something_else_is_refused(
    quick: None,
    capsys: pytest.CaptureFixture[str],
    example: dict[str, list[int]] | None,
    columns: dict[str, str],
    told: str,
) -> None:
    frame = None if example is None else pd.DataFrame(example)
    bring(LogisticRegression(max_iter=2000).fit(*people()), frame, **columns)

    assert told in refusal(ADOPT, capsys)

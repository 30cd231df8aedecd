"""What is published of a table: enough to compare with, and nobody's values."""

import json
from dataclasses import replace

import numpy as np
import pytest
import sklearn

from serving.model.description import Description, Training
from serving.model.domains import Choices
from serving.model.features import Category
from serving.model.reading import Reading, Style
from tests.unit.training.describing.columns import METRICS, Constant, Given, described, table_of
from training.describing.describe import describe, rows_of
from training.errors import TrainingError
from training.table.table import Table


def test_the_rest_of_a_description_is_what_training_knows() -> None:
    table = table_of({"x": ("number", [1.0, 2.0, 3.0])})
    description = describe("mine", Constant(), table, METRICS, seed=0)

    assert description.name == "mine"
    assert description.targets == ("y",)
    assert description.metrics == METRICS
    assert description.training == Training(rows=3, fingerprint=table.fingerprint)
    assert description.created.utcoffset() is not None
    assert description.versions.keys() == {"python", "scikit-learn", "numpy", "scipy", "joblib"}
    assert description.versions["scikit-learn"] == sklearn.__version__
    assert Description.model_validate_json(description.model_dump_json()) == description


def test_rows_are_as_the_service_has_them() -> None:
    table = table_of(
        {
            "a": ("integer", [1, None]),
            "b": ("boolean", [None, True]),
            "c": ("category", ["x", None]),
            "d": ("number", [None, 2.5]),
        }
    )

    rows = rows_of(table)

    assert rows == [(1, None, "x", None), (None, True, None, 2.5)]
    assert [type(value) for value in rows[0][:1] + rows[1][1:2]] == [int, bool]


def test_targets_that_no_table_names_are_numbered() -> None:
    class Two:
        def predict(self, rows: Given) -> Given:
            return np.ones((len(rows), 2))

    table = table_of({"x": ("number", [1.0, 2.0])})
    unnamed = Table(table.frame, table.types, table.target.iloc[:, :0], "regression", ())

    assert describe("mine", Two(), unnamed, METRICS, seed=0).targets == ("y0", "y1")
    assert describe("mine", Constant(), unnamed, METRICS, seed=0).targets == ("y",)


def test_how_cells_were_read_is_kept_on_its_way_through_json() -> None:
    reading = Reading(missing=("?",), numbers={"x": Style(",", ".")})
    table = replace(table_of({"x": ("number", [1.0, 2.0])}), reading=reading)

    kept = describe("mine", Constant(), table, METRICS, seed=0)

    assert Description.model_validate_json(kept.model_dump_json()).reading == reading


def test_what_answers_with_nothing_is_refused_with_what_it_says() -> None:
    class Stubborn:
        def predict(self, rows: Given) -> Given:
            raise RuntimeError(f"not today, {type(rows).__name__}")

    table = table_of({"x": ("number", [1.0, 2.0])})

    with pytest.raises(TrainingError) as caught:
        describe("mine", Stubborn(), table, METRICS, seed=0)

    assert str(caught.value).splitlines() == [
        "the estimator does not answer the rows of the table",
        "given an array: RuntimeError: not today, ndarray",
        "given a frame: RuntimeError: not today, DataFrame",
        "given a frame with categories in 'x': RuntimeError: not today, DataFrame",
        "given a list of dicts: RuntimeError: not today, list",
    ]


SECRETS = ("Wilhelmina of Ottersum", "08-15-4711", "☃ snowman")


@pytest.mark.parametrize("secret", SECRETS)
def test_rare_categories_and_texts_are_nowhere_in_a_description(secret: str) -> None:
    description = described(
        {
            "color": ("category", ["red"] * 9 + [secret] * 4),
            "rare": ("category", [secret, *"abcdefghijkl"]),
            "note": ("text", [secret] * 7 + [f"{secret} {number}" for number in range(6)]),
            "size": ("number", [float(number) for number in range(13)]),
        }
    )

    written = description.model_dump_json()
    assert secret not in written
    assert secret not in json.loads(written).__repr__()


class Strict(Constant):
    """Fails on any category but two."""

    def predict(self, rows: Given) -> Given:
        """Give a number for each row."""
        if not set(np.ravel(rows)) <= {"red", "rare"}:
            raise ValueError("unknown category")
        return super().predict(rows)


def test_the_rare_categories_of_an_estimator_that_fails_on_others_are_not_published() -> None:
    table = table_of({"color": ("category", ["red"] * 9 + ["rare"])})
    (feature,) = describe("mine", Strict(), table, METRICS, seed=0).features

    assert isinstance(feature, Category)
    assert feature.trained
    assert feature.domain == Choices(values=("red",), rare=1)
    assert feature.known == ("rare", "red")
    assert "rare" not in feature.trained.categories


def test_an_estimator_that_fails_on_others_needs_a_common_category_for_an_example() -> None:
    table = table_of({"color": ("category", ["red", "rare"])})

    with pytest.raises(TrainingError, match="'color' has none that is common enough"):
        describe("mine", Strict(), table, METRICS, seed=0)

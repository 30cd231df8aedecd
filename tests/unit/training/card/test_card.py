"""The card: a page that stands alone, shows what is known, and fails on no model."""

import json
import re
import subprocess
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from serving.model.description import Description, Metrics
from serving.model.domains import Choices, Frequencies, Lengths
from serving.model.features import Boolean, Category, Feature, Text
from serving.model.outputs import Array
from tests.unit.samples import unknown
from tests.unit.training.card.cards import (
    MODELS,
    Page,
    classifier,
    clustering,
    described,
    detector,
    evaluated,
    number,
    regressor,
    text_of,
    written,
    written_for,
)
from training.card.card import command, score
from training.card.numbers import MINUS
from training.fitting.evaluation import Evaluation

SLY = """</td><script>alert("1")</script> & 'so' $x_{"""


@pytest.mark.parametrize("kind", MODELS)
def test_a_card_is_a_page_that_stands_alone(kind: str) -> None:
    text = written_for(kind)
    assert text.startswith("<!doctype html>\n<html lang=")
    page = Page(text)
    assert not page.tags & {"script", "link", "img", "iframe", "object", "form", "base"}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    for attribute in ("src", "href", "xlink:href"):
        own = ("#", "data:image/png", "try")  # the last leads to a page of the service
        assert all(value.startswith(own) for value in page.values(attribute))
    assert all(url.startswith("#") for url in re.findall(r"url\(([^)]*)\)", text))
    assert set(re.findall(r"\w+://[^\s\"']*", text)) == {
        "http://localhost:8000/models/mail/predict"
    }
    assert "@import" not in text
    assert len(text.encode()) < 300_000


@pytest.mark.parametrize("kind", MODELS)
def test_no_id_is_there_twice_and_each_reference_has_its_place(kind: str) -> None:
    text = written_for(kind)
    ids = re.findall(r'\sid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    wanted = {*re.findall(r'href="#([^"]*)"', text), *re.findall(r"url\(#([^)]*)\)", text)}
    assert wanted <= set(ids)


def test_the_same_model_has_the_same_card() -> None:
    assert written_for("binary") == text_of(*MODELS["binary"]())


def test_a_card_tells_what_the_model_does_and_what_is_not_known_of_it() -> None:
    assert (
        "Predicts kind (ham or spam) from 3 features." in written(classifier(["ham", "spam"])).text
    )
    assert "Predicts kind (a, b or c) from" in written(classifier("abc")).text
    assert "Predicts t0 and t1 from 3 features." in written(regressor(2)).text
    assert "Sorts rows into clusters by 3 features." in written(clustering()).text
    text = written(detector()).text
    assert "Tells outliers from inliers by 3 features." in text
    assert "What the model is meant for, what it must not be used for" in text
    assert "is not known here" in text
    assert "No fairness analysis was made" in text


def test_the_scores_stand_beside_those_of_the_dummy() -> None:
    page = written(regressor())
    assert "Held out: 120 of 480 rows, seed 1. The dummy ignores the features." in page.text
    assert page.row("f1_macro") == ["0.875", "0.250", "higher"]
    assert page.row("own") == [f"{MINUS}12.500", "", ""]
    assert "Dummy" not in written(clustering()).text


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.0, "0"),
        (0.25, "0.250"),
        (12.5, "12.500"),
        (1234.5678, "1234.57"),
        (0.00012345, "0.00012"),
    ],
)
def test_scores_are_written_to_be_compared(value: float, told: str) -> None:
    assert score(value) == told
    assert score(-value) == (f"{MINUS}{told}" if value else told)


def mixed() -> tuple[Description, Evaluation]:
    """Give a model of features of each type, with names that would break a careless page."""
    categories = {name: 30 - at for at, name in enumerate(["<i>red</i>", *"bcdefg"])}
    often = Frequencies(categories=categories, rare_categories=2, rare_rows=3)
    sides = Frequencies(categories={"false": 80, "true": 40}, rare_categories=0, rare_rows=0)
    none = Frequencies(categories={}, rare_categories=9, rare_rows=9)
    length = Lengths(min_length=0, max_length=1000)
    features: list[Feature] = [
        number(SLY),
        Category(
            type="category",
            name="it's",
            nullable=True,
            missing=7,
            trained=often,
            domain=length,
            example="<i>red</i>",
        ),
        Category(
            type="category",
            name="rare",
            nullable=False,
            missing=0,
            trained=none,
            domain=Choices(values=("x", "y"), rare=0),
            example="x",
        ),
        Boolean(type="boolean", name="yes", nullable=False, missing=0, trained=sides, example=True),
        Text(
            type="text",
            name="words",
            nullable=False,
            missing=0,
            trained=Lengths(min_length=3, max_length=80),
            domain=length,
            example='a\n"b"',
        ),
    ]
    frame = pd.DataFrame({feature.name: [feature.example] * 40 + [0] * 80 for feature in features})
    frame = frame.astype(str)
    truth = np.array([SLY] * 40 + ["你好 $"] * 80)
    description = described(
        "classification",
        features,
        (SLY,),
        (SLY, "你好 $"),
        "predict_proba",
        split=f"held out {SLY}",
    )
    model = make_pipeline(OrdinalEncoder(), LogisticRegression())
    return description, evaluated(description, model, frame, truth)


def test_the_table_of_features_tells_what_was_seen_and_what_is_accepted() -> None:
    page = written(mixed())
    accepted = f"{MINUS}1e+100 to 1e+100"
    sly = next(row[1:] for row in page.rows if row[0] == SLY and len(row) == 5)
    assert sly == ["number", "0", f"{MINUS}2 to 2.5; median 0.25", accepted]
    seen = "<i>red</i> 30 b 29 c 28 d 27 e 26 2 more 2 rare 3"
    rows = {row[0]: row[1:] for row in page.rows if len(row) == 5}
    assert rows["it's"] == ["category", "7", seen, "0 to 1000 characters, or null"]
    assert rows["rare"] == ["category", "0", "9 rare 9", "one of 2 categories"]
    assert rows["yes"] == ["boolean", "0", "false 80 true 40", "true or false"]
    assert rows["words"] == ["text", "0", "3 to 80 characters", "0 to 1000 characters"]


def test_nothing_that_is_told_can_break_the_page() -> None:
    answer = {"prediction": SLY}
    text = text_of(*mixed(), SLY, answer, [SLY])
    assert "<script" not in text
    assert "<i>red" not in text
    page = Page(text)
    assert page.text.count("""alert("1")""") > 8
    assert json.loads(page.texts["code"][-1]) == answer
    assert SLY in page.texts["li"]


def test_the_limits_are_those_of_the_features() -> None:
    text = written(mixed()).text
    for told in ("extrapolated", "saw rarely or never", "Any text", "missing (null) only in"):
        assert told in text
    plain = written(clustering()).text
    assert "extrapolated" in plain
    assert "No value may be missing" in plain
    for untold in ("saw rarely or never", "Any text", "Probabilities", "scores are those of"):
        assert untold not in plain


@pytest.mark.parametrize("model", [mixed, clustering, detector])
def test_what_training_saw_is_said_to_be_unknown_where_it_is(
    model: Callable[[], tuple[Description, Evaluation]],
) -> None:
    known, evaluation = model()
    changes = {
        "features": tuple(unknown(feature) for feature in known.features),
        "training": None,
        "metrics": Metrics(split="none: there is no reference", values={}, dummy={}),
    }
    text = written((known.model_copy(update=changes), evaluation)).text
    assert "rows that are not known" in text
    assert "What training saw is not known here" in text
    for guessed in ("extrapolated", "saw rarely or never", "Sizes of the clusters", "are outliers"):
        assert guessed not in text


def test_classes_of_few_rows_are_named() -> None:
    told = "Fewer than 30 rows were scored of "
    page = written(classifier("abcdefgh"))
    assert f"{told}a (15), b (15)" in page.text
    assert told not in written(classifier(["ham", "spam"])).text


@pytest.mark.parametrize("model", [mixed, regressor], ids=["sly names", "plain names"])
def test_the_command_asks_for_the_example(model: Any) -> None:  # noqa: ANN401 (a function)
    description, _ = model()
    shown = written(model()).texts["code"][-2]
    assert shown == command(description)
    script = f"curl() {{ printf '%s\\0' \"$@\"; }}\n{shown}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    *options, body, end = done.stdout.split("\0")
    header = "Content-Type: application/json"
    assert options == [
        "-X",
        "POST",
        f"http://localhost:8000/models/{description.name}/predict",
        "-H",
        header,
        "-d",
    ]
    assert end == ""
    assert json.loads(body) == {
        "data": {feature.name: feature.example for feature in description.features}
    }


def test_notes_and_requirements_are_told_where_there_are_any() -> None:
    description, evaluation = clustering()
    needs = description.model_copy(update={"requirements": ("pandas==3.1.1",)})
    page = written((needs, evaluation), ["Left out id: it is different in each row."])
    assert page.texts["h3"][-1] == "What training decided or left out"
    assert "Left out id" in page.text
    assert "To serve it takes, beside what the service has: pandas==3.1.1." in page.text
    assert page.row("scikit-learn") == ["1.9.1"]
    assert "left out" not in written(clustering()).text


def test_what_estimators_warn_about_stays_inside() -> None:
    class Loud(LinearRegression):
        def predict(self, table: Any) -> Array:  # noqa: ANN401 (as scikit-learn has it)
            warnings.warn("odd", RuntimeWarning, stacklevel=2)
            return np.asarray(super().predict(table))

    description, evaluation = regressor()
    assert evaluation.truth is not None
    loud = Loud().fit(evaluation.frame, evaluation.truth)
    written((description, replace(evaluation, estimator=loud)))


def test_heads_of_tables_tell_what_they_head() -> None:
    text = written_for("binary")
    assert not re.findall(r"<th(?! scope=)[ >]", text)
    assert text.count("<h1>") == 1

"""The card: a page that stands alone, shows what is known, and fails on no model."""

import json
import re
import subprocess
import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from sklearn.svm import LinearSVC

from serving.model.description import Asked, Description, Metrics, ScoringMethod, Task, Training
from serving.model.domains import Choices, Frequencies, Interval, Lengths
from serving.model.estimator import Estimator
from serving.model.features import Boolean, Category, Feature, Number, Text
from serving.model.outputs import Array
from training.card.card import card, command, score
from training.card.importance import MAX_BARS
from training.card.numbers import MINUS
from training.fitting.evaluation import Evaluation

SLY = """</td><script>alert("1")</script> & 'so' $x_{"""
ROWS = 120
ANSWER = {"prediction": "a", "probabilities": {"a": 0.75, "b": 0.25}}


def number(name: str) -> Number:
    """Describe a feature that training saw from -2 to 2.5."""
    return Number(
        name=name,
        nullable=False,
        missing=0,
        type="number",
        trained=Interval(minimum=-2.0, maximum=2.5),
        domain=Interval(minimum=-1e100, maximum=1e100),
        quantiles={"0.5": 0.25},
        example=0.5,
    )


def data(features: int = 3, rows: int = ROWS) -> pd.DataFrame:
    """Give rows of numbers."""
    values = np.random.default_rng(7).normal(size=(rows, features))
    return pd.DataFrame(values, columns=[f"f{at}" for at in range(features)])


def described(
    task: Task,
    features: Sequence[Feature],
    targets: tuple[str, ...] = (),
    classes: Any = None,  # noqa: ANN401 (labels, or tuples of them)
    scored_by: ScoringMethod | None = None,
    split: str = "held out: 120 of 480 rows, seed 1",
) -> Description:
    """Describe a model; its scores are made up."""
    dummy = {"f1_macro": 0.25} if targets else {}
    return Description(
        name="mail",
        task=task,
        created=datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC),
        features=tuple(features),
        targets=targets,
        classes=classes,
        metrics=Metrics(split=split, values={"f1_macro": 0.875, "own": -12.5}, dummy=dummy),
        training=Training(rows=480, fingerprint="sha256:0123"),
        versions={"scikit-learn": "1.9.1"},
        requirements=(),
        artifact_sha256="",
        asked=Asked(
            input="array",
            batching="tolerant",
            scored_by=scored_by,
            scores_by_class=scored_by is not None and classes is not None,
            label_by=None,
        ),
    )


def evaluated(
    description: Description, estimator: Estimator, frame: pd.DataFrame, truth: Array | None
) -> Evaluation:
    """Fit an estimator, and act as if it had been scored on other rows than these."""
    fitted = estimator.fit(frame) if truth is None else estimator.fit(frame, truth)
    return Evaluation(metrics=description.metrics, estimator=fitted, frame=frame, truth=truth)


def classifier(
    labels: Sequence[Any],
    estimator: Estimator = None,
    rows: int = ROWS,
    scored_by: ScoringMethod | None = "predict_proba",
) -> tuple[Description, Evaluation]:
    """Give a classifier of these classes."""
    frame = data(rows=rows)
    places = np.argsort(np.argsort(frame["f0"].to_numpy())) * len(labels) // rows
    features = [number(name) for name in frame]
    description = described("classification", features, ("kind",), tuple(labels), scored_by)
    estimator = LogisticRegression() if estimator is None else estimator
    return description, evaluated(description, estimator, frame, np.array(list(labels))[places])


def regressor(targets: int = 1, rows: int = ROWS) -> tuple[Description, Evaluation]:
    """Give a regressor of so many targets."""
    frame = data(rows=rows)
    noise = np.random.default_rng(3).normal(size=(rows, targets))
    truth = frame["f1"].to_numpy()[:, None] + noise
    names = tuple(f"t{at}" for at in range(targets))
    description = described("regression", [number(name) for name in frame], names)
    truth = truth if targets > 1 else truth.ravel()
    return description, evaluated(description, LinearRegression(), frame, truth)


def clustering() -> tuple[Description, Evaluation]:
    """Give a clustering into three."""
    frame = data()
    description = described("clustering", [number(name) for name in frame])
    return description, evaluated(description, KMeans(3, random_state=0), frame, None)


def detector(scored_by: ScoringMethod | None = "decision_function") -> tuple[Any, Any]:
    """Give an outlier detector."""
    frame = data()
    names = [number(name) for name in frame]
    description = described("outlier-detection", names, scored_by=scored_by)
    return description, evaluated(
        description, IsolationForest(n_estimators=5, random_state=0), frame, None
    )


class Page(HTMLParser):
    """Reads a page: refuses what is not closed in order, and keeps what the tests ask for."""

    def __init__(self, page: str) -> None:
        """Read it all."""
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.texts: dict[str, list[str]] = {}
        self.rows: list[list[str]] = []
        self.feed(page)
        self.close()
        assert self.open == []
        self.text = " ".join(self.texts["body"][0].split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open an element."""
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag == "meta":
            return
        self.open.append(tag)
        self.texts.setdefault(tag, []).append("")
        if tag == "tr":
            self.rows.append([])
        elif tag in {"th", "td"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """Close the one that was opened last."""
        assert self.open.pop() == tag
        if tag in {"th", "td"}:
            self.rows[-1][-1] = " ".join(self.rows[-1][-1].split())

    def handle_data(self, data: str) -> None:
        """Keep the text of all that is open."""
        for tag in set(self.open):
            self.texts[tag][-1] += data
        if {"th", "td"} & set(self.open):
            self.rows[-1][-1] += data

    def row(self, head: str) -> list[str]:
        """Give the other cells of the row that begins so."""
        return next(row[1:] for row in self.rows if row[0] == head)

    def values(self, attribute: str) -> list[str]:
        """Give the values that an attribute has."""
        return [value for name, value in self.attributes if name == attribute]


def written(model: tuple[Description, Evaluation], notes: Sequence[str] = ()) -> Page:
    """Write a card and read it."""
    return Page(card(*model, "Scaler → Model", ANSWER, notes))


MODELS = {
    "binary": lambda: classifier(["ham", "spam"]),
    "multiclass": lambda: classifier([0, 1, 2]),
    "booleans": lambda: classifier([False, True]),
    "without probabilities": lambda: classifier("abc", LinearSVC(), scored_by="decision_function"),
    "binary without probabilities": lambda: classifier(
        "ab", LinearSVC(), scored_by="decision_function"
    ),
    "regression": regressor,
    "two targets": lambda: regressor(2),
    "clustering": clustering,
    "outlier detection": detector,
}


@cache
def written_for(kind: str) -> str:
    """Write the card of one of the models, once."""
    return card(*MODELS[kind](), "Scaler → Model", ANSWER)


TITLES = {
    "binary": ["Confusion matrix", "ROC curve", "Precision and recall"],
    "regression": ["Predicted and true", "Residuals"],
    "two targets": [
        "t0: Predicted and true",
        "t0: Residuals",
        "t1: Predicted and true",
        "t1: Residuals",
    ],
    "clustering": ["Sizes of the clusters"],
    "outlier detection": ["Distribution of the score"],
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_card_is_a_page_that_stands_alone(kind: str) -> None:
    text = written_for(kind)
    assert text.startswith("<!doctype html>\n<html lang=")
    page = Page(text)
    assert not page.tags & {"script", "link", "img", "iframe", "object", "form", "base"}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    for attribute in ("src", "href", "xlink:href"):
        assert all(value.startswith(("#", "data:image/png")) for value in page.values(attribute))
    assert all(url.startswith("#") for url in re.findall(r"url\(([^)]*)\)", text))
    assert set(re.findall(r"\w+://[^\s\"']*", text)) == {"http://localhost:8000/predict"}
    assert "@import" not in text
    assert len(text.encode()) < 300_000


@pytest.mark.parametrize("kind", MODELS)
def test_a_card_has_the_plots_of_its_task(kind: str) -> None:
    page = Page(written_for(kind))
    assert page.texts["h3"] == TITLES.get(kind, TITLES["binary"])
    drawings = page.texts.get("svg", [])
    assert len(drawings) == (0 if kind == "clustering" else len(page.texts["h3"]))
    assert len(page.values("aria-label")) == len(drawings) + 1  # and that of the links


@pytest.mark.parametrize("kind", MODELS)
def test_no_id_is_there_twice_and_each_reference_has_its_place(kind: str) -> None:
    text = written_for(kind)
    ids = re.findall(r'\sid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    wanted = {*re.findall(r'href="#([^"]*)"', text), *re.findall(r"url\(#([^)]*)\)", text)}
    assert wanted <= set(ids)


def test_the_same_model_has_the_same_card() -> None:
    assert written_for("binary") == card(*MODELS["binary"](), "Scaler → Model", ANSWER)


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


def test_the_matrix_counts_and_the_curves_tell_their_areas() -> None:
    page = written(classifier(["ham", "spam"]))
    matrix, roc, precision = page.texts["figcaption"]
    right = re.match(r"(\d+) of 120 rows have the right label", matrix)
    assert right
    assert 100 < int(right[1]) <= 120
    assert "spam against ham" in roc
    assert "average precision" in precision
    _, _, said, _ = page.values("aria-label")
    assert re.fullmatch(r"ROC curve; spam (1\.000|0\.99\d)", said)


def test_of_many_classes_the_commonest_have_curves_and_of_too_many_there_is_no_matrix() -> None:
    page = written(classifier(range(40), RandomForestClassifier(5, random_state=0), rows=400))
    matrix, roc, _ = page.texts["figcaption"]
    assert matrix == "40 classes are too many to be drawn."
    assert "for the 10 of most rows" in roc
    assert "Predicts kind (one of 40 classes) from" in page.text
    assert len(page.texts["svg"]) == 2
    without_numbers = written(classifier(range(20), RandomForestClassifier(5), rows=400))
    assert len(without_numbers.texts["svg"]) == 3


def test_a_model_without_scores_has_a_sentence_in_the_place_of_its_curves() -> None:
    page = written(classifier("abc", LinearSVC(), scored_by=None))
    assert (
        page.texts["figcaption"][1:]
        == ["There is no curve. The model gives no probability or score for each class."] * 2
    )
    assert written(detector(scored_by=None)).texts["figcaption"] == ["The model gives no scores."]


def test_an_estimator_that_was_fitted_without_a_class_has_no_curves_but_a_matrix() -> None:
    description, evaluation = classifier("ab")
    page = written((description.model_copy(update={"classes": ("a", "b", "c")}), evaluation))
    assert len(page.texts["svg"]) == 1
    assert "There is no curve." in page.texts["figcaption"][1]


def test_rows_of_a_single_class_have_no_curves() -> None:
    description, evaluation = classifier("ab")
    assert evaluation.truth is not None
    same = replace(evaluation, truth=np.full_like(evaluation.truth, "a"))
    _, *curves = written((description, same)).texts["figcaption"]
    assert len(curves) == 2
    assert all("All rows that it was scored on have the same class." in told for told in curves)


def test_a_class_that_only_some_rows_could_show_is_left_out_of_the_curves() -> None:
    description, evaluation = classifier("abc")
    some = evaluation.truth != "c"
    part = replace(evaluation, frame=evaluation.frame[some], truth=evaluation.truth[some])  # type: ignore[index]
    _, roc, _ = written((description, part)).texts["figcaption"]
    assert "where the rows have both" in roc


def test_a_plot_that_fails_is_replaced_by_a_sentence_that_quotes_nothing() -> None:
    description, evaluation = classifier([1, 2])
    unknown = replace(evaluation, truth=np.full(ROWS, "secret"))
    page = written((description, unknown))
    assert page.texts["figcaption"][0] == "It could not be drawn."
    assert "secret" not in page.text


def test_few_rows_are_not_drawn() -> None:
    told = "12 rows are too few to be drawn without showing single ones."
    assert written(regressor(rows=12)).texts["figcaption"] == [told, told]
    description, evaluation = detector()
    few = replace(evaluation, frame=evaluation.frame[:12])
    assert written((description, few)).texts["figcaption"] == [told]


def test_no_plot_tells_how_far_out_the_furthest_rows_lie() -> None:
    description, evaluation = regressor()
    assert evaluation.truth is not None
    truth = evaluation.truth.copy()
    before = card(description, replace(evaluation, truth=truth), "Model", ANSWER)
    truth[np.argsort(truth)[-3:]] += 1000
    after = card(description, replace(evaluation, truth=truth), "Model", ANSWER)
    (one, other) = (
        re.findall(r"<use[^>]*x=.*", text[: text.index("Residuals")]) for text in (before, after)
    )
    assert one == other
    assert one


def test_equal_true_values_are_not_drawn() -> None:
    description, evaluation = regressor()
    page = written((description, replace(evaluation, truth=np.ones(ROWS))))
    assert page.texts["figcaption"] == ["Nearly all true values are the same."] * 2


def test_of_many_targets_the_first_are_drawn() -> None:
    page = written(regressor(6))
    assert page.texts["h3"][-1] == "t3: Residuals"
    assert "The plots are of the first 4 of 6 targets." in page.text


def test_several_targets_of_classes_have_plots_each() -> None:
    frame = data()
    truth = np.column_stack([np.where(frame["f0"] > 0, "up", "down"), frame["f1"] > 0])
    description = described(
        "classification",
        [number(name) for name in frame],
        ("way", "sign"),
        (("down", "up"), ("False", "True")),
        "predict_proba",
    )
    forest = RandomForestClassifier(5, random_state=0)
    page = written((description, evaluated(description, forest, frame, truth)))
    assert page.texts["h3"][::3] == ["way: Confusion matrix", "sign: Confusion matrix"]
    assert len(page.texts["svg"]) == 6
    assert "Predicts way (down or up) and sign (False or True) from" in page.text
    assert "Loss of accuracy" in page.text


def test_the_features_stand_in_the_order_of_their_importance() -> None:
    page = written(classifier(["ham", "spam"]))
    heads = [row[0] for row in page.rows]
    start = heads.index("Feature")
    assert heads[start + 1] == "f0"
    loss, bar = page.row("f0")
    assert re.fullmatch(r"0\.\d{3} ± 0\.\d{3}", loss)
    assert bar == ""
    assert "width:100.0%" in page.values("style")
    assert "Measured on 120 rows of those that were scored." in page.text


def test_of_many_features_the_most_important_are_shown() -> None:
    frame = data(features=40)
    description = described("regression", [number(name) for name in frame], ("t",))
    truth = frame["f39"].to_numpy()
    page = written((description, evaluated(description, LinearRegression(), frame, truth)))
    assert f"The {MAX_BARS} most important of 40 features." in page.text
    bars = [row for row in page.rows if len(row) == 3 and "±" in row[1]]
    assert len(bars) == MAX_BARS
    assert bars[0][0] == "f39"


def test_features_are_shuffled_in_a_bounded_number_of_rows() -> None:
    page = written(regressor(rows=2500))
    assert "Measured on 2000 rows of those that were scored." in page.text


def test_importances_that_cannot_be_measured_are_said_to_be_unknown() -> None:
    assert "importance of the features is not known" in written(clustering()).text
    told = "importance of the features could not be measured"
    description, evaluation = regressor()
    assert evaluation.truth is not None
    one = replace(evaluation, frame=evaluation.frame[:1], truth=evaluation.truth[:1])
    assert told in written((description, one)).text
    lacking = replace(evaluation, truth=np.where(np.arange(ROWS) < 30, np.nan, evaluation.truth))
    assert told in written((description, lacking)).text


def test_an_estimator_that_was_fitted_on_arrays_is_given_arrays() -> None:
    description, evaluation = regressor()
    assert evaluation.truth is not None
    model = KNeighborsRegressor().fit(evaluation.frame.to_numpy(), evaluation.truth)
    assert len(written((description, replace(evaluation, estimator=model))).texts["svg"]) == 2


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
    text = card(*mixed(), SLY, answer, [SLY])
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
    assert options == ["-X", "POST", "http://localhost:8000/predict", "-H", header, "-d"]
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

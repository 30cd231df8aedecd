"""Models of each task, and their cards as a browser reads them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import LinearSVC

from serving.model.description import Asked, Description, Metrics, ScoringMethod, Task, Training
from serving.model.domains import Interval
from serving.model.estimator import Estimator
from serving.model.features import Feature, Number
from serving.model.outputs import Array
from training.card.card import card
from training.card.findings import find
from training.fitting.evaluation import Evaluation

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
    return Page(text_of(*model, notes=notes))


def text_of(
    description: Description,
    evaluation: Evaluation,
    steps: str = "Scaler → Model",
    answer: Mapping[str, Any] = ANSWER,
    notes: Sequence[str] = (),
) -> str:
    """Write a card."""
    return card(description, evaluation, find(description, evaluation), steps, answer, notes)


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
    return text_of(*MODELS[kind]())

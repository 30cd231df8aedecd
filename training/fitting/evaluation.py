"""Scores on rows that the scored estimator was not fitted on, beside those of a dummy."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from sklearn.base import clone
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import silhouette_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from serving.model.description import Metrics, Task
from serving.model.estimator import Estimator, TableLike
from serving.model.outputs import Array, Outputs, answers_of
from serving.model.scores import Scores, computed, scores_of
from serving.model.wrapped import unwrapped
from training.errors import TrainingError
from training.fitting.pipeline import fit
from training.table.table import Table

MAX_SILHOUETTE_ROWS = 5000  # each is compared with each
OUTLIER = -1  # as scikit-learn's detectors have it


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How well an estimator does, and what it takes to look closer.

    ``frame`` is what the estimator was asked, and was not fitted on: a data frame, or an array if
    it takes arrays only. ``truth`` holds the targets of its rows, of shape (rows,) or (rows,
    targets), or is None where there are none.
    """

    metrics: Metrics
    estimator: Estimator
    frame: TableLike
    truth: np.ndarray | None


def evaluate(pipeline: Pipeline, table: Table, test_size: float, seed: int) -> Evaluation:
    """Fit a clone of a pipeline without some rows of a table, and score it on those.

    Raises:
        TrainingError: the rows are too few to hold some out, or it can't be fitted, or asked.
    """
    labels = truth_of(table)
    rows, held_out, manner = _split(table, test_size, seed)
    seen, truth = (None, None) if labels is None else (labels[rows], labels[held_out])
    fitted = fit(clone(pipeline), table.frame.iloc[rows], seen)
    frame = table.frame.iloc[held_out]
    split = f"held out: {len(held_out)} of {len(table.frame)} rows, {manner}seed {seed}"
    metrics = _metrics(split, table.task, fitted, frame, truth, seen)
    return Evaluation(metrics=metrics, estimator=fitted, frame=frame, truth=truth)


def score(estimator: Estimator, table: Table, asked: TableLike, split: str) -> Metrics:
    """Score an estimator that was fitted elsewhere on all rows of a table, as it is asked for them.

    Raises:
        TrainingError: it can't be asked.
    """
    labels = truth_of(table)
    return _metrics(split, table.task, estimator, asked, labels, labels)


def truth_of(table: Table) -> Array | None:
    """Give what is to be learnt, or None where nothing is."""
    return None if table.target.shape[1] == 0 else table.labels


def _split(table: Table, test_size: float, seed: int) -> tuple[Array, Array, str]:
    """Give the rows to learn from, those to be held out, and how they were told apart."""
    rows = np.arange(len(table.frame))
    if table.task == "classification" and table.target.shape[1] == 1:
        with suppress(ValueError):  # a class of one row, or more classes than rows on a side
            parts = train_test_split(
                rows, test_size=test_size, random_state=seed, stratify=table.labels
            )
            return (*parts, "stratified, ")
    try:
        return (*train_test_split(rows, test_size=test_size, random_state=seed), "")
    except ValueError:
        raise TrainingError(f"{len(rows)} rows are too few to hold out {test_size:.0%}") from None


def _metrics(
    split: str,
    task: Task,
    estimator: Estimator,
    asked: TableLike,
    truth: Array | None,
    seen: Array | None,
) -> Metrics:
    """Score an estimator beside a dummy that knows of the labels that were seen, no more."""
    try:
        scores = _scores(task, estimator, asked, truth)
    except Exception as exc:  # estimators raise anything
        last = estimator[-1] if isinstance(estimator, Pipeline) else estimator
        name = type(unwrapped(last)).__name__
        raise TrainingError(f"{name} can't predict for all rows: {exc}") from exc
    values = computed(scores)
    dummy: Mapping[str, float] = {}
    if seen is not None and task in _DUMMIES:
        ignorant = _DUMMIES[task]().fit(np.zeros((len(seen), 1)), seen)
        dummy = computed(_scores(task, ignorant, asked, truth))
    return Metrics(
        split=split,
        values=values,
        dummy={name: value for name, value in dummy.items() if name in values},
    )


_DUMMIES: Mapping[Task, Callable[[], Estimator]] = {
    "classification": DummyClassifier,  # which answers the commonest class, and all their shares
    "regression": DummyRegressor,
}


def _scores(task: Task, estimator: Estimator, asked: TableLike, truth: Array | None) -> Scores:
    """Ask an estimator, and give what computes each score that fits the task."""
    answers = answers_of(estimator.predict(asked))
    if task == "clustering":
        return {"silhouette": lambda: _silhouette(estimator, asked, answers)}
    if task == "outlier-detection":
        return {"outlier_share": lambda: np.mean(answers == OUTLIER)}
    if truth is None:
        return {}
    if answers.shape != truth.shape:
        raise ValueError(
            f"it gives answers of shape {answers.shape} to targets of shape {truth.shape}"
        )
    outputs = Outputs(answers)
    if task == "classification" and truth.ndim == 1:
        if hasattr(estimator, "predict_proba"):
            outputs = Outputs(answers, probabilities=(estimator.predict_proba(asked),))
        elif hasattr(estimator, "decision_function"):
            outputs = Outputs(answers, scores=estimator.decision_function(asked))
    return scores_of(task, truth, outputs, getattr(estimator, "classes_", None))


def _silhouette(estimator: Estimator, asked: TableLike, answers: Array) -> float:
    """Measure the clusters where they were found: behind what prepares the features."""
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        asked = estimator[:-1].transform(asked)
    rows = min(len(answers), MAX_SILHOUETTE_ROWS)
    return float(silhouette_score(asked, answers, sample_size=rows, random_state=0))

"""Scores: how well what a model answered fits what is true, by scikit-learn's measures.

Training scores held-out rows with this, and `serving.outcomes` the rows of a prediction log. A
score that can't be computed of some rows is left out.
"""

import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Literal

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from serving.model.description import Task
from serving.model.outputs import Array, Outputs

Scores = Mapping[str, Callable[[], float]]

# Which way each score is better, also those of clusters; of others nobody can say.
BETTER: Mapping[str, Literal["higher", "lower"]] = {
    "accuracy": "higher",
    "balanced_accuracy": "higher",
    "f1_macro": "higher",
    "roc_auc": "higher",
    "subset_accuracy": "higher",
    "mean_accuracy": "higher",
    "r2": "higher",
    "silhouette": "higher",
    "log_loss": "lower",
    "mean_absolute_error": "lower",
    "root_mean_squared_error": "lower",
}


def computed(scores: Scores) -> dict[str, float]:
    """Compute what can be: for some, it takes each class among the truth, or two clusters."""
    values = {}
    for name, compute in scores.items():
        with suppress(ValueError), warnings.catch_warnings():
            # That a score is undefined is told by leaving it out.
            warnings.simplefilter("ignore", UserWarning)
            values[name] = float(compute())
    return {name: value for name, value in values.items() if np.isfinite(value)}


def scores_of(task: Task, truth: Array, outputs: Outputs, classes: Array | None) -> Scores:
    """Give what computes each score that fits a task with targets.

    ``truth`` has the shape of the outputs' ``values``: (rows,), or (rows, targets) if there are
    several. ``classes`` has the labels in the order of the outputs' probabilities or scores, and
    may be None where there are neither; these two count for a single target alone.
    """
    answers = outputs.values
    if task == "regression":
        return {
            "r2": lambda: r2_score(truth, answers),
            "mean_absolute_error": lambda: mean_absolute_error(truth, answers),
            "root_mean_squared_error": lambda: root_mean_squared_error(truth, answers),
        }
    if truth.ndim > 1:
        return {
            "subset_accuracy": lambda: (truth == answers).all(axis=1).mean(),
            "mean_accuracy": lambda: (truth == answers).mean(),
        }
    scores: dict[str, Callable[[], float]] = {
        "accuracy": lambda: accuracy_score(truth, answers),
        "balanced_accuracy": lambda: balanced_accuracy_score(truth, answers),
        "f1_macro": lambda: f1_score(truth, answers, average="macro"),
    }
    if classes is None:
        return scores
    if outputs.probabilities:
        (shares,) = outputs.probabilities
        scores["log_loss"] = lambda: log_loss(truth, shares, labels=classes)
        scores["roc_auc"] = lambda: _roc_auc(truth, shares, classes)
    elif outputs.scores is not None:
        sides = outputs.scores
        scores["roc_auc"] = lambda: _roc_auc(truth, sides, classes)
    return scores


def _roc_auc(truth: Array, surenesses: Array, classes: Array) -> float:
    """Compute the area for two classes, or the mean of one class against the rest.

    Raises:
        ValueError: a class is not among the truth, or not among the classes.
    """
    if set(truth) != set(classes):
        raise ValueError("not the same classes")
    if len(classes) == 2:
        second = surenesses[:, 1] if surenesses.ndim > 1 else surenesses
        return float(roc_auc_score(truth == classes[1], second))
    return float(roc_auc_score(truth, surenesses, multi_class="ovr"))

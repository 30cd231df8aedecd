"""Which estimator to take, where none is named: the simplest of those that do best."""

import time
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec

import numpy as np
import pandas as pd
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import f1_score, make_scorer, r2_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from serving.model.description import Task
from serving.model.estimator import Estimator
from serving.model.outputs import Array
from training.errors import TrainingError
from training.fitting.estimators import make_estimator, tags_of
from training.fitting.families import boosters_of, installed_by
from training.fitting.pipeline import reason
from training.fitting.trial import suited
from training.table.table import Table

MAX_LEAVES = 5000  # of a tree: so a forest has megabytes, not gigabytes, however large the table
MAX_CHOICE_ROWS = 20_000
MAX_CHOICE_CELLS = 500_000  # if there are more columns the rows are fewer, but not below the next
MIN_CHOICE_ROWS = 1000
MAX_FOLDS = 5
TOLERANCE = 0.005  # by which a simpler candidate may be worse than the best


def candidates(task: Task, seed: int) -> dict[str, Estimator]:
    """Give what a person would try first, the simplest first; nothing where scores don't tell."""
    tried: tuple[Estimator, ...] = ()
    if task == "classification":
        tried = (
            LogisticRegression(random_state=seed),
            ExtraTreesClassifier(max_leaf_nodes=MAX_LEAVES, random_state=seed),
            HistGradientBoostingClassifier(random_state=seed),
        )
    elif task == "regression":
        tried = (
            RidgeCV(alphas=(0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)),
            ExtraTreesRegressor(max_leaf_nodes=MAX_LEAVES, random_state=seed),
            HistGradientBoostingRegressor(random_state=seed),
        )
    return {type(estimator).__name__: estimator for estimator in tried}


def boosters(task: Task, seed: int, tell: Callable[[str], None]) -> dict[str, Estimator]:
    """Give the gradient boosting of other libraries, as far as they are installed.

    Raises:
        TrainingError: none is.
    """
    known = boosters_of(task)
    missing = [module for module in known if find_spec(module) is None]
    if missing and len(missing) == len(known):
        raise TrainingError(f"no library of boosters is installed: {installed_by(missing)}")
    if missing:
        tell(f"not compared, since not installed: {', '.join(missing)}: {installed_by(missing)}")
    made = (
        make_estimator(name, [], seed) for module, name in known.items() if module not in missing
    )
    return {type(estimator).__name__: estimator for estimator in made}


def choose(
    table: Table, seed: int, tell: Callable[[str], None], *, with_boosters: bool = False
) -> tuple[Pipeline, dict[str, float]]:
    """Choose the simplest of the candidates that do best in cross-validation.

    Where they are asked for, those of other libraries are candidates, too.

    Returns:
        The unfitted pipeline, and the mean score of each candidate.

    Raises:
        TrainingError: no score tells which is best, or none could be computed.
    """
    able = candidates(table.task, seed)
    if with_boosters and able:
        able |= boosters(table.task, seed, tell)
    tried = {
        name: suited(table, estimator, seed) for name, estimator in _suitable(table, able).items()
    }
    if not tried:
        raise TrainingError(
            f"no score tells which estimator is best for {table.task}: name one with --estimator"
        )
    frame, labels = table.frame, table.labels
    enough = MAX_CHOICE_CELLS // frame.shape[1]
    if len(frame) > (limit := min(max(enough, MIN_CHOICE_ROWS), MAX_CHOICE_ROWS)):
        tell(f"choosing by {limit} of {len(frame)} rows")
        rows = np.random.default_rng(seed).permutation(len(frame))[:limit]
        frame, labels = frame.iloc[rows], labels[rows]
    metric, score = _SCORES[table.task]
    scores: dict[str, float] = {}
    for number, (name, pipeline) in enumerate(tried.items(), start=1):
        started = time.perf_counter()
        try:
            scores[name] = _cross_validate(pipeline, frame, labels, score, seed)
            outcome = f"{metric} {scores[name]:.3f}"
        except Exception as exc:  # those of other libraries raise anything
            outcome = failure = f"left out, {reason(exc)}"
        tell(f"{number}/{len(tried)} {name}: {outcome} ({time.perf_counter() - started:.1f} s)")
    if not scores:
        raise TrainingError(f"no estimator can be chosen by this table, the last {failure}")
    needed = max(scores.values()) - TOLERANCE
    return next(tried[name] for name, value in scores.items() if value >= needed), scores


def _suitable(table: Table, tried: Mapping[str, Estimator]) -> dict[str, Estimator]:
    """Give the candidates that can learn all targets and, of them, those that learn words soon."""
    able = {
        name: estimator
        for name, estimator in tried.items()
        if table.target.shape[1] == 1 or tags_of(estimator).target_tags.multi_output
    }
    if "text" not in table.types.values():
        return able
    forests = ExtraTreesClassifier | ExtraTreesRegressor  # of all words they take minutes or hours
    soon = {name: found for name, found in able.items() if not isinstance(found, forests)}
    return soon or able


def _f1_macro(truth: Array, labels: Array) -> float:
    """Average over the targets, if there are several."""
    targets = zip(_columns(truth), _columns(labels), strict=True)
    return float(np.mean([f1_score(*target, average="macro") for target in targets]))


def _columns(labels: Array) -> Array:
    return labels.reshape(len(labels), -1).T


_SCORES: Mapping[Task, tuple[str, Callable[[Array, Array], float]]] = {
    "classification": ("f1_macro", _f1_macro),
    "regression": ("r2", r2_score),
}


def _cross_validate(
    pipeline: Pipeline,
    frame: pd.DataFrame,
    labels: Array,
    score: Callable[[Array, Array], float],
    seed: int,
) -> float:
    """Average a pipeline's scores on each fold, fitted without it.

    Raises:
        ValueError: it can't be fitted, or scored, without or on some fold.
    """
    stratified = score is _f1_macro and labels.ndim == 1
    smallest = np.unique(labels, return_counts=True)[1].min() if stratified else len(labels) // 2
    split = (StratifiedKFold if stratified else KFold)(
        n_splits=int(np.clip(smallest, 2, MAX_FOLDS)), shuffle=True, random_state=seed
    )
    # The score says it all. Threads gain little on so few rows, and lose a lot on a busy machine.
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore")
        scores = cross_val_score(
            pipeline, frame, labels, cv=split, scoring=make_scorer(score), error_score="raise"
        )
    if not np.isfinite(scores).all():
        raise ValueError("a fold has too few rows for a score")
    return float(scores.mean())

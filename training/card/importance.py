"""How much of a score is lost without each feature."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.inspection import permutation_importance
from sklearn.metrics import r2_score

from serving.model.description import Description, InputForm
from serving.model.estimator import Estimator, TableLike
from serving.model.outputs import Array, answers_of
from training.card.numbers import columns, signed
from training.fitting.evaluation import Evaluation

MAX_ALL_BARS, MAX_BARS = 30, 20
REPEATS = 5
MAX_SHUFFLED_FEATURES = 200
MIN_SHUFFLED_ROWS, MAX_SHUFFLED_ROWS, MAX_ASKED_ROWS = 200, 2000, 1_000_000


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a table that shows its number as a bar too, of a length from 0 to 1."""

    name: str
    told: str
    length: float


@dataclass(frozen=True, slots=True)
class Importances:
    """How much of a score is lost without each feature, the most important first.

    There are bars for the first of them.
    """

    score: str
    rows: int
    features: Sequence[str]
    bars: Sequence[Bar]


def shown(features: int) -> int:
    """Tell of how many features there are bars."""
    return features if features <= MAX_ALL_BARS else MAX_BARS


def importances_of(
    description: Description, evaluation: Evaluation, table: TableLike, seed: int
) -> Importances | None:
    """Measure how the score suffers when a feature's values are shuffled among the rows."""
    truth, count = evaluation.truth, len(description.features)
    if truth is None or not description.targets or count > MAX_SHUFFLED_FEATURES:
        return None
    bound = MAX_ASKED_ROWS // (REPEATS * count)
    bound = int(np.clip(bound, MIN_SHUFFLED_ROWS, MAX_SHUFFLED_ROWS))
    rows = np.arange(len(truth))
    if len(rows) > bound:
        rows = np.sort(np.random.default_rng(seed).choice(rows, bound, replace=False))
    regression = description.task == "regression"
    form = description.asked.input
    if form in LISTS:
        table = pd.DataFrame(table)
    try:
        found = permutation_importance(
            evaluation.estimator,
            table.iloc[rows] if hasattr(table, "iloc") else table[rows],
            columns(truth[rows]),
            scoring=partial(_r2 if regression else _accuracy, form),
            n_repeats=REPEATS,
            random_state=seed,
        )
    except ValueError:  # as where rows are too few to be scored
        return None
    means, deviations = found.importances_mean, found.importances_std
    if not np.isfinite(means).all():
        return None
    order = np.argsort(-means, kind="stable")
    longest = max(means.max(), np.finfo(float).tiny)
    bars = [
        Bar(
            description.features[at].name,
            signed(f"{means[at]:.3f} ± {deviations[at]:.3f}"),
            max(means[at] / longest, 0.0),
        )
        for at in order[: shown(count)]
    ]
    names = [description.features[at].name for at in order]
    return Importances("R²" if regression else "accuracy", len(rows), names, bars)


def _accuracy(form: InputForm, estimator: Estimator, table: TableLike, truth: Array) -> float:
    """Give the share of the labels that are right, of one target or of several."""
    return float((_answers(form, estimator, table) == truth).mean())


def _r2(form: InputForm, estimator: Estimator, table: TableLike, truth: Array) -> float:
    return float(r2_score(truth, _answers(form, estimator, table)))


def _answers(form: InputForm, estimator: Estimator, table: TableLike) -> Array:
    """Ask for a frame's rows, in the form of a list where the estimator takes one."""
    asked = LISTS[form](table) if form in LISTS else table
    return columns(answers_of(estimator.predict(asked)))


LISTS: Mapping[InputForm, Callable[[pd.DataFrame], list[Any]]] = {
    "texts": lambda frame: frame.iloc[:, 0].tolist(),
    "dicts": lambda frame: frame.to_dict("records"),
    "gapped-dicts": lambda frame: [
        {name: value for name, value in row.items() if not pd.isna(value)}
        for row in frame.to_dict("records")
    ],
}

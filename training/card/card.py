"""The model card: a report for people, one self-contained HTML page without scripts.

Its sentences stand in ``card.html``; here is what they are made of.
"""

import json
import shlex
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib import style
from sklearn.inspection import permutation_importance
from sklearn.metrics import r2_score

from serving.model.description import Description, InputForm, label_key
from serving.model.estimator import Estimator, FittedEstimator, TableLike
from serving.model.outputs import Array, Outputs, WrongOutputError
from training.card.plots import MAX_TARGETS, STYLE, codes, columns, number, plots_of, signed
from training.fitting.evaluation import Evaluation

UNCERTAIN_ROWS = 30  # of a class; with fewer its scores say little
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
    """How much of a score is lost without each feature, the most important first."""

    score: str
    rows: int
    features: int
    bars: Sequence[Bar]


def card(
    description: Description,
    evaluation: Evaluation,
    steps: str,
    example_answer: Mapping[str, Any],
    notes: Sequence[str] = (),
    seed: int = 42,
) -> str:
    """Write the card of a model.

    ``steps`` names what the estimator is made of, ``example_answer`` is its answer to the features'
    examples, and ``notes`` tells what training decided or left out. The same arguments give the
    same page.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "score": score, "key": label_key}
    # Estimators may warn whenever they are asked, and fonts of the letters that they lack.
    with warnings.catch_warnings(), style.context(("default", STYLE)):
        warnings.simplefilter("ignore")
        table = evaluation.frame
        outputs = _ask(description, evaluation.estimator, table)
        plots = list(plots_of(description, evaluation, outputs))
        importances = _importances(description, evaluation, table, seed)
    return environment.get_template("card.html").render(
        description=description,
        steps=steps,
        notes=notes,
        plots=plots,
        max_targets=MAX_TARGETS,
        clusters=_clusters(outputs) if description.task == "clustering" else (),
        importances=importances,
        uncertain=_uncertain(description, evaluation),
        command=command(description),
        answer=json.dumps(example_answer, indent=2, ensure_ascii=False),
    )


def command(description: Description) -> str:
    """Give the shell command that asks for the prediction of the features' examples."""
    values = {feature.name: feature.example for feature in description.features}
    body = json.dumps({"data": values}, indent=2, ensure_ascii=False)
    return (
        "curl -X POST http://localhost:8000/predict \\\n"
        f'  -H "Content-Type: application/json" \\\n  -d {shlex.quote(body)}'
    )


def score(value: float) -> str:
    """Write a score, so that others can be compared with it."""
    if abs(value) >= 1000 or value == 0:
        return number(value)
    return signed(f"{value:.3f}" if abs(value) >= 0.001 else f"{value:.2g}")


def _ask(description: Description, estimator: Estimator, table: TableLike) -> Outputs:
    """Ask for predictions, and for what the served estimator tells beside them if this does too.

    It was fitted on fewer rows, so that it may know fewer classes.
    """
    try:
        return FittedEstimator(estimator, description).ask(table)
    except (AttributeError, NotImplementedError, ValueError, WrongOutputError):
        asked = description.asked.model_copy(update={"scored_by": None})
        return FittedEstimator(estimator, description.model_copy(update={"asked": asked})).ask(
            table
        )


def _clusters(outputs: Outputs) -> Sequence[Bar]:
    """Give the sizes of the clusters, the largest first."""
    clusters, sizes = np.unique(outputs.values, return_counts=True)
    return [
        Bar(str(clusters[at]), str(sizes[at]), sizes[at] / sizes.max())
        for at in np.argsort(-sizes, kind="stable")
    ]


def _importances(
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
    order = np.argsort(-means, kind="stable")[: count if count <= MAX_ALL_BARS else MAX_BARS]
    longest = max(means.max(), np.finfo(float).tiny)
    bars = [
        Bar(
            description.features[at].name,
            signed(f"{means[at]:.3f} ± {deviations[at]:.3f}"),
            max(means[at] / longest, 0.0),
        )
        for at in order
    ]
    return Importances("R²" if regression else "accuracy", len(rows), count, bars)


def _accuracy(form: InputForm, estimator: Estimator, table: TableLike, truth: Array) -> float:
    """Give the share of the labels that are right, of one target or of several."""
    return float((_answers(form, estimator, table) == truth).mean())


def _r2(form: InputForm, estimator: Estimator, table: TableLike, truth: Array) -> float:
    return float(r2_score(truth, _answers(form, estimator, table)))


def _answers(form: InputForm, estimator: Estimator, table: TableLike) -> Array:
    """Ask for a frame's rows, in the form of a list where the estimator takes one."""
    asked = LISTS[form](table) if form in LISTS else table
    return columns(np.asarray(estimator.predict(asked)))


LISTS: Mapping[InputForm, Callable[[pd.DataFrame], list[Any]]] = {
    "texts": lambda frame: frame.iloc[:, 0].tolist(),
    "dicts": lambda frame: frame.to_dict("records"),
    "gapped-dicts": lambda frame: [
        {name: value for name, value in row.items() if not pd.isna(value)}
        for row in frame.to_dict("records")
    ],
}


def _uncertain(description: Description, evaluation: Evaluation) -> Sequence[str]:
    """Name the classes of which the rows are so few that their scores say little."""
    if evaluation.truth is None or description.task != "classification":
        return []
    told = []
    for labels, values in zip(
        description.classes_by_target, columns(evaluation.truth).T, strict=True
    ):
        counts = np.bincount(codes(labels, values) + 1, minlength=len(labels) + 1)[1:]
        few = [(label, n) for label, n in zip(labels, counts, strict=True) if n < UNCERTAIN_ROWS]
        told += [f"{label_key(label)} ({n})" for label, n in few]
    return told

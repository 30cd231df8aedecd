"""What requests will be compared with: training's rows, and predictions like those to come."""

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from serving.drift.comparison import MIN_PSI, psi
from serving.drift.watch import Watch
from serving.model.description import Description, References
from serving.model.estimator import Estimator, FittedEstimator
from serving.model.features import Row
from serving.model.outputs import Array, Outputs, Prediction, WrongOutputError
from training.card.findings import Findings, ask
from training.console import tell
from training.describing.describe import answerable, rows_of
from training.describing.reference import references_of
from training.fitting.evaluation import Evaluation
from training.table.table import Table

MAX_ROWS = 2000  # to see whether two estimators predict alike
MAX_PSI = MIN_PSI / 2  # between them; chance may add as much to what would be told
NO_ORDER: tuple[str, ...] = ()


def expected(
    estimator: Estimator,
    description: Description,
    table: Table,
    evaluation: Evaluation,
    found: Findings,
) -> References | None:
    """Count all rows in bins, and such predictions as rows that nobody has seen will get.

    There is nothing to count in the rows of an example.
    """
    if table.is_example:
        return None
    rows = rows_of(table)
    order = found.importances.features if found.importances else NO_ORDER
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # estimators may warn whenever they are asked
            predictions = _predictions(estimator, description, table, evaluation, found.outputs)
    except WrongOutputError as exc:
        tell(f"what the model predicts will not be compared with training: {exc}")
        predictions = []
    return references_of(description, rows, predictions, order)


def _predictions(
    estimator: Estimator,
    description: Description,
    table: Table,
    evaluation: Evaluation,
    held_out: Outputs,
) -> list[Prediction]:
    """Choose whose answers to which rows are like those to come.

    They are those to rows held out, for of rows that it has seen an estimator may be surer. But it
    was another estimator that did not see them. Where that spreads rows over its own values, as a
    tree does by its leaves, the served one is asked for the same rows. It is asked for all where
    there is nothing to learn by heart: clusters, which another would number otherwise.
    """
    model = FittedEstimator(estimator, description)
    if description.task == "clustering":
        return _own(model, table)
    predictions = model.predictions(held_out)
    if evaluation.estimator is estimator:
        # It was fitted elsewhere, maybe on these very rows. A forest has learnt their numbers by
        # heart, noise included: neither these nor how sure it is say what others will get.
        if description.task == "regression":
            return []
        return [replace(prediction, probabilities=None) for prediction in predictions]
    unseen = evaluation.frame.index
    seen = np.setdiff1d(np.arange(len(table.frame)), unseen)
    part = part_of(table, np.random.default_rng(0).permutation(seen)[:MAX_ROWS])
    rows = rows_of(part)
    watch = Watch(description, references_of(description, rows, predictions, NO_ORDER), 0)
    others = model.predictions(ask(description, evaluation.estimator, part.frame))
    if watch.all and _differ(watch, rows, _own(model, part), others):
        # Of no more rows: what it has learnt by heart of many would be told as more than chance.
        return _own(model, part_of(table, unseen))
    return predictions


def part_of(table: Table, rows: Array) -> Table:
    """Give some rows of a table."""
    return replace(table, frame=table.frame.iloc[rows], target=table.target.iloc[rows])


def _differ(
    watch: Watch, rows: Sequence[Row], own: Sequence[Prediction], others: Sequence[Prediction]
) -> bool:
    """Tell whether two estimators that have both seen some rows predict them in other bins.

    Such a difference would later be told as drift.
    """
    counts = (watch.split(watch.count(rows, predictions)) for predictions in (own, others))
    return any(psi(mine, theirs) > MAX_PSI for mine, theirs in zip(*counts, strict=True))


def _own(model: FittedEstimator, table: Table) -> list[Prediction]:
    """Ask for the rows that a request may have."""
    rows = rows_of(answerable(table, model.description))
    return model.predictions(model.ask(model.table(rows)))

"""How an estimator has to be asked, found out by asking it.

It is asked in each form (`forms`), alone and in batches, where its labels change, far out, for
categories that it has never seen and without values, through the code that will serve it. What it
answers decides, and not its class.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from pydantic import ValidationError

from serving.model.description import Description, Label
from serving.model.estimator import Estimator
from serving.model.features import Category, Number, Row
from training.describing.asking import asked_as, failure_of, some
from training.describing.batches import with_batching
from training.describing.boundary import boundary_rows
from training.describing.columns import Column
from training.describing.domain import domains_of
from training.describing.evidence import Evidence
from training.describing.forms import with_form
from training.describing.scores import with_scores
from training.errors import TrainingError, UndecidedError
from training.table.table import Table

MAX_COMPARED_ROWS = 2000
MAX_PROBED_ROWS = 200


def asked_around(
    estimator: Estimator,
    description: Description,
    table: Table,
    rows: Sequence[Row],
    evidence: Evidence,
    seed: int,
) -> Description:
    """Complete a description with all that only the estimator's answers tell.

    Raises:
        TrainingError: it does not answer the table's own rows, or gives what can't be described.
    """
    rng = np.random.default_rng(seed)
    asked = some(rows, MAX_COMPARED_ROWS, rng)
    try:
        description = with_form(estimator, description, asked, evidence)
    except UndecidedError:
        raise
    except TrainingError:  # perhaps it only does not take missing values
        asked = some([row for row in rows if None not in row], MAX_COMPARED_ROWS, rng)
        if not asked:
            raise
        description = with_form(estimator, description, asked, evidence)
    probed = asked[:MAX_PROBED_ROWS]
    description = _with_classes(estimator, description, table)
    boundary: list[Row] | None = None
    with suppress(Exception):  # it may fail between the rows of the table
        boundary = boundary_rows(asked_as(estimator, description), probed, rng)
    description = with_scores(estimator, description, probed, boundary)
    description = with_batching(estimator, description, probed, boundary, rng)
    known = {
        feature.name: _known(feature, table, evidence)
        for feature in description.features
        if isinstance(feature, Category | Number)
    }
    if failure := failure_of(asked_as(estimator, description), probed):
        raise TrainingError(
            f"the estimator gives no finite answer to some of the table's own rows: {failure}"
        )
    closed = {name for name, column in evidence.told.items() if column.closed}
    features = domains_of(asked_as(estimator, description), known, rows, seed, closed)
    return description.model_copy(update={"features": features})


def _known(feature: Category | Number, table: Table, evidence: Evidence) -> tuple[Any, ...]:
    """Give the values of training that a feature is known to have: an example has but a few."""
    if not table.is_example:
        return tuple(sorted(table.frame[feature.name].dropna().unique().tolist()))
    told = evidence.told.get(feature.name, Column()).values or ()
    if isinstance(feature, Category):
        return tuple(sorted(value for value in told if isinstance(value, str)))
    return tuple(sorted(value for value in told if type(value) in {int, float} and value == value))


def _with_classes(estimator: Estimator, description: Description, table: Table) -> Description:
    """Find the labels, in ``classes_`` order."""
    if description.task != "classification":
        return description
    own = getattr(estimator, "classes_", None)
    count = len(description.targets)
    if count == 1:
        (labels,) = [table.labels] if own is None else [own]
        classes: Any = _labels(np.unique(labels) if own is None else labels)
    elif isinstance(own, list) and len(own) == count:
        classes = tuple(map(_labels, own))
    elif len(table.target.columns):
        classes = tuple(_labels(np.unique(column)) for column in table.labels.T)
    else:
        classes = ((0, 1),) * count  # a matrix of which labels a row has
    try:
        return Description.model_validate({**dict(description), "classes": classes})
    except ValidationError as exc:
        reason = exc.errors()[0]["msg"].removeprefix("Value error, ")
        raise TrainingError(f"the classes can't be written as JSON: {reason}") from None


def _labels(values: Iterable[Any]) -> tuple[Label, ...]:
    labels = tuple(value.item() if isinstance(value, np.generic) else value for value in values)
    if not all(-(2**63) <= label < 2**64 for label in labels if type(label) is int):
        raise TrainingError("a class is a whole number beyond 64 bits, which JSON readers lose")
    return labels

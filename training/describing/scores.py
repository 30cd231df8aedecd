"""Which methods tell more than ``predict``, and whose largest number is at the label."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, get_args

import numpy as np

from serving.model.description import Description, ScoringMethod
from serving.model.estimator import Estimator, FittedEstimator
from serving.model.features import Row
from serving.model.outputs import Outputs, tied
from training.describing.asking import asked_as, knowing

MIN_AGREEMENT = 0.9  # of the best score's class with the label, where scores are by class


def with_scores(
    estimator: Estimator,
    description: Description,
    rows: Sequence[Row],
    boundary: Sequence[Row] | None,
) -> Description:
    """Find which methods tell more than ``predict``, and whose largest is at the label."""
    if description.task not in {"classification", "outlier-detection"}:
        return description
    found: dict[ScoringMethod, Outputs] = {}
    for method in get_args(ScoringMethod):
        model = asked_as(estimator, description, scored_by=method)
        with suppress(Exception):  # there is no such method, or it does not work
            found[method] = model.ask(model.table(rows))
    agreement = {method: _agreement(description, outputs) for method, outputs in found.items()}
    if not _tells_order(estimator, description):  # or else it shows
        found = {name: told for name, told in found.items() if agreement[name] >= MIN_AGREEMENT}
    if not found:
        return description
    scored_by = next(iter(found))
    by_class = scored_by == "decision_function" and description.task == "classification"
    return knowing(
        description,
        scored_by=scored_by,
        scores_by_class=by_class and agreement[scored_by] >= MIN_AGREEMENT,
        label_by=next(
            (
                method
                for method, share in agreement.items()
                if share == 1
                and _ties(asked_as(estimator, description, scored_by=method), boundary)
            ),
            None,
        ),
    )


def _tells_order(estimator: Estimator, description: Description) -> bool:
    """Tell whether an estimator says of which of the one target's labels each number is."""
    return len(description.classes_by_target) != 1 or hasattr(estimator, "classes_")


def _agreement(description: Description, outputs: Outputs) -> float:
    """Tell for what share of its rows the label that has least of it has the largest score."""
    if description.task == "outlier-detection":
        labels: tuple[Any, ...] = (-1, 1)
    elif len(description.targets) == 1:
        labels = description.classes_by_target[0]
    else:
        return 0.0
    scores = outputs.deciding
    if scores.ndim == 1:
        scores = np.column_stack([-scores, scores])
    if scores.shape[1] != len(labels):
        return 0.0
    best = np.array([labels[index] for index in scores.argmax(axis=1)], dtype=object)
    agrees = best == outputs.values.astype(object)
    return min(float(agrees[outputs.values == label].mean()) for label in set(outputs.values))


def _ties(model: FittedEstimator, boundary: Sequence[Row] | None) -> bool:
    """Tell whether the best scores are all but equal wherever the label is seen to change."""
    if not boundary:
        return boundary is not None
    with suppress(Exception):  # it may answer those rows in other company only
        return bool(tied(model.ask(model.table(boundary)).deciding).all())
    return False

"""Asking an estimator through the code that will serve it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.model.description import Description
from serving.model.estimator import Estimator, FittedEstimator
from serving.model.features import Row

UNSEEN = "a category that training has not seen"


def answers(model: FittedEstimator, rows: list[Row]) -> bool:
    """Tell whether the estimator has a finite answer to each row."""
    return failure_of(model, rows) is None


def failure_of(model: FittedEstimator, rows: list[Row]) -> str | None:
    """Tell in the estimator's words what is wrong with rows, if it has no answer to them."""
    try:
        model.predictions(model.ask(model.table(rows)))
    except Exception as exc:  # estimators raise anything
        return f"{type(exc).__name__}: {exc}"
    return None


def some(rows: Sequence[Row], count: int, rng: np.random.Generator) -> list[Row]:
    """Take rows from all over the table, not too many to ask for one by one."""
    return [rows[index] for index in rng.permutation(len(rows))[:count]]


def asked_as(estimator: Estimator, description: Description, **changes: Any) -> FittedEstimator:  # noqa: ANN401
    """Give the model as it is asked when some of what is known so far is otherwise."""
    return FittedEstimator(estimator, knowing(description, **changes))


def knowing(description: Description, **changes: Any) -> Description:  # noqa: ANN401 (as Asked has them)
    """Give a description that knows otherwise how its estimator has to be asked."""
    asked = description.asked.model_copy(update=changes)
    return description.model_copy(update={"asked": asked})

"""What an estimator tells of rows in a form, and whether it tells alike."""

from collections.abc import Sequence
from contextlib import suppress
from typing import get_args

import numpy as np

from serving.model.description import Description, ScoringMethod
from serving.model.estimator import Estimator, FittedEstimator
from serving.model.features import Category, Row
from serving.model.outputs import Array, WrongOutputError, dense
from training.describing.asking import UNSEEN

MAX_UNSEEN = 20  # features of which a category is made up
CLOSE = 1e-13  # a tenth of what is promised, since other rows may differ by more than those asked


def told_of_all(estimator: Estimator, description: Description, rows: Sequence[Row]) -> list[Array]:
    """Give what is told of rows and of such with a category that no row has: or that it fails.

    Raises:
        Exception: what the estimator raises for the rows themselves.
    """
    model = FittedEstimator(estimator, description)
    told = _all_told(estimator, model, rows)
    for at, feature in list(enumerate(description.features))[:MAX_UNSEEN]:
        if isinstance(feature, Category) and None not in rows[0]:
            row = (*rows[0][:at], UNSEEN, *rows[0][at + 1 :])
            try:
                told += _all_told(estimator, model, [row])
            except Exception:  # estimators raise anything
                told.append(np.array([]))
    return told


def _all_told(estimator: Estimator, model: FittedEstimator, rows: Sequence[Row]) -> list[Array]:
    """Give what all of its methods tell, each as an array or several."""
    table = model.table(rows)
    told = [model.ask(table).values]
    if told[0].dtype == object and any(np.ndim(value) for value in told[0].flat):
        raise WrongOutputError("predict gave arrays in the place of labels")
    for method in get_args(ScoringMethod):
        with suppress(Exception):  # there is no such method, or it does not work
            given = getattr(estimator, method)(table)
            told.extend(map(dense, given if isinstance(given, list) else [given]))
    return told


def alike(some: Sequence[Array], others: Sequence[Array], *, exactly: bool = False) -> bool:
    """Tell whether arrays are alike: numbers within the tolerance, or bit for bit."""
    return len(some) == len(others) and all(
        one.shape == other.shape
        and (
            np.allclose(one, other, rtol=CLOSE, atol=CLOSE, equal_nan=True)
            if one.dtype.kind == "f" and not exactly
            else bool(((one == other) | ((one != one) & (other != other))).all())
        )
        for one, other in zip(some, others, strict=True)
    )

"""An estimator of another library is tried on some rows, before a table is learnt from.

What it does tells what scikit-learn's own contract does not: whether it takes the labels as they
are, or wants codes in their place; whether it knows its parameters; whether it has to be told of
groups. The last two are refused.
"""

import inspect
import io
import re
import warnings
from collections.abc import Iterable
from contextlib import redirect_stdout

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from serving.model.estimator import Estimator
from serving.model.outputs import Array
from serving.model.wrapped import CodedLabels, unwrapped
from training.errors import TrainingError
from training.fitting.classes import suggestion
from training.fitting.families import family_of, is_foreign
from training.fitting.pipeline import build_pipeline, fit
from training.table.table import Table

TRIED_ROWS = 10  # of each class; of numbers, as many as of ten classes
GROUPS = {"group", "qid", "group_id"}
UNKNOWN = re.compile("unknown parameter|not used", re.IGNORECASE)  # LightGBM's words, XGBoost's


def suited(table: Table, estimator: Estimator, seed: int) -> Pipeline:
    """Give the pipeline in which an estimator can learn from a table.

    Raises:
        TrainingError: it never can.
    """
    if not is_foreign(estimator) or not len(table.target.columns):
        return build_pipeline(table.types, table.frame, estimator)
    has_classes = table.task == "classification" and len(table.target.columns) == 1
    for_classes = family_of(estimator).for_classes
    if has_classes and for_classes is not None:
        estimator.set_params(**for_classes(len(np.unique(table.labels))))
    pipeline = build_pipeline(table.types, table.frame, estimator)
    rows = _some(table, seed)
    takes, said = _tried(pipeline, table, rows)
    itself = unwrapped(estimator)
    _check_params(itself, said)
    name = type(itself).__name__
    if not takes and GROUPS & inspect.signature(type(itself).fit).parameters.keys():
        raise TrainingError(
            f"{name} learns from groups of rows, of which a table has none here: fit it elsewhere, "
            "and bring it with --model"
        )
    if takes or not has_classes:
        return pipeline  # or it will be told why it can't be fitted
    coded = build_pipeline(table.types, table.frame, CodedLabels(estimator))
    return coded if _tried(coded, table, rows)[0] else pipeline


def _some(table: Table, seed: int) -> Array:
    """Draw rows, and of each class if there are such."""
    drawn = np.random.default_rng(seed).permutation(len(table.frame))
    if table.task != "classification" or len(table.target.columns) > 1:
        return drawn[: 10 * TRIED_ROWS]
    labels = table.labels[drawn]
    return np.concatenate([drawn[labels == each][:TRIED_ROWS] for each in np.unique(labels)])


def _tried(pipeline: Pipeline, table: Table, rows: Array) -> tuple[bool, list[str]]:
    """Tell whether a pipeline learns labels as they are and gives such back, and what it says."""
    tried = clone(pipeline)
    if talks := family_of(tried[-1]).talks:
        unwrapped(tried[-1]).set_params(**talks)
    frame = table.frame.iloc[rows]
    with warnings.catch_warnings(record=True) as caught, redirect_stdout(io.StringIO()) as printed:
        warnings.simplefilter("always")
        try:
            answers = fit(tried, frame, table.labels[rows]).predict(frame)
        except Exception:  # estimators raise anything
            takes = False
        else:
            takes = table.task != "classification" or _kinds(np.asarray(answers)) <= _kinds(
                table.labels
            )
    return takes, [*printed.getvalue().splitlines(), *(str(each.message) for each in caught)]


def _kinds(labels: Array) -> set[tuple[type, object]]:
    """Tell labels apart by their types, too: True is not 1."""
    return {(type(label), label) for label in np.ravel(labels).tolist()}


def _check_params(estimator: Estimator, said: Iterable[str]) -> None:
    """Refuse parameters that an estimator takes silently, and says at most in passing not to know.

    Raises:
        TrainingError: there are such.
    """
    unknown = {word for line in said if UNKNOWN.search(line) for word in re.findall(r"\w+", line)}
    own = inspect.signature(type(estimator)).parameters.keys()
    given = estimator.get_params(deep=False).keys()
    for key in sorted(unknown & given - own):
        raise TrainingError(
            f"{type(estimator).__name__} does not use a parameter {key}"
            f"{suggestion(key, given - unknown)}"
        )

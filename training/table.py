"""A table understood: what its columns are, what is to be learnt, and what has to be left out."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from serving.description import Task
from serving.model import Array
from training.errors import TrainingError
from training.faults import (
    MAX_CLASSES,
    check_names,
    check_task,
    is_number,
    is_text,
    problems_of,
    rows_are,
    why_unservable,
)

FeatureType = Literal["number", "integer", "boolean", "category", "text"]

# A string is a category if it is short, and repeats: one of few, or one of many that are common.
MAX_CATEGORY_CHARS = 100
MAX_CATEGORIES = 50
MIN_REPEATS = 2  # on average
MAX_COMMON_CATEGORIES = 1000
MIN_COMMON_REPEATS = 20  # on average
MISSING = "an empty field is taken for missing, and so are NA, None, null, nan and the like"
DTYPES = {
    "boolean": "boolean",
    "integer": "Int64",
    "floating": "Float64",
    "mixed-integer-float": "Float64",
    "decimal": "Float64",
    "string": "string",
    "empty": "string",
}


@dataclass(frozen=True, slots=True)
class Table:
    """What an estimator is fitted on.

    ``frame`` has the features, in order: bool, int64 or float64 (where numbers or booleans are
    missing, too), or object for strings, with NaN for those that are missing. ``types`` tells what
    each of them is. ``target`` has a column for each target and the same rows; none, where nothing
    is to be learnt. ``notes`` tell a person what was decided or left out, and why. ``ignored``
    names all other columns that the table had, targets among them.
    """

    frame: pd.DataFrame
    types: Mapping[str, FeatureType]
    target: pd.DataFrame
    task: Task
    notes: tuple[str, ...]
    ignored: tuple[str, ...] = ()

    @property
    def labels(self) -> Array:
        """What is to be learnt: shape (rows,), or (rows, targets) unless there is one target.

        Strings are objects; others are int64, bool or float64.
        """
        columns = [column.to_numpy() for _, column in self.target.items()]
        if len(columns) == 1:
            return columns[0]  # type: ignore[no-any-return]
        nothing = np.empty((len(self.target), 0), bool)  # so that it is a matrix without targets
        return np.column_stack([nothing, *columns])

    @property
    def fingerprint(self) -> str:
        """A digest of all names and values, of features and targets."""
        digest = hashlib.sha256()
        for role, frame in (("feature", self.frame), ("target", self.target)):
            for name, column in frame.items():
                digest.update(json.dumps([role, name, str(column.dtype), len(column)]).encode())
                if column.dtype == "object":
                    digest.update(json.dumps(column.tolist()).encode())
                else:
                    digest.update(column.to_numpy().tobytes())
        return f"sha256:{digest.hexdigest()}"


def to_table(
    raw: pd.DataFrame,
    targets: Sequence[str] = (),
    *,
    task: Task | None = None,
    drop: Sequence[str] = (),
    keep: Sequence[str] = (),
) -> Table:
    """Find out what the columns are, leave out what can't be served, and check the rest.

    ``keep`` names features to use although they look like identifiers, are constant, are copies of
    the target, or mix numbers with other text. Without targets the task has to be given.

    Raises:
        TrainingError: the table can't be used.
    """
    raw = raw.set_axis([str(name) for name in raw.columns], axis="columns")
    raw = raw.reset_index(drop=True)  # from here on, the index tells a row's number
    check_names(list(raw.columns), targets, drop, keep)
    check_task(targets, task)
    columns = {name: _plain(raw[name]) for name in raw.columns if name not in drop}
    known = _known([columns[name] for name in targets], len(raw))
    columns = {name: column[known] for name, column in columns.items()}
    target = {name: columns.pop(name) for name in targets}
    reasons = {name: why_unservable(name, column, name in keep) for name, column in columns.items()}
    features = {name: column for name, column in columns.items() if reasons[name] is None}
    notes = [f"column {name!r} is left out: {why}" for name, why in reasons.items() if why]
    rows, found = int(known.sum()), task or _find_task(target)
    problems = [] if features else ["no column is left to learn from", *notes]
    problems.extend(problems_of(features, target, found, rows, keep))
    if problems:
        if rows < len(raw):
            problems.append(f"{rows_are(len(raw) - rows)} without a target: {MISSING}")
        raise TrainingError("\n".join(problems))
    if rows < len(raw):
        notes.append(f"{rows_are(len(raw) - rows)} left out: the target is missing")
    if task is None:
        notes.extend(_judgements(target, found))
    frame, labels = _frame(features, rows), _frame(target, rows)
    if copies := int(pd.concat([frame, labels], axis="columns").duplicated().sum()):
        notes.append(f"{rows_are(copies)} the same as an earlier one")
    types = {name: _type(column) for name, column in features.items()}
    ignored = tuple(name for name in raw.columns if name not in types)
    return Table(frame, types, labels, found, tuple(notes), ignored)


def _plain(column: pd.Series) -> pd.Series:
    """Give a column the type of what it holds: boolean, Int64, Float64, string; object for else."""
    values = column.astype(object)
    held = pd.api.types.infer_dtype(values, skipna=True)
    scalars = held in {"mixed", "mixed-integer"} and values.dropna().map(np.isscalar).all()
    try:
        values = values.astype("string" if scalars else DTYPES.get(held, "object"))
    except OverflowError:  # by what is not even an int64, as pandas reads it from CSV
        values = values.astype("string")
    return values


def _known(targets: Sequence[pd.Series], rows: int) -> Array:
    """Tell for which rows all targets are known; one that never is, is a problem of its own."""
    known = np.full(rows, fill_value=True)
    for column in targets:
        if column.notna().any():
            known &= column.notna().to_numpy()
    return known


def _find_task(target: Mapping[str, pd.Series]) -> Task:
    """Take text, booleans, and few whole numbers that repeat for classes."""
    if not all(map(is_number, target.values())) or all(map(_repeats, target.values())):
        return "classification"
    return "regression"


def _repeats(column: pd.Series) -> bool:
    counts = column.value_counts()
    return bool(
        pd.api.types.is_integer_dtype(column) and len(counts) <= MAX_CLASSES and counts.min() >= 2
    )


def _judgements(target: Mapping[str, pd.Series], task: Task) -> list[str]:
    """Tell how numbers were taken that might have been meant otherwise."""
    taken, other, meant = "numbers", "classification", "classes"
    if task == "classification":
        taken, other, meant = "classes", "regression", "numbers"
    return [
        f"target {name!r} holds {column.nunique()} different whole numbers, taken for {taken}: "
        f"say --task {other} if they are {meant}"
        for name, column in target.items()
        if _may_be_classes(column)
    ]


def _may_be_classes(column: pd.Series) -> bool:
    if pd.api.types.is_float_dtype(column):
        return bool(column.nunique() <= MAX_CLASSES and (column % 1 == 0).all())
    return bool(pd.api.types.is_integer_dtype(column))


def _type(column: pd.Series) -> FeatureType:
    if pd.api.types.is_bool_dtype(column):
        return "boolean"
    if is_number(column):
        return "integer" if pd.api.types.is_integer_dtype(column) else "number"
    values = column.dropna()
    count, distinct = len(values), values.nunique()
    few = distinct <= MAX_CATEGORIES and count >= MIN_REPEATS * distinct
    common = distinct <= MAX_COMMON_CATEGORIES and count >= MIN_COMMON_REPEATS * distinct
    short = values.str.len().max() <= MAX_CATEGORY_CHARS
    return "category" if short and (few or common) else "text"


def _frame(columns: Mapping[str, pd.Series], rows: int) -> pd.DataFrame:
    values = {name: _values(column) for name, column in columns.items()}
    # Without their dtype, pandas would make its own strings of objects.
    series = {name: pd.Series(array, dtype=array.dtype) for name, array in values.items()}
    return pd.DataFrame(series, index=pd.RangeIndex(rows))


def _values(column: pd.Series) -> Array:
    """Give the values as scikit-learn takes them: NaN where one is missing."""
    if is_text(column):
        return column.to_numpy("object", na_value=np.nan)  # type: ignore[no-any-return]
    if pd.api.types.is_float_dtype(column) or column.isna().any():
        return column.to_numpy("float64", na_value=np.nan)  # type: ignore[no-any-return]
    is_bool = pd.api.types.is_bool_dtype(column)
    return column.to_numpy("bool" if is_bool else "int64")  # type: ignore[no-any-return]

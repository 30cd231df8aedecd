"""A table understood: what its columns are, what is to be learnt, and what has to be left out."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from serving.model.description import Task
from serving.model.outputs import Array
from training.errors import TrainingError
from training.table.cells import Remarks
from training.table.faults import (
    MAX_CLASSES,
    check_names,
    check_task,
    is_number,
    is_text,
    listed,
    mixtures,
    problems_of,
    rows_are,
    why_unservable,
)
from training.table.marks import told_text

FeatureType = Literal["number", "integer", "boolean", "category", "text"]

# A string is a category if it is short, and repeats: one of few, or one of many that are common.
MAX_CATEGORY_CHARS = 100
MAX_CATEGORIES = 50
MIN_REPEATS = 2  # on average
MAX_COMMON_CATEGORIES = 1000
MIN_COMMON_REPEATS = 20  # on average
MISSING = "an empty field is taken for missing, and what --missing names"
NO_REMARKS = Remarks()
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
    remarks: Remarks = NO_REMARKS,
) -> Table:
    """Find out what the columns are, leave out what can't be served, and check the rest.

    ``keep`` names features to use although they look like identifiers, are constant, are copies of
    the target, or mix numbers with other text. Without targets the task has to be given.
    ``remarks`` are those of reading: what was decided is told, what is in doubt refused.

    Raises:
        TrainingError: the table can't be used.
    """
    raw = raw.set_axis([str(name) for name in raw.columns], axis="columns")
    raw = raw.reset_index(drop=True)  # from here on, the index tells a row's number
    check_names(list(raw.columns), targets, drop, keep)
    check_task(targets, task)
    columns = {name: _plain(raw[name]) for name in raw.columns if name not in drop}
    doubts = {**mixtures(columns), **remarks.doubts}  # of rows without a target, too
    known = _known([columns[name] for name in targets], len(raw))
    columns = {name: column[known] for name, column in columns.items()}
    target = {name: columns.pop(name) for name in targets}
    kept = {*keep, *doubts}
    reasons = {name: why_unservable(name, column, name in kept) for name, column in columns.items()}
    features = {name: column for name, column in columns.items() if reasons[name] is None}
    notes = [*_readings(remarks, [*columns, *targets]), *_words(features, target)]
    out = [f"column {name!r} is left out: {why}" for name, why in reasons.items() if why]
    notes.extend(out)
    rows, found = int(known.sum()), task or _find_task(target)
    problems = [] if features else ["no column is left to learn from", *out]
    problems.extend(problems_of(features, target, found, rows, keep, doubts))
    if problems:
        if rows < len(raw):
            problems.append(f"{rows_are(len(raw) - rows)} without a target: {MISSING}")
        raise TrainingError("\n".join(problems))
    if rows < len(raw):
        notes.append(f"{rows_are(len(raw) - rows)} left out: the target is missing")
    if not targets and (blank := int(raw.isna().all(axis="columns").sum())):
        notes.append(f"{rows_are(blank)} without any value: take them out if they are none")
    if task is None:
        notes.extend(_judgements(target, found))
    frame, labels = _frame(features, rows), _frame(target, rows)
    if copies := int(pd.concat([frame, labels], axis="columns").duplicated().sum()):
        notes.append(f"{rows_are(copies)} the same as an earlier one")
    types = {name: _type(column) for name, column in features.items()}
    ignored = tuple(name for name in raw.columns if name not in types)
    return Table(frame, types, labels, found, tuple(notes), ignored)


def _readings(remarks: Remarks, names: Sequence[str]) -> list[str]:
    """Tell what was decided when a file was read, of these columns; of some together if alike."""
    columns: dict[str, list[str]] = {}
    for name in names:
        for decision in remarks.decided.get(name, ()):
            columns.setdefault(decision, []).append(name)
    return [
        *remarks.file,
        *(
            f"column{'s' if alike[1:] else ''} {listed(alike)}: {decision}"
            for decision, alike in columns.items()
        ),
    ]


def _words(features: Mapping[str, pd.Series], target: Mapping[str, pd.Series]) -> list[str]:
    """Tell of words that might have meant that a value is missing."""
    told = {
        f"{role} {name!r}": told_text(column)
        for role, columns in (("column", features), ("target", target))
        for name, column in columns.items()
        if is_text(column)
    }
    return [f"{who} {words}" for who, words in told.items() if words]


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

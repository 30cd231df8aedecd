"""A table understood: what its columns are, what is to be learnt, and what has to be left out."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from serving.console import listed
from serving.model.description import Task
from serving.model.outputs import Array
from serving.model.reading import Reading
from training.errors import TrainingError
from training.table.cells import Remarks
from training.table.columns import FeatureType, frame_of, is_text, plain, type_of
from training.table.faults import check_task, problems_of, why_unservable
from training.table.flaws import mixtures
from training.table.marks import told_text
from training.table.names import check_names, rows_are
from training.table.tasks import find_task, judgements

MISSING = "an empty field is taken for missing, and what --missing names"
NO_REMARKS = Remarks()


@dataclass(frozen=True, slots=True)
class Table:
    """What an estimator is fitted on.

    ``frame`` has the features, in order: bool, int64 or float64 (where numbers or booleans are
    missing, too), or object for strings, with NaN for those that are missing. ``types`` tells what
    each of them is. ``target`` has a column for each target and the same rows; none, where nothing
    is to be learnt. ``notes`` tell a person what was decided or left out, and why. ``ignored``
    names all other columns that the table had, targets among them. With ``is_example`` the rows
    show what an estimator takes, and tell nothing of those that it was fitted on. ``reading`` tells
    how the features' cells were read, if the table was in a file.
    """

    frame: pd.DataFrame
    types: Mapping[str, FeatureType]
    target: pd.DataFrame
    task: Task
    notes: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    is_example: bool = False
    reading: Reading | None = None

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
    columns = {name: plain(raw[name]) for name in raw.columns if name not in drop}
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
    rows, found = int(known.sum()), task or find_task(target)
    problems = [] if features else ["no column is left to learn from", *out]
    problems.extend(problems_of(features, target, found, rows, keep, doubts))
    if problems:
        if rows < len(raw):
            problems.append(f"{rows_are(len(raw) - rows)} without a target: {MISSING}")
        raise TrainingError("\n".join(problems))
    notes.extend(_lost(raw, rows, targets))
    if task is None:
        notes.extend(judgements(target, found))
    frame, labels = frame_of(features, rows), frame_of(target, rows)
    if copies := int(pd.concat([frame, labels], axis="columns").duplicated().sum()):
        notes.append(f"{rows_are(copies)} the same as an earlier one")
    types = {name: type_of(column) for name, column in features.items()}
    ignored = tuple(name for name in raw.columns if name not in types)
    reading = _of_features(remarks.reading, list(features))
    return Table(frame, types, labels, found, tuple(notes), ignored, reading=reading)


def check_served(table: Table, needed: Sequence[str]) -> None:
    """Refuse a table in which columns had to be left out that an estimator needs.

    Raises:
        TrainingError: there are such.
    """
    if lost := [name for name in needed if name not in table.types]:
        notes = "\n".join(table.notes)
        raise TrainingError(f"the estimator needs columns that can't be served: {lost}\n{notes}")


def _of_features(reading: Reading | None, features: Sequence[str]) -> Reading | None:
    """Leave out how other columns are written."""
    if reading is None:
        return None
    numbers = {name: style for name, style in reading.numbers.items() if name in features}
    return reading.model_copy(update={"numbers": numbers})


def _lost(raw: pd.DataFrame, rows: int, targets: Sequence[str]) -> Iterator[str]:
    """Tell of rows without a target, which are left out, or without any value."""
    if rows < len(raw):
        yield f"{rows_are(len(raw) - rows)} left out: the target is missing"
    if not targets and (blank := int(raw.isna().all(axis="columns").sum())):
        yield f"{rows_are(blank)} without any value: take them out if they are none"


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


def _known(targets: Sequence[pd.Series], rows: int) -> Array:
    """Tell for which rows all targets are known; one that never is, is a problem of its own."""
    known = np.full(rows, fill_value=True)
    for column in targets:
        if column.notna().any():
            known &= column.notna().to_numpy()
    return known

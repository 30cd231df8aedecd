"""What may be wrong with a table, and what to do about it, in words for the person who has it.

Columns that can't be served are left out with the reason; what has to be decided by a person is a
problem, and all problems are told together.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from serving.console import listed
from serving.model.description import Task
from training.advice import option
from training.errors import TrainingError
from training.table.columns import is_number, is_text
from training.table.dates import are_compact, are_dates
from training.table.flaws import MAX_CLASSES, flaw_of
from training.table.names import rows_are

MIN_ROWS = 10
MAX_DISTINCT_SHARE = 0.5  # of classes that are text: with more, it is no class but free text
LINEAR_COPY = 1e-9  # by which it may differ from the target, in standard deviations
TOKEN = r"[!-~]+"  # noqa: S105 (no secret: ASCII without a blank); Chinese texts have none either
ID_NAME = re.compile(r"(?i:(.*[\W_])?(id|uuid|guid)|index|unnamed: \d+)|.*[a-z]I[dD]")


def check_task(targets: Sequence[str], task: Task | None) -> None:
    """Check that what is to be done goes with the targets that there are.

    Raises:
        TrainingError: it does not.
    """
    if not targets and task is None:
        raise TrainingError(
            "name what is to be learnt with --target, or say what is to be found with "
            "--task clustering or --task outlier-detection"
        )
    if targets and task in {"clustering", "outlier-detection"}:
        raise TrainingError(f"{task} learns no target: leave out --target, or --drop the column")


def why_unservable(name: str, column: pd.Series, kept: bool) -> str | None:
    """Tell why a column is of no use to a model that is served, if so."""
    values = column.dropna()
    if values.empty:
        return "it has no values"
    if are_dates(values):
        return "it holds dates or times: derive numbers from them, such as the month or an age"
    if pd.api.types.is_object_dtype(values):
        held = type(values.iloc[0]).__name__
        return f"it holds values of the type {held}: derive numbers, booleans or text from them"
    advice = f"use it all the same with {option('--keep', name)}"
    if are_compact(values) and not kept:
        example = values.iloc[0]
        return f"it holds dates, such as {example}: derive numbers from them, or {advice}"
    if column.nunique(dropna=False) == 1 and not kept:
        return f"it has the same value in every row: {advice}"
    if (
        len(values) > len(column) / 2
        and values.is_unique
        and not kept
        and _names_rows(name, values)
    ):
        return f"it looks like an identifier or a row number: {advice}"
    return None


def _names_rows(name: str, values: pd.Series) -> bool:
    """Tell whether values, each another, are such as only tell rows apart."""
    if pd.api.types.is_integer_dtype(values):
        steps = np.diff(values.to_numpy("float64")) / np.diff(values.index)
        return bool(ID_NAME.fullmatch(name) or (steps == steps[0]).all())
    return bool(is_text(values) and values.str.fullmatch(TOKEN).all() and flaw_of(values) is None)


def problems_of(
    features: Mapping[str, pd.Series],
    target: Mapping[str, pd.Series],
    task: Task,
    rows: int,
    keep: Sequence[str],
    doubts: Mapping[str, str],
) -> list[str]:
    """Tell all that is wrong, and what to do; ``doubts`` are those of reading, by column."""
    problems = [] if rows >= MIN_ROWS else [f"{rows_are(rows)} too few: {MIN_ROWS} are the least"]
    for name, column in features.items():
        as_text = name in keep and is_text(column)
        if not as_text and (fault := doubts.get(name) or flaw_of(column)):
            advice = f", or leave it out with {option('--drop', name)}"
            text = f", or take it as text with {option('--keep', name)}" if is_text(column) else ""
            problems.append(f"column {name!r} {fault}{advice}{text}")
    for name, column in target.items():
        if fault := doubts.get(name) or _target_fault(column, task):
            problems.append(f"target {name!r} {fault}")
            continue
        is_copy = _is_renamed if task == "classification" else _is_scaled
        for other, feature in features.items():
            if other not in keep and is_copy(feature, column):
                problems.append(
                    f"column {other!r} leaks the target {name!r}, it tells the same: leave it out "
                    f"with {option('--drop', other)}, or, if it is known when predictions are "
                    f"asked for, use it with {option('--keep', other)}"
                )
    kinds = {str(column.dtype) for column in target.values()}
    if not problems and task == "classification" and len(kinds) > 1:
        problems.append(
            f"the targets {listed(list(target))} mix text, booleans or numbers: write all alike"
        )
    return problems


def _target_fault(column: pd.Series, task: Task) -> str | None:
    """Tell why a target can't be learnt, if so."""
    values = column.dropna()
    if values.empty:
        return "has no values"
    if pd.api.types.is_object_dtype(values) or are_dates(values):
        return "holds neither numbers, nor booleans, nor classes: derive such a column from it"
    if fault := flaw_of(column):
        return fault
    if values.nunique() == 1:
        return "has the same value in every row: there is nothing to learn"
    if task == "classification":
        return _class_fault(values)
    if not is_number(values):
        return "holds no numbers, as regression needs: say --task classification"
    return None


def _class_fault(values: pd.Series) -> str | None:
    counts = values.value_counts()
    if pd.api.types.is_float_dtype(values):
        numbers = counts.index.to_numpy("float64")
        if len(numbers) > MAX_CLASSES or (numbers % 1 != 0).any():
            return (
                f"holds {len(numbers)} different numbers such as {values.iloc[0]}, which are no "
                "classes: say --task regression, or name the classes by whole numbers or text"
            )
    if is_text(values) and len(counts) > MAX_DISTINCT_SHARE * len(values):
        return (
            f"holds {len(counts)} different texts in {len(values)} rows, which are no classes: "
            "name another target, or group them"
        )
    if alone := counts.index[counts == 1].tolist():
        return (
            f"has one row only of {listed(alone)}: a class needs two, one to learn from and one to "
            "be tested on; add rows, or take those out"
        )
    return None


def _is_renamed(feature: pd.Series, target: pd.Series) -> bool:
    """Tell whether each value stands for a class and each class for a value, where there is one."""
    classes = target.nunique()
    if feature.nunique() != classes or feature.count() < MIN_ROWS:
        return False
    pairs = pd.DataFrame({"feature": feature, "target": target}).dropna().drop_duplicates()
    return bool(len(pairs) == classes == pairs["target"].nunique())


def _is_scaled(feature: pd.Series, target: pd.Series) -> bool:
    """Tell whether a feature is the target, perhaps in another unit, where it has values."""
    if is_text(feature):
        return False
    values = np.stack([part.to_numpy("float64", na_value=np.nan) for part in (feature, target)])
    values = values[:, np.isfinite(values).all(axis=0)]
    if values.shape[1] < MIN_ROWS:
        return False
    largest = np.abs(values).max(axis=1, keepdims=True)  # by which nothing overflows
    values = values / np.where(largest > 0, largest, 1)
    if (np.ptp(values, axis=1) == 0).any():
        return False
    values = values - values.mean(axis=1, keepdims=True)
    one, other = values / values.std(axis=1, keepdims=True)
    return bool(min(np.abs(one - other).max(), np.abs(one + other).max()) <= LINEAR_COPY)

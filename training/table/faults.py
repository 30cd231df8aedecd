"""What may be wrong with a table, and what to do about it, in words for the person who has it.

Columns that can't be served are left out with the reason; what has to be decided by a person is a
problem, and all problems are told together.
"""

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from serving.model.description import Task
from serving.model.outputs import Array
from training.advice import option
from training.errors import TrainingError
from training.table.dates import are_compact, are_dates
from training.table.numerals import DECORATED, are_numbers

MIN_ROWS = 10
MAX_WHOLE = 2**53  # up to here each whole number is a double, and reads the same everywhere
WHOLE = "-?(?:0|[1-9][0-9]*)"
MAX_WHOLE_CHARS = 18  # of what surely is an int64
MAX_CLASSES = 20  # that numbers are taken for, unless they are said to be classes
MAX_DISTINCT_SHARE = 0.5  # of classes that are text: with more, it is no class but free text
LINEAR_COPY = 1e-9  # by which it may differ from the target, in standard deviations
MAX_NAMED = 30
TOKEN = r"[!-~]+"  # noqa: S105 (no secret: ASCII without a blank); Chinese texts have none either
ID_NAME = re.compile(r"(?i:(.*[\W_])?(id|uuid|guid)|index|unnamed: \d+)|.*[a-z]I[dD]")


def check_names(
    names: Sequence[str], targets: Sequence[str], drop: Sequence[str], keep: Sequence[str]
) -> None:
    """Check that columns which are named are there, and are not to be both used and left out.

    Raises:
        TrainingError: they are not.
    """
    if same := twice(names):
        raise TrainingError(f"columns have the same name, rename them: {listed(same)}")
    problems = [f"target {name!r} is named twice" for name in twice(targets)]
    by_lower = {name.lower(): name for name in names}
    for role, named in (("--target", targets), ("--drop", drop), ("--keep", keep)):
        for name in dict.fromkeys(named):
            if name not in names:
                close = [by_lower[key] for key in difflib.get_close_matches(name.lower(), by_lower)]
                hint = f": did you mean {close[0]!r}?" if close else ""
                problems.append(f"there is no column {name!r} for {role}{hint}")
    if problems:
        problems.append(f"the columns are {listed(names)}")
    for role, named in (("--target", targets), ("--keep", keep)):
        both = [name for name in named if name in drop]
        problems.extend(f"column {name!r} is named by {role} and by --drop" for name in both)
    if problems:
        raise TrainingError("\n".join(problems))


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
    return bool(is_text(values) and values.str.fullmatch(TOKEN).all() and _fault(values) is None)


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
        if not as_text and (fault := doubts.get(name) or _fault(column)):
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


def _fault(column: pd.Series) -> str | None:
    """Tell what is wrong with the values of a column, feature or target, and how to mend it."""
    if is_text(column):
        return _mixture(column) or _decoration(column) or _giant(column)
    if pd.api.types.is_float_dtype(column):
        wrong = np.isinf(column.to_numpy("float64", na_value=np.nan))
        row = _first(column, wrong) if wrong.any() else None
        return f"holds an infinite number in row {row}: clean it" if row else None
    if pd.api.types.is_integer_dtype(column):
        wrong = ((column > MAX_WHOLE) | (column < -MAX_WHOLE)).to_numpy("bool", na_value=False)
        return _too_large(_first(column, wrong)) if wrong.any() else None
    return None


def _too_large(row: int) -> str:
    return (
        f"holds a whole number beyond 2^53 in row {row}, which JSON does not keep exactly: clean it"
    )


def _giant(column: pd.Series) -> str | None:
    """Tell what made a column of whole numbers text, being too large for one."""
    values = column.dropna()
    if values.empty or not values.str.fullmatch(WHOLE).all():
        return None
    giant = (values.str.len() > MAX_WHOLE_CHARS).to_numpy("bool")
    return _too_large(_first(values, giant)) if 0 < giant.sum() < len(values) / 2 else None


def mixtures(columns: Mapping[str, pd.Series]) -> dict[str, str]:
    """Tell what is text in columns of numbers, by column."""
    told = {name: _mixture(column) for name, column in columns.items() if is_text(column)}
    return {name: mixture for name, mixture in told.items() if mixture}


def _mixture(column: pd.Series) -> str | None:
    """Tell what is text in a column of numbers; strings that are all numbers may be codes.

    One word in most rows, beside many numbers, is a mark and no category.
    """
    values = column.dropna()
    is_text = ~_are_written_numbers(values)
    texts, numbers = int(is_text.sum()), int((~is_text).sum())
    if not texts:
        return None
    is_one = values[is_text].nunique() == 1
    if numbers <= texts and not (is_one and values[~is_text].nunique() > MAX_CLASSES):
        return None
    verb, example = "does" if texts == 1 else "do", values[is_text].iloc[0]
    # Two hyphens would end all options.
    is_mark = is_one and example.isprintable() and example != "--"
    mark = f", or say {option('--missing', example)} if that means none" if is_mark else ""
    return (
        f"mixes numbers with other text: {numbers} rows hold numbers, {texts} {verb} not, such as "
        f"{example!r} in row {_first(values, is_text)}: clean it{mark}"
    )


def _are_written_numbers(values: pd.Series) -> Array:
    """Tell which texts are numbers, however they are written."""
    plain = pd.to_numeric(values, errors="coerce").notna().to_numpy("bool")
    return plain | are_numbers(values).to_numpy("bool")  # type: ignore[no-any-return]


def _decoration(column: pd.Series) -> str | None:
    """Tell what hides numbers in text, if they are numbers."""
    values = column.dropna()
    plain = pd.to_numeric(values, errors="coerce").notna().to_numpy("bool")
    written = values.str.fullmatch(DECORATED).to_numpy("bool") | _are_written_numbers(values)
    written &= ~plain
    if not written.any() or not (written | plain).all():
        return None
    return (
        f"holds numbers that are written with other signs, such as {values[written].iloc[0]!r} in "
        f"row {_first(values, written)}: clean it"
    )


def _target_fault(column: pd.Series, task: Task) -> str | None:
    """Tell why a target can't be learnt, if so."""
    values = column.dropna()
    if values.empty:
        return "has no values"
    if pd.api.types.is_object_dtype(values) or are_dates(values):
        return "holds neither numbers, nor booleans, nor classes: derive such a column from it"
    if fault := _fault(column):
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


def is_text(column: pd.Series) -> bool:
    """Tell whether a column holds strings."""
    return isinstance(column.dtype, pd.StringDtype)


def is_number(column: pd.Series) -> bool:
    """Tell whether a column holds numbers, whole or not; booleans are none."""
    types = pd.api.types
    return bool(types.is_integer_dtype(column) or types.is_float_dtype(column))


def _first(column: pd.Series, chosen: Array) -> int:
    """Give the number of the first row that is chosen, as a person counts them."""
    return int(column.index[chosen.argmax()]) + 1


def twice(names: Sequence[str]) -> list[str]:
    """Give the names that are there more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def rows_are(rows: int) -> str:
    """Begin a sentence about a number of rows."""
    return "1 row is" if rows == 1 else f"{rows} rows are"


def listed(values: Sequence[object]) -> str:
    """List values for a person, not too many of them."""
    shown = ", ".join(map(repr, values[:MAX_NAMED]))
    return shown if len(values) <= MAX_NAMED else f"{shown} and {len(values) - MAX_NAMED} more"

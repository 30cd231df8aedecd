"""What a model of MLflow takes: its signature, and an input example of a few rows.

They tell names, types and what may be missing; and nothing of what training saw.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from training.errors import TrainingError
from training.loading.folders import MAX_BYTES, inside, parsed_json

TYPES: Mapping[str, str] = {
    "boolean": "boolean",
    "integer": "Int64",
    "long": "Int64",
    "float": "Float64",
    "double": "Float64",
    "string": "string",
}
KINDS: Mapping[str, str] = {"b": "boolean", "i": "Int64", "u": "Int64", "f": "Float64"}
NARROW: Mapping[str, str] = {"float": "float32", "integer": "int32"}
OF_FRAMES, OF_ARRAYS, OF_JSON = "dataframe", "ndarray", "json_object"


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows that show what an estimator takes.

    ``gaps`` names the columns in which values may be missing, ``dtypes`` has those of a frame's
    columns that are not pandas' usual ones, ``targets`` names what is predicted, if that is told.
    Columns without a name have one like ``x0``.
    """

    frame: pd.DataFrame
    gaps: frozenset[str] = frozenset()
    dtypes: Mapping[str, str] = field(default_factory=dict)
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of a signature: its name if it has one, and pandas' dtype."""

    name: str | None
    dtype: str
    narrow: str | None = None
    required: bool = True


def sample_of(folder: Path, about: Mapping[str, Any]) -> Sample:
    """Read the input example, with the types of the signature.

    Raises:
        TrainingError: there is none, or it is of no table.
    """
    signature = about.get("signature")
    signature = signature if isinstance(signature, dict) else {}
    info = about.get("saved_input_example_info")
    if not isinstance(info, dict):
        raise TrainingError("it has no input example")
    names, rows = _rows(folder, info)
    if not rows:
        raise TrainingError("its input example has no rows")
    columns = _columns(signature.get("inputs"), len(rows[0]))
    told = [column.name for column in columns or ()]
    if columns and all(told) and names is not None:
        if set(names) != set(told):
            raise TrainingError("its input example has other columns than its signature")
        rows = [[row[names.index(str(name))] for name in told] for row in rows]
    if any(len(row) != len(rows[0]) for row in rows) or (columns and len(columns) != len(rows[0])):
        raise TrainingError("its input example has not the number of columns of its signature")
    made_up = [f"x{at}" for at in range(len(rows[0]))]
    named = [str(name) for name in told] if told and all(told) else names or made_up
    if len(set(named)) < len(named):
        raise TrainingError("its signature has two columns of one name")
    series = {
        name: _series(name, [row[at] for row in rows], columns[at].dtype if columns else None)
        for at, name in enumerate(named)
    }
    frame = pd.DataFrame(series)
    by_name = dict(zip(named, columns or (), strict=False))
    gaps = {name for name in named if frame[name].isna().any()}
    gaps |= {name for name, column in by_name.items() if not column.required}
    dtypes = {
        name: column.narrow
        for name, column in by_name.items()
        if column.narrow and not (name in gaps and column.dtype == "Int64")
    }
    return Sample(frame, frozenset(gaps), dtypes, _targets(signature.get("outputs")))


def _rows(folder: Path, info: Mapping[str, Any]) -> tuple[list[str] | None, list[list[Any]]]:
    """Read the rows of an input example, and its names if it has some."""
    kind, file = info.get("type"), inside(folder, info.get("artifact_path"))
    if kind not in {OF_FRAMES, OF_ARRAYS, OF_JSON}:
        raise TrainingError(f"its input example is of the type {kind}, and no table")
    if not file.is_file():
        raise TrainingError("its input example is no file")
    if file.stat().st_size > MAX_BYTES:
        raise TrainingError("its input example is too large")
    held = parsed_json(file.read_text("utf-8", errors="replace"), str(file))
    if info.get("params"):
        held = held.get("inputs") if isinstance(held, dict) else held
    names = None
    if kind == OF_FRAMES and isinstance(held, dict) and isinstance(held.get("data"), list):
        names, held = held.get("columns"), held["data"]
    elif kind == OF_JSON:
        names, held = _of_json(held)
    is_table = isinstance(held, list) and all(isinstance(row, list) for row in held)
    if not is_table or not isinstance(names, list | None):
        raise TrainingError("its input example is no table of rows")
    if names is not None and len({len(names), *map(len, held)}) > 1:
        raise TrainingError("its input example has rows of other lengths than its names")
    return names and [str(name) for name in names], held


def _of_json(held: Any) -> tuple[list[str] | None, Any]:  # noqa: ANN401 (any JSON)
    """Give names and rows of what is written as objects, or as a list of values."""
    if isinstance(held, dict) and held:
        columns = [value if isinstance(value, list) else [value] for value in held.values()]
        if len({len(column) for column in columns}) > 1:
            raise TrainingError("its input example has columns of several lengths")
        return list(held), [list(row) for row in zip(*columns, strict=True)]
    if isinstance(held, list) and held and all(isinstance(row, dict) for row in held):
        names = list(dict.fromkeys(name for row in held for name in row))
        return names, [[row.get(name) for name in names] for row in held]
    if isinstance(held, list) and not any(isinstance(row, list) for row in held):
        return None, [[value] for value in held]
    return None, held


def _columns(inputs: object, count: int) -> list[_Column] | None:
    """Read the columns of a signature, if there is one; a matrix has ``count`` of one type."""
    if not isinstance(inputs, str):
        return None
    specs = parsed_json(inputs, "its signature")
    if (
        not isinstance(specs, list)
        or not all(isinstance(spec, dict) for spec in specs)
        or not specs
    ):
        raise TrainingError("its signature is no list of columns")
    if any(spec.get("type") == "tensor" for spec in specs):
        return _of_matrix(specs, count)
    return [_column(spec) for spec in specs]


def _column(spec: Mapping[str, Any]) -> _Column:
    kind, name = spec.get("type"), spec.get("name")
    if not isinstance(kind, str) or kind not in TYPES:
        raise TrainingError(
            f"its signature has a column {name!r} of the type {kind}, which no table has here"
        )
    is_narrow = NARROW.get(kind)
    name = None if name is None else str(name)
    return _Column(name, TYPES[kind], is_narrow, spec.get("required") is not False)


def _of_matrix(specs: Sequence[Mapping[str, Any]], count: int) -> list[_Column]:
    """Read the signature of a matrix, with a row for each instance."""
    spec = specs[0].get("tensor-spec")
    shape = spec.get("shape") if isinstance(spec, dict) else None
    if len(specs) > 1 or not isinstance(shape, list) or len(shape) != 2 or shape[0] != -1:
        raise TrainingError("its signature is of tensors that are no matrix of rows")
    assert isinstance(spec, dict)  # noqa: S101 (or it had no shape)
    kind = ""
    with suppress(TypeError):  # it is no dtype
        kind = str(np.dtype(spec.get("dtype")).kind)
    if kind not in KINDS:
        raise TrainingError(f"its signature is of a matrix of {spec.get('dtype')}, not of numbers")
    if shape[1] not in {count, -1}:
        raise TrainingError("its input example has not the number of columns of its signature")
    return [_Column(None, KINDS[kind])] * count


def _series(name: str, values: Sequence[Any], dtype: str | None) -> pd.Series:
    """Give the values of a column, of the type that the signature tells, or that they have.

    Without a signature a whole number is a number like any other.
    """
    if any(isinstance(value, list | dict) for value in values):
        raise TrainingError(f"its input example has lists or objects in {name!r}")
    series = pd.Series(values, dtype=object)
    if dtype is None:
        held = pd.api.types.infer_dtype(series, skipna=True)
        numbers = {"integer", "floating", "mixed-integer-float"}
        dtype = "Float64" if held in numbers else "boolean" if held == "boolean" else "string"
    try:
        return series.astype(dtype)
    except (TypeError, ValueError, OverflowError):
        raise TrainingError(
            f"its input example has values in {name!r} that are not of the type {dtype.lower()}, "
            "as its signature says"
        ) from None


def _targets(outputs: object) -> tuple[str, ...]:
    """Give the names of what is predicted, if they are told."""
    try:
        specs = parsed_json(outputs, "its signature") if isinstance(outputs, str) else []
    except TrainingError:
        return ()
    if not isinstance(specs, list):
        return ()
    names = [spec.get("name") for spec in specs if isinstance(spec, dict)]
    return tuple(map(str, names)) if all(isinstance(name, str) for name in names) else ()

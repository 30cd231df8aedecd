"""Arrow's arrays as a model's columns, and back, and whether a table's types are such as it takes.

A number may come as an integer, a float or a decimal, a boolean as a boolean alone, a string as a
string; each also in a dictionary. Nothing else is guessed at: strings are no numbers, and dates
nothing that a model takes. What comes from outside is validated before it is looked at, for Arrow
believes what offsets and places in dictionaries say.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from serving.files.fit import Fit, check_names
from serving.files.source import TableError, Taken
from serving.model.columns import Column
from serving.model.features import Feature
from serving.model.outputs import Array

_STRINGS = {"category", "text"}  # features that take strings
MAX_WHOLE = 2**53  # up to here each whole number is a double
# The type of each feature's values; strings are that of others.
TYPES = {"number": pa.float64(), "integer": pa.int64(), "boolean": pa.bool_()}
_WANTED = {"number": "numbers", "integer": "numbers", "boolean": "booleans"}
NAN = "NaN taken for missing"
DECIMAL = "decimals taken for the nearest doubles"


def check_fit(
    schema: pa.Schema,
    features: Sequence[Feature],
    kept: Sequence[str] | None = None,
    answers: Sequence[str] = (),
) -> Fit:
    """Find the columns of the features in a table, and those that are given back of it.

    Raises:
        TableError: columns are missing, there twice, of a type that the model never takes, or named
            as an answer is; all of that at once.
    """
    by_name = {feature.name: feature for feature in features}
    problems = [
        told
        for column in schema
        if column.name in by_name and (told := _unfit(by_name[column.name], column.type))
    ]
    return check_names(schema.names, features, kept, answers, problems)


def _unfit(feature: Feature, kind: pa.DataType) -> str:
    """Tell why a column's type never fits its feature, if it does not."""
    if pa.types.is_null(kind) and not feature.nullable:
        return f"column {feature.name!r} has no values, and the model takes no row without one"
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_null(values) or _takes(feature, values):
        return ""
    wanted = _WANTED.get(feature.type, "strings")
    hint = ": convert it to them" if wanted != "strings" else ""
    if wanted != "strings" and is_string(values):
        hint += ", or give the table as CSV, whose cells are read by the model's types"
    return f"column {feature.name!r} is of type {kind}, where the model takes {wanted}{hint}"


def _takes(feature: Feature, kind: pa.DataType) -> bool:
    types = pa.types
    if feature.type in _STRINGS:
        return is_string(kind)
    if feature.type == "boolean":
        return bool(types.is_boolean(kind))
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def is_string(kind: pa.DataType) -> bool:
    """Tell whether a type has strings, of any width."""
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def validate(batch: pa.RecordBatch, columns: Sequence[int]) -> None:
    """Check that columns which come from outside are what Arrow takes them for.

    Raises:
        TableError: one is damaged.
    """
    for at in columns:
        try:
            batch.column(at).validate(full=True)
        except MemoryError:  # which says nothing of the column
            raise
        except pa.ArrowException as exc:
            name = batch.schema.field(at).name
            raise TableError(f"column {name!r} is damaged: {exc}") from exc


def plain(array: pa.Array) -> pa.Array:
    """Give a valid array without a dictionary, and without views."""
    if pa.types.is_dictionary(array.type):
        array = plain(array.dictionary).take(array.indices)
    return array.cast(_plain_type(array.type))


def plain_schema(schema: pa.Schema, places: Sequence[int]) -> pa.Schema:
    """Give the columns at these places as they are once they are plain."""
    fields = [schema.field(at) for at in places]
    return pa.schema([(each.name, _plain_type(each.type)) for each in fields])


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.string()
    return pa.binary() if pa.types.is_binary_view(kind) else kind


def column_of(feature: Feature, array: pa.Array) -> tuple[Column, Taken]:
    """Give a feature's column, and count what was converted or taken for missing.

    The array is of a type that fits, which `check_fit` has found, and valid.
    """
    taken: Taken = Counter()
    if feature.type in _STRINGS:
        return strings_of(array), taken
    if pa.types.is_dictionary(array.type):
        array = plain(array)
    missing = missing_in(array)
    if pa.types.is_null(array.type):
        return Column(
            np.zeros(len(array), bool if feature.type == "boolean" else float), missing
        ), taken
    if pa.types.is_boolean(array.type):
        return Column(array.fill_null(False).to_numpy(zero_copy_only=False), missing), taken
    if pa.types.is_decimal(array.type):
        array = _from_decimals(array)
        if pa.types.is_floating(array.type):
            taken[feature.name, DECIMAL] += len(array) - array.null_count
    values = _numbers(array)
    if pa.types.is_floating(array.type):
        is_nan = np.isnan(values)
        if count := int(is_nan.sum()):
            taken[feature.name, NAN] += count
            missing = is_nan if missing is None else missing | is_nan
    return Column(values, missing), +taken


def _numbers(array: pa.Array) -> Array:
    """Give numbers as float64 or int64, 0 where one is missing."""
    values: Array = array.fill_null(0).to_numpy(zero_copy_only=False)
    is_whole = values.dtype.kind in "iu" and (
        values.dtype != np.uint64 or not len(values) or values.max() <= np.iinfo(np.int64).max
    )
    return values.astype(np.int64 if is_whole else np.float64, copy=False)


def _from_decimals(array: pa.Array) -> pa.Array:
    """Give decimals as integers if they are whole by their type, else as what JSON would be read.

    That is the nearest double; Arrow's own conversion misses it at times.
    """
    if array.type.scale <= 0:
        try:
            return array.cast(pa.int64())
        except pa.ArrowInvalid:
            pass  # too large for one
    return array.cast(pa.string()).cast(pa.float64())


def strings_of(array: pa.Array) -> Column:
    """Give the column of strings, in a dictionary or not."""
    indices, words = _coded(array)
    places = indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
    # Nulls have place 0, so there has to be a word.
    return Column(places, missing_in(indices), words or [""])


def _coded(array: pa.Array) -> tuple[pa.Array, list[str]]:
    """Give strings as places in a list of words, none of which is None; a null stays one."""
    if pa.types.is_dictionary(array.type):
        words = array.dictionary
        if words.null_count == 0 and len(words) <= len(array):
            return array.indices, words.to_pylist()
        array = plain(array)  # it may be a few rows of a long dictionary
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), pa.int64()), []
    coded = array.dictionary_encode()
    return coded.indices, coded.dictionary.to_pylist()


def missing_in(array: pa.Array) -> Array | None:
    """Tell where there is no value, None that there is one everywhere."""
    missing: Array = array.is_null().to_numpy(zero_copy_only=False)
    return missing if array.null_count else None


def array_of(feature: Feature, column: Column) -> pa.Array:
    """Give a column as Arrow has the feature's type, null where a value is missing or another."""
    kind = TYPES.get(feature.type, pa.string())
    gaps = np.zeros(len(column), bool) if column.missing is None else column.missing.copy()
    gaps[list(column.others)] = True
    if column.words is not None:
        places = pa.array(column.values, mask=gaps)
        return pa.array(column.words, kind).take(places)
    values = column.values
    if feature.type == "integer" and values.dtype.kind == "f":
        gaps |= ~((np.abs(values) <= MAX_WHOLE) & (np.floor(values) == values))
        values = np.where(gaps, 0, values).astype(np.int64)
    return pa.array(values, kind, mask=gaps)


def schema_beside(given: pa.Schema, answers: pa.Schema) -> pa.Schema:
    """Give the columns of `beside`."""
    return pa.schema([*given, *answers])


def beside(given: pa.RecordBatch, answers: pa.RecordBatch) -> pa.RecordBatch:
    """Put answers beside what is given back of the same rows, which may be no column."""
    columns = [*given.columns, *answers.columns]
    return pa.record_batch(columns, schema=schema_beside(given.schema, answers.schema))

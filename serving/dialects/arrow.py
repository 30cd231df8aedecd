"""Arrow IPC streams: columns that are named as the features are, in any order, and predictions.

Columns that the model ignores may be among them. A number that is NaN is missing, as null is; a
column may have a dictionary. Refuses with 400 what is no such stream, with 413 what holds more than
a body may, with 415 what is written in a way that is not read, and with 422 what the model does not
take: of columns at ``/NAME``, of values at ``/ROW/NAME``, rows from 0.
"""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import nanoarrow
import numpy as np
from nanoarrow.ipc import StreamWriter

from serving.dialects.arrow_columns import READ, Room, looked_up, values_of
from serving.dialects.arrow_messages import (
    BOOL,
    FLOAT,
    INT,
    NULL,
    Batch,
    Dictionary,
    Field,
    malformed,
    read_stream,
)
from serving.dialects.dialect import Answer, Sent
from serving.dialects.lines import columns_of
from serving.dialects.manners import instances_of
from serving.dialects.tables import named_cells
from serving.model.about import About
from serving.model.description import label_key
from serving.model.features import Feature
from serving.model.outputs import Prediction
from serving.model.rows import MAX_NAME_CHARS, Place, Question, Rows, refuse
from serving.problems import FieldError, Problem, pointer

ARROW_MEDIA_TYPE = "application/vnd.apache.arrow.stream"
_NUMBERS = {INT, FLOAT}


def read_arrow(sent: Sent, rows: Rows) -> Question:
    """Read rows, also more of them than fit into one batch.

    Raises:
        Problem: 400, 413, 415 or 422.
    """
    fields, rest = read_stream(sent.body)
    columns = fitting(fields, rows)
    values = _values(rest, [fields[each] for each in columns], columns, Room(sent.max_bytes))
    if not values[0]:
        refuse([FieldError("", "no rows")])

    def place(row: int, *value: int) -> Place:
        return (row, *(fields[columns[each]].name for each in value))

    return rows.each(instances_of(values), place, in_parts=True)


def fitting(fields: Sequence[Field], rows: Rows) -> list[int]:
    """Give the column of each feature.

    Raises:
        Problem: 422, with all that is wrong with columns.
    """

    def tell(column: int | None, told: str) -> FieldError:
        place = () if column is None else (fields[column].name[:MAX_NAME_CHARS],)
        return FieldError(pointer(*place), told)

    columns: list[int] = []
    mistakes: list[FieldError] = []
    try:
        columns = columns_of([field.name for field in fields], rows, tell)
    except Problem as problem:
        mistakes += problem.errors
    for number, field in enumerate(fields):
        feature = rows.by_name.get(field.name)
        if feature is not None and (wanted := _misfit(feature, field.type.kind)):
            mistakes.append(tell(number, f"expected {wanted}, got a column of {field.type.named}"))
    if mistakes:
        refuse(mistakes)
    return columns


def _misfit(feature: Feature, kind: int) -> str:
    """Tell what a feature takes, if that is not what a column of this type has."""
    match feature.type:
        case "number" | "integer":
            return "" if kind in _NUMBERS | {NULL} else "numbers"
        case "boolean":
            return "" if kind in {BOOL, NULL} else "booleans"
    return "" if kind in READ - _NUMBERS - {BOOL} else "strings"


def _values(
    messages: Iterator[Dictionary | Batch],
    fields: Sequence[Field],
    columns: Sequence[int],
    room: Room,
) -> list[list[Any]]:
    """Give the values of columns, from all batches."""
    values: list[list[Any]] = [[] for _ in fields]
    words: dict[int, list[Any]] = {}
    types = {field.dictionary: field.type for field in fields if field.indices}
    for message in messages:
        if isinstance(message, Dictionary):
            if message.id in types:
                batch = message.batch
                given = values_of(types[message.id], batch, batch.columns[0], room)
                words[message.id] = words.get(message.id, []) + given if message.is_delta else given
            continue
        for into, field, column in zip(values, fields, columns, strict=True):
            type_ = field.indices or field.type
            given = values_of(type_, message, message.columns[column], room)
            if field.indices:
                if field.dictionary not in words:
                    malformed("a dictionary comes after what refers to it")
                given = looked_up(words[field.dictionary], given, room)
            if field.type.kind == FLOAT:
                given = [None if value != value else value for value in given]
            into += given
    return values


def write_arrow(about: About, predictions: Sequence[Prediction], _: str) -> Answer:
    """Write a row for each prediction, in columns that are named as those of CSV are."""
    description = about.description
    lines = [named_cells(about.document(each), description.targets) for each in predictions]
    names = [name for name, _ in lines[0]]
    columns = zip(*([value for _, value in line] for line in lines), strict=True)
    prefixes = [f"prediction_{target}" for target in description.targets]
    told = prefixes if len(prefixes) > 1 else ["prediction"]
    labels = dict(zip(told, description.classes_by_target, strict=False))
    arrays = [
        _array(values, labels.get(name, values))
        for name, values in zip(names, columns, strict=True)
    ]
    named = [array.schema.modify(name=name) for name, array in zip(names, arrays, strict=True)]
    schema = nanoarrow.struct(named)
    table = nanoarrow.c_array_from_buffers(schema, len(lines), [None], children=arrays)
    written = io.BytesIO()
    with StreamWriter.from_writable(written) as writer:
        writer.write_stream(table)
    return Answer(written.getvalue(), ARROW_MEDIA_TYPE)


def _array(values: Sequence[Any], labels: Sequence[Any]) -> Any:  # noqa: ANN401 (nanoarrow's)
    """Give values as an array of the type that all labels of the column have."""
    kinds = {type(label) for label in labels}
    array = nanoarrow.c_array_from_buffers
    count = len(values)
    if kinds == {bool}:
        bits = np.packbits(np.array(values, bool), bitorder="little")
        return array(nanoarrow.bool_(), count, [None, bits])
    try:
        if kinds == {int}:
            return array(nanoarrow.int64(), count, [None, np.array(values, np.int64)])
        if kinds <= {int, float}:
            return array(nanoarrow.float64(), count, [None, np.array(values, np.float64)])
    except OverflowError:
        pass  # labels may be integers of any size
    texts = [label_key(value).encode() for value in values]
    offsets = np.zeros(count + 1, np.int32)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    return array(nanoarrow.string(), count, [None, offsets, b"".join(texts)])

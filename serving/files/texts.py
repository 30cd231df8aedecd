"""Rows as lines of text: CSV, TSV and NDJSON.

Whole columns become texts at once, and rows are put together by Arrow. Doubles read back the same.
In CSV, a cell is quoted where it has to be, NaN and infinities are written as Python has them, and
a missing value is an empty cell; in NDJSON all of these are null. What is nested is written as
JSON. Refuses binary and other columns that have no text.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from serving.files.arrow import is_string

# What a row is made of: a text for each row, or one that is the same in all.
Piece: TypeAlias = pa.LargeStringArray | str
_IN_JSON = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_null)
_BY_CAST = (
    pa.types.is_decimal,
    pa.types.is_date,
    pa.types.is_time,
    pa.types.is_timestamp,
    pa.types.is_duration,
)


def has_text(kind: pa.DataType) -> bool:
    """Tell whether values of a type can be written as text."""
    while isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return _is_json(kind) or any(each(kind) for each in _BY_CAST)


def _is_json(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return all(_is_json(kind.field(at).type) for at in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _is_json(kind.value_type)
    return is_string(kind) or any(each(kind) for each in _IN_JSON)


def _stored(array: pa.Array) -> pa.Array:
    """Give what an extension's values are stored as."""
    while isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    return array


def delimited(columns: Sequence[pa.Array], delimiter: str) -> bytes:
    """Write lines of cells, each ended by LF."""
    special = f'"\r\n{delimiter}'
    is_special = re.compile(f"^ |[{special}]").search

    def quoted(text: str) -> str:
        # A reader that passes over a blank after the delimiter would lose it.
        return '"' + text.replace('"', '""') + '"' if is_special(text) else text

    pieces: list[Piece] = []
    for column, end in zip(columns, [delimiter] * (len(columns) - 1) + ["\n"], strict=True):
        pieces += _cell(_stored(column), end, quoted, special)
    lines = _joined(pieces)
    if len(columns) == 1:  # an empty line is none to a reader
        lines = pc.if_else(pc.equal(lines, "\n"), _scalar('""\n'), lines)
    return _held(lines)


def _cell(column: pa.Array, end: str, quoted: Callable[[str], str], special: str) -> list[Piece]:
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return [_numbers(column, end, null="", is_csv=True)]
    if is_string(kind):
        texts = column.cast(pa.large_string())
        if _has_any(texts, special) or pc.any(pc.starts_with(texts, " ")).as_py():
            texts = _each_distinct(texts, quoted)
    elif pa.types.is_nested(kind):
        texts = _each_distinct(_nested(column), quoted)
    else:
        texts = _simple(column)
    return [_without_nulls(texts, ""), end]


def json_lines(names: Sequence[str], columns: Sequence[pa.Array]) -> bytes:
    """Write an object for each row, each ended by LF."""
    pieces: list[Piece] = ["{"]
    for name, column, end in zip(names, columns, "," * (len(names) - 1) + "}", strict=True):
        pieces += [f"{_as_json(name)}:", *_value(column, end)]
    return _held(_joined([*pieces, "\n"]))


def _value(column: pa.Array, end: str) -> list[Piece]:
    is_json = isinstance(column.type, pa.JsonType)
    column = _stored(column)
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return [_numbers(column, end, null="null")]
    if is_string(kind) and not is_json:
        texts = column.cast(pa.large_string())
        if not texts.null_count and not _has_any(texts, '"\\', control=True):
            return ['"', texts, f'"{end}']
        texts = _each_distinct(texts, _as_json)
    elif pa.types.is_nested(kind):
        texts = _nested(column)
    else:
        texts = _simple(column)
        if any(each(kind) for each in _BY_CAST) and not pa.types.is_decimal(kind):
            texts = _joined(['"', texts, '"'])
    return [_without_nulls(texts, "null"), end]


def _as_json(value: Any) -> str:  # noqa: ANN401 (any JSON)
    return orjson.dumps(value).decode()


def _numbers(column: pa.Array, end: str, *, null: str, is_csv: bool = False) -> pa.Array:
    """Give texts of numbers, each with what ends it.

    They stand in one text with what separates them, so that nothing has to be copied.
    """
    if column.type == pa.float16():
        column = column.cast(pa.float32())
    values = column.fill_null(0).to_numpy(zero_copy_only=False)
    text = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    starts = np.empty(len(values) + 1, np.int64)
    starts[0], starts[-1] = 1, len(text)
    starts[1:-1] = np.flatnonzero(np.frombuffer(text, np.uint8) == ord(",")) + 1
    text = (text[:-1] + b",").replace(b",", end.encode())
    cells = pa.LargeStringArray.from_buffers(len(values), pa.py_buffer(starts), pa.py_buffer(text))
    if is_csv and pa.types.is_floating(column.type):
        odd = ~np.isfinite(values)
        if odd.any():
            words = pa.array([f"{value}{end}" for value in values[odd].tolist()], cells.type)
            cells = pc.replace_with_mask(cells, pa.array(odd), words)
    return pc.if_else(column.is_valid(), cells, _scalar(null + end)) if column.null_count else cells


def _simple(column: pa.Array) -> pa.Array:
    if pa.types.is_boolean(column.type):
        return pc.if_else(column, _scalar("true"), _scalar("false"))
    if pa.types.is_timestamp(column.type) and column.type.tz:
        # The names of time zones may not be known here. An instant is the same in UTC.
        instants = column.cast(pa.int64()).cast(pa.timestamp(column.type.unit))
        return _joined([instants.cast(pa.large_string()), "Z"])
    return column.cast(pa.large_string())


def _nested(column: pa.Array) -> pa.Array:
    texts = [None if value is None else _as_json(value) for value in column.to_pylist()]
    return pa.array(texts, pa.large_string())


def _has_any(texts: pa.Array, special: str, *, control: bool = False) -> bool:
    """Tell whether characters stand anywhere in texts, or control characters."""
    held = _held(texts)
    if control and held and np.frombuffer(held, np.uint8).min() < ord(" "):
        return True
    return any(character.encode() in held for character in special)


def _each_distinct(texts: pa.Array, change: Callable[[str], str]) -> pa.Array:
    """Change each of the different texts once."""
    known = texts.dictionary_encode()
    changed = [change(text) for text in known.dictionary.to_pylist()]
    return pa.array(changed, pa.large_string()).take(known.indices)


def _without_nulls(texts: pa.Array, null: str) -> pa.Array:
    return texts.fill_null(null) if texts.null_count else texts


def _scalar(text: str) -> pa.Scalar:
    return pa.scalar(text, pa.large_string())


def _joined(pieces: Iterable[Piece]) -> pa.Array:
    """Join the pieces of each row."""
    merged: list[Any] = []
    for piece in pieces:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += piece
        else:
            merged.append(piece)
    merged = [_scalar(piece) if isinstance(piece, str) else piece for piece in merged]
    return pc.binary_join_element_wise(*merged, _scalar(""))


def _held(texts: pa.LargeStringArray) -> bytes:
    """Give all texts, one after the other."""
    _, starts, data = texts.buffers()
    if data is None:
        return b""
    places = np.frombuffer(starts, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    held: bytes = data.slice(places[0], places[-1] - places[0]).to_pybytes()
    return held

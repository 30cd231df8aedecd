"""NDJSON as a source: on each line an instance, by name or as an array in the features' order.

Lines are read as the service reads JSON, and each has its own mistakes, in the service's words.
The names of the first line are the table's columns; what else it has beside the features is given
back as text. Blank lines are no rows.
"""

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias, cast

import numpy as np
import pyarrow as pa

from serving.files.arrow import MAX_WHOLE, TYPES, array_of
from serving.files.fit import check_names
from serving.files.formats import Format, How
from serving.files.inputs import Input, share_of
from serving.files.source import BLOCK_BYTES, MAX_ROW_BYTES, PART_ROWS, Part, Read, TableError
from serving.json_text import may_overflow, overflows, parse_json
from serving.model.columns import Column
from serving.model.description import Description
from serving.model.features import Feature
from serving.model.outputs import Array
from serving.model.rows import expected, unknown
from serving.problems import FieldError, Problem, pointer

# What a line says, by name, and what is wrong with it as a whole.
Line: TypeAlias = tuple[Mapping[str, Any], FieldError | None]

LOOKED_AT = 100  # lines, for one that has names
_TAKEN: Mapping[str, frozenset[type]] = {
    "number": frozenset({int, float}),
    "integer": frozenset({int, float}),
    "boolean": frozenset({bool}),
}
_STRINGS = frozenset({str})
_ALL_IN_ONE = (
    "has a list of rows on one line: NDJSON has each row on a line of its own, as pandas writes it "
    "with lines=True"
)


class NdjsonSource:
    """A table of lines."""

    def __init__(self, given: Input, how: How, description: Description) -> None:
        """Look at the names.

        Raises:
            TableError: it can't be read, or what is to be given back is not there.
        """
        self._given = given
        self._features = {feature.name: feature for feature in description.features}
        first = self._first_names()
        kept = first if how.columns is None else how.columns
        names = [*first, *(name for name in self._features if name not in first)]
        fit = check_names(names, description.features, kept, how.answers)
        self._known = {*names, *description.ignored}
        self.notes: Sequence[str] = fit.notes
        text = pa.json_(pa.string()) if how.to is Format.NDJSON else pa.string()
        self.kept = pa.schema([(names[at], self._type(names[at], text)) for at in fit.kept])

    def _type(self, name: str, text: pa.DataType) -> pa.DataType:
        feature = self._features.get(name)
        return text if feature is None else TYPES.get(feature.type, pa.string())

    def _first_names(self) -> Sequence[str]:
        """Give the names of the first line that is an instance; those of the features, of none."""
        with self._given.opened() as stream:
            lines = iter(lambda: stream.readline(MAX_ROW_BYTES), b"")
            found = False
            for line in islice(lines, LOOKED_AT):
                found = True
                try:
                    document = parse_json(line)
                except Problem:
                    continue
                if type(document) is dict:
                    return list(document)
                if type(document) is list:
                    if document and type(document[0]) in {dict, list}:
                        raise TableError(f"{self._given.name} {_ALL_IN_ONE}")
                    break
        if not found:
            raise TableError(f"{self._given.name} is empty")
        return list(self._features)

    def parts(self) -> Iterator[Part]:
        """Give all parts.

        Raises:
            TableError: the file is damaged, or a line too long.
        """
        row, line, rest = 1, 1, b""
        with self._given.opened() as stream:
            while more := stream.read(BLOCK_BYTES):
                whole, end, left = more.rpartition(b"\n")
                if not end:
                    rest += more
                else:
                    row = yield from _cut(row, line, rest + whole, share_of(stream))
                    line += whole.count(b"\n") + 1
                    rest = left
                if len(rest) > MAX_ROW_BYTES:
                    limit = MAX_ROW_BYTES >> 20
                    raise TableError(f"{self._given.name} has more than {limit} MiB in line {line}")
        yield from _cut(row, line, rest, 1.0)

    def read(self, part: Part) -> Read:
        """Read a part."""
        lines: list[int] = []
        said: list[Line] = []
        may_be_large = may_overflow(part.data)
        for number, text in enumerate(part.data.split(b"\n"), part.line):
            if not _is_blank(text):
                lines.append(number)
                said.append(self._said(text, may_be_large=may_be_large))
        broken = {at: wrong for at, (_, wrong) in enumerate(said) if wrong is not None}
        rows = [values for values, _ in said]
        columns = {name: _column(each, rows, broken) for name, each in self._features.items()}
        arrays = [self._array(field, rows, columns) for field in self.kept]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.kept)
        return Read(list(columns.values()), batch, lines, broken)

    def _said(self, text: bytes, *, may_be_large: bool) -> Line:
        try:
            document = parse_json(text)
        except Problem as problem:
            return {}, FieldError("", problem.detail)
        if may_be_large and overflows(document):
            return {}, FieldError("", "a number overflows a double")
        if type(document) is list:
            if len(document) == len(self._features):
                return dict(zip(self._features, document, strict=True)), None
            told = f"expected {len(self._features)} values, got {len(document)}"
            return {}, FieldError("", told)
        if type(document) is not dict:
            wanted = "an array of values or an object by feature name"
            return {}, expected(wanted, document, ())
        if self._known.issuperset(document):
            return document, None
        for name in self._features:
            if name not in document:
                return document, _missing(name)  # which is told first
        return document, unknown(next(name for name in document if name not in self._known), ())

    def _array(
        self, field: pa.Field, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Column]
    ) -> pa.Array:
        """Give a column that is given back."""
        if (feature := self._features.get(field.name)) is not None:
            return array_of(feature, columns[field.name])
        values = [row.get(field.name) for row in rows]
        if isinstance(field.type, pa.JsonType):
            texts = [None if value is None else _json(value) for value in values]
            return pa.ExtensionArray.from_storage(field.type, pa.array(texts, pa.string()))
        return pa.array(map(_text, values), pa.string())


def _cut(row: int, line: int, block: bytes, share: float) -> Generator[Part, None, int]:
    """Cut whole lines into parts, and give the number of the row that follows."""
    lines = block.split(b"\n")
    for start in range(0, len(lines), PART_ROWS):
        chosen = lines[start : start + PART_ROWS]
        if rows := sum(not _is_blank(text) for text in chosen):
            yield Part(row, line + start, b"\n".join(chosen), share)
            row += rows
    return row


def _is_blank(text: bytes) -> bool:
    return not text or text.isspace()


def _missing(name: str) -> FieldError:
    return FieldError(pointer(name), "missing")


def _column(
    feature: Feature, rows: Sequence[Mapping[str, Any]], broken: Mapping[int, FieldError]
) -> Column:
    """Give what lines have of a feature; a line that has nothing of it has a mistake."""
    name, taken = feature.name, _TAKEN.get(feature.type, _STRINGS)
    values = [row.get(name) for row in rows]
    kinds = set(map(type, values)) - taken
    missing, others = None, {}
    if kinds:
        missing = np.array([value is None for value in values], bool)
        others = {
            at: value
            for at, value in enumerate(values)
            if value is not None and type(value) not in taken
        }
        for at in np.flatnonzero(missing).tolist():
            if name not in rows[at] and at not in broken:
                others[at] = _missing(name)
                missing[at] = False
        blank = "" if taken is _STRINGS else 0
        values = [value if type(value) in taken else blank for value in values]
        missing = missing if missing.any() else None
    if taken is _STRINGS:
        texts = cast("list[str]", list(dict.fromkeys(values)))
        place_of: dict[Any, int] = {text: place for place, text in enumerate(texts)}
        places = np.array([place_of[value] for value in values], np.int64)
        return Column(places, missing, texts, others)
    numbers, giants = _numbers(feature, values)
    return Column(numbers, missing, None, others | giants)


def _numbers(feature: Feature, values: Sequence[Any]) -> tuple[Array, dict[int, object]]:
    """Give numbers as an array, and whole ones that no double holds exactly, where one has to."""
    if feature.type == "boolean":
        return np.array(values, bool), {}
    if float not in set(map(type, values)):
        try:
            return np.array(values, np.int64), {}
        except OverflowError:
            pass  # a double holds nearly what it is, as the service's own does
    doubles = np.array(values, np.float64)
    if feature.type == "number":
        return doubles, {}
    giants = np.flatnonzero(np.abs(doubles) >= MAX_WHOLE).tolist()
    return doubles, {at: values[at] for at in giants if type(values[at]) is int}


def _text(value: Any) -> str | None:  # noqa: ANN401 (any JSON)
    if value is None or type(value) is str:
        return value
    return _json(value)


def _json(value: Any) -> str:  # noqa: ANN401 (any JSON)
    if type(value) is int:
        return str(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

"""NDJSON: a line for each instance, and a line for each of their predictions, in order.

A line has what stands in ``data`` elsewhere: an array of values, or an object by feature name.
Blank lines are ignored. Where lines are answered with lines, they are read and answered some at a
time, and what is wrong with one is told in its place. Otherwise one such line refuses all, with 400
or with 422 at ``/LINE``: from 0, without blank ones.
"""

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

import orjson

from serving.dialects.dialect import Answer, Asked, Sent
from serving.dialects.schemas import TEXT, example_instances
from serving.json_text import parse_json, read_json
from serving.model.about import About
from serving.model.description import Description
from serving.model.domains import Schema
from serving.model.features import Row
from serving.model.outputs import Prediction
from serving.model.rows import Question, Rows, below
from serving.problems import MALFORMED_BODY, FieldError, Problem

NDJSON_MEDIA_TYPE = "application/x-ndjson"

# What is told of a line beside its prediction: warnings, or instead of it: errors.
_Remark: TypeAlias = dict[str, Sequence[FieldError]]
_ERRORS, _WARNINGS = "errors", "warnings"
FAILED = "the model fails on this row"


def read_in_parts(sent: Sent, about: About, rows: Rows) -> Iterator[Asked]:
    """Read as many lines at a time as fit into one batch."""
    lines = (line for line in io.BytesIO(sent.body) if not line.isspace())
    first = 0
    while part := list(islice(lines, rows.max_rows)):
        question, remarks = _read(part, first, rows)
        yield Asked(question, partial(_write, about, remarks))
        first += len(part)


def _read(lines: Sequence[bytes], first: int, rows: Rows) -> tuple[Question, list[_Remark]]:
    """Read lines, the first of which has that number; give what is right, and a remark on each."""
    try:
        question = rows.each(list(map(parse_json, lines)), below(()))
    except Problem:
        pass  # it is told below, at each line
    else:
        if not question.warnings:
            question.numbers = range(first, first + len(lines))
            return question, [{} for _ in lines]
    taken: list[Row] = []
    numbers: list[int] = []
    unusual: Counter[str] = Counter()
    remarks: list[_Remark] = []
    for number, line in enumerate(lines, first):
        try:
            question = read_json(line, lambda document: rows.one(document, ()))
        except Problem as problem:
            remarks.append({_ERRORS: problem.errors or [FieldError("", problem.detail)]})
        else:
            taken += question.rows
            numbers.append(number)
            unusual.update(question.unusual)
            remarks.append({_WARNINGS: question.warnings} if question.warnings else {})
    return Question(taken, is_one=False, unusual=unusual, numbers=numbers), remarks


def _write(
    about: About, remarks: Sequence[_Remark], predictions: Sequence[Prediction | None], _: str
) -> Answer:
    """Write a line for each that was read."""
    left = iter(predictions)

    def line(remark: _Remark) -> dict[str, Any]:
        if _ERRORS in remark:
            return remark
        if (prediction := next(left)) is None:
            return {_ERRORS: [FieldError("", FAILED)]} | remark
        return about.document(prediction) | remark

    return Answer(_lines_of(map(line, remarks)), NDJSON_MEDIA_TYPE)


def read_ndjson(body: bytes, rows: Rows) -> Question:
    """Read all lines, also more of them than fit into one batch.

    Raises:
        Problem: 400 or 422.
    """

    def read(documents: list[Any]) -> Question:
        return rows.each(documents, below(()), in_parts=True)

    return read_json(body, read, _documents)


def _documents(body: bytes) -> list[Any]:
    documents = []
    for number, line in enumerate(io.BytesIO(body), 1):
        if not line.isspace():
            try:
                documents.append(parse_json(line))
            except Problem as problem:
                detail = problem.detail.replace(" at line 1 ", f" at line {number} ")
                raise Problem(MALFORMED_BODY, detail) from None
    return documents


def write_ndjson(about: About, predictions: Sequence[Prediction], _: str) -> Answer:
    """Write a line for each prediction."""
    return Answer(_lines_of(map(about.document, predictions)), NDJSON_MEDIA_TYPE)


def _lines_of(documents: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(map(_line, documents))


def _line(document: object) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def ndjson_body(description: Description) -> Schema:
    """Describe a body of lines, with the features' examples in both forms."""
    told = "A line of JSON for each instance: an array of values, or an object by feature name."
    example = b"".join(map(_line, example_instances(description)))
    return {"schema": {**TEXT, "description": told}, "example": example.decode()}

"""CSV (RFC 4180): lines of cells to rows, typed by the model's features, and predictions to lines.

The first line is a header if it names the features, in any order, and perhaps columns of the
training table that the model does not use; those are ignored. Without one, cells stand in the order
of the features. An empty cell is a missing value where there may be one. Refuses with 400 what is
no CSV, and with 422 what the model does not take, at ``/ROW/COLUMN``: both count from 0, rows
without the header and blank lines.
"""

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from serving.dialects.dialect import Answer
from serving.dialects.lines import columns_of, read_lines
from serving.json_text import BYTE_ORDER_MARK
from serving.model.about import About
from serving.model.description import Description
from serving.model.domains import Schema
from serving.model.features import Feature
from serving.model.outputs import Prediction
from serving.model.rows import Question, Rows, refuse
from serving.problems import MALFORMED_BODY, FieldError, Problem

CSV_MEDIA_TYPE = "text/csv"
csv.field_size_limit(sys.maxsize)  # a body has its own limit, and a text may be as long
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
# Members of a prediction, as a column is called that has one value of it.
_SINGULAR = {"probabilities": "probability", "scores": "score"}


def read_csv(body: bytes, rows: Rows, *, in_parts: bool = False) -> Question:
    """Read rows; ``in_parts`` takes more of them than fit into one batch.

    Raises:
        Problem: 400, 413 or 422.
    """
    lines = _lines(body)
    if lines and _is_header(lines[0], rows):
        header = lines.pop(0)
        width, columns = len(header), columns_of(header, rows, _in_header)
    else:
        width = len(rows.features)
        columns = list(range(width))
    if not lines:
        refuse([FieldError("", "no rows")])
    return read_lines(lines, columns, width, rows, (), _typed, in_parts=in_parts)


def _lines(body: bytes) -> list[list[str]]:
    """Read cells, of all lines that have any."""
    try:
        text = body.removeprefix(BYTE_ORDER_MARK).decode()
    except UnicodeDecodeError as exc:
        raise Problem(MALFORMED_BODY, f"no UTF-8 at byte {exc.start}") from None
    if "\0" in text:
        raise Problem(MALFORMED_BODY, f"a NUL at character {text.index(chr(0))}")
    # As training reads it: a blank after a comma is no part of a category.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        return [cells for cells in reader if cells]
    except csv.Error as exc:
        raise Problem(MALFORMED_BODY, f"{exc} at line {reader.line_num}") from None


def _is_header(first: Sequence[str], rows: Rows) -> bool:
    """Tell whether a line names columns, or was meant to."""
    return 2 * sum([cell in rows.known for cell in first]) > len(first)


def _in_header(column: int | None, told: str) -> FieldError:
    """Tell of a mistake in the header, which no pointer can name: that of row 0 is below it."""
    where = "the header" if column is None else f"column {column} of the header"
    return FieldError("", f"{where}: {told}")


def _typed(feature: Feature, cells: Sequence[str]) -> Sequence[Any]:
    """Give the values of cells; what is none of the feature's type stays as it is."""
    if feature.type in {"category", "text"}:
        return [cell or None for cell in cells] if feature.nullable else cells
    if feature.type == "number" and "" not in cells:
        try:
            return list(map(float, cells))
        except ValueError:
            pass  # some are no numbers
    return [_value(feature.type, cell) for cell in cells]


def _value(kind: str, cell: str) -> float | bool | str | None:
    if not cell:
        return None
    if kind == "boolean":
        return _BOOLEANS.get(cell.strip().lower(), cell)
    if kind == "integer":
        try:
            return int(cell)
        except ValueError:
            pass  # a whole number may be written as 5.0 or 1e3
    try:
        return float(cell)
    except ValueError:
        return cell


def write_csv(lines: Iterable[Sequence[Any]]) -> bytes:
    """Write lines of cells, each ended by LF; doubles read back the same."""
    written = _Lines()
    csv.writer(written).writerows([_cell(value) for value in line] for line in lines)
    return "".join(written).encode()


class _Lines(list[str]):
    """Takes lines that end with CRLF, for which Python's writer quotes a CR within a cell."""

    def write(self, line: str) -> None:
        """Take one, to be ended by LF."""
        self.append(f"{line[:-2]}\n")


def _cell(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def write_table(about: About, predictions: Sequence[Prediction], _: str) -> Answer:
    """Write a line for each prediction, below one with the names of what is in it."""
    targets = about.description.targets
    lines = [named_cells(about.document(each), targets) for each in predictions]
    header = [[name for name, _ in line] for line in lines[:1]]
    table = [[value for _, value in line] for line in lines]
    return Answer(write_csv(header + table), f"{CSV_MEDIA_TYPE}; charset=utf-8")


def csv_body(description: Description) -> Schema:
    """Describe a body of lines, with the features' examples."""
    header = [feature.name for feature in description.features]
    example = write_csv([header, ["" if each is None else each for each in description.example]])
    told = "Lines of values, typed by the model's features, below their names in any order, or "
    told += "without these in the order of /model/info. A missing value is an empty cell."
    return {"schema": {"type": "string", "description": told}, "example": example.decode()}


def named_cells(document: dict[str, Any], targets: Sequence[str]) -> list[tuple[str, Any]]:
    """Give the cells of a prediction by names, given its document: one for each value in it."""
    return [
        cell
        for member, value in document.items()
        for cell in _spread(_SINGULAR.get(member, member), value, targets)
    ]


def _spread(name: str, value: Any, targets: Sequence[str]) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    if isinstance(value, list):
        names = targets if len(value) == len(targets) else map(str, range(len(value)))
        value = dict(zip(names, value, strict=True))
    if not isinstance(value, dict):
        yield name, value
        return
    for part, each in value.items():
        yield from _spread(f"{name}_{part}", each, targets)

"""JSON that is posted to ``/invocations``: MLflow's four forms of a table, and SageMaker's list."""

from itertools import islice
from typing import Any, NamedTuple

from serving.dialects.lines import columns_of, read_lines
from serving.dialects.manners import Method, instances_of, method_of
from serving.model.about import About
from serving.model.rows import (
    MAX_PROBLEMS,
    Place,
    Question,
    Rows,
    below,
    expected,
    refuse,
    unknown,
)
from serving.problems import FieldError, pointer

SPLIT, RECORDS, INSTANCES, INPUTS = "dataframe_split", "dataframe_records", "instances", "inputs"
FORMS = (SPLIT, RECORDS, INSTANCES, INPUTS)
PARAMS = "params"
COLUMNS, DATA = "columns", "data"


class Read(NamedTuple):
    """What a document asks for, and whether it is a bare list."""

    question: Question
    method: Method
    is_bare: bool = False


def read_document(
    document: Any,  # noqa: ANN401 (any JSON)
    about: About,
    rows: Rows,
    method_name: str,
) -> Read:
    """Read rows and the method to ask for: the one named, if the document names none.

    Raises:
        Problem: 400 or 422.
    """
    if type(document) is list:
        return Read(_of_list(document, rows), about.methods[method_name], is_bare=True)
    if type(document) is not dict:
        refuse([expected("an object or an array of instances", document, ())])
    given = [name for name in FORMS if name in document]
    if len(given) != 1:
        refuse([FieldError("", f"expected one of {', '.join(FORMS)}")])
    (form,) = given
    method = method_of(about, document.get(PARAMS), (PARAMS,), method_name)
    table, place = document[form], (form,)
    if form == SPLIT:
        return Read(_of_split(table, rows), method)
    if form == INPUTS and type(table) is dict:
        return Read(_of_columns(table, place, rows), method)
    return Read(_of_instances(table, place, rows), method)


def _of_list(items: list[Any], rows: Rows) -> Question:
    """Read instances, or values of one."""
    if items and not any(type(item) in {list, dict} for item in items):
        return rows.each([items], lambda _, *value: value)
    return rows.each(items, below(()), in_parts=True)


def _of_instances(items: Any, place: Place, rows: Rows) -> Question:  # noqa: ANN401 (any JSON)
    if type(items) is not list:
        refuse([expected("an array of instances", items, place)])
    return rows.each(items, below(place), in_parts=True)


def _of_split(table: Any, rows: Rows) -> Question:  # noqa: ANN401 (any JSON)
    """Read lines of values below the names of their columns, as pandas writes a table."""
    if type(table) is not dict:
        refuse([expected('an object {"columns": […], "data": […]}', table, (SPLIT,))])
    place = (SPLIT, DATA)
    if DATA not in table:
        refuse([FieldError(pointer(*place), "missing")])
    names, lines = list(rows.by_name), table[DATA]
    columns = table.get(COLUMNS, names)
    # A frame that was made of an array has numbers for names.
    if columns in (names, list(range(len(names)))) or type(lines) is not list:
        return _of_instances(lines, place, rows)
    if type(columns) is not list:
        refuse([expected("an array of names", columns, (SPLIT, COLUMNS))])
    order = columns_of(columns, rows, _in_columns)
    return read_lines(lines, order, len(columns), rows, (SPLIT, DATA), in_parts=True)


def _in_columns(column: int | None, told: str) -> FieldError:
    """Tell of a mistake in the names of columns."""
    place = (SPLIT, COLUMNS) if column is None else (SPLIT, COLUMNS, column)
    return FieldError(pointer(*place), told)


def _of_columns(table: dict[str, Any], place: Place, rows: Rows) -> Question:
    """Read an array of values for each feature, by its name."""
    names = list(rows.by_name)
    mistakes = [FieldError(pointer(*place, n), "missing") for n in names if n not in table]
    mistakes += islice((unknown(n, place) for n in table if n not in rows.known), MAX_PROBLEMS)
    mistakes += [
        expected("an array of values", table[name], (*place, name))
        for name in names
        if name in table and type(table[name]) is not list
    ]
    if not mistakes and len({len(table[name]) for name in names}) > 1:
        told = "expected as many values in all columns"
        mistakes = [FieldError(pointer(*place, name), told) for name in names]
    if mistakes:
        refuse(mistakes)
    # An array of the shape [n, 1] has each value in an array of its own.
    nested = {name for name in names if all(type(v) is list and len(v) == 1 for v in table[name])}
    columns = [[v[0] for v in table[n]] if n in nested else table[n] for n in names]

    def at(row: int, value: int = 0) -> Place:
        name = names[value]
        return (*place, name, row, 0) if name in nested else (*place, name, row)

    return rows.each(instances_of(columns), at, in_parts=True)

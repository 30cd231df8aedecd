"""Delimited text, as in CSV files: its delimiter, its header, its quotes, its rows.

It refuses rows that have more columns than the header, with the line and the likely cause, and a
first line that looks like values where names are expected.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import pandas as pd

from serving.console import listed
from serving.files.delimiter import SEP, parted
from serving.files.source import TableError
from training.errors import TrainingError
from training.table.cells import Parsed, Remarks, read_cells, to_look_at
from training.table.columns import is_text
from training.table.header import (
    columns_of,
    first_row,
    looks_like_values,
    repeated,
    sample,
    why_not_one_column,
)
from training.table.names import twice
from training.table.quotes import mended
from training.table.records import Record, exact_records
from training.table.walk import Mended

LEADING_ZERO = r"(?<![\d.])0\d"


@dataclass(frozen=True, slots=True)
class Format:
    """What a person says of how a file is written; the missing marks are for any kind of file.

    Without a word on its header, a first line that looks like values is refused. The decimal mark
    counts where a column can be read with either.
    """

    encoding: str = "utf-8"
    header: bool | None = None
    decimal: str | None = None
    missing: Sequence[str] = ()


def read_delimited(text: str, name: str, form: Format) -> tuple[pd.DataFrame, Remarks]:
    """Read the text of a file, of which messages give the name.

    Raises:
        TrainingError: it can't be read without doubt.
    """
    is_said = SEP.match(text) is not None
    try:
        text, delimiter = parted(text, name)
    except TableError as exc:
        raise TrainingError(str(exc)) from None
    if not text.strip():
        raise TrainingError(f"{name} is empty")
    columns = columns_of(text, delimiter)
    if columns == 1 and not is_said and (why := why_not_one_column(sample(text))):
        raise TrainingError(f"{name} {why}")
    fixed = mended(text, delimiter, columns)
    notes = [*fixed.notes, *_check_rows(fixed, fixed.records.odd, columns, delimiter, name)]
    text = fixed.text
    if form.header is False:
        made = (f"column_{number}" for number in range(1, columns + 1))
        text = f"{delimiter.join(made)}\n{text}"
    parsed = _parsed(text, fixed, columns, delimiter, name, form)
    frame, remarks = read_cells(parsed, decimal=form.decimal, point=delimiter == ",")
    _check_names(first_row(text, delimiter), frame, name, form)
    return frame, replace(remarks, file=(*notes, *remarks.file))


def _check_names(names: Sequence[str], frame: pd.DataFrame, name: str, form: Format) -> None:
    """Check that the first row has names.

    Raises:
        TrainingError: it looks like values, comes once more, or names two columns alike.
    """
    if (row := repeated(names, frame)) is not None:
        raise TrainingError(f"{name} has its header once more, in row {row}: take that row out")
    if form.header is None and (value := looks_like_values(names, frame)):
        raise TrainingError(
            f"the first line of {name} looks like values, not like names of columns, see {value!r}:"
            " say --no-header if it has no names, or --header if these are names"
        )
    if same := twice([column for column in names if column]):
        raise TrainingError(f"{name} has columns of the same name, rename them: {listed(same)}")


def _parsed(
    text: str, fixed: Mended, columns: int, delimiter: str, name: str, form: Format
) -> Parsed:
    """Parse text whose quotes are in order."""
    gaps = ["", *form.missing]
    try:
        frame = _parse(text, delimiter, gaps)
        whole = isinstance(frame.index, pd.RangeIndex)  # pandas takes what is too much for it
        fault = None if whole else "has more columns than its header: name each of them there"
    except pd.errors.ParserError as exc:
        fault = f"is no CSV file: {exc}"
    if fault:
        if records := exact_records(fixed.text, delimiter, columns):
            _check_rows(fixed, records.odd, columns, delimiter, name)
        raise TrainingError(f"{name} {fault}")
    # Where a whole number is too large, pandas forgets what is missing.
    texts = {str(key): column for key, column in frame.items() if is_text(column)}
    frame = frame.assign(**{key: cells.mask(cells.isin(gaps)) for key, cells in texts.items()})
    places = to_look_at(
        frame,
        marks=bool(form.missing),
        codes=re.search(LEADING_ZERO, text) is not None,
        thousands=delimiter != "," or form.decimal is not None,
    )
    seen = _parse(text, delimiter, [], usecols=places, dtype="string") if places else frame[[]]
    written = dict(zip(places, (column for _, column in seen.items()), strict=True))
    return Parsed(frame, written, form.missing)


def _parse(text: str, delimiter: str, marks: Sequence[str], **options: object) -> pd.DataFrame:
    return pd.read_csv(
        io.StringIO(text),
        sep=delimiter,
        dtype_backend="numpy_nullable",  # by which whole numbers stay so, if some are missing
        skipinitialspace=True,
        low_memory=False,
        keep_default_na=False,
        na_values=marks,
        **options,
    )


def _check_rows(
    fixed: Mended, odd: Sequence[Record], columns: int, delimiter: str, name: str
) -> list[str]:
    """Tell of rows that have fewer columns than the header.

    Raises:
        TrainingError: some have more.
    """
    long = [record for record in odd if record.columns > columns]
    if long:
        raise TrainingError(_too_long(fixed, long, columns, delimiter, name))
    if not odd:
        return []
    rows = "1 row has" if len(odd) == 1 else f"{len(odd)} rows have"
    return [
        f"{rows} fewer columns than the header, see line {odd[0].line}: what it lacks is missing"
    ]


def _too_long(
    fixed: Mended, long: Sequence[Record], columns: int, delimiter: str, name: str
) -> str:
    """Tell where rows have more columns than the header, and what the likely cause is."""
    first = long[0]
    most = len({record.columns for record in long}) == 1 and len(long) > fixed.records.count / 2
    if not most:
        cause = f"does a text or a number hold {delimiter!r} without quotes?"
        if first.line in fixed.stray_lines:
            cause = "its quote is not closed, or a quote within a text is not doubled"
        found = f"{first.columns} columns in line {first.line}"
        return f"{name} has {found}, but {columns} before: {cause}"
    lines = islice(io.StringIO(fixed.text, newline=None), first.line - 1, None)
    ends = next(lines).rstrip("\n").endswith(delimiter)
    cause = (
        f"each row ends with {delimiter!r}, end the header so too"
        if ends and first.columns == columns + 1
        else "name each of them there, or take out what stands before it"
        + (", or is ',' a decimal mark, too?" if delimiter == "," else "")
    )
    return (
        f"{name} has more columns than its header, {first.columns} in line {first.line}, but "
        f"{columns} names: {cause}"
    )

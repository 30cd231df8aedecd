"""A table is opened by its name, or by its first bytes: a source of the right kind."""

import os

from serving.files.columnar import ColumnarSource
from serving.files.delimited import open_delimited
from serving.files.formats import STANDARD, Format, How, format_of, sniffed
from serving.files.inputs import Input, first_bytes
from serving.files.ndjson import NdjsonSource
from serving.files.source import Source, TableError
from serving.model.description import Description

_SEEKS = {Format.PARQUET: "Parquet", Format.ARROW: "Arrow's file format"}
_OF_CSV = (
    "names and values as such: --header, --no-header, --decimal, --encoding and --missing are for "
    "CSV files"
)


def open_source(given: Input, form: Format, how: How, description: Description) -> Source:
    """Open what was found.

    Raises:
        TableError: it can't be read, or does not fit the model; all that is wrong with its columns.
    """
    usual = How()
    told = (how.header, how.decimal, how.encoding, how.missing)
    is_told = told != (usual.header, usual.decimal, usual.encoding, usual.missing)
    if is_told and form not in {Format.CSV, Format.TSV}:
        raise TableError(f"{given.name} has {_OF_CSV}")
    if form in {Format.PARQUET, Format.ARROW, Format.ARROWS}:
        return ColumnarSource(given, form, how, description)
    if form is Format.NDJSON:
        return NdjsonSource(given, how, description)
    return open_delimited(given, how, description)


def found(data: str, said: Format | None = None) -> tuple[Input, Format]:
    """Find a file, a folder of Parquet files, or standard input, and its format, if none is said.

    Raises:
        TableError: it is not there, or of no format that can be read from there.
    """
    if data == STANDARD:
        head = first_bytes()
        begun, gz = sniffed(head)
        form = said or begun
        if form in _SEEKS:
            raise TableError(
                f"{_SEEKS[form]} can't be read from standard input, for it begins at its end: name "
                "the file"
            )
        return Input(data, gz, head), form
    if os.path.isdir(data):
        if said not in {None, Format.PARQUET}:
            raise TableError(f"{data} is a folder, and of these only such with Parquet are read")
        return Input(data), Format.PARQUET
    if os.path.exists(data) and not os.path.isfile(data):  # of which one reads the beginning once
        raise TableError(f"{data} is no file: for a pipe, say --data {STANDARD}")
    if said is not None:
        return Input(data, data.lower().endswith(".gz")), said
    form, gz = format_of(data)
    return Input(data, gz), form

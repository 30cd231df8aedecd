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


def open_source(data: str, how: How, description: Description) -> Source:
    """Open a file, a folder of Parquet files, or standard input.

    Raises:
        TableError: it can't be read, or does not fit the model; all that is wrong with its columns.
    """
    given, form = _given(data, how)
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


def _given(data: str, how: How) -> tuple[Input, Format]:
    """Tell what is to be read, and in which format it is."""
    if data == STANDARD:
        head = first_bytes()
        form, gz = sniffed(head)
        form = how.from_ or form
        if form in _SEEKS:
            raise TableError(
                f"{_SEEKS[form]} can't be read from standard input, for it begins at its end: name "
                "the file"
            )
        return Input(data, gz, head), form
    if os.path.isdir(data):
        if how.from_ not in {None, Format.PARQUET}:
            raise TableError(f"{data} is a folder, and of these only such with Parquet are read")
        return Input(data), Format.PARQUET
    if os.path.exists(data) and not os.path.isfile(data):  # of which one reads the beginning once
        raise TableError(f"{data} is no file: for a pipe, say --data {STANDARD}")
    if how.from_ is not None:
        return Input(data, data.lower().endswith(".gz")), how.from_
    form, gz = format_of(data)
    return Input(data, gz), form

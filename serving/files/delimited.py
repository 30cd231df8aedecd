"""Delimited text, as in CSV files: a table read in parts, its cells by the model's types.

The delimiter is found as training finds it, and quotes mean what they mean where the service reads
CSV. Refuses what is no text of its encoding, quotes that enclose no cell, and a row of many
megabytes, each with its line. A row of another length than the header is told as broken.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from serving.console import listed
from serving.files.arrow import TYPES, array_of
from serving.files.cells import Manner, column_of
from serving.files.fit import check_names
from serving.files.formats import Format, How
from serving.files.head import Place, head_of
from serving.files.inputs import Input, share_of
from serving.files.records import cut
from serving.files.source import Part, Read, TableError, Taken
from serving.files.splitting import split
from serving.files.transcoded import Transcoded
from serving.model.description import Description
from serving.model.features import Feature
from serving.model.reading import PLAINLY, Reading, Style


@dataclass(frozen=True, slots=True)
class DelimitedSource:
    """A table in delimited text.

    ``columns`` has the place of each feature's column in it, and ``back`` that of each of what is
    ``kept``: as it is written, or with ``is_typed`` by the features' types.
    """

    given: Input
    encoding: str
    delimiter: str
    start: Place
    width: int
    features: Sequence[Feature]
    manners: Sequence[Manner]
    columns: Sequence[int]
    back: Sequence[int]
    is_typed: bool
    kept: pa.Schema
    notes: Sequence[str]

    def parts(self) -> Iterator[Part]:
        """Give all parts, in order.

        Raises:
            TableError: the file is damaged, or a row too long.
        """
        with self.given.opened() as stream:
            text = Transcoded(stream, self.encoding, self.given.name)
            for part in cut(text, self.delimiter, self.given.name, *self.start):
                yield part._replace(share=share_of(stream))

    def read(self, part: Part) -> Read:
        """Read a part, in any process.

        Raises:
            TableError: it is no text, or a quote stands where none may.
        """
        wanted = sorted({*self.columns, *self.back})
        cells = split(part, self.delimiter, self.width, wanted, self.given.name)
        taken: Taken = Counter()
        columns = []
        typed: dict[int, pa.Array] = {}
        for feature, at, manner in zip(self.features, self.columns, self.manners, strict=True):
            column, counts = column_of(feature, cells.columns[at], manner)
            taken += counts
            columns.append(column)
            if self.is_typed and at in self.back:
                typed[at] = array_of(feature, column)
        arrays = [typed.get(at, cells.columns[at]) for at in self.back]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.kept)
        return Read(columns, batch, cells.lines, cells.broken, taken)


def open_delimited(given: Input, how: How, description: Description) -> DelimitedSource:
    """Find out how a file is written, and where the model's columns are.

    Raises:
        TableError: the file can't be read, or its columns do not fit.
    """
    name, features = given.name, description.features
    with given.opened() as stream:
        head = head_of(Transcoded(stream, how.encoding, name), name)
    names, problems = _names(head.cells, [feature.name for feature in features], how.header, name)
    fit = check_names(names, features, how.columns, how.answers, problems)
    reading = description.reading or Reading()
    manners = [_manner(how, reading, feature.name) for feature in features]
    is_typed = how.to not in {Format.CSV, Format.TSV}
    by_name = {feature.name: feature for feature in features}
    back = [names[at] for at in fit.kept]
    types = {
        each: TYPES.get(by_name[each].type, pa.string())
        for each in back
        if is_typed and each in by_name
    }
    return DelimitedSource(
        given,
        how.encoding,
        head.delimiter,
        head.begin if how.header is False else head.end,
        len(names),
        features,
        manners,
        fit.features,
        fit.kept,
        is_typed,
        pa.schema([(each, types.get(each, pa.string())) for each in back]),
        (*fit.notes, *_notes(features, manners)),
    )


def _names(
    cells: Sequence[str], features: Sequence[str], header: bool | None, name: str
) -> tuple[Sequence[str], Sequence[str]]:
    """Give the names of all columns, and what speaks against the first row as their names.

    Raises:
        TableError: without a header, there are more columns than features, or fewer.
    """
    if header is not False:
        hint = f"the first line of {name} names none of them: say --no-header if it has no names"
        is_odd = header is None and not set(cells) & set(features)
        # A column without a name is called so where training reads it.
        names = [cell or f"Unnamed: {place}" for place, cell in enumerate(cells)]
        return names, [hint] if is_odd else []
    if list(cells) == list(features):
        raise TableError(f"the first line of {name} names the columns: leave --no-header out")
    if len(cells) != len(features):
        raise TableError(
            f"{name} has {len(cells)} columns, but the model takes {len(features)}: without a "
            "header, they stand in the order of its features"
        )
    return features, []


def _manner(how: How, reading: Reading, name: str) -> Manner:
    """Tell how a column is written."""
    style = reading.numbers.get(name, PLAINLY)
    if how.decimal not in {None, style.decimal}:
        style = Style(str(how.decimal))
    return Manner(style, tuple(dict.fromkeys((*reading.missing, *how.missing))))


def _notes(features: Sequence[Feature], manners: Sequence[Manner]) -> Iterator[str]:
    """Tell of numbers that are not read plainly."""
    columns: dict[Style, list[str]] = {}
    for feature, manner in zip(features, manners, strict=True):
        if manner.style != PLAINLY and feature.type in {"number", "integer"}:
            columns.setdefault(manner.style, []).append(feature.name)
    for style, names in columns.items():
        yield f"column{'s' if names[1:] else ''} {listed(names)}: {style}"

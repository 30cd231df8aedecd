"""The two files: predictions of a log, one after the other, and labels, which are all kept."""

import csv
import gzip
import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
from pydantic import AwareDatetime, BaseModel, FiniteFloat, ValidationError

from serving.model.features import Value

REQUEST_ID, ROW = "request_id", "row"
PREDICTIONS, DAMAGED = "predictions", "damaged lines of the log"
BOOLEANS = {"true": True, "false": False}  # as JSON writes them, in lower case


class Named(BaseModel, frozen=True):
    """The version that answered."""

    name: str
    version: str


class Logged(BaseModel, frozen=True):
    """A prediction as `serving.prediction.log` writes it."""

    timestamp: AwareDatetime
    request_id: str
    row: int
    model: Named
    features: dict[str, Value]
    prediction: Any
    probabilities: dict[str, FiniteFloat] | list[Any] | None = None
    scores: dict[str, FiniteFloat] | list[FiniteFloat] | FiniteFloat | None = None


def predictions(paths: Sequence[str], counts: Counter[str]) -> Iterator[Logged]:
    """Read files of a log, gzipped if they end in .gz; other events than predictions are passed.

    Raises:
        OSError, EOFError, zlib.error: a file can't be read, or is no whole gzip file.
    """
    for path in paths:
        with (gzip.open if path.endswith(".gz") else open)(path, "rb") as lines:
            for raw in lines:
                try:
                    line = orjson.loads(raw)
                    if not isinstance(line, dict) or line.get("event") != "prediction":
                        continue
                    logged = Logged.model_validate(line)
                except (orjson.JSONDecodeError, ValidationError):
                    counts[DAMAGED] += 1
                else:
                    counts[PREDICTIONS] += 1
                    yield logged


class OutcomesError(Exception):
    """What can't be joined or scored at all; the message says why, and what is accepted."""


class Labels:
    """The labels of a file, found by request and row, or by a column; ``met`` counts how often."""

    def __init__(self, path: str, by: str | None, targets: Sequence[str]) -> None:
        """Read the file; the columns by which labels are found, and those named, have to be there.

        Raises:
            OutcomesError: they are not, or it is no CSV in UTF-8, with commas and a header.
            OSError: it can't be read.
        """
        self.columns, *self.rows = list(_rows_of(path)) or [[]]
        for name in (by or REQUEST_ID, *targets, *({ROW} & {*self.columns})):
            if (count := self.columns.count(name)) != 1:
                raise OutcomesError(
                    f"{path} has {count} columns {name!r}: its header is {self.columns} by commas"
                )
        self.met: Counter[int] = Counter()
        self.by = by
        self.named = tuple(targets)
        self._tells_row = ROW in self.columns
        self._places: dict[Hashable, list[int]] = defaultdict(list)
        for place, cells in enumerate(self.rows):
            for value in self._values(dict(zip(self.columns, cells, strict=True))):
                self._places[_key(value)].append(place)

    def _values(self, cells: Mapping[str, str]) -> Sequence[object]:
        """Give what a row may be found by: several, as a cell tells no type."""
        if not self.by:
            return [(cells[REQUEST_ID], number_of(cells[ROW]) if self._tells_row else 0)]
        cell = cells[self.by]
        values = (cell, number_of(cell), BOOLEANS.get(cell.lower()))
        return [value for value in values if value is not None]

    def of(self, line: Logged, columns: Sequence[str]) -> list[tuple[str, ...]]:
        """Find what the labels of a prediction have in columns.

        Raises:
            OutcomesError: they may be those of another row of the request.
        """
        request = line.request_id, line.row if self._tells_row else 0
        places = self._places.get(_key(line.features.get(self.by) if self.by else request), [])
        if places and line.row and not (self.by or self._tells_row):
            raise OutcomesError(
                f"request {line.request_id} has several rows, and the labels have no column "
                f"{ROW!r} that tells which of them is meant (0 is the first)"
            )
        self.met.update(places)
        found = [self.columns.index(name) for name in columns]
        return [tuple(self.rows[place][column] for column in found) for place in places]


def _key(value: object) -> Hashable:
    """Give a value with its kind: 1 is 1.0, but neither true nor "1"; what is missing has none."""
    return float if type(value) is int else type(value), value


def number_of(cell: str) -> int | float | None:
    """Read a finite number, whole numbers exactly; none, if it is none."""
    for read in (int, float):
        with suppress(ValueError, OverflowError):
            if math.isfinite(number := read(cell)) and "_" not in cell:  # Python alone has 1_000
                return number
    return None


def _rows_of(path: str) -> Iterator[list[str]]:
    """Give the rows that are not empty, the header first.

    Raises:
        OutcomesError: it is no CSV in UTF-8 with as many cells in each row.
    """
    with Path(path).open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        width = 0
        try:
            for row in filter(None, reader):
                width = width or len(row)
                if len(row) != width:
                    raise csv.Error(f"{len(row)} cells, and the header has {width}")
                yield row
        except (UnicodeDecodeError, csv.Error) as exc:
            raise OutcomesError(f"{path}, after line {reader.line_num}: {exc}") from None

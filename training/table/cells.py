"""What the cells of a file mean: numbers however they are written, gaps, codes, or text.

A column of text comes from the parser as it is written. What is a column of numbers all the same,
but for marks that mean missing, or since its numbers are written as Europe does, is read here.
What can be read in two ways stays text, and is told as a doubt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from serving.model.reading import PLAINLY, USUAL, Reading, Style
from training.table.marks import never_found, told_missing, without
from training.table.numerals import (
    are_numbers,
    doubt_of,
    evened,
    may_be_thousands,
    styles_of,
    values_of,
)

BOOLEANS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
CODE = "-?0[0-9]+"  # a zero before other digits, as of a town


@dataclass(frozen=True, slots=True)
class Remarks:
    """What a person should know of how a file was read.

    ``file`` are whole sentences. By column, ``decided`` has the ends of sentences that begin with
    the column's name, and ``doubts`` what only a person can settle. ``reading`` is what it takes to
    read others alike; None, where there was no file.
    """

    file: tuple[str, ...] = ()
    decided: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    doubts: Mapping[str, str] = field(default_factory=dict)
    reading: Reading | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column as far as it is understood.

    ``styles`` are the ways in which its ``numbers`` (cells that are no gaps) can be read: more than
    one, if it is in doubt, and text until that is settled.
    """

    values: pd.Series
    notes: tuple[str, ...] = ()
    styles: tuple[Style, ...] = ()
    numbers: pd.Series | None = None

    @property
    def is_doubtful(self) -> bool:
        """Tell whether it can be read in two ways."""
        return len(self.styles) > 1

    @property
    def shows_point(self) -> bool:
        """Tell whether it leaves no doubt that the point is the decimal mark."""
        is_float = pd.api.types.is_float_dtype(self.values)
        return is_float and [style.decimal for style in self.styles] == ["."]

    def settled(self, style: Style) -> "Column":
        """Read it in one of the ways in which it can be; codes stay text, and so does too much."""
        if self.numbers is None:
            return self
        numbers = values_of(self.numbers, style)
        is_code = style == PLAINLY and pd.api.types.is_integer_dtype(numbers)
        if numbers is None or (is_code and self.numbers.str.fullmatch(CODE).any()):
            return Column(self.values, self.notes)
        told = () if style == PLAINLY else (str(style),)
        return Column(numbers.reindex(self.values.index), (*self.notes, *told), (style,))


def understood(values: pd.Series) -> Column:
    """Find out what a column of strings holds, in which only empty cells are missing yet."""
    cells = values.dropna()
    usual = cells.isin(USUAL)
    marks = cells[usual]
    said = cells[~usual] if len(marks) else cells
    booleans = len(said) and said.isin(BOOLEANS).all()
    even = evened(said)
    styles = styles_of(even) if len(said) and not booleans else ()
    if not booleans and not styles:
        numbers = are_numbers(said)
        if not numbers.sum() > (~numbers).sum():
            return Column(values)
    notes = (told_missing(marks),) if len(marks) else ()
    values = values.mask(usual.reindex(values.index, fill_value=False)) if len(marks) else values
    if booleans:
        return Column(values.map(BOOLEANS).astype("boolean"), notes)
    column = Column(values, notes, styles, even)
    return column.settled(styles[0]) if len(styles) == 1 else column


@dataclass(frozen=True, slots=True)
class Parsed:
    """A file's cells, parsed: numbers and booleans where all cells are such, else strings.

    The empty cell is a gap, and so is what is one of a person's marks. ``written`` has columns, by
    their places, as they are written, the empty cell as such: those that have to be looked at.
    """

    frame: pd.DataFrame
    written: Mapping[int, pd.Series]
    marks: Sequence[str] = ()

    def cells(self, place: int) -> pd.Series:
        """Give a column as it is written, with its gaps."""
        return self.written[place].mask(self.frame.iloc[:, place].isna())

    def marked(self, place: int) -> pd.Series:
        """Give the cells that a person's marks made gaps of."""
        if place not in self.written:
            return pd.Series(dtype="string")
        cells = self.written[place][self.frame.iloc[:, place].isna()]
        return cells[cells != ""]


def to_look_at(frame: pd.DataFrame, *, marks: bool, codes: bool, thousands: bool) -> list[int]:
    """Give the places of columns that have to be seen as they are written.

    That is so to count what marks made gaps of, to find codes among whole numbers, and points that
    may stand between thousands.
    """
    types = pd.api.types
    return [
        place
        for place, (_, column) in enumerate(frame.items())
        if (marks and column.isna().any())
        or (codes and types.is_integer_dtype(column))
        or (thousands and types.is_float_dtype(column) and may_be_thousands(column))
    ]


def read_cells(parsed: Parsed, *, decimal: str | None, point: bool) -> tuple[pd.DataFrame, Remarks]:
    """Understand all columns of a file.

    ``decimal`` is what a person says the decimal mark is, where a column leaves it open; ``point``
    says that without such a word it is the point.
    """
    columns = [_column(parsed, place) for place in range(parsed.frame.shape[1])]
    point = point or any(column.shows_point for column in columns)
    found: dict[str, pd.Series] = {}
    decided: dict[str, tuple[str, ...]] = {}
    doubts: dict[str, str] = {}
    styles: dict[str, Style] = {}
    gone: list[pd.Series] = []
    for place, (name, column) in enumerate(zip(parsed.frame, columns, strict=True)):
        settled = _settled(column, decimal, point) if column.is_doubtful else column
        if settled.is_doubtful and settled.numbers is not None:
            doubts[name] = doubt_of(settled.numbers, settled.styles)
        found[name], lost = _unmarked(parsed, place, settled.values)
        if notes := ((told_missing(lost),) if len(lost) else ()) + settled.notes:
            decided[name] = notes
        if settled.styles and settled.styles != (PLAINLY,) and not settled.is_doubtful:
            styles[name] = settled.styles[0]
        gone.append(lost)
    unfound = never_found(parsed.marks, gone)
    reading = Reading(missing=tuple(dict.fromkeys(parsed.marks)), numbers=styles)
    frame = pd.DataFrame(found, index=parsed.frame.index)
    return frame, Remarks(unfound, decided, doubts, reading)


def _column(parsed: Parsed, place: int) -> Column:
    """Understand a column, as far as it tells by itself."""
    values = parsed.frame.iloc[:, place]
    if isinstance(values.dtype, pd.StringDtype):
        return understood(values)
    if pd.api.types.is_integer_dtype(values) and place in parsed.written:
        cells = parsed.cells(place)
        return Column(cells if cells.str.fullmatch(CODE).any() else values)
    if not pd.api.types.is_float_dtype(values):
        return Column(values)
    if place in parsed.written:
        cells = parsed.cells(place)
        numbers = evened(cells.dropna())
        if len(styles := styles_of(numbers)) > 1:
            return Column(cells, (), styles, numbers)
    return Column(values, styles=(PLAINLY,))


def _unmarked(parsed: Parsed, place: int, values: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Make gaps of marks that were no numbers to the parser, such as -999,0; give all such."""
    lost = parsed.marked(place)
    if not parsed.marks or isinstance(values.dtype, pd.StringDtype):
        return values, lost
    values, more = without(values, parsed.marks)
    return values, pd.concat([lost, more]) if len(more) else lost


def _settled(column: Column, decimal: str | None, point: bool) -> Column:
    """Read a column in doubt as a person says, or with the point as the rest of the file has it."""
    for style in column.styles:
        if style.decimal == decimal or (decimal is None and point and style == PLAINLY):
            return column.settled(style)
    return column


def without_marks(frame: pd.DataFrame, marks: Sequence[str]) -> tuple[pd.DataFrame, Remarks]:
    """Make gaps of a person's marks in columns that have types of their own, as in Parquet."""
    if not marks:
        return frame, Remarks()
    columns = {name: without(column, marks) for name, column in frame.items()}
    decided = {str(name): (told_missing(gone),) for name, (_, gone) in columns.items() if len(gone)}
    unfound = never_found(marks, [gone for _, gone in columns.values()])
    kept = {name: values for name, (values, _) in columns.items()}
    return pd.DataFrame(kept, index=frame.index), Remarks(
        unfound, decided, reading=Reading(missing=tuple(dict.fromkeys(marks)))
    )

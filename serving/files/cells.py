"""The cells of a column of text as values of a feature: read by the model's type, as training read.

Cells are Arrow's strings, null where one is empty. What is none of the feature's type stays the
string that it is, of which the service has its own words; nothing is guessed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serving.files.arrow import MAX_WHOLE, missing_in, strings_of
from serving.files.source import Taken
from serving.model.columns import Column
from serving.model.features import Feature
from serving.model.outputs import Array
from serving.model.reading import APOSTROPHES, BLANKS, PLAINLY, USUAL, Style

# As the service takes them; training knows the first two alone.
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
_FALSE, _TRUE, _MISSING, _OTHER = range(4)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a column is written: its numbers, and marks of missing values beside the usual ones."""

    style: Style = PLAINLY
    marks: tuple[str, ...] = ()


def column_of(feature: Feature, cells: pa.Array, manner: Manner) -> tuple[Column, Taken]:
    """Give a feature's column, and count what was converted or taken for missing."""
    if feature.type in {"category", "text"}:
        column, taken = _strings(cells, manner, nullable=feature.nullable)
    elif feature.type == "boolean":
        column, taken = _booleans(cells, manner)
    else:
        column, taken = _numbers(cells, manner, whole=feature.type == "integer")
    return column, Counter({(feature.name, told): n for told, n in taken.items() if n})


def _strings(cells: pa.Array, manner: Manner, *, nullable: bool) -> tuple[Column, Counter[str]]:
    """Give strings as they are written; an empty cell is one, where none may be missing.

    So the service has it, where it reads CSV.
    """
    column = strings_of(cells if nullable else cells.fill_null(""))
    if not manner.marks:
        return column, Counter()
    words, gone = column.words or (), _mask(column.missing, column.values)
    marked = np.array([word in manner.marks for word in words])[column.values] & ~gone
    if marked.any():
        column.missing = marked | gone
    return column, _counted([words[at] for at in column.values[marked]])


def _booleans(cells: pa.Array, manner: Manner) -> tuple[Column, Counter[str]]:
    column = strings_of(cells)
    places, words = column.values, column.words or ()
    marks = {*USUAL, *manner.marks}
    of_words = [
        _MISSING if word in marks else int(_BOOLEANS.get(word.strip().lower(), _OTHER))
        for word in words
    ]
    empty = _mask(column.missing, places)
    kinds = np.where(empty, _MISSING, np.array(of_words)[places])
    missing = kinds == _MISSING
    others = {int(at): words[places[at]] for at in np.flatnonzero(kinds == _OTHER)}
    taken = _counted([words[at] for at in places[missing & ~empty]])
    return Column(kinds == _TRUE, missing if missing.any() else None, others=others), taken


def _mask(missing: Array | None, values: Array) -> Array:
    return np.zeros(len(values), bool) if missing is None else missing


def _counted(cells: Sequence[str]) -> Counter[str]:
    return Counter({told_missing(mark): count for mark, count in Counter(cells).items()})


def told_missing(mark: str) -> str:
    """Tell that a mark is taken for missing; the sentence goes on after the column's name."""
    return f"{mark!r} taken for missing"


def _numbers(cells: pa.Array, manner: Manner, *, whole: bool) -> tuple[Column, Counter[str]]:
    taken: Counter[str] = Counter()
    others: dict[int, object] = {}
    texts, doubles = cells, _doubles(cells) if manner.style == PLAINLY else None
    if doubles is None:
        marked = pc.is_in(cells, pa.array([*USUAL, *manner.marks], pa.string()))
        if pc.any(marked).as_py():
            taken += _counted(cells.filter(marked).to_pylist())
            cells = pc.if_else(marked, None, cells)
        texts, doubles = cells, _doubles(cells) if manner.style == PLAINLY else None
    if doubles is None:
        texts, others = _written_plainly(cells, manner.style)
        doubles = texts.cast(pa.float64())
        if manner.style != PLAINLY:
            taken[str(manner.style)] += len(texts) - texts.null_count
    missing = missing_in(cells)
    values = doubles.fill_null(0).to_numpy(zero_copy_only=False)
    if whole:
        values, giants = _whole(texts, values)
        others |= giants
    for mark in map(_number, manner.marks):
        if mark is not None and (hits := (values == mark) & ~_mask(missing, values)).any():
            hits[list(others)] = False
            missing = _mask(missing, values) | hits
            taken[told_missing(f"{mark:g}")] += int(hits.sum())
    return Column(values, missing, others=others), taken


def _doubles(cells: pa.Array) -> pa.Array | None:
    """Read numbers as Arrow does; None, if some are none, or NaN however that is written."""
    try:
        doubles = cells.cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    return None if pc.any(pc.is_nan(doubles)).as_py() else doubles


def _written_plainly(cells: pa.Array, style: Style) -> tuple[pa.Array, dict[int, object]]:
    """Write numbers of a style as Arrow reads them, and give what fits that style nowhere."""
    texts = pc.ascii_trim_whitespace(cells)
    for kinds in (BLANKS, APOSTROPHES):
        if kinds[0] == style.thousands:
            texts = pc.replace_substring_regex(texts, f"[{kinds[1:]}]", kinds[0])
    fit = pc.match_substring_regex(texts, f"^{style.pattern}$")
    unfit = pc.and_(pc.invert(fit), cells.is_valid()).fill_null(False)
    places = np.flatnonzero(unfit.to_numpy(zero_copy_only=False))
    others = dict(zip(places.tolist(), cells.take(places).to_pylist(), strict=True))
    texts = pc.if_else(fit, texts, None)
    if style.thousands:
        texts = pc.replace_substring(texts, style.thousands, "")
    if style.decimal != ".":
        texts = pc.replace_substring(texts, style.decimal, ".")
    return texts, others


def _whole(texts: pa.Array, doubles: Array) -> tuple[Array, dict[int, object]]:
    """Give whole numbers as int64; as doubles, if some are written otherwise, such as 5.0.

    What no double holds exactly then is given beside, as is what no int64 holds.
    """
    try:
        # Arrow takes a plus for no part of a whole number.
        whole = pc.replace_substring_regex(texts, r"^\+", "").cast(pa.int64())
        return whole.fill_null(0).to_numpy(zero_copy_only=False), {}
    except pa.ArrowInvalid:
        pass
    places = np.flatnonzero(np.abs(doubles) >= MAX_WHOLE)
    giants = dict(zip(places.tolist(), texts.take(places).to_pylist(), strict=True))
    return doubles, {at: int(text) for at, text in giants.items() if text.strip("+-").isdecimal()}


def _number(mark: str) -> float | None:
    """Give the number that a mark is, if it is one."""
    try:
        return float(mark)
    except ValueError:
        return None

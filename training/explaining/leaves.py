"""What is kept of trees: the conditions of each leaf on columns, and which a background fails."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from serving.explaining.conditions import Conditions
from serving.explaining.kept import Kept
from serving.explaining.leaves import FEW, SIZES
from serving.model.description import Description
from serving.model.features import Row
from serving.model.outputs import Array
from training.explaining.built import Built, CannotExplainError
from training.explaining.ensembles import ensemble_of
from training.explaining.images import Images
from training.explaining.paths import Paths, paths_of

MAX_PATTERNS = 4_000_000  # of all leaves together: two or three bytes each, and nanoseconds a row
MAX_VALUES = 4_000_000  # that leaves hold
MIN_ROWS = 10  # of a background
TOGETHER = 4096  # leaves of which patterns are found at once


class _Leaves(NamedTuple):
    """Leaves that have a place for so many conditions (leaves, size), and hold values."""

    size: int
    conditions: Array
    values: Array


class _Patterns(NamedTuple):
    """The patterns of a background, leaf after leaf: how many, which, and how many rows have each.

    ``met`` tells of each leaf how many rows fail none of its conditions.
    """

    number: Array
    masks: Array
    counts: Array
    met: Array


def build(images: Images, background: Sequence[Row], description: Description) -> Built:
    """Take what explains an estimator that is a sum of trees.

    If leaves would have too many patterns, it compares with fewer rows: see `thinned`.

    Raises:
        CannotExplainError: it can't be explained so.
    """
    ensemble = ensemble_of(images.part, description)
    paths = paths_of(ensemble, images, background)
    if paths.values.size > MAX_VALUES:
        raise CannotExplainError("its leaves hold too many numbers")
    told, arrays, numbers = _conditions(paths)
    conditions = Conditions(Kept({"columns": told}, arrays))
    parts, always = _by_size(paths, numbers)
    rows, patterns = background, _all_patterns(conditions, parts, background)
    while (count := sum(len(found.masks) for found in patterns)) > MAX_PATTERNS:
        rows = thinned(background, int(0.9 * len(rows) * MAX_PATTERNS / count))
        if len(rows) < MIN_ROWS:
            raise CannotExplainError("its trees have too many leaves")
        patterns = _all_patterns(conditions, parts, rows)
    base = always
    for part, found in zip(parts, patterns, strict=True):
        base = base + found.met @ part.values / len(rows)
        arrays |= {
            f"conditions{part.size}": part.conditions,
            f"values{part.size}": part.values,
            f"patterns{part.size}": found.number,
            f"masks{part.size}": found.masks,
            f"counts{part.size}": found.counts,
        }
    arrays |= {"base": ensemble.start + base @ ensemble.mix, "mix": ensemble.mix}
    kept = Kept({"columns": told, "background_rows": len(rows)}, arrays)
    return Built(ensemble.output, kept, len(rows))


def thinned(background: Sequence[Row], count: int) -> Sequence[Row]:
    """Give so many rows of a background, from all over it."""
    return [background[at * len(background) // count] for at in range(count)]


def _conditions(paths: Paths) -> tuple[list[dict[str, Any]], dict[str, Array], list[Array]]:
    """Number the different conditions on each column, from 1 on: see `Conditions`."""
    told, numbers, start = [], [], 1
    arrays: dict[str, list[Array]] = {}
    for on in paths.conditions:
        different, number = np.unique(on.packed, axis=0, return_inverse=True)
        about, kept = on.restricted.kept(different)
        told.append({"feature": on.feature, "conditions": len(different), **about})
        numbers.append(number.ravel() + start)
        start += len(different)
        for name, array in kept.items():
            arrays.setdefault(name, []).append(array)
    return told, {name: np.concatenate(parts) for name, parts in arrays.items()}, numbers


def _by_size(paths: Paths, numbers: Sequence[Array]) -> tuple[list[_Leaves], Array]:
    """Sort leaves by how many places they need; what those hold that ask nothing is always there.

    The places of a leaf are those of all columns, if these are few.
    """
    on = paths.conditions
    leaf = np.concatenate([np.empty(0, np.intp), *(each.leaves for each in on)])
    column = np.repeat(np.arange(len(on)), [len(each.leaves) for each in on])
    number = np.concatenate([np.empty(0, np.intp), *numbers])
    counts = np.bincount(leaf, minlength=len(paths.values))
    places = column
    needed = np.where(counts > 0, len(on), 0)
    if len(on) > FEW:
        order = np.lexsort((column, leaf))
        leaf, number = leaf[order], number[order]
        places = np.arange(len(leaf)) - np.repeat(np.cumsum(counts) - counts, counts)
        needed = counts
    if needed.max(initial=0) > SIZES[-1]:
        raise CannotExplainError(f"its leaves ask for more than {SIZES[-1]} columns")
    dtype = np.min_scalar_type(number.max(initial=0))
    parts = []
    # Those that add to the same output stand together, so that others need not be thought of.
    order = np.argsort((paths.values != 0).argmax(axis=1), kind="stable")
    row = np.empty(len(order), dtype=np.intp)
    for size, smaller in zip(SIZES, (0, *SIZES), strict=False):
        is_own = (needed > smaller) & (needed <= size)
        own = order[is_own[order]]
        if not len(own):
            continue
        row[own] = np.arange(len(own))
        conditions = np.zeros((len(own), size), dtype=dtype)
        theirs = is_own[leaf]
        conditions[row[leaf[theirs]], places[theirs]] = number[theirs]
        parts.append(_Leaves(size, conditions, paths.values[own]))
    return parts, paths.values[needed == 0].sum(axis=0)


def _all_patterns(
    conditions: Conditions, parts: Sequence[_Leaves], background: Sequence[Row]
) -> list[_Patterns]:
    failed = np.array([conditions.failed(row) for row in background])
    return [_patterns(failed, part) for part in parts]


def _patterns(failed: Array, part: _Leaves) -> _Patterns:
    """Find the patterns of rows by which of all conditions they failed (rows, conditions)."""
    found = []
    for start in range(0, len(part.conditions), TOGETHER):
        lost = failed[:, part.conditions[start : start + TOGETHER]]
        bits = np.packbits(lost, axis=2, bitorder="little").view(f"<u{part.size // 8}")
        masks = np.sort(bits[:, :, 0].T, axis=1)
        is_new = np.ones(masks.shape, dtype=bool)
        is_new[:, 1:] = masks[:, 1:] != masks[:, :-1]
        counts = np.diff(np.append(np.flatnonzero(is_new), is_new.size))
        met = np.count_nonzero(masks == 0, axis=1)
        found.append((is_new.sum(axis=1), masks[is_new], counts, met))
    number, masks, counts, met = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    dtype = np.min_scalar_type(len(failed))
    return _Patterns(number.astype(dtype), masks, counts.astype(dtype), met)

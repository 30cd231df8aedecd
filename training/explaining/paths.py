"""The ways from the roots of trees to their leaves, and what each column may be at their ends."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from serving.model.features import Row
from serving.model.outputs import Array
from training.compiling.tree import MAX_LEAVES
from training.explaining.built import CannotExplainError
from training.explaining.conditions import Ranges, Restricted, Sets, Splits
from training.explaining.cuts import rounded, side_by_side
from training.explaining.ensembles import Ensemble
from training.explaining.images import Images

MAX_STATE = 2**26  # bytes for what is known of nodes that are looked at together


class On(NamedTuple):
    """What is asked of a feature, by its place: which leaves ask, and what is left to it there."""

    feature: int
    restricted: Restricted
    leaves: Array
    packed: Array


class Paths(NamedTuple):
    """What leaves hold (leaves, n), of all that add anything to some row, and their conditions."""

    values: Array
    conditions: Sequence[On]


class _Nodes(NamedTuple):
    """The nodes of all trees; where ``left`` is negative is a leaf.

    ``splits`` has what leaves ask too, which is of no account. ``column`` has the place, among the
    features that are asked about, of each node's, and ``at`` that of a node among those that ask.
    """

    left: Array
    right: Array
    value: Array
    roots: Array
    splits: Splits
    column: Array
    at: Array


def paths_of(ensemble: Ensemble, images: Images, background: Sequence[Row]) -> Paths:
    """Follow all ways.

    Raises:
        CannotExplainError: there are too many, or what is asked is no condition on one column.
    """
    nodes = _nodes(ensemble, images)
    features = np.unique(nodes.column[nodes.left >= 0]).tolist()
    asked = _restricted(nodes, features, ensemble, images, background)
    # From here on columns are those that are asked about.
    nodes = nodes._replace(column=np.searchsorted(features, nodes.column))
    ends = list(_ends(nodes, asked))
    starts = np.cumsum([0, *(len(leaves) for leaves, _ in ends)])
    conditions = []
    for place, (feature, restricted) in enumerate(zip(features, asked, strict=True)):
        owned = [states[place] for _, states in ends]
        leaves = [own + start for (own, _), start in zip(owned, starts, strict=False)]
        packed = np.concatenate([kept for _, kept in owned])
        if len(packed):
            conditions.append(On(feature, restricted, np.concatenate(leaves), packed))
    return Paths(nodes.value[np.concatenate([leaves for leaves, _ in ends])], conditions)


def _nodes(ensemble: Ensemble, images: Images) -> _Nodes:
    """Put the nodes of all trees one behind the other."""
    trees = ensemble.trees
    starts = np.cumsum([0, *(len(tree.left) for tree in trees)])
    left, right = (
        np.concatenate(
            [
                np.where(tree.left < 0, -1, getattr(tree, side) + start)
                for tree, start in zip(trees, starts, strict=False)
            ]
        )
        for side in ("left", "right")
    )
    if np.count_nonzero(left < 0) > MAX_LEAVES:
        raise CannotExplainError(f"it has more than {MAX_LEAVES} leaves")
    feature, threshold, missing_left, value = (
        np.concatenate([getattr(tree, name) for tree in trees])
        for name in ("feature", "threshold", "missing_left", "value")
    )
    if ensemble.rounded:
        threshold = rounded(threshold)
    # Which column of the table each column of the matrix is of, and each split by categories.
    owners = np.empty(images.width, dtype=np.intp)
    for place, image in enumerate(images.all):
        owners[image.columns] = place
    by_split = [owners[split.feature] for split in ensemble.splits]
    column = np.concatenate([owners, np.array(by_split, dtype=np.intp)])[feature.clip(0)]
    at = np.empty(len(column), dtype=np.intp)
    for place in range(len(images.all)):
        (own,) = np.nonzero((column == place) & (left >= 0))
        at[own] = np.arange(len(own))
    splits = Splits(feature, threshold, missing_left.astype(bool))
    return _Nodes(left, right, value, starts[:-1], splits, column, at)


def _restricted(
    nodes: _Nodes,
    features: Sequence[int],
    ensemble: Ensemble,
    images: Images,
    background: Sequence[Row],
) -> list[Restricted]:
    found: dict[int, Restricted] = {}
    asking = {}
    for at in features:
        image = images.all[at]
        own = (nodes.column == at) & (nodes.left >= 0)
        splits = Splits(*(array[own] for array in nodes.splits))
        if image.values is not None:
            found[at] = Sets(image, splits, images.width, ensemble.splits)
        else:
            seen = [value for row in background if isinstance(value := row[at], int | float)]
            asking[at] = Ranges.asking(image, splits, seen)
    found |= side_by_side(asking, images.of_each, len(images.all))
    return [found[at] for at in features]


def _ends(
    nodes: _Nodes, asked: Sequence[Restricted]
) -> Iterator[tuple[Array, Sequence[tuple[Array, Array]]]]:
    """Give leaves that add anything, and of each column which of these ask, and what is left."""
    widest = max(1, sum(restricted.start(1).nbytes for restricted in asked))
    sizes = np.diff(np.append(nodes.roots, len(nodes.left)))
    part = np.cumsum(sizes) * widest // MAX_STATE
    for number in np.unique(part):
        for found, states in _walk(nodes, asked, nodes.roots[part == number]):
            empty = [r.is_empty(state) for r, state in zip(asked, states, strict=True)]
            there = nodes.value[found].any(axis=1) & ~np.any(empty, axis=0)
            kept = []
            for restricted, state in zip(asked, states, strict=True):
                own = ~restricted.is_whole(state[there])
                kept.append((np.flatnonzero(own), restricted.packed(state[there][own])))
            yield found[there], kept


def _walk(
    nodes: _Nodes, asked: Sequence[Restricted], roots: Array
) -> Iterator[tuple[Array, Sequence[Array]]]:
    """Give leaves with what is left to each column, the ones nearest to the roots first."""
    found, states = roots, [restricted.start(len(roots)) for restricted in asked]
    while len(found):
        is_leaf = nodes.left[found] < 0
        yield found[is_leaf], [state[is_leaf] for state in states]
        found, states = found[~is_leaf], [state[~is_leaf] for state in states]
        below = []
        for is_left in (True, False):
            own = [state.copy() for state in states]
            for place, restricted in enumerate(asked):
                (rows,) = np.nonzero(nodes.column[found] == place)
                splits = nodes.at[found[rows]]
                own[place][rows] = restricted.split(own[place][rows], splits, left=is_left)
            below.append(own)
        found = np.concatenate([nodes.left[found], nodes.right[found]])
        states = [np.concatenate(sides) for sides in zip(*below, strict=True)]

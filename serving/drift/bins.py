"""Bins: where a value falls, of a feature or of what was predicted.

Training counts its rows in them, and serving those of requests.
A bin's name gives nothing away that is not published: those of numbers are numbered, and of
categories only the common ones are named.
"""

import json
import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import zip_longest
from typing import Any

import numpy as np

from serving.drift.ranges import outside, ranges
from serving.model.description import Reference, label_key
from serving.model.domains import Frequencies, Interval
from serving.model.features import Boolean, Category, Feature, Number, Text, Value
from serving.model.outputs import Array

BELOW, ABOVE, MISSING, RARE, UNSEEN = "below", "above", "missing", "rare", "unseen"
RESERVED = frozenset({BELOW, ABOVE, MISSING, RARE, UNSEEN})
MAX_NAMED = 30  # categories of a feature, or classes, with a bin of their own
NARROWED = 2.0**-23  # as far from itself, relative to it, a number may come from 32 bits
LEAST_PART = 1e-3  # of a bin, which is at most taken for the edge below it


class Bins:
    """The bins of one feature, or of what is predicted; `names`, and `words` for people."""

    names: tuple[str, ...]
    words: tuple[str, ...]

    @abstractmethod
    def count(self, values: Sequence[Any] | Mapping[Any, int]) -> Array:
        """Count values, or how often there is each: an integer for each bin, in their order.

        Numbers come one by one, and may be an array of doubles, NaN where one is missing.
        """


class Intervals(Bins):
    """Bins of numbers, between edges; each edge is the last number of its bin.

    What 32 bits make of an edge is that edge: many clients send such numbers, and 4.9 comes as
    4.900000095. Of ``whole`` numbers none is moved by that, unless it is made another.

    Where it is known ``within`` what training saw them, there are bins `below` and `above` that.
    Where the model takes numbers for categories, all but the ``known`` ones are `unseen`.
    """

    def __init__(
        self,
        edges: Sequence[float],
        within: Interval | None = None,
        known: Sequence[float] | None = None,
        *,
        nullable: bool = False,
        whole: bool = False,
        unit: str = "",
    ) -> None:
        """Take the edges, in order, which lie within the interval and below its end."""
        inner = [str(number) for number in range(len(edges) + 1)]
        words = ranges(edges, within, whole=whole, unit=unit)
        near = _exact if whole else _narrowed
        if within is None or known is not None:
            lasts = near(edges)
        else:
            low, high = float(within.minimum), float(within.maximum)
            (lowest,) = near([-low])
            lasts = [math.nextafter(-lowest, -math.inf), *near([*edges, high])]
            inner = [BELOW, *inner, ABOVE]
            below, above = outside(within, unit)
            words = [below, *words, above]
        # What is missing is NaN, which has its place behind all numbers.
        self._edges = np.array([*lasts, np.inf])
        self._known = None if known is None else np.array(known, dtype=float)
        self._unseen = len(inner) + nullable
        names = (*inner, *[MISSING] * nullable, *[UNSEEN] * (known is not None))
        self.names = names
        self.words = (*words, *(_WORDS[name] for name in names[len(inner) :]))

    def count(self, values: Sequence[float | None]) -> Array:  # type: ignore[override]
        """Count numbers, and None where one is missing."""
        numbers = np.array(values, dtype=float)
        at = np.searchsorted(self._edges, numbers)
        if self._known is not None:
            at[~np.isin(numbers, self._known) & ~np.isnan(numbers)] = self._unseen
        return np.bincount(at, minlength=len(self.names))


def _exact(edges: Sequence[float]) -> list[float]:
    return list(edges)


def _narrowed(edges: Sequence[float]) -> list[float]:
    """Move edges up so far that 32 bits make of none what lies above it, and no bin is lost."""
    return [
        edge + min(abs(edge) * NARROWED, (following - edge) * LEAST_PART)
        for edge, following in zip_longest(edges, edges[1:], fillvalue=math.inf)
    ]


class Lengths(Intervals):
    """Bins of texts, by their lengths in characters."""

    def count(  # type: ignore[override]
        self, values: Sequence[str | None] | Mapping[str | None, int]
    ) -> Array:
        """Count texts, and None where one is missing."""
        each = Counter(values).elements() if isinstance(values, Mapping) else values
        return super().count([None if value is None else len(value) for value in each])


class Names(Bins):
    """Bins of labels: some by name, and the known others as `rare`.

    The rest is `unseen`; where nothing is, as all are known by nature, it is `rare` too.
    """

    def __init__(self, names: Sequence[str], others: Iterable[str] = ()) -> None:
        """Take the bins' names, and the digests of the labels that are known beside them."""
        self.names = tuple(names)
        self._all_known = UNSEEN not in self.names
        told = {**_WORDS, RARE: "all others"} if self._all_known else _WORDS
        self.words = tuple(told.get(name, name or '""') for name in self.names)
        self._at = {name: at for at, name in enumerate(names)}
        self._others = frozenset(others)

    def count(self, values: Sequence[Value] | Mapping[Value, int]) -> Array:
        """Count labels, and None where one is missing."""
        counts = np.zeros(len(self.names), dtype=np.int64)
        for value, count in Counter(values).items():
            counts[self._at[self._bin(value)]] += count
        return counts

    def _bin(self, value: Value) -> str:
        if value is None:
            return MISSING
        key = label_key(value)
        if (name := bin_of(key)) in self._at:
            return name
        return RARE if self._all_known or digest(key) in self._others else UNSEEN


_WORDS = {
    MISSING: "missing",
    RARE: "other categories of training",
    UNSEEN: "never seen in training",
}


def bin_of(key: str) -> str:
    """Name the bin of a label; in quotes, if it would be taken for another."""
    is_taken = key in RESERVED or key.startswith('"')
    return json.dumps(key, ensure_ascii=False) if is_taken else key


def digest(key: str) -> str:
    """Give what tells a label from others, and does not tell it."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def bins_of_feature(feature: Feature, reference: Reference) -> Bins:
    """Give the bins of a feature; ``rows`` of its reference need not be there yet.

    Raises:
        ValueError: what training saw of it is not known.
    """
    edges, nullable = reference.edges, feature.nullable
    match feature:
        case Number(trained=Interval() as within):
            whole, known = feature.type == "integer", feature.known
            return Intervals(edges, within, known, nullable=nullable, whole=whole)
        case Boolean(trained=Frequencies(categories=seen)):
            return Names((*seen, *[MISSING] * nullable))
        case Category(trained=Frequencies(categories=seen)):
            names = named_bins(list(seen), others=bool(reference.others))
            return Names((*names, UNSEEN, *[MISSING] * nullable), reference.others)
        case Text(trained=lengths) if lengths is not None:
            within = Interval(minimum=lengths.min_length, maximum=lengths.max_length)
            return Lengths(edges, within, nullable=nullable, whole=True, unit=" characters")
    raise ValueError(f"what training saw of {feature.name!r} is not known")


def bins_of_output(reference: Reference, *, is_number: bool) -> Bins:
    """Give the bins of a number, or of labels, that is predicted."""
    return Intervals(reference.edges) if is_number else Names(tuple(reference.rows))


def named_bins(keys: Sequence[str], *, others: bool) -> list[str]:
    """Name the bins of labels, the commonest first, and one for the others."""
    return [*map(bin_of, keys[:MAX_NAMED]), *[RARE] * others]

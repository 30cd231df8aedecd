"""Any model, explained by asking it about rows with some columns exchanged.

A background row, in which some columns have the values of the row that is explained, is a hybrid of
both. Hybrids are made and asked by columns, some at a time: as many as training has seen to take
little time.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cache, partial
from math import factorial

import numpy as np

from serving.explaining.attribution import Ask, Attribution, Part
from serving.explaining.kept import Kept
from serving.explaining.numbers import Outputs
from serving.model.columns import Column, by_columns
from serving.model.description import Compiled, Description
from serving.model.features import Row
from serving.model.outputs import Array

# Relative to the numbers, what a column may change that the model ignores: rounding in company.
NOISE = 1e-13


class _Hybrids:
    """Asks about hybrids of a row and the rows of a background.

    ``told`` has its ``rows``, and how many hybrids to ask about, ``rows_at_once``. By
    ``numbers`` the model answers the background: an array of shape (rows, outputs).
    """

    def __init__(self, kept: Kept, description: Description, ask: Ask) -> None:
        """Take what training has kept."""
        self._features = description.features
        self._background: list[Row] = [tuple(row) for row in kept.told["rows"]]
        self._at_once: int = kept.told["rows_at_once"]
        self._numbers = kept.arrays["numbers"]
        self._base = self._numbers.mean(axis=0)
        self._ask = ask
        self._noise = NOISE
        proof = description.compiled
        if isinstance(proof, Compiled) and not proof.exact:
            # Some rows are the estimator's to answer, and others the graph's.
            self._noise = max(NOISE, 4 * proof.largest_difference)
        self._least = 1.0 if Outputs(description).is_of_probabilities else 0.0

    @property
    @abstractmethod
    def asked_rows(self) -> int:
        """How many hybrids are asked about for a row."""

    @abstractmethod
    def _chosen(self, hybrids: Array) -> tuple[Array, Callable[[int], Array]]:
        """Tell of hybrids, by number, whose background row each has, and which columns are its own.

        The latter is told column by column, as a mask.
        """

    @abstractmethod
    def _told(self, start: int, numbers: Array) -> Array:
        """Give what is to be kept of the numbers of hybrids that follow one another."""

    def parts(self, row: Row) -> Sequence[Part]:
        """Give what the model is to be asked, some hybrids each."""
        together = cache(partial(by_columns, self._features, [*self._background, row]))
        return [partial(self._part, together, start) for start in self._starts()]

    def _starts(self) -> range:
        return range(0, self.asked_rows, self._at_once)

    def _part(self, together: Callable[[], list[Column]], start: int) -> Array:
        hybrids = np.arange(start, min(start + self._at_once, self.asked_rows))
        rows, is_exchanged = self._chosen(hybrids)
        last = len(self._background)  # the row itself, behind them
        asked = [
            column.take(np.where(is_exchanged(at), last, rows))
            for at, column in enumerate(together())
        ]
        return self._told(start, self._ask(asked))

    def _settled(self, contributions: Array, changes: Array, values: Array, rest: Array) -> Array:
        """Give contributions that add up: none of a column that changes nothing but last bits.

        ``changes`` has the largest that each column makes, and ``values`` the numbers' sizes. What
        of these bits is left over, the ``rest``, goes to the columns that do change something.
        """
        sizes = np.maximum(values, self._least)
        contributions = np.where(changes > self._noise * sizes, contributions, 0.0)
        lost = rest - contributions.sum(axis=0)
        weights = np.abs(contributions)
        total = weights.sum(axis=0)
        # More than bits is no rounding: it stays, and is found not to add up.
        is_small = (np.abs(lost) <= len(contributions) * self._noise * sizes) & (total > 0)
        share = np.divide(lost, total, out=np.zeros_like(total), where=is_small)
        return np.asarray(contributions + weights * share)


class Enumeration(_Hybrids):
    """Asks about all coalitions of columns, as Shapley's definition does: of few."""

    def __init__(self, kept: Kept, description: Description, ask: Ask) -> None:
        """Take what training has kept."""
        super().__init__(kept, description, ask)
        count = len(description.features)
        self._coalitions = np.arange(1 << count)
        self._sizes = np.array([int(one).bit_count() for one in self._coalitions])
        # By how many columns are exchanged before the one that is looked at.
        self._weights = np.array(
            [
                factorial(size) * factorial(count - size - 1) / factorial(count)
                for size in range(count)
            ]
        )

    @property
    def asked_rows(self) -> int:
        """How many hybrids are asked about for a row: but for the row and the background."""
        return (len(self._coalitions) - 2) * len(self._background)

    def _chosen(self, hybrids: Array) -> tuple[Array, Callable[[int], Array]]:
        coalitions, rows = np.divmod(hybrids, len(self._background))
        return rows, lambda at: (coalitions + 1) >> at & 1 == 1

    def _told(self, start: int, numbers: Array) -> Array:
        """Give sums by coalition."""
        of = (start + np.arange(len(numbers))) // len(self._background)
        return np.add.reduceat(numbers, np.flatnonzero(np.diff(of, prepend=-1)), axis=0)

    def values(self, numbers: Array, results: Sequence[Array]) -> Array:
        """Give what each coalition is worth: an array of shape (coalitions, outputs)."""
        values = np.zeros((len(self._coalitions), len(self._base)))
        for start, sums in zip(self._starts(), results, strict=True):
            first = start // len(self._background) + 1
            values[first : first + len(sums)] += sums
        values /= len(self._background)
        values[0], values[-1] = self._base, numbers
        return values

    def joined(self, row: Row, numbers: Array, results: Sequence[Array]) -> Attribution:
        """Explain a row."""
        values = self.values(numbers, results)
        contributions, changes = [], []
        for at in range(len(row)):
            without = self._coalitions[self._coalitions >> at & 1 == 0]
            steps = values[without | 1 << at] - values[without]
            contributions.append(self._weights[self._sizes[without]] @ steps)
            changes.append(np.abs(steps).max(axis=0))
        found = self._settled(
            np.array(contributions),
            np.array(changes),
            np.abs(values).max(axis=0),
            numbers - self._base,
        )
        return Attribution(self._base, found)


class Sampled(_Hybrids):
    """Asks along permutations of columns, and tells how sure that is.

    A permutation, and the same from its end, lead from a background row to the row that is
    explained, a column at a time (antithetic sampling: Mitchell et al., "Sampling Permutations for
    Shapley Value Estimation", JMLR 23, 2022). Each background row is used equally often, so that
    what all columns add is what the row's numbers differ by from the background's mean. ``ranks``
    has the place of each column in each permutation: an array of shape (permutations, columns);
    those of a background row follow one another. They are the same for all rows.
    """

    def __init__(self, kept: Kept, description: Description, ask: Ask) -> None:
        """Take what training has kept."""
        super().__init__(kept, description, ask)
        ranks = kept.arrays["ranks"].astype(np.intp)
        pairs, columns = ranks.shape
        self._each = pairs // len(self._background)  # of the permutations, of a background row
        both = np.stack([ranks, columns - 1 - ranks], axis=1)
        self._ranks = both.reshape(2 * pairs, columns)
        self._steps: int = columns - 1  # the first is known, and the last is what is explained

    @property
    def asked_rows(self) -> int:
        """How many hybrids are asked about for a row."""
        return len(self._ranks) * self._steps

    def _chosen(self, hybrids: Array) -> tuple[Array, Callable[[int], Array]]:
        walks, steps = np.divmod(hybrids, self._steps)
        return walks // (2 * self._each), lambda at: self._ranks[walks, at] <= steps

    def _told(self, start: int, numbers: Array) -> Array:
        return numbers

    def joined(self, row: Row, numbers: Array, results: Sequence[Array]) -> Attribution:
        """Explain a row."""
        walks, outputs = len(self._ranks), len(self._base)
        path = np.empty((walks, self._steps + 2, outputs))
        path[:, 0] = np.repeat(self._numbers, 2 * self._each, axis=0)
        path[:, 1:-1] = np.concatenate(results).reshape(walks, self._steps, outputs)
        path[:, -1] = numbers
        steps = np.take_along_axis(np.diff(path, axis=1), self._ranks[:, :, np.newaxis], axis=1)
        pairs = steps.reshape(walks // 2, 2, len(row), outputs).mean(axis=1)
        by_row = pairs.reshape(len(self._background), self._each, len(row), outputs)
        found = self._settled(
            pairs.mean(axis=0),
            np.abs(steps).max(axis=0),
            np.abs(path).max(axis=(0, 1)),
            numbers - self._base,
        )
        # Of a mean of means, each of permutations that were drawn for one background row.
        variances = by_row.var(axis=1, ddof=1).mean(axis=0) / len(pairs)
        return Attribution(self._base, found, np.where(found == 0, 0.0, np.sqrt(variances)))

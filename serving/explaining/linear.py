"""Sums over columns, explained in closed form: what a column adds, less what it adds on average.

Of a number that is a line, of any other column a table of its values; training has found both.
"""

from collections.abc import Sequence

import numpy as np

from serving.explaining.attribution import Ask, Attribution, Part
from serving.explaining.kept import Kept
from serving.explaining.places import Places
from serving.model.description import Description
from serving.model.features import Row
from serving.model.outputs import Array


class Linear:
    """Explains what is a sum of functions of one column each.

    ``kept`` has for each column the ``values`` of its table, or null for a number. A number adds
    ``slopes`` * (number - ``references``) + ``offsets``, and ``missing`` where it is missing;
    ``tables`` has what stands in one table after the other.
    """

    def __init__(self, kept: Kept, description: Description, ask: Ask) -> None:
        """Take what training has kept."""
        arrays = kept.arrays
        self._base = arrays["base"]
        self._references, self._slopes = arrays["references"], arrays["slopes"]
        self._offsets, self._missing = arrays["offsets"], arrays["missing"]
        self._tables = arrays["tables"]
        self._lines: list[int] = []
        self._coded: list[int] = []
        self._places: list[tuple[int, int, Places]] = []  # the column, where its table begins
        start = 0
        for at, values in enumerate(kept.told["values"]):
            if values is None:
                self._lines.append(at)
                continue
            places = Places(values)
            self._coded.append(at)
            self._places.append((at, start, places))
            start += len(places)

    def parts(self, row: Row) -> Sequence[Part]:
        """Give nothing: all of it takes microseconds."""
        return ()

    def joined(self, row: Row, numbers: Array, results: Sequence[Array]) -> Attribution:
        """Explain a row."""
        contributions = np.empty((len(row), len(self._base)))
        own = np.array([row[at] for at in self._lines], dtype=np.float64)  # None becomes NaN
        added = self._slopes * (own - self._references)[:, np.newaxis] + self._offsets
        contributions[self._lines] = np.where(np.isnan(own)[:, np.newaxis], self._missing, added)
        places = [start + places.of(row[at]) for at, start, places in self._places]
        contributions[self._coded] = self._tables[places]
        return Attribution(self._base, contributions)

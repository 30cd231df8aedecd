"""Models of trees, their explanations by leaves, and what brute force finds."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from serving.explaining.attribution import Attribution, adds_up
from serving.explaining.leaves import Leaves
from serving.explaining.numbers import Outputs
from serving.model.columns import by_columns
from serving.model.description import Description
from serving.model.estimator import FittedEstimator
from serving.model.features import Number, Row, Value
from serving.model.outputs import Array
from tests.shapley import shapley
from training.describing.describe import rows_of
from training.explaining.images import images_of
from training.explaining.leaves import build, thinned
from training.table.table import Table

Estimator = Any  # scikit-learn has no type for it
BACKGROUND = 12
CUTS = 40  # at which rows are made


class Explained:
    """A fitted model, and its explanations by leaves."""

    def __init__(self, estimator: Estimator, description: Description, table: Table) -> None:
        """Take what explains it."""
        self.model = FittedEstimator(estimator, description)
        self.outputs = Outputs(description)
        self.rows = rows_of(table)
        self.images = images_of(self.model, estimator, self.rows, np.random.default_rng(0))
        self.compare_with(self.images.shown[-BACKGROUND:])  # with gaps, and unseen categories

    def numbers(self, rows: Sequence[Row]) -> Array:
        """Give what the model answers to rows."""
        columns = by_columns(self.model.description.features, rows)
        return self.model.numbers(columns)

    def outputs_of(self, rows: Sequence[Row]) -> Array:
        """Give what is explained of it."""
        numbers = self.numbers(rows)
        if self.built.output == "log-odds":
            return np.log(numbers) - np.log(numbers[:, ::-1])
        if self.built.output == "log-ratio":
            return np.asarray(np.log(numbers) - np.log(numbers).mean(axis=1, keepdims=True))
        return numbers

    def of(self, rows: Sequence[Row]) -> list[Attribution]:
        """Explain rows, and see that it adds up to what the model answers."""
        found = []
        for row, numbers in zip(rows, self.numbers(rows), strict=True):
            results = [part() for part in self.way.parts(row)]
            found.append(self.way.joined(row, numbers, results))
            assert adds_up(found[-1], self.built.output, numbers), row
        return found

    def compare_with(self, background: Sequence[Row]) -> None:
        """Take others than are there to compare with."""
        self.background = background
        description = self.model.description
        self.built = build(self.images, background, description)
        self.way = Leaves(self.built.kept, description, lambda _: np.empty(0))

    def assert_as_defined(self, rows: Sequence[Row]) -> None:
        """Compare with brute force."""
        background = thinned(self.background, self.built.background_rows)
        for row, attribution in zip(rows, self.of(rows), strict=True):
            base, contributions = shapley(self.outputs_of, row, background)
            np.testing.assert_allclose(attribution.base, base, rtol=0, atol=1e-9)
            np.testing.assert_allclose(attribution.contributions, contributions, rtol=0, atol=1e-9)

    def at_cuts(self) -> Iterator[Row]:
        """Make rows with numbers at which trees split, and their neighbours."""
        cuts = iter(self.built.kept.arrays.get("cuts", np.empty(0)).tolist())
        for told in self.built.kept.told["columns"]:
            place, own = told["feature"], list(islice(cuts, told["cuts"]))
            feature = self.images.all[place].feature
            for row, cut in zip(self.rows, own[:: 1 + len(own) // CUTS], strict=False):
                assert isinstance(feature, Number)
                for value in _beside(feature, cut):
                    yield (*row[:place], value, *row[place + 1 :])


def _beside(feature: Number, cut: float) -> Iterator[Value]:
    low, high = feature.bounds.ends
    if feature.type == "integer":
        yield from (int(v) for v in (cut, cut + 1) if low <= v <= high)
    else:
        values = (cut, np.nextafter(cut, np.inf), np.nextafter(cut, -np.inf))
        yield from (float(v) for v in values if low <= v <= high)

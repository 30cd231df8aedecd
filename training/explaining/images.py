"""What is made of each column of a table before the last step of an estimator, found by asking.

No transformer is known here by its name: a column is exchanged, what moves belongs to it, and rows
put together from others show whether that is all. So encoders, imputers and functions of a user's
own are alike, as long as they look at each column by itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serving.explaining.places import Places
from serving.model.columns import Column, by_columns
from serving.model.estimator import Estimator, FittedEstimator
from serving.model.features import Feature, Number, Row, Text, Value
from serving.model.outputs import Array
from training.compiling.preparation import MAX_TABLE, vocabulary_of
from training.describing.asking import some
from training.explaining.built import CannotExplainError
from training.explaining.exchange import Tried, alike, hybrids, may_come, moved, values_of
from training.explaining.steps import Steps, steps_of
from training.table.columns import MAX_WHOLE

MAX_ROWS = 200  # of the table, and as many that are put together of its values
MAX_AT_ONCE = 4096  # rows that are prepared together


@dataclass(frozen=True, slots=True)
class Image:
    """What is made of one column: some columns of a matrix of doubles, of which it alone decides.

    ``values`` are those to be told apart where the column is no number, or one that is taken for a
    category (`Places`: others, and a missing one, come on top), None where it is a number. What
    always is the same belongs to the first column.

    ``of`` gives what is made of values: an array (values, columns). Of what no request may have, as
    None where none may be missing, it gives what is made of the example; only numbers are asked for
    as they are. ``other`` is none of ``values``, or the example, if no request may have others.
    """

    feature: Feature
    columns: Array
    values: tuple[Value, ...] | None
    of: Callable[[Sequence[Value]], Array]
    other: Value = None

    @property
    def places(self) -> list[Value]:
        """The value at each of its `Places`."""
        return [*(self.values or ()), self.other, None]

    def table(self) -> Array:
        """Give what is made of these: an array (places, columns)."""
        return self.of(self.places)


@dataclass(frozen=True, slots=True)
class Images:
    """What the last step of an estimator, ``part``, is given, column by column of the table.

    ``encoded`` makes of rows the matrix (rows, width) that it is given; or its trees, if it encodes
    categories itself: the matrix of HistGradientBoosting begins with its categories' codes, and
    LightGBM's has codes for pandas' categories. ``shown`` are rows for which that was proven: of
    the table, and put together of values of all columns, missing, unseen and far ones among them.
    ``of_each`` gives what is made of some values of each column, as its image does, but asks for
    all columns together: where there are many, one by one takes long.
    """

    part: Estimator
    width: int
    all: Sequence[Image]
    encoded: Callable[[Sequence[Row]], Array]
    of_each: Callable[[Sequence[Sequence[Value]]], Sequence[Array]]
    shown: Sequence[Row] = ()


def images_of(
    model: FittedEstimator, estimator: Estimator, rows: Sequence[Row], rng: np.random.Generator
) -> Images:
    """Find out what is made of each column of a table's rows.

    Raises:
        CannotExplainError: columns are mixed before the last step, or can't be told apart.
    """
    description = model.description
    if any(isinstance(feature, Text) for feature in description.features):
        raise CannotExplainError("texts are too many to be told apart")
    whole = [row for row in rows if may_come(description.features, row)] or [description.example]
    vocabulary = vocabulary_of(estimator)
    columns = [
        values_of(description, at, column, vocabulary, rng)
        for at, column in enumerate(zip(*whole, strict=True))
    ]
    steps = steps_of(model, estimator)
    own = some(whole, MAX_ROWS, rng)
    owners = moved(steps.encoded, columns, own, rng)
    if (owners.sum(axis=0) > 1).any():
        raise CannotExplainError(f"{_mixing(steps, columns, own, rng)} mixes columns")
    owners[0] |= ~owners.any(axis=0)
    images = [
        _image(steps, at, column, np.flatnonzero(owned))
        for at, (column, owned) in enumerate(zip(columns, owners, strict=True))
    ]
    others = hybrids(columns, MAX_ROWS, rng)
    # Not together, as what is made of a row might depend on its company.
    matrix = np.concatenate((steps.encoded(own), steps.encoded(others)))
    shifts = rng.integers(MAX_AT_ONCE, size=len(images))
    of_each = _AskedTogether(steps, [image.columns for image in images], shifts).of
    _prove(images, [*own, *others], matrix, of_each)
    return Images(steps.part, owners.shape[1], images, steps.encoded, of_each, [*own, *others])


def _mixing(
    steps: Steps, columns: Sequence[Tried], rows: Sequence[Row], rng: np.random.Generator
) -> str:
    """Name the first step that mixes columns."""
    for count, transform in enumerate(steps.transforms, start=1):
        first = replace(steps, transforms=steps.transforms[:count], part=None)
        try:
            owners = moved(first.encoded, columns, rows, rng).sum(axis=0)
        except CannotExplainError:  # what it gives are no numbers yet
            continue
        if (owners > 1).any():
            name = type(transform).__name__
            mixed = int(owners.argmax())
            for part, place in getattr(transform, "output_indices_", {}).items():
                if place.start <= mixed < place.stop:
                    return f"{part!r} of {name}"
            return name
    return "what comes before the last step"


def _image(steps: Steps, at: int, column: Tried, owned: Array) -> Image:
    feature = column.feature
    of = _Asked(steps, at, owned).of
    if column.known is None:
        return Image(feature, owned, None, of)
    if not column.others:
        return Image(feature, owned, column.known, of, feature.example)
    others = of(column.others)
    if not alike(others, others[0]).all():
        raise CannotExplainError(f"unseen values of {feature.name!r} are not all treated alike")
    values: list[Value] = []
    for start in range(0, len(column.known), MAX_AT_ONCE):
        known = column.known[start : start + MAX_AT_ONCE]
        is_other = np.all(alike(of(known), others[0]), axis=1).tolist()
        values += [value for value, other in zip(known, is_other, strict=True) if not other]
    if len(values) * len(owned) > MAX_TABLE:
        raise CannotExplainError(f"{feature.name!r} has too many categories")
    return Image(feature, owned, tuple(values), of, column.others[0])


@dataclass(frozen=True, slots=True)
class _Asked:
    """Asks for what is made of one column: the others have the example's values."""

    steps: Steps
    at: int
    owned: Array

    def of(self, values: Sequence[Value]) -> Array:
        """Give what is made of values: an array (values, columns)."""
        column = _column(self.steps.model.description.features[self.at], values)
        found = []
        for start in range(0, len(column), MAX_AT_ONCE):
            table = self.steps.exchanged(self.at, column.part(start, start + MAX_AT_ONCE))
            found.append(self.steps.matrix(table)[:, self.owned])
        return np.concatenate(found)


@dataclass(frozen=True, slots=True)
class _AskedTogether:
    """Asks for what is made of all columns, side by side: the values of each are ``shifted``.

    So what stands beside a value is by chance.
    """

    steps: Steps
    owned: Sequence[Array]
    shifts: Array

    def of(self, values: Sequence[Sequence[Value]]) -> list[Array]:
        """Give what is made of some values of each column: arrays (values, columns)."""
        features = self.steps.model.description.features
        count = max(1, *map(len, values))
        columns, places = [], []
        for feature, own, shift in zip(features, values, self.shifts, strict=True):
            column = _column(feature, [*own, *[feature.example] * (count - len(own))])
            columns.append(column.take((np.arange(count) + shift) % count))
            places.append((np.arange(len(own)) - shift) % count)
        matrix = np.concatenate(
            [
                self.steps.matrix(
                    self.steps.model.table_of(
                        [column.part(start, start + MAX_AT_ONCE) for column in columns]
                    )
                )
                for start in range(0, count, MAX_AT_ONCE)
            ]
        )
        return [matrix[np.ix_(at, own)] for at, own in zip(places, self.owned, strict=True)]


def _column(feature: Feature, values: Sequence[Value]) -> Column:
    """Give values as a column, but those that no request may have."""
    if not isinstance(feature, Number) or feature.known is not None:
        accepted = (feature.example if feature.mistake(v) else v for v in values)
        return by_columns([feature], [(value,) for value in accepted])[0]
    numbers = np.array(values, dtype=np.float64)  # None becomes NaN
    missing = np.isnan(numbers)
    numbers[missing] = feature.example
    if feature.type == "integer":
        numbers = np.floor(np.clip(numbers, -MAX_WHOLE, MAX_WHOLE)).astype(np.int64)
    return Column(numbers, missing if feature.nullable and missing.any() else None)


def _prove(
    images: Sequence[Image],
    rows: Sequence[Row],
    matrix: Array,
    of_each: Callable[[Sequence[Sequence[Value]]], Sequence[Array]],
) -> None:
    """See that a matrix of rows has nothing but what is made of each column, bit for bit."""
    values = list(zip(*rows, strict=True))
    tables = of_each([() if image.values is None else image.places for image in images])
    for image, given, own, table in zip(images, values, of_each(values), tables, strict=True):
        wanted = matrix[:, image.columns]
        is_same = bool(alike(own, wanted).all())
        if image.values is not None:
            places = Places(image.values)
            is_same &= bool(alike(table[[places.of(value) for value in given]], wanted).all())
        if not is_same:
            raise CannotExplainError(
                f"what is made of {image.feature.name!r} depends on other columns or rows"
            )

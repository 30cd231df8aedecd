"""An example of a row, for documents: typical, and yet nobody's."""

from collections.abc import Sequence
from itertools import islice, product
from typing import Any

import numpy as np

from serving.model.features import Feature, Row
from training.describing.features import EXAMPLE_TEXT, example_text, frequencies
from training.table.columns import FeatureType
from training.table.table import Table


def with_example(
    features: Sequence[Feature], table: Table, rows: Sequence[Row]
) -> tuple[Feature, ...]:
    """Give features with examples that are typical, and together no row of the table."""
    example = _unlike_all(tuple(feature.example for feature in features), table, rows)
    return tuple(
        feature.model_copy(update={"example": value})
        for feature, value in zip(features, example, strict=True)
    )


def _unlike_all(row: Row, table: Table, rows: Sequence[Row]) -> Row:
    """Change a typical row as little as it takes to be none of the table's, maybe somebody's."""
    theirs = set(rows)
    if row not in theirs:
        return row
    columns = zip(row, zip(*rows, strict=True), table.types.values(), strict=True)
    choices = [list(dict.fromkeys(_neighbours(*given))) for given in columns]  # each once
    ways = (way[::-1] for way in product(*reversed(choices)))  # the first feature moves first
    return next((way for way in islice(ways, len(theirs) + 1) if way not in theirs), row)


def _neighbours(value: Any, column: Sequence[Any], kind: FeatureType) -> list[Any]:  # noqa: ANN401 (of the kind)
    """Give a typical value of a column, and others like training's to take instead, made up too."""
    held = [other for other in column if other is not None]
    match kind:
        case "text":
            lengths = {len(value), *map(len, held)}
            starts = range(len(EXAMPLE_TEXT))
            return [value, *(example_text(n, start) for n in lengths for start in starts)]
        case "category":
            return [value, *frequencies(held).categories]
        case "boolean":
            return [value, *({*held} - {value})]
        case "integer":
            steps = range(1, len(column) + 2)
            near = [value + step * sign for step in steps for sign in (1, -1)]
            return [value, *(other for other in near if min(held) <= other <= max(held))]
    seen = np.unique(held)
    above, below = seen[seen > value][:1], seen[seen < value][-1:]
    return [value, *(value / 2 + other / 2 for other in (*above.tolist(), *below.tolist()))]

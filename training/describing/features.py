"""What a table's columns hold, as is published of them: enough to compare with."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from serving.model.domains import Frequencies, Interval, Lengths
from serving.model.features import Boolean, Category, Feature, Number, Row, Text
from training.describing.asking import UNSEEN
from training.fitting.pipeline import MIN_CATEGORY_ROWS
from training.table.columns import FeatureType
from training.table.table import Table

MAX_CATEGORY_CHARS = 1000
MAX_TEXT_CHARS = 100_000
# Tenths, quarters, or the half: as many rows lie between as make a category common.
QUANTILES = ((0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), (0.25, 0.5, 0.75), (0.5,))
EXAMPLE_TEXT = "an example of a text "


def features_of(table: Table, rows: Sequence[Row]) -> list[Feature]:
    """Describe the columns; each domain is the widest that the type has, until it is probed.

    Each example is typical, and may be somebody's.
    """
    columns = zip(table.types.items(), zip(*rows, strict=True), strict=True)
    described = [(_feature(name, kind, column), column) for (name, kind), column in columns]
    return [_unknown(*each) if table.is_example else each[0] for each in described]


def _unknown(feature: Feature, column: Sequence[Any]) -> Feature:
    """Leave out what an example does not tell: what training saw. Its texts may be shown."""
    known: dict[str, Any] = {"trained": None, "missing": None}
    if isinstance(feature, Number):
        known["quantiles"] = {}
    if isinstance(feature, Text):
        known["example"] = next(value for value in column if value is not None)
    return feature.model_copy(update=known)


def _feature(name: str, kind: FeatureType, column: Sequence[Any]) -> Feature:
    values = [value for value in column if value is not None]
    missing = len(column) - len(values)
    common: Any = {"name": name, "nullable": missing > 0, "missing": missing}
    match kind:
        case "boolean":
            counts = {"false": values.count(False), "true": values.count(True)}
            trained = Frequencies(categories=counts, rare_categories=0, rare_rows=0)
            often = counts["true"] > counts["false"]
            return Boolean(type="boolean", trained=trained, example=often, **common)
        case "category":
            trained = frequencies(values)
            commonest = next(iter(trained.categories), UNSEEN)
            domain = Lengths(min_length=0, max_length=MAX_CATEGORY_CHARS)
            return Category(
                type="category", trained=trained, domain=domain, example=commonest, **common
            )
        case "text":
            lengths = sorted(map(len, values))
            middle = lengths[len(lengths) // 2]
            return Text(
                type="text",
                trained=Lengths(min_length=lengths[0], max_length=lengths[-1]),
                domain=Lengths(min_length=0, max_length=max(MAX_TEXT_CHARS, lengths[-1])),
                example=example_text(middle),
                **common,
            )
    median = _median(values)
    return Number(
        type=kind,
        trained=Interval(minimum=min(values), maximum=max(values)),
        domain=Interval(minimum=min(values), maximum=max(values)),
        quantiles=quantiles_of(values),
        example=round(median) if kind == "integer" else median,
        **common,
    )


def quantiles_of(values: Sequence[float]) -> dict[str, float]:
    """Divide numbers by the share below; none, where few rows would lie between.

    What would lie between numbers further apart than any double is left out.
    """
    shares = next((s for s in QUANTILES if len(values) >= MIN_CATEGORY_ROWS * (len(s) + 1)), ())
    with np.errstate(over="ignore", invalid="ignore"):
        found = {f"{share:g}": float(np.quantile(values, share)) for share in shares}
    return {share: value for share, value in found.items() if np.isfinite(value)}


def _median(values: Sequence[float]) -> float:
    """Give the middle, also of numbers whose sum is none."""
    ordered = sorted(values)
    below, above = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return below if below == above else below / 2 + above / 2


def frequencies(values: Sequence[str]) -> Frequencies:
    """Count categories; rare ones are not named, since few people have them."""
    counts = pd.Series(values, dtype=object).value_counts().to_dict()
    named = {name: count for name, count in counts.items() if count >= MIN_CATEGORY_ROWS}
    return Frequencies(
        categories=named,
        rare_categories=len(counts) - len(named),
        rare_rows=len(values) - sum(named.values()),
    )


def example_text(length: int, start: int = 0) -> str:
    """Make up a text."""
    turned = EXAMPLE_TEXT[start:] + EXAMPLE_TEXT[:start]
    return (turned * (length // len(turned) + 1))[:length]

"""What is published of a model: what its table holds, and what its answers tell."""

import platform
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice, product
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from serving.model.description import Asked, Description, Metrics, Training
from serving.model.domains import Frequencies, Interval, Lengths
from serving.model.estimator import Estimator
from serving.model.features import Boolean, Category, Feature, Number, Row, Text
from training.describing.domain import UNSEEN
from training.describing.forms import NO_EVIDENCE, Evidence
from training.describing.probe import asked_around
from training.fitting.pipeline import MIN_CATEGORY_ROWS
from training.table.table import FeatureType, Table

MAX_CATEGORY_CHARS = 1000
MAX_TEXT_CHARS = 100_000
# Tenths, quarters, or the half: as many rows lie between as make a category common.
QUANTILES = ((0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), (0.25, 0.5, 0.75), (0.5,))
EXAMPLE_TEXT = "an example of a text "


def describe(
    name: str,
    estimator: Estimator,
    table: Table,
    metrics: Metrics,
    seed: int,
    evidence: Evidence = NO_EVIDENCE,
) -> Description:
    """Describe a fitted estimator by the table that it was fitted on, or one like it.

    Raises:
        TrainingError: it does not answer the table's own rows, or can't be described.
    """
    # Threads gain little on so few rows, and lose a lot on a busy machine.
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore")  # it is asked for things that it may warn about
        unasked = before_asking(name, estimator, table, metrics)
        return asked_around(estimator, unasked, table, rows_of(table), evidence, seed)


def before_asking(name: str, estimator: Estimator, table: Table, metrics: Metrics) -> Description:
    """Describe what a table tells, before the estimator's answers do."""
    rows = rows_of(table)
    return Description(
        name=name,
        task=table.task,
        created=datetime.now(UTC),
        features=_features(table, rows),
        ignored=table.ignored,
        targets=_target_names(estimator, table),
        classes=None,
        metrics=metrics,
        training=Training(rows=len(rows), fingerprint=table.fingerprint),
        versions=_versions(),
        requirements=(),
        artifact_sha256="",
        asked=Asked(
            input="array", batching="alone", scored_by=None, scores_by_class=False, label_by=None
        ),
    )


def rows_of(table: Table) -> list[Row]:
    """Give the rows as the service has them after validation: None where a value is missing."""
    types = {"integer": int, "boolean": bool}
    columns = []
    for name, kind in table.types.items():
        of_type: Callable[[Any], Any] = types.get(kind, lambda value: value)
        values = table.frame[name].tolist()
        columns.append([None if value != value else of_type(value) for value in values])
    return list(zip(*columns, strict=True))


def _features(table: Table, rows: Sequence[Row]) -> tuple[Feature, ...]:
    """Describe the columns; each domain is the widest that the type has, until it is probed."""
    columns = zip(table.types.items(), zip(*rows, strict=True), strict=True)
    features = [_feature(name, kind, column) for (name, kind), column in columns]
    example = _unlike_all(tuple(feature.example for feature in features), table, rows)
    return tuple(
        feature.model_copy(update={"example": value})
        for feature, value in zip(features, example, strict=True)
    )


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
            trained = _frequencies(values)
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
                example=_example_text(middle),
                **common,
            )
    median = _median(values)
    shares = next((s for s in QUANTILES if len(values) >= MIN_CATEGORY_ROWS * (len(s) + 1)), ())
    return Number(
        type=kind,
        trained=Interval(minimum=min(values), maximum=max(values)),
        domain=Interval(minimum=min(values), maximum=max(values)),
        quantiles={f"{share:g}": float(np.quantile(values, share)) for share in shares},
        example=round(median) if kind == "integer" else median,
        **common,
    )


def _median(values: Sequence[float]) -> float:
    """Give the middle, also of numbers whose sum is none."""
    ordered = sorted(values)
    below, above = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return below if below == above else below / 2 + above / 2


def _frequencies(values: Sequence[str]) -> Frequencies:
    """Count categories; rare ones are not named, since few people have them."""
    counts = pd.Series(values, dtype=object).value_counts().to_dict()
    named = {name: count for name, count in counts.items() if count >= MIN_CATEGORY_ROWS}
    return Frequencies(
        categories=named,
        rare_categories=len(counts) - len(named),
        rare_rows=len(values) - sum(named.values()),
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
            return [value, *(_example_text(n, start) for n in lengths for start in starts)]
        case "category":
            return [value, *_frequencies(held).categories]
        case "boolean":
            return [value, *({*held} - {value})]
        case "integer":
            steps = range(1, len(column) + 2)
            near = [value + step * sign for step in steps for sign in (1, -1)]
            return [value, *(other for other in near if min(held) <= other <= max(held))]
    seen = np.unique(held)
    above, below = seen[seen > value][:1], seen[seen < value][-1:]
    return [value, *(value / 2 + other / 2 for other in (*above.tolist(), *below.tolist()))]


def _example_text(length: int, start: int = 0) -> str:
    """Make up a text."""
    turned = EXAMPLE_TEXT[start:] + EXAMPLE_TEXT[:start]
    return (turned * (length // len(turned) + 1))[:length]


def _target_names(estimator: Estimator, table: Table) -> tuple[str, ...]:
    """Name what is predicted; without a table of targets, as many as the estimator has."""
    if table.task not in {"classification", "regression"}:
        return ()
    if len(table.target.columns):
        return tuple(table.target.columns)
    for frame in (table.frame, table.frame.to_numpy()):
        with suppress(Exception):  # whatever it raises, the next may do, and `_with_input` tells
            shape = np.shape(estimator.predict(frame[:2]))
            count = shape[1] if len(shape) > 1 else 1
            return ("y",) if count == 1 else tuple(f"y{index}" for index in range(count))
    return ("y",)


def _versions() -> dict[str, str]:
    """Give the versions that matter to a model: Python's and the packages' that compute it."""
    packages = ("scikit-learn", "numpy", "scipy", "joblib")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}

"""What is published of a model: what its table holds, and what its answers tell."""

import platform
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from serving.model.description import Asked, Description, Metrics, Training
from serving.model.estimator import Estimator
from serving.model.features import Number, Row
from serving.model.onnx_file import is_graph
from training.describing.answers import target_names
from training.describing.evidence import NO_EVIDENCE, Evidence
from training.describing.example import with_example
from training.describing.features import features_of
from training.describing.probe import asked_around
from training.table.table import Table


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
    features = features_of(table, rows)
    return Description(
        name=name,
        task=table.task,
        created=datetime.now(UTC),
        features=with_example(features, table, rows),
        ignored=table.ignored,
        targets=target_names(estimator, table),
        classes=None,
        metrics=metrics,
        training=None
        if table.is_example
        else Training(rows=len(rows), fingerprint=table.fingerprint),
        versions=_versions(),
        requirements=(),
        artifact_sha256="",
        asked=Asked(
            input="array",
            batching="alone",
            scored_by=None,
            scores_by_class=False,
            label_by=None,
            tried={
                feature.name: feature.bounds.size
                for feature in features
                if isinstance(feature, Number) and feature.trained is None
            },
        ),
        is_graph=is_graph(estimator),
        reading=table.reading,
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


def answerable(table: Table, description: Description) -> Table:
    """Leave out the rows that no request may have: they lack a value that may not be missing."""
    refused = [f.name for f in description.features if not f.nullable]
    rows = table.frame[refused].notna().all(axis="columns")
    return replace(
        table,
        frame=table.frame[rows].reset_index(drop=True),
        target=table.target[rows].reset_index(drop=True),
    )


def _versions() -> dict[str, str]:
    """Give the versions that matter to a model: Python's and the packages' that compute it."""
    packages = ("scikit-learn", "numpy", "scipy", "joblib")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}

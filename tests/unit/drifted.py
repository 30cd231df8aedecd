"""Comparisons with training, of counts that a test chooses."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.drift.bins import Bins, bins_of_feature, bins_of_output
from serving.drift.comparison import Comparison, compare
from serving.drift.report import document
from serving.drift.watch import Kind, Watch
from serving.model.description import Description, Reference, References
from serving.model.features import Feature
from tests.unit.samples import description, regression

Counts = Mapping[str, int]


def compared(
    feature: Feature,
    seen: Counts,
    now: Counts,
    edges: Sequence[float] = (),
    others: Sequence[str] = (),
) -> Comparison:
    """Compare a feature: rows by bin, those that are not named have none."""
    empty = Reference(edges=tuple(edges), others=tuple(others), rows={})
    reference = _filled(empty, bins_of_feature(feature, empty), seen)
    references = References(features={feature.name: reference}, predictions={}, confidence={})
    return _compared(description(features=(feature,)), references, now)


def predicted(
    seen: Counts,
    now: Counts,
    edges: Sequence[float] = (),
    kind: Kind = Kind.PREDICTION,
    target: str = "kind",
) -> Comparison:
    """Compare predictions, numbers if there are edges; or the largest probabilities."""
    empty = Reference(edges=tuple(edges), rows=dict.fromkeys(seen, 0))
    reference = _filled(empty, bins_of_output(empty, is_number=bool(edges)), seen)
    is_prediction = kind is Kind.PREDICTION
    references = References(
        features={},
        predictions={target: reference} if is_prediction else {},
        confidence={} if is_prediction else {target: reference},
    )
    targets = (target,) if target else ()
    described = regression(*targets) if edges else description(targets=targets)
    return _compared(described, references, now)


def _filled(empty: Reference, bins: Bins, seen: Counts) -> Reference:
    return empty.model_copy(update={"rows": {name: seen.get(name, 0) for name in bins.names}})


def _compared(described: Description, references: References, now: Counts) -> Comparison:
    watch = Watch(described, references, len(references.features))
    (watched,) = watch.all
    assert set(now) <= set(watched.bins.names)
    counts = np.array([now.get(name, 0) for name in watched.bins.names])
    (comparison,) = compare(watch, counts)
    return comparison


def report(*comparisons: Comparison) -> dict[str, Any]:
    """Tell of comparisons as a tally does."""
    return {
        "model": {"name": "mail", "version": "v1"},
        "since": "2024-05-06T06:08:09Z",
        "until": "2024-05-06T07:08:09Z",
        "features_left_out": 0,
        **document(comparisons),
    }

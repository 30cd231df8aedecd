"""What later requests are compared with: the rows of training, and what was predicted, in bins.

No new value of a person is published: the edges between numbers are the quantiles that the features
tell anyhow, or such of lengths and of predictions, with as many rows between them.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from serving.drift.bins import (
    MAX_NAMED,
    UNSEEN,
    Bins,
    bins_of_feature,
    bins_of_output,
    digest,
    named_bins,
)
from serving.drift.watch import Kind, values_of
from serving.model.description import (
    INLIER,
    OUTLIER,
    Description,
    Label,
    Reference,
    References,
    label_key,
)
from serving.model.features import Category, Feature, Number, Row, Text
from serving.model.outputs import TIE_TOLERANCE, Prediction
from training.describing.features import quantiles_of


def references_of(
    description: Description,
    rows: Sequence[Row],
    predictions: Sequence[Prediction],
    importance: Sequence[str],
) -> References:
    """Count the rows of training, and predictions such as will be given for rows like them.

    ``predictions`` may be none, if there are no such.
    """
    columns = zip(description.features, zip(*rows, strict=True), strict=True)
    targets = description.targets or ("",)
    by_kind: dict[Kind, dict[str, Reference]] = {Kind.PREDICTION: {}, Kind.CONFIDENCE: {}}
    has_probabilities = bool(predictions) and predictions[0].probabilities is not None
    for at, target in enumerate(targets if predictions else ()):
        several = len(targets) > 1
        values = values_of(Kind.PREDICTION, at, predictions, several=several)
        if description.task == "regression":
            _add(by_kind[Kind.PREDICTION], target, _of_numbers(values))
        else:
            by_kind[Kind.PREDICTION][target] = _of_labels(values, _labels(description, at))
        if has_probabilities:
            sure = values_of(Kind.CONFIDENCE, at, predictions, several=several)
            _add(by_kind[Kind.CONFIDENCE], target, _of_numbers(sure))
    return References(
        features={feature.name: _of_feature(feature, column) for feature, column in columns},
        predictions=by_kind[Kind.PREDICTION],
        confidence=by_kind[Kind.CONFIDENCE],
        importance=tuple(importance),
    )


def _of_feature(feature: Feature, column: Sequence[Any]) -> Reference:
    """Count a column; where no value may be missing in requests, those that are do not count."""
    values = [value for value in column if value is not None]
    empty = Reference(rows={})
    match feature:
        case Number():
            edges = _edges(feature.quantiles.values(), values)
            empty = Reference(edges=edges, rows={})
        case Text():
            lengths = [len(value) for value in values]
            edges = _edges(quantiles_of(lengths).values(), lengths)
            empty = Reference(edges=edges, rows={})
        case Category():
            assert feature.trained is not None  # noqa: S101 (or there were nothing to count)
            named = set(list(feature.trained.categories)[:MAX_NAMED])
            empty = Reference(others=tuple(sorted(map(digest, set(values) - named))), rows={})
    bins = bins_of_feature(feature, empty)
    reference = _counted(empty, bins, column if feature.nullable else values)
    return _with_unseen(reference, bins, values) if UNSEEN in bins.names else reference


def _with_unseen(reference: Reference, bins: Bins, values: Sequence[Any]) -> Reference:
    """Count as unseen what one row alone has, for so it would be, had that row come later.

    As many rows as of those are to be expected with what training has not seen (Good, "The
    population frequencies of species and the estimation of population parameters", 1953).
    """
    once = [value for value, count in Counter(values).items() if count == 1]
    rows = dict(reference.rows)
    for name, count in zip(bins.names, bins.count(once).tolist(), strict=True):
        rows[name] -= count
    rows[UNSEEN] += len(once)
    return reference.model_copy(update={"rows": rows})


def _of_numbers(values: Sequence[float]) -> Reference | None:
    """Count predicted numbers, if they are enough, and not all the same, to be told apart.

    Many may be the same, such as a tree's, but for rounding, which must not put them elsewhere.
    """
    quantiles = quantiles_of(values).values()
    rounding = TIE_TOLERANCE * max(map(abs, quantiles), default=0.0)
    edges = _edges((edge + rounding for edge in quantiles), values)
    if not edges:
        return None
    empty = Reference(edges=edges, rows={})
    return _counted(empty, bins_of_output(empty, is_number=True), values)


def _labels(description: Description, target: int) -> tuple[Label, ...]:
    """Give all labels that there may be; none, if that is not known, as of clusters."""
    if description.task == "outlier-detection":
        return INLIER, OUTLIER
    return description.classes_by_target[target] if description.classes else ()


def _of_labels(values: Sequence[Any], labels: Sequence[Any]) -> Reference:
    """Count predicted labels, the commonest first; others may come where no labels are known."""
    counts = Counter(map(label_key, labels or values))
    counts.update(map(label_key, values))
    keys = [key for key, _ in counts.most_common()]
    names = named_bins(keys, others=not labels or len(keys) > MAX_NAMED)
    empty = Reference(rows=dict.fromkeys(names, 0))
    return _counted(empty, bins_of_output(empty, is_number=False), values)


def _counted(empty: Reference, bins: Bins, values: Sequence[Any]) -> Reference:
    rows = dict(zip(bins.names, bins.count(values).tolist(), strict=True))
    return empty.model_copy(update={"rows": rows})


def _edges(quantiles: Iterable[float], values: Sequence[float]) -> tuple[float, ...]:
    """Give quantiles as edges: equal ones once, and none behind which nothing lies."""
    least, largest = float(min(values)), float(max(values))
    return tuple(sorted({edge for edge in quantiles if least <= edge < largest}))


def _add(references: dict[str, Reference], target: str, reference: Reference | None) -> None:
    if reference is not None:
        references[target] = reference

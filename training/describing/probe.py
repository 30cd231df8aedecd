"""How an estimator has to be asked, found out by asking it.

It is asked in each form (`forms`), alone and in batches, where its labels change, far out, for
categories that it has never seen and without values, through the code that will serve it. What it
answers decides, and not its class.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, get_args

import numpy as np
from pydantic import ValidationError

from serving.model.description import Description, Label, ScoringMethod
from serving.model.estimator import Estimator, FittedEstimator
from serving.model.features import Category, Feature, Number, Row
from serving.model.outputs import Array, Outputs, tied
from training.describing.domain import answers, domains_of
from training.describing.forms import Evidence, alike, with_form
from training.errors import TrainingError, UndecidedError
from training.table.table import Table

MAX_COMPARED_ROWS = 2000
MAX_PROBED_ROWS = 200
MAX_SCALED_ROWS = 50
MAX_MIXED_ROWS = 50
MAX_BOUNDARIES = 24
HALVINGS = 70  # of the way between two rows: more than a double has bits
BATCH_SIZES = (2, 3, 7, 16, 64)
USUAL = (100.0, 10.0, 1.0)
MIN_AGREEMENT = 0.9  # of the best score's class with the label, where scores are by class


def asked_around(
    estimator: Estimator,
    description: Description,
    table: Table,
    rows: Sequence[Row],
    evidence: Evidence,
    seed: int,
) -> Description:
    """Complete a description with all that only the estimator's answers tell.

    Raises:
        TrainingError: it does not answer the table's own rows, or gives what can't be described.
    """
    rng = np.random.default_rng(seed)
    asked = some(rows, MAX_COMPARED_ROWS, rng)
    try:
        description = with_form(estimator, description, asked, evidence)
    except UndecidedError:
        raise
    except TrainingError:  # perhaps it only does not take missing values
        asked = some([row for row in rows if None not in row], MAX_COMPARED_ROWS, rng)
        if not asked:
            raise
        description = with_form(estimator, description, asked, evidence)
    probed = asked[:MAX_PROBED_ROWS]
    description = _with_classes(estimator, description, table)
    boundary: list[Row] | None = None
    with suppress(Exception):  # it may fail between the rows of the table
        boundary = boundary_rows(_asked(estimator, description), probed, rng)
    description = _with_scores(estimator, description, probed, boundary)
    description = _with_batching(estimator, description, probed, boundary, rng)
    known = {
        feature.name: tuple(sorted(table.frame[feature.name].dropna().unique().tolist()))
        for feature in description.features
        if isinstance(feature, Category | Number)
    }
    if not answers(_asked(estimator, description), probed):
        raise TrainingError("the estimator gives no finite answer to some of the table's own rows")
    features = domains_of(_asked(estimator, description), known, rows, seed)
    return description.model_copy(update={"features": features})


def some(rows: Sequence[Row], count: int, rng: np.random.Generator) -> list[Row]:
    """Take rows from all over the table, not too many to ask for one by one."""
    return [rows[index] for index in rng.permutation(len(rows))[:count]]


def _with_classes(estimator: Estimator, description: Description, table: Table) -> Description:
    """Find the labels, in ``classes_`` order."""
    if description.task != "classification":
        return description
    own = getattr(estimator, "classes_", None)
    count = len(description.targets)
    if count == 1:
        (labels,) = [table.labels] if own is None else [own]
        classes: Any = _labels(np.unique(labels) if own is None else labels)
    elif isinstance(own, list) and len(own) == count:
        classes = tuple(map(_labels, own))
    elif len(table.target.columns):
        classes = tuple(_labels(np.unique(column)) for column in table.labels.T)
    else:
        classes = ((0, 1),) * count  # a matrix of which labels a row has
    try:
        return Description.model_validate({**dict(description), "classes": classes})
    except ValidationError as exc:
        reason = exc.errors()[0]["msg"].removeprefix("Value error, ")
        raise TrainingError(f"the classes can't be written as JSON: {reason}") from None


def _labels(values: Iterable[Any]) -> tuple[Label, ...]:
    labels = tuple(value.item() if isinstance(value, np.generic) else value for value in values)
    if not all(-(2**63) <= label < 2**64 for label in labels if type(label) is int):
        raise TrainingError("a class is a whole number beyond 64 bits, which JSON readers lose")
    return labels


def boundary_rows(
    model: FittedEstimator, rows: Sequence[Row], rng: np.random.Generator
) -> list[Row]:
    """Find rows, two and two, with different labels and no number between theirs.

    There rounding decides the label. Of two rows, one takes on the numbers of the other, and the
    way between them is halved, again and again, where the label changes.
    """
    features = model.description.features
    numbers = [at for at, feature in enumerate(features) if measured(model.description, feature)]
    if model.description.task == "regression" or not numbers or len(rows) < 2:
        return []
    starts, ends = rng.integers(len(rows), size=(2, 4 * MAX_BOUNDARIES))
    pairs = [(rows[one], rows[other]) for one, other in zip(starts, ends, strict=True)]
    bases = [row for row, other in pairs if None not in (*row, *other)]
    goals = [other for row, other in pairs if None not in (*row, *other)]
    if not bases:
        return []
    lows, highs = (
        np.array([[row[at] for at in numbers] for row in side]) for side in (bases, goals)
    )

    def moved(values: Array) -> list[Row]:
        at = {index: position for position, index in enumerate(numbers)}
        return [
            tuple(value if i not in at else new[at[i]] for i, value in enumerate(row))
            for row, new in zip(bases, values.tolist(), strict=True)
        ]

    labels = _labels_of(model, moved(lows))
    changes = np.array(labels) != np.array(_labels_of(model, moved(highs)))
    for _ in range(HALVINGS):
        middles = lows / 2 + highs / 2
        same = np.array(labels) == np.array(_labels_of(model, moved(middles)))
        lows[same], highs[~same] = middles[same], middles[~same]
    sides = zip(moved(lows), moved(highs), changes, strict=True)
    found = [pair for *pair, change in sides if change][:MAX_BOUNDARIES]
    return [row for pair in found for row in pair]


def measured(description: Description, feature: Feature) -> bool:
    """Tell whether a feature is a number of which any other is a likely value, too."""
    return feature.type == "number" and not description.asked.takes_for_category(feature.name)


def _labels_of(model: FittedEstimator, rows: Sequence[Row]) -> list[str]:
    """Give the labels of rows, or what tells several targets' labels apart."""
    return [repr(value) for value in model.ask(model.table(rows)).values.tolist()]


def _with_scores(
    estimator: Estimator,
    description: Description,
    rows: Sequence[Row],
    boundary: Sequence[Row] | None,
) -> Description:
    """Find which methods tell more than ``predict``, and whose largest is at the label."""
    if description.task not in {"classification", "outlier-detection"}:
        return description
    found: dict[ScoringMethod, Outputs] = {}
    for method in get_args(ScoringMethod):
        model = _asked(estimator, description, scored_by=method)
        with suppress(Exception):  # there is no such method, or it does not work
            found[method] = model.ask(model.table(rows))
    if not found:
        return description
    scored_by = next(iter(found))
    agreement = {method: _agreement(description, outputs) for method, outputs in found.items()}
    by_class = scored_by == "decision_function" and description.task == "classification"
    return _knowing(
        description,
        scored_by=scored_by,
        scores_by_class=by_class and agreement[scored_by] >= MIN_AGREEMENT,
        label_by=next(
            (
                method
                for method, share in agreement.items()
                if share == 1 and _ties(_asked(estimator, description, scored_by=method), boundary)
            ),
            None,
        ),
    )


def _agreement(description: Description, outputs: Outputs) -> float:
    """Tell for what share of its rows the label that has least of it has the largest score."""
    if description.task == "outlier-detection":
        labels: tuple[Any, ...] = (-1, 1)
    elif len(description.targets) == 1:
        labels = description.classes_by_target[0]
    else:
        return 0.0
    scores = outputs.deciding
    if scores.ndim == 1:
        scores = np.column_stack([-scores, scores])
    if scores.shape[1] != len(labels):
        return 0.0
    best = np.array([labels[index] for index in scores.argmax(axis=1)], dtype=object)
    agrees = best == outputs.values.astype(object)
    return min(float(agrees[outputs.values == label].mean()) for label in set(outputs.values))


def _ties(model: FittedEstimator, boundary: Sequence[Row] | None) -> bool:
    """Tell whether the best scores are all but equal wherever the label is seen to change."""
    if not boundary:
        return boundary is not None
    with suppress(Exception):  # it may answer those rows in other company only
        return bool(tied(model.ask(model.table(boundary)).deciding).all())
    return False


def _with_batching(
    estimator: Estimator,
    description: Description,
    rows: list[Row],
    boundary: list[Row] | None,
    rng: np.random.Generator,
) -> Description:
    """Find whether rows are answered alone and in batches of several sizes alike.

    Linear algebra may round rows of a batch differently, by the processor too. Serving can take
    care of what that changes if numbers stay close, and if scores tell which labels are in danger.
    Without such scores, all numbers have to be alike bit for bit, as they are where each row is
    computed by itself, as by trees; labels alone would show too little, and so would rows of which
    most are all but empty.
    """
    asked = description.asked
    model = _asked(estimator, description)
    changes: dict[str, Any] = {"batching": "alone"}
    asked_for = rows + (boundary or [])
    if description.task == "regression" or asked.label_by is not None:
        if _in_batches(model, asked_for, exactly=False):
            for factor in USUAL:
                far = _scaled(model, rows[:MAX_SCALED_ROWS], factor, rng)
                if _in_batches(model, far, exactly=False):
                    changes = {"batching": "tolerant", "usual": factor}
                    break
    elif asked.scored_by is not None:
        asked_for += [row for row in _mixed(rows, rng) if answers(model, [row])]
        if _in_batches(model, asked_for, exactly=True):
            changes = {"batching": "invariant"}
    return _knowing(description, **changes)


def _in_batches(model: FittedEstimator, rows: Sequence[Row], *, exactly: bool) -> bool:
    """Tell whether rows in batches get what they get alone: in all, or in numbers, and closely."""

    def told(size: int) -> list[Array]:
        parts = [model.table(rows[start : start + size]) for start in range(0, len(rows), size)]
        outputs = [model.ask(part) for part in parts]
        arrays = [(out.values, *out.probabilities, *_if_any(out.scores)) for out in outputs]
        whole = [np.concatenate(same) for same in zip(*arrays, strict=True)]
        return whole if exactly or len(whole) == 1 else whole[1:]

    try:
        alone = told(1)
        return all(alike(alone, told(size), exactly=exactly) for size in (*BATCH_SIZES, len(rows)))
    except Exception:  # as far out, where it may fail
        return False


def _mixed(rows: Sequence[Row], rng: np.random.Generator) -> list[Row]:
    """Give rows of others' values, the rare as often as the common.

    Where nearly all values are zero, few rows have several to add, and only these are rounded.
    """
    columns = [list(dict.fromkeys(column)) for column in zip(*rows, strict=True)]
    return [
        tuple(values[rng.integers(len(values))] for values in columns)
        for _ in range(MAX_MIXED_ROWS)
    ]


def _scaled(
    model: FittedEstimator, rows: Sequence[Row], factor: float, rng: np.random.Generator
) -> list[Row]:
    """Give rows whose numbers are up to so many times those of others, and of their signs."""

    def scaled(feature: Feature, value: Any) -> Any:  # noqa: ANN401 (of the feature's type)
        is_category = model.description.asked.takes_for_category(feature.name)
        if value is None or not isinstance(feature, Number) or is_category:
            return value
        far = value * factor * rng.uniform(0.5, 1)
        return round(far) if feature.type == "integer" else far

    return [tuple(map(scaled, model.description.features, row)) for row in rows]


def _asked(estimator: Estimator, description: Description, **changes: Any) -> FittedEstimator:  # noqa: ANN401
    """Give the model as it is asked when some of what is known so far is otherwise."""
    return FittedEstimator(estimator, _knowing(description, **changes))


def _knowing(description: Description, **changes: Any) -> Description:  # noqa: ANN401 (as Asked has them)
    """Give a description that knows otherwise how its estimator has to be asked."""
    asked = description.asked.model_copy(update=changes)
    return description.model_copy(update={"asked": asked})


def _if_any(array: Array | None) -> tuple[Array, ...]:
    return () if array is None else (array,)

"""Whether an estimator's rows are answered alone and in batches alike."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.model.description import Description
from serving.model.estimator import Estimator, FittedEstimator
from serving.model.features import Feature, Number, Row
from serving.model.outputs import Array
from training.describing.asking import answers, asked_as, knowing
from training.describing.comparing import alike

MAX_SCALED_ROWS = 50
MAX_MIXED_ROWS = 50
BATCH_SIZES = (2, 3, 7, 16, 64)
USUAL = (100.0, 10.0, 1.0)


def with_batching(
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
    model = asked_as(estimator, description)
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
    return knowing(description, **changes)


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


def _if_any(array: Array | None) -> tuple[Array, ...]:
    return () if array is None else (array,)

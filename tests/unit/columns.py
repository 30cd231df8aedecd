"""Answers by columns, compared with those to the same rows one by one."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from serving.model.answers import labels_of
from serving.model.columns import by_columns
from serving.model.compiled import CompiledEstimator
from serving.model.estimator import FittedEstimator, Reach, by_column
from serving.model.features import Row
from serving.model.outputs import Prediction

CLOSE = 1e-9


def assert_same_by_columns(
    model: FittedEstimator | CompiledEstimator,
    rows: Sequence[Row],
    predictions: Sequence[Prediction | None],
) -> None:
    """Compare, to the last bit; a prediction is of its row alone, or of all these rows together.

    The numbers alone, asked for without regard to last bits, are compared but for these, and for
    rows far away, in which more than these may depend on company.
    """
    columns = by_columns(model.description.features, rows)
    answers = model.answers(columns)
    wanted_numbers = np.column_stack(answers.numbers or answers.values)
    reach = Reach(model.description)
    far = reach.far(by_column([columns[at].doubles() for at in reach.columns], len(rows)))
    found = model.numbers(columns)
    assert found.shape == wanted_numbers.shape
    np.testing.assert_allclose(found[~far], wanted_numbers[~far], CLOSE, CLOSE)
    labels = labels_of(model.description)
    values: list[list[Any]] = [each.tolist() for each in answers.values]
    if labels:
        values = [[of[at] for at in each] for of, each in zip(labels, values, strict=True)]
    numbers = [each.tolist() for each in answers.numbers]
    more_by_row = zip(*numbers, strict=True) if numbers else [()] * len(rows)
    told = zip(zip(*values, strict=True), more_by_row, strict=True)
    for row, prediction, (value, more) in zip(rows, predictions, told, strict=True):
        wanted = prediction or model.predict([row])[0]
        assert wanted is not None
        alone = wanted.value if isinstance(wanted.value, list) else [wanted.value]
        assert repr([*value]) == repr(alone)
        assert repr([*more]) == repr([*flat(wanted.probabilities), *flat(wanted.scores)])


def flat(value: Any) -> Iterator[float]:  # noqa: ANN401 (a number, or lists of them, or None)
    """Give the numbers in lists of them."""
    if isinstance(value, list):
        for each in value:
            yield from flat(each)
    elif value is not None:
        yield value

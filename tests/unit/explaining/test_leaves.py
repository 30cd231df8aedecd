"""What leaves add to columns, as training has kept their conditions and patterns."""

import numpy as np
import pytest

from serving.explaining.kept import Kept
from serving.explaining.leaves import Leaves, weights
from serving.model.features import Row
from tests.unit.samples import boolean, category, description, number

FEATURES = (number("ignored"), category("colour"), number("length", nullable=True), boolean("ripe"))
# A leaf that holds 6: a red one of a length in ]1, 2] or not known; and one that holds 1 if ripe.
# The background: two rows that fail neither, one that is not red, one that is neither.
KEPT = Kept(
    {
        "columns": [
            {"feature": 1, "values": ["red", "blue"], "cuts": 0, "conditions": 1},
            {"feature": 2, "values": None, "cuts": 2, "conditions": 1},
            {"feature": 3, "values": [False, True], "cuts": 0, "conditions": 1},
        ],
        "background_rows": 4,
    },
    {
        "sets": np.packbits([[0], [1], [1], [1], [1], [0], [1], [1]], axis=1).ravel(),
        "cuts": np.array([1.0, 2.0]),
        "lows": np.array([1], np.uint8),
        "widths": np.array([0], np.uint8),
        "gaps": np.array([True]),
        "conditions8": np.array([[1, 2, 0, 0, 0, 0, 0, 0], [0, 0, 3, 0, 0, 0, 0, 0]], np.uint8),
        "values8": np.array([[6.0], [1.0]]),
        "patterns8": np.array([3, 1], np.uint8),
        "masks8": np.array([0b00, 0b01, 0b11, 0b100], np.uint8),
        "counts8": np.array([2, 1, 1, 4], np.uint8),
        "base": np.array([3.0]),
        "mix": np.array([[1.0]]),
    },
)


@pytest.mark.parametrize(
    ("row", "contributions"),
    [
        ((0.0, "red", 1.5, False), [0, (6 + 3) / 4, 3 / 4, 0]),
        ((9.0, "red", None, False), [0, (6 + 3) / 4, 3 / 4, 0]),
        ((0.0, "red", 2.0, True), [0, (6 + 3) / 4, 3 / 4, 1]),
        ((0.0, "red", 1.0, False), [0, 3 / 4, -(6 * 2 + 3) / 4, 0]),  # of one that is not red: 1/2
        ((0.0, "blue", 1.5, True), [0, -3, 0, 1]),
        ((0.0, "never seen", 7.0, False), [0, -6 / 4, -6 / 4, 0]),
    ],
)
def test_columns_by_which_a_leaf_is_reached_share_what_it_holds(
    row: Row, contributions: list[float]
) -> None:
    way = Leaves(KEPT, description(features=FEATURES), lambda _: np.empty(0))
    attribution = way.joined(row, np.empty(0), [part() for part in way.parts(row)])
    assert attribution.base.tolist() == [3.0]
    assert attribution.contributions.ravel() == pytest.approx(contributions)


def test_weights_are_those_of_orders_in_which_columns_come() -> None:
    by_row, by_other = weights(64)
    size = 65
    assert by_row[3 * size + 2] == 1 / 30  # 2! 2! / 5!
    assert by_other[3 * size + 2] == 1 / 20  # 3! 1! / 5!
    assert by_row[0] == by_other[0] == 0
    for a, n in ((1, 0), (2, 5), (30, 34)):  # what they get adds up to what the row has more
        assert a * by_row[a * size + n] == pytest.approx(n * by_other[a * size + n] if n else 1)

"""What each column adds, as lines and tables that training has kept."""

import numpy as np

from serving.explaining.kept import Kept
from serving.explaining.linear import Linear
from serving.model.features import Row
from serving.model.outputs import Array
from tests.unit.samples import boolean, category, description, integer, number

FEATURES = (
    number("length", nullable=True),
    category("colour"),
    integer("ignored"),
    boolean("ripe"),
)
KEPT = Kept(
    {"values": [None, ["red", "blue"], None, [False, True]]},
    {
        "base": np.array([-1.0, 1.0]),
        "references": np.array([5.0, 2.0]),
        "slopes": np.array([[-2.0, 2.0], [0.0, 0.0]]),
        "offsets": np.array([[-0.5, 0.5], [0.0, 0.0]]),
        "missing": np.array([[3.0, -3.0], [0.0, 0.0]]),
        "tables": np.array([[x, -x] for x in (1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 0.0, 0.0)]),
    },
)


def explained(row: Row) -> Array:
    way = Linear(KEPT, description(features=FEATURES), lambda _: np.empty(0))
    assert way.parts(row) == ()
    attribution = way.joined(row, np.array([0.5, 0.5]), ())
    assert attribution.errors is None
    assert attribution.base.tolist() == [-1, 1]
    assert (attribution.contributions[:, 0] == -attribution.contributions[:, 1]).all()
    return attribution.contributions[:, 1]


def test_a_number_adds_by_a_line_and_others_by_a_table() -> None:
    assert explained((7.0, "blue", -8, True)).tolist() == [4.5, -2, 0, -20]
    assert explained((5.0, "red", 8, False)).tolist() == [0.5, -1, 0, -10]


def test_missing_and_unseen_values_add_what_training_found() -> None:
    assert explained((None, "green", 0, True)).tolist() == [-3, -3, 0, -20]
    assert explained((None, None, 0, True)).tolist() == [-3, -4, 0, -20]


def test_what_is_ignored_adds_zero_and_not_less_than_nothing() -> None:
    assert not np.signbit(explained((1.0, "red", -8, True))[2])

"""Rows to compare with: such as training has, each kind as often as there; or made up."""

from collections import Counter

import numpy as np
import pytest

from serving.model.columns import by_columns, judge
from serving.model.description import Training
from serving.model.domains import Choices, Frequencies, Lengths
from serving.model.features import Feature, Row
from tests.unit.samples import boolean, category, closed_category, integer, number, regression, text
from training.describing.asking import UNSEEN
from training.explaining.background import published_rows, rows_of_training

COUNT = 100
TRAINED_ON = 1000


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_each_class_has_its_share_of_the_rows() -> None:
    classes = rng().choice(3, TRAINED_ON, p=[0.7, 0.27, 0.03])
    shares = np.eye(3)[classes] * 0.8 + rng().random((TRAINED_ON, 3)) * 0.1
    rows: list[Row] = list(enumerate(classes.tolist()))
    chosen = rows_of_training(rows, shares, COUNT, rng(1))
    assert len(set(chosen)) == COUNT
    wanted = np.bincount(classes) * COUNT / TRAINED_ON
    counts = Counter(of for _, of in chosen)
    assert [counts[at] for at in range(3)] == pytest.approx(wanted, abs=1)


def test_small_and_large_numbers_are_chosen_as_often_as_there_are() -> None:
    numbers = np.exp(rng().normal(size=(TRAINED_ON, 1)))
    rows: list[Row] = [(number,) for number in numbers[:, 0].tolist()]
    chosen = [float(value or 0) for (value,) in rows_of_training(rows, numbers, COUNT, rng(1))]
    shares = [0.1, 0.25, 0.5, 0.75, 0.9]
    places = np.searchsorted(np.sort(numbers[:, 0]), np.quantile(chosen, shares)) / TRAINED_ON
    np.testing.assert_allclose(places, shares, atol=0.02)


def test_rows_that_are_answered_alike_come_by_chance_and_each_time_the_same() -> None:
    rows: list[Row] = [(at,) for at in range(TRAINED_ON)]
    first, again, other = (
        rows_of_training(rows, np.zeros((TRAINED_ON, 1)), COUNT, rng(seed)) for seed in (1, 1, 2)
    )
    assert first == again != other
    assert np.diff(sorted(int(at or 0) for (at,) in first)).std() > 1  # not each tenth


def test_of_few_rows_all_are_taken() -> None:
    rows: list[Row] = [(at,) for at in range(COUNT)]
    assert rows_of_training(rows, np.zeros((COUNT, 1)), COUNT, rng()) == rows


def made_up(*features: Feature) -> list[Row]:
    """Make up rows, each of which a request could have."""
    training = Training(rows=TRAINED_ON, fingerprint="")
    described = regression("y", features=features, training=training)
    rows = published_rows(described, COUNT, rng())
    assert len(rows) == COUNT
    assert judge(features, by_columns(features, rows), {}).good.all()
    return rows


def test_numbers_are_made_up_between_the_quantiles() -> None:
    skewed = number("x", (0, 100)).model_copy(update={"quantiles": {"0.5": 1.0, "0.9": 10.0}})
    values = np.array(made_up(skewed), dtype=float)
    assert values.min() >= 0
    assert values.max() <= 100
    assert (values < 1).mean() == pytest.approx(0.5, abs=0.02)
    assert (values < 10).mean() == pytest.approx(0.9, abs=0.02)


def test_whole_numbers_are_whole_and_choices_are_those_published() -> None:
    chosen = integer("n").model_copy(update={"domain": Choices(values=(3, 7), rare=1)})
    chosen = chosen.model_copy(update={"known": (3, 5, 7)})
    rows = made_up(integer("n", (-3, 4)), chosen)
    assert {type(value) for row in rows for value in row} == {int}
    assert {row[0] for row in rows} <= set(range(-3, 5))
    assert Counter(row[1] for row in rows) == {3: 50, 7: 50}


def test_what_is_counted_has_its_share_and_what_is_rare_has_no_name() -> None:
    counted = Frequencies(categories={"red": 600, "blue": 300}, rare_categories=4, rare_rows=100)
    colour = category("colour", domain=Lengths(min_length=0, max_length=50)).model_copy(
        update={"trained": counted}
    )
    closed = closed_category("shape").model_copy(update={"trained": counted})
    flags = Frequencies(categories={"false": 900, "true": 100}, rare_categories=0, rare_rows=0)
    flag = boolean("flag").model_copy(update={"trained": flags})
    colours, shapes, booleans = zip(*made_up(colour, closed, flag), strict=True)
    near = {"red": 60, "blue": 30, UNSEEN: 10}
    assert Counter(colours) == pytest.approx(near, abs=1)
    assert Counter(shapes) == pytest.approx({"red": 67, "blue": 33}, abs=1)  # takes no others
    assert Counter(booleans) == pytest.approx({False: 90, True: 10}, abs=1)


def test_as_many_values_are_missing_as_in_training() -> None:
    gapped = number("x", nullable=True).model_copy(update={"missing": 250})
    refused = number("x").model_copy(update={"missing": 250})
    rows = made_up(gapped, refused, text("t", nullable=True))
    missing = [sum(value is None for value in column) for column in zip(*rows, strict=True)]
    assert missing == [25, 0, 0]
    assert {row[2] for row in rows} == {text("t").example}


def test_columns_are_made_up_whatever_others_have() -> None:
    one, other = np.array(made_up(number("x"), number("y")), dtype=float).T
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.3

"""Quantiles are found within 1 % of numbers that nobody keeps."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.scoring.quantiles import Quantiles

SHARES = (0, 0.01, 0.1, 0.5, 0.9, 1)
FINITE = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=60)


@given(FINITE, FINITE)
def test_each_is_within_a_hundredth_of_the_number_itself(
    some: list[float], more: list[float]
) -> None:
    quantiles = Quantiles.of(np.array(some))
    quantiles.add(Quantiles.of_note(json.loads(json.dumps(Quantiles.of(np.array(more)).note()))))
    both = np.array([*some, *more])
    exact = np.quantile(both, SHARES, method="lower")
    assert quantiles.at(SHARES) == pytest.approx(exact, rel=0.01, abs=1e-300)
    assert (quantiles.least, quantiles.most) == (both.min(), both.max())


def test_small_whole_numbers_are_exact_and_memory_is_flat() -> None:
    numbers = np.arange(-100.0, 101.0)
    assert Quantiles.of(numbers).at([0, 0.25, 0.5, 1]) == [-100, -50, 0, 100]
    many = Quantiles.of(np.random.default_rng(1).normal(0, 1e6, 200_000))
    assert len(many.counts) < 6000
    assert Quantiles.of_note(Quantiles().note()).counts == {}

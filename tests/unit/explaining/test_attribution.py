"""Whether contributions add up to what was answered."""

import numpy as np
import pytest

from serving.explaining.attribution import Attribution, adds_up


@pytest.mark.parametrize(("added", "adds"), [(800.0, True), (np.inf, False)])
def test_a_sure_answer_is_explained_by_numbers_alone(added: float, *, adds: bool) -> None:
    attribution = Attribution(np.zeros(2), np.array([[-added, added]]))
    assert adds_up(attribution, "log-odds", np.array([0.0, 1.0])) is adds


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_a_number_is_compared_by_its_size(size: float) -> None:
    attribution = Attribution(np.array([3.0 * size]), np.array([[2.0 * size], [-4.0 * size]]))
    assert adds_up(attribution, "value", np.array([size * (1 + 1e-10)]))
    assert not adds_up(attribution, "value", np.array([size * (1 + 1e-7)]))
    nothing = Attribution(np.zeros(1), np.zeros((2, 1)))
    assert adds_up(nothing, "value", np.zeros(1))
    assert not adds_up(nothing, "value", np.array([size]))

"""Whether contributions add up to what was answered."""

import numpy as np
import pytest

from serving.explaining.attribution import Attribution, adds_up


@pytest.mark.parametrize(("added", "adds"), [(800.0, True), (np.inf, False)])
def test_a_sure_answer_is_explained_by_numbers_alone(added: float, *, adds: bool) -> None:
    attribution = Attribution(np.zeros(2), np.array([[-added, added]]))
    assert adds_up(attribution, "log-odds", np.array([0.0, 1.0])) is adds

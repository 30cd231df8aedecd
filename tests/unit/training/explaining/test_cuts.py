"""Up to which number what is made of it is within a threshold, to the last bit."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model.outputs import Array
from tests.unit.samples import integer, number
from training.explaining.built import CannotExplainError
from training.explaining.cuts import Line, rounded, side_by_side
from training.explaining.images import Image

FLOATS = st.floats(-1e6, 1e6)
MAKES: dict[str, Callable[[Array], Array]] = {
    "itself": lambda x: x,
    "a line": lambda x: (x - 3.7) / 0.31,
    "a falling line": lambda x: 5 - 1e-9 * x,
    "a curve": lambda x: np.sqrt(np.maximum(x, 0)),
    "steps": lambda x: np.floor(x / 7),
    "always the same": lambda x: 0 * x + 2,
}


def image(name: str, whole: bool = False) -> Image:
    def of(values: object) -> Array:
        return np.asarray(MAKES[name](np.array(values, dtype=float)))[:, np.newaxis]

    feature = integer("x") if whole else number("x")
    return Image(feature, np.array([0]), None, of)


def cuts_of(made: Image, seen: list[float], thresholds: Array) -> tuple[Array, Array]:
    line = Line(made.feature, seen)  # type: ignore[arg-type]
    asking = line.cuts(np.zeros(len(thresholds), dtype=int), thresholds)
    return side_by_side({0: asking}, lambda values: [made.of(values[0])], 1)[0]


@pytest.mark.parametrize("name", MAKES)
@given(thresholds=st.lists(FLOATS, min_size=1, max_size=5))
def test_a_cut_is_the_last_number_on_its_side(name: str, thresholds: list[float]) -> None:
    made = image(name)
    low, high = made.feature.bounds.ends  # type: ignore[union-attr]
    wanted = np.array([*thresholds, *made.of(thresholds).ravel()])  # some of them are met
    cuts, rises = cuts_of(made, [0.5], wanted)
    for cut, is_within, threshold in zip(cuts.tolist(), rises.tolist(), wanted, strict=True):
        ends = np.clip([cut, np.nextafter(cut, np.inf)], low, high)
        is_up_to, is_beyond = (made.of([x])[0, 0] <= threshold for x in ends)
        assert is_up_to == is_within or cut == -np.inf
        assert is_beyond != is_within or cut == np.inf


@given(threshold=st.integers(-(2**40), 2**40))
def test_whole_numbers_are_cut_between_them(threshold: int) -> None:
    made = image("itself", whole=True)
    low, high = made.feature.bounds.ends  # type: ignore[union-attr]
    cuts, _ = cuts_of(made, [], np.array([threshold, threshold + 0.5]))
    inside = low <= threshold < high
    assert cuts.tolist() == [float(threshold)] * 2 if inside else np.isinf(cuts).all()


@given(st.floats(-1e30, 1e30, allow_nan=False))
def test_a_threshold_is_rounded_to_the_last_double_that_is_within_it_as_a_float(
    threshold: float,
) -> None:
    (last,) = rounded(np.array([threshold]))
    assert float(np.float32(last)) <= threshold
    assert float(np.float32(np.nextafter(last, np.inf))) > threshold


def test_what_goes_up_and_down_between_is_refused_and_not_looked_for_forever() -> None:
    def of(values: object) -> Array:
        x = np.array(values, dtype=float)
        return (x + 1e-3 * np.sin(1e12 * x))[:, np.newaxis]

    made = Image(number("x"), np.array([0]), None, of)
    with pytest.raises(CannotExplainError, match="neither rises nor falls"):
        cuts_of(made, [], np.linspace(0.1, 0.1001, 50))

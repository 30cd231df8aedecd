"""Whether counts differ from training: by enough, by more than chance, and in enough rows."""

import math

import numpy as np
import pytest
from scipy.stats import chi2

from serving.drift.comparison import Comparison, Noise, chi2_quantile, compare, psi
from serving.drift.watch import Watch
from serving.model.description import Reference, References
from serving.model.features import Feature
from serving.model.outputs import Array
from tests.unit.samples import boolean, category, description, number


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 11, 12, 31, 32, 75, 200])
@pytest.mark.parametrize("above", [0.5, 0.05, 1e-3, 1e-3 / 3, 1e-3 / 30, 1e-3 / 1000, 1e-12])
def test_quantiles_are_those_of_scipy(degrees: int, above: float) -> None:
    assert chi2_quantile(degrees, above) == pytest.approx(chi2.isf(above, degrees), rel=1e-10)


def test_one_bin_is_never_beyond_itself() -> None:
    assert chi2_quantile(0, 0.001) == 0.0
    assert Noise(3).chi2(1) == 0.0


@pytest.mark.parametrize("features", [1, 4, 30])
def test_a_model_of_more_features_is_mistaken_of_each_less_often(features: int) -> None:
    noise = Noise(features)

    assert noise.chi2(12) == pytest.approx(chi2.isf(0.001 / features, 11), rel=1e-10)
    assert noise.share_chi2 == pytest.approx(chi2.isf(0.001 / features, 1), rel=1e-10)
    assert Noise(0).chi2(3) == Noise(1).chi2(3)


def test_the_index_is_as_its_formula_says() -> None:
    now, then = np.array([0, 30, 170]), np.array([50, 5000, 0])
    p, q = (now + 0.5) / (200 + 1.5), (then + 0.5) / (5050 + 1.5)

    assert psi(now, then) == pytest.approx(float(np.sum((p - q) * np.log(p / q))), rel=1e-12)
    assert psi(then, then) == 0.0
    assert psi(np.array([7]), np.array([3])) == 0.0


def watching(feature: Feature, rows: dict[str, int], edges: tuple[float, ...] = ()) -> Watch:
    """Watch one feature."""
    references = References(
        features={feature.name: Reference(edges=edges, rows=rows)}, predictions={}, confidence={}
    )
    return Watch(description(features=(feature,)), references, 30)


def of_flags(false: int, true: int, then: tuple[int, int]) -> Comparison:
    """Compare two counts of booleans."""
    watch = watching(boolean("x"), {"false": then[0], "true": then[1]})
    (comparison,) = compare(watch, np.array([false, true]))
    return comparison


def test_drift_takes_two_hundred_rows() -> None:
    assert not of_flags(0, 199, (5000, 5000)).moved
    assert of_flags(0, 200, (5000, 5000)).drifts


def test_drift_takes_an_index_above_a_fifth() -> None:
    found = [of_flags(10_000 - true, true, (50_000, 50_000)) for true in range(7100, 7200)]

    told = [(each.psi or 0.0) > 0.2 for each in found]
    assert [each.moved for each in found] == told
    first = told.index(True)
    assert first > 0
    # What chance exceeds is far below.
    assert (found[first].critical or 1.0) < 0.01


def test_drift_takes_an_index_beyond_chance() -> None:
    found = [of_flags(200 - true, true, (25, 25)) for true in range(100, 201)]

    critical = chi2.isf(0.001, 1) * (1 / 200 + 1 / 50)
    assert critical > 0.2
    moved = [each.moved for each in found]
    assert moved == [(each.psi or 0.0) > critical for each in found]
    first = moved.index(True)
    assert 0.2 < (found[first - 1].psi or 0.0) <= critical
    assert found[first].critical == pytest.approx(critical, rel=1e-10)


def test_nothing_is_told_of_no_rows() -> None:
    found = of_flags(0, 0, (5, 5))

    assert (found.rows, found.psi, found.critical, found.shares) == (0, None, None, {})
    assert not found.drifts


SIZE = number("x", (0, 9), nullable=True)
COLOUR = category("x", nullable=True)


@pytest.mark.parametrize(
    ("feature", "then", "now", "share", "told"),
    [
        (SIZE, [0, 900, 0, 100], [0, 160, 0, 40], "missing", (0.2, 0.1)),
        (SIZE, [0, 1000, 0, 0], [15, 175, 10, 0], "out_of_range", (0.125, 0.0)),
        (COLOUR, [500, 500, 0, 0], [80, 80, 40, 0], "unseen", (0.2, 0.0)),
    ],
)
def test_shares_are_compared_by_themselves(
    feature: Feature, then: list[int], now: list[int], share: str, told: tuple[float, float]
) -> None:
    names = ("below", "0", "above", "missing")
    if feature is COLOUR:
        names = ("red", "blue", "unseen", "missing")
    watch = watching(feature, dict(zip(names, then, strict=True)))
    (found,) = compare(watch, np.array(now))

    assert (found.shares[share].now, found.shares[share].training) == told
    assert {name for name, each in found.shares.items() if each.differs} == {share}
    assert found.drifts
    few = np.array(now) - np.array([0, 1, 0, 0])
    assert not compare(watch, few)[0].drifts  # of 199 rows


def differs(part: int, rows: int, then: tuple[int, int]) -> bool:
    """Tell whether a share of missing values differs from training's."""
    watch = watching(SIZE, {"below": 0, "0": then[1] - then[0], "above": 0, "missing": then[0]})
    (found,) = compare(watch, np.array([0, rows - part, 0, part]))
    return found.shares["missing"].differs


def test_a_share_differs_by_more_than_a_twentieth_and_by_more_than_chance() -> None:
    assert not differs(15_000, 100_000, (10_000, 100_000))
    assert differs(15_001, 100_000, (10_000, 100_000))
    assert differs(4_999, 100_000, (10_000, 100_000))

    def by_chance(part: int) -> bool:
        a, b, pooled = part / 200, 30 / 300, (part + 30) / 500
        spread = pooled * (1 - pooled) * (1 / 200 + 1 / 300)
        return bool((a - b) ** 2 <= chi2.isf(0.001, 1) * spread)

    told = [differs(part, 200, (30, 300)) for part in range(20, 80)]
    assert told == [not by_chance(part) for part in range(20, 80)]
    assert True in told


def test_a_share_that_is_none_or_all_on_both_sides_is_no_drift() -> None:
    assert not differs(0, 300, (0, 300))
    assert not differs(300, 300, (300, 300))


def test_the_index_alone_is_blind_to_what_the_shares_tell() -> None:
    counts: Array = np.array([0, 800, 0, 200])
    watch = watching(SIZE, {"below": 0, "0": 9000, "above": 0, "missing": 1000})
    (found,) = compare(watch, counts)

    assert found.psi is not None
    assert found.psi < 0.1
    assert not found.moved
    assert found.shares["missing"].differs
    assert math.isclose(found.shares["missing"].now, 0.2)

"""Whether what was counted differs from training, by more than chance and by enough to matter.

The population stability index of samples of one distribution is not 0: with B bins it is about as
(1/n + 1/N) times a chi² value with B-1 degrees of freedom (Yurdakul, "Statistical properties of the
population stability index", 2018). Small samples would cry wolf at the usual threshold, so it has
to be beyond that noise too.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serving.drift.bins import ABOVE, BELOW, MISSING, UNSEEN
from serving.drift.watch import Kind, Watch, Watched
from serving.model.outputs import Array

MIN_ROWS = 200
MIN_PSI = 0.2
MIN_DIFFERENCE = 0.05  # of shares
FALSE_ALARMS = 0.001  # of windows in which nothing has changed, over all features of a model
SMOOTHING = 0.5  # of a row in each bin, or an empty one would be infinitely far from any other
SHARES: Mapping[str, tuple[str, ...]] = {
    "missing": (MISSING,),
    "unseen": (UNSEEN,),
    "out_of_range": (BELOW, ABOVE),
}


@dataclass(frozen=True, slots=True)
class Noise:
    """What chance does to a model of so many features: of more, each is told of less easily."""

    features: int

    def chi2(self, bins: int) -> float:
        """Give the chi² value that so many bins of a feature exceed by chance alone.

        In one of a thousand windows those of any feature do.
        """
        return chi2_quantile(bins - 1, FALSE_ALARMS / max(self.features, 1))

    @property
    def share_chi2(self) -> float:
        """The same of a share, which is one of two bins."""
        return self.chi2(2)


def chi2_quantile(degrees: int, above: float) -> float:
    """Give the chi² value that is exceeded with a probability, to about twelve digits.

    For whole degrees of freedom the probability is a finite sum (Abramowitz and Stegun, 26.4.4 and
    26.4.5). SciPy has it too, for 0.1 s and 27 MB in each worker that could do without.
    """
    if degrees < 1:
        return 0.0
    low, high = 0.0, 1.0
    while _chi2_above(high, degrees) > above:
        low, high = high, 2 * high
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _chi2_above(middle, degrees) > above else (low, middle)
    return high


def _chi2_above(value: float, degrees: int) -> float:
    half, odd = value / 2, degrees % 2
    total = math.erfc(math.sqrt(half)) if odd else 0.0
    powers = (power + odd / 2 for power in range(degrees // 2))
    return total + sum(
        math.exp(power * math.log(half) - half - math.lgamma(power + 1)) for power in powers
    )


@dataclass(frozen=True, slots=True)
class Share:
    """The share of the rows that is missing, unseen or out of range, and that of training's."""

    now: float
    training: float
    differs: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was counted of one thing, beside training.

    ``critical`` is what the index exceeds by chance alone, once in a thousand windows for a whole
    model. Without any row there is neither it nor an index.
    """

    watched: Watched
    counts: Array
    rows: int
    psi: float | None
    critical: float | None
    moved: bool
    shares: Mapping[str, Share]

    @property
    def drifts(self) -> bool:
        """Whether there is anything to tell."""
        return self.moved or any(share.differs for share in self.shares.values())


def compare(watch: Watch, counts: Array) -> list[Comparison]:
    """Compare counts of a watch with training, one by one."""
    noise = Noise(watch.features)
    parts = watch.split(counts)
    return [_compare(each, part, noise) for each, part in zip(watch.all, parts, strict=True)]


def _compare(watched: Watched, counts: Array, noise: Noise) -> Comparison:
    rows, seen = int(counts.sum()), watched.seen
    if not rows:
        return Comparison(watched, counts, 0, None, None, moved=False, shares={})
    spread = 1 / rows + 1 / int(seen.sum())
    index, critical = psi(counts, seen), noise.chi2(len(counts)) * spread
    shares = {
        what: _share(_of(names, watched, counts), _of(names, watched, seen), noise)
        for what, names in SHARES.items()
        if watched.kind is Kind.FEATURE and not set(names).isdisjoint(watched.bins.names)
    }
    moved = rows >= MIN_ROWS and index > MIN_PSI and index > critical
    return Comparison(watched, counts, rows, index, critical, moved, shares)


def psi(counts: Array, seen: Array) -> float:
    """Give the population stability index of counts and those of training."""
    now, then = (
        (each + SMOOTHING) / (each.sum() + SMOOTHING * len(each)) for each in (counts, seen)
    )
    return float(((now - then) * np.log(now / then)).sum())


def _of(names: Sequence[str], watched: Watched, counts: Array) -> tuple[int, int]:
    """Give how many rows are in some bins, and in all."""
    inside = [
        count for name, count in zip(watched.bins.names, counts, strict=True) if name in names
    ]
    return int(sum(inside)), int(counts.sum())


def _share(now: tuple[int, int], then: tuple[int, int], noise: Noise) -> Share:
    """Compare two shares, each as a part and the whole (the two-sample test of proportions)."""
    (part, rows), (part_then, rows_then) = now, then
    here, there = part / rows, part_then / rows_then
    pooled = (part + part_then) / (rows + rows_then)
    variance = pooled * (1 - pooled) * (1 / rows + 1 / rows_then)
    far = abs(here - there) > MIN_DIFFERENCE and (here - there) ** 2 > noise.share_chi2 * variance
    return Share(here, there, differs=rows >= MIN_ROWS and far)

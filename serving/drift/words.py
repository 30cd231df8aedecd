"""What is told of a comparison with training, in plain words."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from serving.drift.bins import ABOVE, BELOW, MISSING, RARE, UNSEEN, Intervals, Lengths
from serving.drift.comparison import MIN_ROWS, SHARES, Comparison
from serving.drift.watch import Kind, Watched

NAMED_SHARES = {
    "three quarters": 3 / 4,
    "two thirds": 2 / 3,
    "half": 1 / 2,
    "a third": 1 / 3,
    "a quarter": 1 / 4,
    "a fifth": 1 / 5,
    "a tenth": 1 / 10,
}
NEAR = 0.005
SMALLEST = 1e-300  # share, or two empty bins would be divided by nothing
_COUNTED = {Kind.PREDICTION: "predictions", Kind.CONFIDENCE: "largest probabilities"}


def verdict(rows: int, by_section: Mapping[str, Sequence[Comparison]]) -> str:
    """Tell in one sentence what has drifted, that nothing has, or that it can't be told."""
    if rows < MIN_ROWS:
        return _too_few(rows)
    drifted = list(_drifted(by_section))
    if not drifted:
        return "nothing has drifted"
    *before, last = drifted
    told = f"{', '.join(before)} and {last}" if before else last
    is_one = not before and last.startswith(("1 of", "the confidence"))
    return f"{told} {'has' if is_one else 'have'} drifted"


def _drifted(by_section: Mapping[str, Sequence[Comparison]]) -> Iterator[str]:
    for section, comparisons in by_section.items():
        count, of = sum(each.drifts for each in comparisons), len(comparisons)
        if not count:
            continue
        if section == "features":
            yield f"{count} of {of} features"
        elif of == 1:
            yield f"the {section}"
        else:
            yield f"the {section} of {count} of {of} targets"


def words(each: Comparison) -> Iterator[str]:
    """Tell in plain words what has changed, or that it can't be told, or that nothing has."""
    if each.rows < MIN_ROWS:
        yield _too_few(each.rows)
    elif not each.drifts:
        yield "as in training"
    for what, share in each.shares.items():
        if share.differs:
            yield _SHARE_WORDS[what](each, share.now, share.training)
    if each.moved and (told := _moved(each)):
        yield told


def _too_few(rows: int) -> str:
    if not rows:
        return "no rows came"
    told = "1 row is" if rows == 1 else f"{rows} rows are"
    return f"{told} too few to tell: it takes {MIN_ROWS}"


def _missing(_: Comparison, now: float, then: float) -> str:
    return f"missing in {ratio(now)} of the rows, in training in {ratio(then)}"


def _unseen(_: Comparison, now: float, then: float) -> str:
    """Tell how many are new, and how many would be by chance: training has seen all of its own."""
    told = f"{ratio(now)} of the rows have a value that training never saw"
    return f"{told}, expected {ratio(then)}" if then else told


def _out_of_range(each: Comparison, now: float, then: float) -> str:
    """Tell on which side of training rows lie, the one with more of them first."""
    at = {name: each.counts[index] for index, name in enumerate(each.watched.bins.names)}
    most, least = sorted((BELOW, ABOVE), key=lambda name: at[name], reverse=True)
    is_text = isinstance(each.watched.bins, Lengths)
    sides = _SIDES_OF_TEXTS if is_text else _SIDES
    told = f"{ratio(at[most] / each.rows)} of the rows {sides[most][0]} all that training saw"
    return f"{told}, {ratio(at[least] / each.rows)} {sides[least][1]}" if at[least] else told


_SHARE_WORDS = {"missing": _missing, "unseen": _unseen, "out_of_range": _out_of_range}
_SIDES = {BELOW: ("lie below", "below"), ABOVE: ("lie above", "above")}
_SIDES_OF_TEXTS = {
    BELOW: ("have texts shorter than", "shorter"),
    ABOVE: ("have texts longer than", "longer"),
}


def _moved(each: Comparison) -> str:
    """Tell of the bin that has changed most; nothing, if a share tells of it."""
    watched = each.watched
    now, then = (counts / counts.sum() for counts in (each.counts, watched.seen))
    # The index itself would rather tell of what is gone than of what has come instead.
    at = int(np.argmax(np.square(now - then) / np.maximum(now + then, SMALLEST)))
    name = watched.bins.names[at]
    if any(share.differs and name in SHARES[what] for what, share in each.shares.items()):
        return ""
    what = _COUNTED.get(watched.kind, "rows")
    before = "expected" if name == UNSEEN else "in training"
    return f"{ratio(now[at])} of the {what} {_of_bin(watched, at)}, {before} {ratio(then[at])}"


def _of_bin(watched: Watched, at: int) -> str:
    """Tell what rows, or predictions, are that are in a bin."""
    name, told = watched.bins.names[at], watched.bins.words[at]
    have = "have" if watched.kind is Kind.FEATURE else "are"
    sides = _SIDES_OF_TEXTS if isinstance(watched.bins, Lengths) else _SIDES
    special = {
        **{side: f"{words[0]} all that training saw" for side, words in sides.items()},
        MISSING: "lack it",
        RARE: f"{have} others than those named here",
        UNSEEN: "have a value that training never saw",
    }
    if name in special:
        return special[name]
    return f"{have} {told}" if isinstance(watched.bins, Intervals) else f"{have} “{told}”"


def ratio(share: float) -> str:
    """Tell a share: by its name if it has one, else in percent."""
    if share in (0, 1):
        return "all" if share else "none"
    for name, exact in NAMED_SHARES.items():
        if abs(share - exact) <= NEAR:
            return name
    return percent(share)


def percent(share: float) -> str:
    """Tell a share in percent, with two digits at least; what is not all is never 100 %."""
    if 0.995 <= share < 1:
        return f"{min(100 * share, 99.9):.1f} %"
    return f"{share:.0%}".replace("%", " %") if share >= 0.1 else f"{100 * share:.2g} %"

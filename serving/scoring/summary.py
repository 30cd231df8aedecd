"""What is told when a table is scored: rows, mistakes by kind, predictions, and drift.

Values of rows are not among it, but the least and the greatest of what was predicted.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from serving.drift.words import percent
from serving.model.description import Description
from serving.scoring.quantiles import Quantiles
from serving.scoring.tally import Kind, Tally

MAX_LINES = 20  # of one kind of thing
QUANTILES = {"1 %": 0.01, "10 %": 0.1, "25 %": 0.25, "half": 0.5, "75 %": 0.75, "90 %": 0.9}
QUANTILES |= {"99 %": 0.99}


def text(
    tally: Tally,
    description: Description,
    drift: Mapping[str, Any] | str,
    *,
    bad_are: str,
    rate: str,
) -> list[str]:
    """Tell what was counted, with a report of drift or why there is none, line by line."""
    answered = tally.rows - tally.bad
    lines = [f"{_rows(tally.rows, 'row')}, {answered:,} answered, {rate}"]
    if tally.bad:
        lines.append(f"{_rows(tally.bad, 'bad row')}, {bad_are}:")
        lines += _kinds(tally.mistakes)
    if tally.taken:
        lines.append("converted, or taken for missing:")
        lines += _kinds(tally.taken)
    if tally.unusual:
        lines.append("warnings:")
        lines += _shortened([f"  {name}: {n:,}" for name, n in tally.unusual.most_common()])
    targets = description.targets if len(description.targets) > 1 else ("",)
    for target, labels in zip(targets, tally.labels, strict=False):
        lines.append(_predictions(target))
        lines += _labels(labels, answered)
    for target, numbers in zip(targets, tally.numbers, strict=False):
        lines += [_predictions(target), f"  {', '.join(_quantiles(numbers))}"]
    return [*lines, *_drift(drift)]


def _rows(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _predictions(target: str) -> str:
    return f"predictions of {target}:" if target else "predictions:"


def _kinds(kinds: Counter[Kind]) -> list[str]:
    return _shortened(
        [
            f"  {column}: {told}: {count:,}" if column else f"  {told}: {count:,}"
            for (column, told), count in kinds.most_common()
        ]
    )


def _labels(labels: Counter[str], answered: int) -> list[str]:
    return _shortened(
        [
            f"  {label}: {count:,} ({percent(count / answered)})"
            for label, count in labels.most_common()
        ]
    )


def _quantiles(numbers: Quantiles) -> Iterator[str]:
    yield f"least {numbers.least:.6g}"
    for name, number in zip(QUANTILES, numbers.at(list(QUANTILES.values())), strict=True):
        yield f"{name} up to {number:.4g}"
    yield f"greatest {numbers.most:.6g}"


def _drift(drift: Mapping[str, Any] | str) -> Iterator[str]:
    if isinstance(drift, str):
        yield f"drift: not watched: {drift}"
        return
    yield f"drift: {drift['told']}"
    for section, what in (
        ("features", ""),
        ("predictions", "predictions"),
        ("confidence", "largest probabilities"),
    ):
        for each in drift[section]:
            if each["drifts"]:
                name = " of ".join(filter(None, (what, each["name"])))
                yield f"  {name}: {each['told']}"


def _shortened(lines: list[str]) -> list[str]:
    more = len(lines) - MAX_LINES
    return [*lines[:MAX_LINES], f"  and {more:,} more kinds"] if more > 0 else lines

"""How what a shadow says of a row differs from what was answered.

*Same* are equal labels, and numbers as equal as those of two runtimes of one model have to be.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from serving.model.about import About
from serving.model.description import label_key
from serving.model.outputs import Prediction

TOLERANCE = 1e-12  # relative and absolute
VALUE = "prediction"  # where a document has the label or the number


class Compared(NamedTuple):
    """Two predictions of a row, as documents, and how they differ.

    ``difference`` is the largest of probabilities, or of scores, or that of numbers relative to
    them; there is none where only labels are told. ``labels`` are of one target alone.
    """

    served: dict[str, Any]
    shadowed: dict[str, Any]
    is_same: bool
    difference: float | None
    labels: tuple[str, str] | None


class Comparison:
    """Compares predictions of two versions; probabilities that only one tells are left out."""

    def __init__(self, served: About, shadow: About) -> None:
        """Take the version that answers, and its shadow."""
        self._served = served
        self._shadow = shadow
        self._is_number = shadow.description.task == "regression"
        self._is_one = len(shadow.description.targets) < 2

    def of(self, served: Prediction, shadowed: Prediction) -> Compared:
        """Compare two predictions of a row."""
        ours, theirs = self._served.document(served), self._shadow.document(shadowed)
        labels = None
        if not self._is_number:
            labels = _keys(ours[VALUE]), _keys(theirs[VALUE])
        numbers = [VALUE] if self._is_number else (ours.keys() & theirs.keys()) - {VALUE}
        pairs = [pair for name in numbers for pair in _pairs(ours[name], theirs[name])]
        is_same = (labels is None or labels[0] == labels[1]) and all(
            math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE) for a, b in pairs
        )
        differ = _relative if self._is_number else _absolute
        return Compared(
            ours,
            theirs,
            is_same,
            max((differ(a, b) for a, b in pairs), default=None),
            (labels[0][0], labels[1][0]) if labels and self._is_one else None,
        )


def _keys(value: Any) -> list[str]:  # noqa: ANN401 (a label, or one for each target)
    return list(map(label_key, value if isinstance(value, list) else [value]))


def _pairs(ours: Any, theirs: Any) -> Iterator[tuple[float, float]]:  # noqa: ANN401 (of a document)
    """Give the numbers that belong together; a class that one version does not know has 0."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in ours | theirs:
            yield ours.get(key, 0.0), theirs.get(key, 0.0)
    elif isinstance(ours, list) and isinstance(theirs, list):
        for one, other in zip(ours, theirs, strict=False):
            yield from _pairs(one, other)
        if len(ours) != len(theirs):  # scores of pairs of classes, when there are other classes
            yield math.inf, 0.0
    elif isinstance(ours, dict | list) or isinstance(theirs, dict | list):
        yield math.inf, 0.0
    else:
        yield ours, theirs


def _absolute(a: float, b: float) -> float:
    return abs(a - b)


def _relative(a: float, b: float) -> float:
    return abs(a - b) / max(abs(a), abs(b)) if a != b else 0.0

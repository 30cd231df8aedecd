"""What parts of a table add up to: rows, mistakes by kind, predictions, and counts for drift.

Each part is counted where it is scored. What was counted is noted beside the answers, so that a
run that goes on where another has stopped tells of the whole table.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serving.model.description import label_key
from serving.model.outputs import Array
from serving.scoring.quantiles import Quantiles

Kind = tuple[str, str]  # a column, and what is told of it
MAX_KINDS = 200  # that are told apart: what a file names may be anything
OTHERS: Kind = ("", "others")
_NUMBER = re.compile(r"\d+")


@dataclass(slots=True)
class Tally:
    """What was counted.

    ``bad`` are rows with mistakes, and ``mistakes`` these, by column and reason. ``unusual`` counts
    warnings by feature, and ``taken`` what was converted or taken for missing. ``labels`` or
    ``numbers`` have what was predicted, by target; ``drift`` the counts in the bins of training,
    none if nothing is watched.
    """

    rows: int = 0
    bad: int = 0
    mistakes: Counter[Kind] = field(default_factory=Counter)
    unusual: Counter[str] = field(default_factory=Counter)
    taken: Counter[Kind] = field(default_factory=Counter)
    labels: list[Counter[str]] = field(default_factory=list)
    numbers: list[Quantiles] = field(default_factory=list)
    drift: list[int] = field(default_factory=list)

    @classmethod
    def of_note(cls, note: Mapping[str, Any]) -> "Tally":
        """Take what `note` gave."""
        return cls(
            note["rows"],
            note["bad"],
            _of_pairs(note["mistakes"]),
            Counter(note["unusual"]),
            _of_pairs(note["taken"]),
            list(map(Counter, note["labels"])),
            list(map(Quantiles.of_note, note["numbers"])),
            note["drift"],
        )

    def note(self) -> dict[str, Any]:
        """Give all of it for JSON."""
        return {
            "rows": self.rows,
            "bad": self.bad,
            "mistakes": [[*kind, count] for kind, count in self.mistakes.items()],
            "unusual": dict(self.unusual),
            "taken": [[*kind, count] for kind, count in self.taken.items()],
            "labels": list(map(dict, self.labels)),
            "numbers": [each.note() for each in self.numbers],
            "drift": self.drift,
        }

    def count_mistakes(self, kinds: Iterable[Kind]) -> None:
        """Count what is wrong with rows; what is wrong with whole rows without its numbers."""
        told = ((column, text if column else _NUMBER.sub("…", text)) for column, text in kinds)
        _add_kinds(self.mistakes, Counter(told))

    def count_values(self, values: Sequence[Any], *, is_number: bool) -> None:
        """Count what was predicted, an array of pyarrow's for each target."""
        if is_number:
            self.numbers = [Quantiles.of(np.asarray(array)) for array in values]
            return
        counted = [array.value_counts().to_pylist() for array in values]
        self.labels = [
            Counter({label_key(each["values"]): each["counts"] for each in of_target})
            for of_target in counted
        ]

    def count_drift(self, counts: Array | None) -> None:
        """Take counts in the bins of training."""
        self.drift = [] if counts is None else counts.tolist()

    def add(self, other: "Tally") -> None:
        """Add what was counted of other rows."""
        self.rows += other.rows
        self.bad += other.bad
        _add_kinds(self.mistakes, other.mistakes)
        _add_kinds(self.taken, other.taken)
        self.unusual.update(other.unusual)
        self.labels = self.labels or [Counter() for _ in other.labels]
        for labels, more in zip(self.labels, other.labels, strict=bool(other.labels)):
            labels.update(more)
        self.numbers = self.numbers or [Quantiles() for _ in other.numbers]
        for numbers, others in zip(self.numbers, other.numbers, strict=bool(other.numbers)):
            numbers.add(others)
        if other.drift:
            before = self.drift or [0] * len(other.drift)
            self.drift = [sum(pair) for pair in zip(before, other.drift, strict=True)]


def _of_pairs(pairs: Iterable[tuple[str, str, int]]) -> Counter[Kind]:
    return Counter({(column, told): count for column, told, count in pairs})


def _add_kinds(kinds: Counter[Kind], more: Mapping[Kind, int]) -> None:
    for kind, count in more.items():
        kinds[kind if kind in kinds or len(kinds) < MAX_KINDS else OTHERS] += count

"""Predictions of a log meet their labels; what meets none, or two, is counted and never guessed."""

from collections import Counter
from collections.abc import Hashable, Iterable

from serving.model.stored import ModelError, described
from serving.outcomes.reading import DAMAGED, PREDICTIONS, Labels, Logged, Named
from serving.outcomes.versions import Row, Version


class Join:
    """Joins predictions with labels, by request and row, or by a feature.

    ``versions`` has those of the log, or why one is left out; ``counts`` says in plain words what
    was read, and what became of it. In memory are the labels, and of the log what has one.
    """

    def __init__(self, labels: Labels) -> None:
        """Take the labels."""
        self._labels = labels
        self._rows: dict[Hashable, Row | None] = {}  # None: they differ
        self.versions: dict[Named, Version | str] = {}
        self.counts = Counter({PREDICTIONS: 0, "labels": len(labels.rows)})

    def run(self, lines: Iterable[Logged]) -> list[Row]:
        """Join all lines, and give what can be scored.

        Raises:
            OutcomesError: see `Labels.of`.
        """
        for line in lines:
            if line.model not in self.versions:
                self.versions[line.model] = self._version(f"{line.model.name}:{line.model.version}")
            version = self.versions[line.model]
            if isinstance(version, str):
                self.counts[f"predictions not scored: {version}"] += 1
            else:
                self._take(line, version)
        met = self._labels.met
        self.counts["labels without a prediction"] = len(self._labels.rows) - len(met)
        self.counts["labels of several predictions"] = sum(count > 1 for count in met.values())
        return [row for row in self._rows.values() if row is not None]

    def _version(self, tag: str) -> Version | str:
        """Find what a version says of itself, or say why it is left out."""
        try:
            description = described(tag)
        except ModelError as exc:
            return str(exc)
        targets, columns = description.targets, self._labels.columns
        have = [columns.count(name) for name in self._labels.named or targets]
        if not targets or have != [1] * len(targets):
            told = ", ".join(targets) or "no target"
            return f"model {tag} predicts {told}, which the labels do not have once each"
        return Version(description)

    def _take(self, line: Logged, version: Version) -> None:
        """Join a prediction; once, if it is told again, and not at all, if it is told otherwise."""
        labels = self._labels.of(line, self._labels.named or version.description.targets)
        truth = version.truth(labels)
        if isinstance(truth, str):
            self.counts[f"predictions {truth}"] += 1
            return
        self.counts["predictions whose label is told more than once"] += len(labels) > 1
        try:
            row = version.row(line, truth)
        except (KeyError, TypeError, ValueError):
            self.counts[DAMAGED] += 1
            return
        # Clients may send an ID again, and the value of a feature all the more.
        identity = line.request_id, line.row, self._labels.by and line.timestamp
        first = self._rows.setdefault(identity, row)
        if first != row:
            self.counts["predictions that contradict each other"] += 1 + (first is not None)
            self._rows[identity] = None
        elif first is not row:
            self.counts["predictions told again"] += 1

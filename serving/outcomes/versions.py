"""What a version answers, as its description tells: how labels and lines of the log are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date
from typing import Any, TypeAlias

import numpy as np

from serving.model.description import Description, Label, label_key
from serving.model.outputs import Array, Outputs
from serving.model.scores import computed, scores_of
from serving.outcomes.reading import BOOLEANS, Logged, number_of

Values: TypeAlias = tuple[Label, ...]  # one for each target


@dataclass(frozen=True, slots=True)
class Row:
    """A prediction with what really happened; two are equal if these are, on whatever days."""

    version: "Version"
    day: date = field(compare=False)  # of UTC
    truth: Values
    answer: Values
    sureness: Sequence[float] | float | None  # probabilities or scores, of one target


class Version:
    """A version of a model that has targets."""

    def __init__(self, description: Description) -> None:
        """Take what it says of itself."""
        self.description = description
        self._is_one = len(description.targets) == 1
        self._classes = classes = description.classes_by_target
        self._scored_by = description.asked.scored_by if self._is_one and classes else None
        # Labels by what they are and by how JSON writes them; none are numbers.
        self._known: list[Mapping[object, Label]] = [
            {key: label for label in labels for key in (label, label_key(label))}
            for labels in classes or [()] * len(description.targets)
        ]

    def truth(self, labels: Sequence[Sequence[str]]) -> Values | str:
        """Give the one truth that labels tell, one for each target, or say why they tell none."""
        match list({self._read(label) for label in labels if all(label)}):
            case []:
                return "whose label is empty" if labels else "without a label"
            case [None]:
                return "whose label is no class of the model, or no number"
            case [tuple(truth)]:
                return truth
            case _:
                return "whose labels contradict each other"

    def _read(self, cells: Sequence[str]) -> Values | None:
        """Read labels as the model's are; none, if one is none of its classes, or no number."""
        read: list[Any] = list(map(_of_cell, self._known, cells))
        return None if None in read else tuple(read)

    def row(self, line: Logged, truth: Values) -> Row:
        """Take what a line says, beside what is true.

        Raises:
            KeyError, TypeError, ValueError: this version says nothing such.
        """
        said = [line.prediction] if self._is_one else line.prediction
        known = zip(self._known, said, strict=True)
        answer = tuple(of[value] if of else float(value) for of, value in known)
        return Row(self, line.timestamp.astimezone(UTC).date(), truth, answer, self._sureness(line))

    def _sureness(self, line: Logged) -> Sequence[float] | float | None:
        if self._scored_by is None:
            return None
        told = line.probabilities if self._scored_by == "predict_proba" else line.scores
        if told is None:
            raise ValueError("it does not tell how sure it was")
        keys = map(label_key, self._classes[0])
        return [told[key] for key in keys] if isinstance(told, Mapping) else told

    def scores(self, rows: Sequence[Row]) -> dict[str, float]:
        """Score rows as training scores held-out ones; what can't be computed is left out."""
        if not rows:
            return {}
        truth = self._array([row.truth for row in rows])
        answers = self._array([row.answer for row in rows])
        outputs, classes = Outputs(answers), None
        if self._scored_by is not None:
            sureness = np.array([row.sureness for row in rows], dtype=float)
            is_shares = self._scored_by == "predict_proba"
            outputs = Outputs(answers, (sureness,)) if is_shares else Outputs(answers, (), sureness)
            classes = self._array([(label,) for label in self._classes[0]])
        return computed(scores_of(self.description.task, truth, outputs, classes))

    def _array(self, values: Sequence[Values]) -> Array:
        """Make an array of labels or numbers, with a second axis if there are several targets."""
        array = np.array(values, dtype=None if self._classes else float)
        return array.ravel() if self._is_one else array


def _of_cell(known: Mapping[object, Label], cell: str) -> Label | None:
    """Read a number, or a label of these: for 1 also `1.0`, for true also `True` or `1`."""
    number = number_of(cell)
    values = (cell, BOOLEANS.get(cell.lower()), number)
    return next((known[value] for value in values if value in known), None) if known else number

"""What a model says of many rows, by columns: the same numbers as its predictions of each row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.model.description import INLIER, OUTLIER, Description, Label
from serving.model.outputs import Array, OutputChecks, Outputs


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers to rows, in their order.

    ``values`` has an array of shape (rows,) for each target, or the one where there is none to
    name: numbers, or the places of labels in `labels_of` the model. ``numbers`` are doubles of
    shape (rows,): the probability of each class, target by target, or the scores.
    """

    values: list[Array]
    numbers: list[Array]

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(self.values[0])

    def put(self, rows: Sequence[int], other: "Answers") -> None:
        """Put the answers to some rows in the place of what they got in company."""
        for mine, its in zip(
            (*self.values, *self.numbers), (*other.values, *other.numbers), strict=True
        ):
            mine[rows] = its


def joined(parts: Sequence[Answers]) -> Answers:
    """Join answers to rows that follow one another."""
    if len(parts) == 1:
        return parts[0]
    values, numbers = ([part.values for part in parts], [part.numbers for part in parts])
    return Answers(
        *([np.concatenate(same) for same in zip(*each, strict=True)] for each in (values, numbers))
    )


def labels_of(description: Description) -> tuple[tuple[Label, ...], ...]:
    """Give the labels of each target, in the order in which places count them; none of numbers."""
    if description.task == "outlier-detection":
        return ((INLIER, OUTLIER),)
    return description.classes_by_target


class AnswerColumns:
    """Makes answers of what an estimator gave."""

    def __init__(self, description: Description) -> None:
        """Take the targets and their labels."""
        self._several = len(description.targets) > 1
        labels_by_target = labels_of(description)
        self._places = [{label: at for at, label in enumerate(each)} for each in labels_by_target]
        self._by_class = description.asked.scores_by_class

    def of_outputs(self, outputs: Outputs, checks: OutputChecks) -> Answers:
        """Check what an estimator gave, and give it by columns.

        Raises:
            WrongOutputError: a number that is not finite, or a label that is none of the classes.
        """
        numbers = self.numbers(outputs, checks)
        values = checks.values(outputs)
        columns: list[Sequence[Any]] = (
            list(zip(*values, strict=True)) if self._several else [values]
        )
        if self._places:
            columns = [
                [places[value] for value in column]
                for places, column in zip(self._places, columns, strict=True)
            ]
        return Answers([np.array(column) for column in columns], numbers)

    def numbers(self, outputs: Outputs, checks: OutputChecks) -> list[Array]:
        """Check what a scoring method gave, and give it by columns, as `Answers` has it.

        Raises:
            WrongOutputError: a number that is not finite.
        """
        checks.check_scores(outputs)
        numbers = [column for array in outputs.probabilities for column in array.T]
        if outputs.scores is not None:
            numbers = list(np.atleast_2d(outputs.scores.T))
            if self._by_class and outputs.scores.ndim == 1:
                numbers = [-outputs.scores, outputs.scores]
        return [np.array(each, dtype=np.float64) for each in numbers]  # copies, each in one piece

"""Explanations of a loaded model: a row, its answer, and what each column contributed to that.

What training has kept is read here. An explanation that does not add up to the number that was
answered is refused, so that none is told that explains something else.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from serving.explaining.attribution import Ask, Attribution, Part, Way, adds_up
from serving.explaining.coalitions import Enumeration, Sampled
from serving.explaining.kept import Kept
from serving.explaining.leaves import Leaves
from serving.explaining.linear import Linear
from serving.explaining.numbers import Outputs
from serving.model.columns import Column
from serving.model.description import Description, Explained, ExplainingMethod
from serving.model.features import Row
from serving.model.outputs import Array, Prediction

WAYS: Mapping[ExplainingMethod, Callable[[Kept, Description, Ask], Way]] = {
    "linear": Linear,
    "trees": Leaves,
    "enumeration": Enumeration,
    "sampled": Sampled,
}


class Answering(Protocol):
    """A loaded model, as far as it is asked here."""

    def numbers(self, columns: Sequence[Column]) -> Array:
        """Give the numbers by which rows are answered: an array of shape (rows, outputs)."""


class NotAdditiveError(Exception):
    """An explanation does not add up to what was answered."""


class Explanation:
    """Explains the answers of a model."""

    def __init__(
        self, kept: Kept, explained: Explained, description: Description, model: Answering
    ) -> None:
        """Take what was kept, and the model, which some ways ask."""
        self.method = explained.method
        self._output = explained.output
        self._outputs = Outputs(description)
        self._several = len(description.targets) > 1
        self._names = [feature.name for feature in description.features]
        self._way = WAYS[explained.method](kept, description, model.numbers)

    def parts(self, row: Row) -> Sequence[Part]:
        """Give what is to be computed for a row, each part in short time."""
        return self._way.parts(row)

    def attribution(self, row: Row, prediction: Prediction, results: Sequence[Any]) -> Attribution:
        """Explain the answer to a row by what its parts gave.

        Raises:
            NotAdditiveError: it does not add up to that.
        """
        numbers = self._outputs.of_prediction(prediction)
        attribution = self._way.joined(row, numbers, results)
        if not adds_up(attribution, self._output, numbers):
            raise NotAdditiveError
        return attribution

    def told(
        self, attribution: Attribution, prediction: Prediction, *, of_all: bool
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Tell it as it stands in an answer: of what was predicted, or of all classes."""
        places = range(len(self._outputs.all)) if of_all else self._outputs.chosen(prediction)
        told = [self._of(attribution, place) for place in places]
        return told if of_all or self._several else told[0]

    def _of(self, attribution: Attribution, place: int) -> dict[str, Any]:
        output, errors = self._outputs.all[place], attribution.errors
        told: dict[str, Any] = {"target": output.target} if self._several else {}
        told |= {
            "of": output.of,
            "output": self._output,
            "base": float(attribution.base[place]),
            "contributions": self._by_name(attribution.contributions[:, place].tolist()),
            "exact": errors is None,
        }
        if errors is not None:
            told["standard_error"] = self._by_name(errors[:, place].tolist())
        return told

    def _by_name(self, values: list[float]) -> dict[str, float]:
        return dict(zip(self._names, values, strict=True))

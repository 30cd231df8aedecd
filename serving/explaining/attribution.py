"""What each column contributes to each output of a row, and how that adds up to what was answered.

A way of explaining cuts its work on a row into parts: none takes long, as others wait meanwhile.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np

from serving.model.columns import Column
from serving.model.description import ExplainedOutput
from serving.model.features import Row
from serving.model.outputs import Array

TOLERANCE = 1e-9  # within which contributions add up to the number answered

Part: TypeAlias = Callable[[], Array]
# Asks a model for the outputs of rows by columns: an array of shape (rows, outputs).
Ask: TypeAlias = Callable[[Sequence[Column]], Array]


class Attribution(NamedTuple):
    """What the background has (outputs,), and what each column adds (columns, outputs).

    ``errors`` has standard errors of these, where they were sampled.
    """

    base: Array
    contributions: Array
    errors: Array | None = None

    @property
    def totals(self) -> Array:
        """What it adds up to: an array of shape (outputs,)."""
        return np.asarray(self.base + self.contributions.sum(axis=0))


class Way(Protocol):
    """How rows are explained."""

    def parts(self, row: Row) -> Sequence[Part]:
        """Give what is to be computed for a row, if anything takes a while, part by part."""

    def joined(self, row: Row, numbers: Array, results: Sequence[Array]) -> Attribution:
        """Explain a row, given its outputs as they were answered and what its parts gave."""


def adds_up(attribution: Attribution, output: ExplainedOutput, numbers: Array) -> bool:
    """Tell whether an explanation adds up to the outputs that were answered.

    What is not finite does not, though the odds that it comes to may be those of a sure answer.
    """
    finite = bool(np.isfinite(attribution.totals).all())
    return finite and difference(attribution, output, numbers) <= TOLERANCE


def difference(attribution: Attribution, output: ExplainedOutput, numbers: Array) -> float:
    """Give by how much an explanation differs from what was answered.

    That is told of probabilities, and of other numbers relative to all that is added up.
    """
    totals = attribution.totals
    if output in {"value", "score"}:
        sizes = np.abs(attribution.base) + np.abs(attribution.contributions).sum(axis=0)
        largest = np.maximum(sizes, np.abs(numbers))
        return float((np.abs(totals - numbers) / np.where(largest > 0, largest, 1)).max())
    if output == "log-odds":
        totals = 1 / (1 + np.exp(np.clip(-totals, -700, 700)))  # of two classes: no digit is lost
    elif output == "log-ratio":
        powers = np.exp(totals - totals.max())
        totals = powers / powers.sum()
    return float(np.abs(totals - numbers).max())

"""Sums of trees, explained exactly by their leaves."""

from collections.abc import Sequence

from serving.explaining.attribution import Ask, Attribution, Part
from serving.explaining.kept import Kept
from serving.model.description import Description
from serving.model.features import Row
from serving.model.outputs import Array


class Leaves:
    """Explains what is a sum over leaves, each a conjunction of conditions on columns."""

    def __init__(self, kept: Kept, description: Description, ask: Ask) -> None:
        """Take what training has kept."""
        raise NotImplementedError

    def parts(self, row: Row) -> Sequence[Part]:
        """Give what is to be computed for a row: some leaves each."""
        raise NotImplementedError

    def joined(self, row: Row, numbers: Array, results: Sequence[Array]) -> Attribution:
        """Explain a row."""
        raise NotImplementedError

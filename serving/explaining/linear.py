"""Sums over columns, explained in closed form: what a column adds, less what it adds on average."""

from collections.abc import Sequence

from serving.explaining.attribution import Ask, Attribution, Part
from serving.explaining.kept import Kept
from serving.model.description import Description
from serving.model.features import Row
from serving.model.outputs import Array


class Linear:
    """Explains what is a sum of functions of one column each."""

    def __init__(self, kept: Kept, description: Description, ask: Ask) -> None:
        """Take what training has kept."""
        raise NotImplementedError

    def parts(self, row: Row) -> Sequence[Part]:
        """Give nothing: all of it takes microseconds."""
        return ()

    def joined(self, row: Row, numbers: Array, results: Sequence[Array]) -> Attribution:
        """Explain a row."""
        raise NotImplementedError

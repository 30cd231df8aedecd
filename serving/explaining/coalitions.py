"""Any model, explained by asking it about rows with some columns exchanged."""

from collections.abc import Sequence

from serving.explaining.attribution import Ask, Attribution, Part
from serving.explaining.kept import Kept
from serving.model.description import Description
from serving.model.features import Row
from serving.model.outputs import Array


class Enumeration:
    """Asks about all coalitions of columns: of few."""

    def __init__(self, kept: Kept, description: Description, ask: Ask) -> None:
        """Take what training has kept."""
        raise NotImplementedError

    def parts(self, row: Row) -> Sequence[Part]:
        """Give what the model is to be asked, some rows each."""
        raise NotImplementedError

    def joined(self, row: Row, numbers: Array, results: Sequence[Array]) -> Attribution:
        """Explain a row."""
        raise NotImplementedError


class Sampled(Enumeration):
    """Asks along permutations of columns, and tells how sure that is."""

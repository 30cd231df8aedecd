"""What is kept of a linear model: what each column adds, as a line or a table."""

from collections.abc import Sequence

from serving.model.description import Description
from serving.model.features import Row
from training.explaining.images import Built, CannotExplainError, Images


def build(images: Images, background: Sequence[Row], description: Description) -> Built:
    """Explain a linear model.

    Raises:
        CannotExplainError: it is none.
    """
    raise CannotExplainError("it is no linear model")

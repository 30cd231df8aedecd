"""What is kept of trees: the conditions of each leaf on columns, and which a background fulfils."""

from collections.abc import Sequence

from serving.model.description import Description
from serving.model.features import Row
from training.explaining.images import Built, CannotExplainError, Images


def build(images: Images, background: Sequence[Row], description: Description) -> Built:
    """Explain a sum of trees.

    Raises:
        CannotExplainError: it is none.
    """
    raise CannotExplainError("it is no sum of trees")

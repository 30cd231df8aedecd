"""What a way of explaining makes of an estimator, or that it can't."""

from typing import NamedTuple

from serving.explaining.kept import Kept
from serving.model.description import ExplainedOutput


class CannotExplainError(Exception):
    """A way of explaining is not for this estimator; the message says why, in words for a user."""


class Built(NamedTuple):
    """What a way of explaining keeps, with how many rows of the background, and of which output."""

    output: ExplainedOutput
    kept: Kept
    background_rows: int

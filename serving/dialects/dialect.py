"""What a dialect does: it reads bodies as questions, and writes answers and refusals.

Between reading and writing, rows go the way that all rows go. A dialect knows no HTTP but the media
types of its bodies, and keeps nothing between two requests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from serving.model.about import About
from serving.model.domains import Schema
from serving.model.outputs import Prediction
from serving.model.rows import Question, Rows
from serving.problems import Problem


@dataclass(frozen=True, slots=True)
class Described:
    """A dialect's operation, for the OpenAPI document.

    ``body`` and ``answer`` are JSON Schemas, which may refer to ``schemas`` as
    ``#/components/schemas/NAME``; of ``examples``, any by a name of its own.
    """

    name: str
    summary: str
    description: str
    body: Schema
    examples: Mapping[str, Any]
    answer: Schema
    answered: Any  # an example of an answer
    schemas: Mapping[str, Schema] = field(default_factory=dict)
    is_of_one: bool = False  # prediction, which may be kept for who asks the same


class Dialect(Protocol):
    """How one kind of client speaks on one path."""

    media_type: ClassVar[str]
    problem_media_type: ClassVar[str]

    def read(self, body: bytes, rows: Rows) -> Question:
        """Read a body, decoded if it was compressed.

        Raises:
            Problem: 400, 413 or 422, with the places of all mistakes in this body.
        """

    def write(
        self, predictions: Sequence[Prediction], question: Question, about: About, request_id: str
    ) -> bytes:
        """Write the answer: a prediction for each row of the question, in order."""

    def refuse(self, problem: Problem, request_id: str, path: str) -> bytes:
        """Write what a request to a path is refused for."""

    def described(self, about: About, example: Prediction, max_rows: int) -> Described:
        """Describe all this, given the prediction for the features' examples."""

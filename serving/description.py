"""What a model says of itself: written by training, kept beside the estimator, read by serving.

The features here guard the door (``schemas.py``) and fill ``/model/info`` and the OpenAPI document.
"""

import json
from datetime import datetime
from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    field_validator,
)

Label = StrictBool | StrictInt | StrictFloat | StrictStr


def label_key(label: Label) -> str:
    """Give a label as a key of a JSON object: a string as it is, another as JSON writes it."""
    return label if isinstance(label, str) else json.dumps(label)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(_Frozen):
    """A closed interval of numbers."""

    minimum: float
    maximum: float


class Feature(_Frozen):
    """One input of the model.

    ``trained`` is the range seen in training, ``domain`` the range in which every prediction was
    seen to be finite (the service accepts no number outside it); ``example`` is synthetic.
    """

    name: str
    type: Literal["number"]
    nullable: Literal[False]
    trained: Interval
    domain: Interval
    example: float


class Metrics(_Frozen):
    """Scores on data that the scored model was not fitted on; ``split`` tells which."""

    split: str
    values: dict[str, float]


class Training(_Frozen):
    """What the served estimator was fitted on: the number of rows, and a digest of the data."""

    rows: int
    fingerprint: str


class Description(_Frozen):
    """All that training knows about a model.

    ``versions`` holds the Python and package versions that fitted it, ``artifact_sha256`` the
    digest of the file that holds the estimator. ``batch_invariant`` tells that training saw the
    estimator answer rows alone and in batches of several sizes alike, bit for bit.
    """

    name: str
    task: Literal["classification"]
    created: datetime
    features: tuple[Feature, ...]
    classes: tuple[Label, ...]
    metrics: Metrics
    training: Training
    versions: dict[str, str]
    artifact_sha256: str
    batch_invariant: bool

    @field_validator("classes")
    @classmethod
    def _told_apart(cls, classes: tuple[Label, ...]) -> tuple[Label, ...]:
        if len({label_key(label) for label in classes}) < len(classes):
            raise ValueError("two classes have the same name in JSON")
        return classes

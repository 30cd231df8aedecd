"""What a person has asked of ``train.py``, and what an estimator says to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.model.description import Task
from serving.model.estimator import Estimator
from training.errors import TrainingError
from training.fitting.estimators import task_of
from training.loading.code import Code
from training.table.delimited import Format


@dataclass(frozen=True, slots=True)
class Options:
    """All options of the command line, named as there.

    ``reference`` is of a ``model``; without that and ``data`` it is the iris.
    ``code`` has what it names, and what else comes with the model. ``category`` names none where it
    is empty, and says nothing where it is None. ``classes`` are the labels of codes, in their
    order.
    """

    data: Path | None
    target: Sequence[str]
    drop: Sequence[str]
    keep: Sequence[str]
    encoding: str
    missing: Sequence[str]
    header: bool | None
    decimal: str | None
    task: Task | None
    estimator: str | None
    param: Sequence[str]
    candidates: str | None
    model: str | None
    reference: Path | None
    category: Sequence[str] | None
    classes: Sequence[str]
    trust: bool
    code: Code
    name: str
    seed: int
    test_size: float
    tolerance: float
    no_background: bool

    @property
    def form(self) -> Format:
        """What is said of how a file is written."""
        return Format(self.encoding, self.header, self.decimal, tuple(self.missing))

    @property
    def fitted(self) -> tuple[str, Path | None] | None:
        """An estimator that was fitted elsewhere, if any, and the file of its reference, if any."""
        return None if self.model is None else (self.model, self.reference)


def agreed_task(said: Task | None, estimator: Estimator, who: str, advice: str = "") -> Task | None:
    """Give the task that a person says, or else the estimator.

    Raises:
        TrainingError: they say otherwise.
    """
    own = task_of(estimator)
    if said and own not in {None, said}:
        raise TrainingError(f"{who} for {own}, not for {said}{advice}")
    return said or own

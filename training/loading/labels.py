"""Labels for a classifier that gives codes: 0, 1, 2 … stand for what the person names.

Files of gradient boosting hold no other labels. Codes that look like labels of the table are no
proof that they are those, so a table that has others is refused until the labels are named.
"""

import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.console import listed
from serving.model.description import Label
from serving.model.estimator import Estimator
from serving.model.onnx_file import OnnxClassifier
from serving.model.wrapped import CodedLabels
from training.errors import TrainingError

WORDS = {"false": False, "true": True}


def labelled(estimator: Estimator, said: Sequence[str], held: Sequence[Label]) -> Estimator:
    """Give a classifier the labels of its codes that a person has ``said``.

    ``held`` are the labels that the table has for its one target, none where it has no target.

    Raises:
        TrainingError: what is said does not fit, or the table has other labels than it gives.
    """
    labels = _typed(said, held)
    if len(set(labels)) < len(labels):
        raise TrainingError("--classes names a label twice")
    own = getattr(estimator, "classes_", None)
    codes = _codes(own)
    if isinstance(estimator, OnnxClassifier) and own is None:
        if not labels:
            raise TrainingError(
                "the graph does not tell which labels its scores are of: name them with --classes, "
                f"in their order{_offer(held, len(held))}"
            )
        estimator.labels = labels
    elif labels and codes is None:
        told = "none" if own is None else f"labels of its own, {listed(np.asarray(own).tolist())}"
        raise TrainingError(
            f"--classes is for one that gives codes, but the estimator gives {told}"
        )
    elif labels:
        if len(labels) != len(codes or ()):
            raise TrainingError(
                f"--classes names {len(labels)} labels, but the estimator has {len(codes or ())}"
            )
        estimator = CodedLabels.of(estimator, np.array(labels, dtype=object))
    elif codes is not None and (others := [one for one in held if one not in codes]):
        raise TrainingError(
            f"the target has {listed(others)}, but the estimator gives {listed(codes)}: name the "
            f"labels of these codes with --classes, in their order{_offer(held, len(codes))}"
        )
    if labels and (others := [one for one in held if one not in labels]):
        raise TrainingError(f"the target has {listed(others)}, which --classes does not name")
    return estimator


def _codes(own: Any) -> list[int] | None:  # noqa: ANN401 (an array, or something else)
    """Give the classes, if they are 0, 1, 2 …."""
    if not isinstance(own, np.ndarray) or own.dtype.kind not in "iu":
        return None
    codes: list[int] = own.tolist()
    return codes if codes == list(range(len(codes))) else None


def _typed(said: Sequence[str], held: Sequence[Label]) -> list[Label]:
    """Give labels the type of the table's, or of numbers if they all are and it has none."""
    kind = type(held[0]) if held else None
    try:
        if kind is bool:
            return [WORDS[text.lower()] for text in said]
        if kind in {int, float}:
            return [kind(text) for text in said]
        return [int(text) for text in said] if kind is None else list(said)
    except (KeyError, ValueError):
        return list(said)


def _offer(held: Sequence[Label], count: int) -> str:
    """Offer the table's labels in the order in which most who make codes put them."""
    if not held or len(held) != count:
        return ""
    return f". If they were sorted: --classes {shlex.join(map(str, held))}"

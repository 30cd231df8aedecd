"""Numbers and labels as a card shows them, and arrays of them."""

from collections.abc import Sequence

import numpy as np

from serving.model.description import Label, label_key
from serving.model.outputs import Array

MAX_LABEL_CHARS = 16
MINUS = "\N{MINUS SIGN}"


def columns(array: Array) -> Array:
    """Give a target, or several, as a matrix with a column for each."""
    return array.reshape(len(array), -1)


def codes(labels: Sequence[Label], values: Array) -> Array:
    """Give the place of each value among the labels, -1 where it has none."""
    places = {label: at for at, label in enumerate(labels)}
    return np.array([places.get(value, -1) for value in values.tolist()])


def short(label: Label) -> str:
    """Give a label in few characters."""
    name = " ".join(label_key(label).split())
    return name if len(name) <= MAX_LABEL_CHARS else f"{name[: MAX_LABEL_CHARS - 1]}…"


def number(value: float) -> str:
    """Write a number as short as a table needs it."""
    if float(value).is_integer() and abs(value) < 1e9:
        return signed(str(int(value)))
    return signed(f"{value:.{4 if abs(value) < 1000 else 6}g}")


def signed(text: str) -> str:
    """Write a minus as a minus."""
    return text.replace("-", MINUS)

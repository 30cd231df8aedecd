"""What is kept of a linear model: what each column adds, as a line or a table.

Which models are linear is found by asking: what one column of the matrix adds to their output is a
weight, and rows show whether weights are all that there is. So it does not matter whose model it
is, nor what it calls its weights.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from serving.explaining.kept import Kept
from serving.explaining.numbers import Outputs
from serving.explaining.places import Places
from serving.model.description import Description, ExplainedOutput
from serving.model.estimator import Estimator
from serving.model.features import Feature, Number, Row, Value
from serving.model.outputs import Array, dense
from training.explaining.built import Built, CannotExplainError
from training.explaining.images import Image, Images
from training.table.columns import MAX_WHOLE

Ask: TypeAlias = Callable[[Array], Any]  # an estimator's own method

LINE = 1e-12  # within which what is made of numbers is a line, relative to what it adds
SUM = 1e-11  # within which outputs are weighted sums, relative to their parts
LINK = 1e-12  # within which probabilities are what is made of such sums
ROUNDING = 8 * float(np.finfo(np.float64).eps)  # of numbers of which the difference is taken
MAX_AT_ONCE = 256  # rows of a matrix that may be wide


class _Line(NamedTuple):
    """What a number adds: ``offset`` + ``slope`` * (number - ``reference``); and a missing one."""

    reference: float
    slope: Array
    offset: Array
    missing: Array


class _Sum(NamedTuple):
    """Outputs that are weighted sums: weights (width, outputs), and what they begin with."""

    weights: Array
    start: Array

    def of(self, matrix: Array) -> Array:
        """Give the outputs (rows, outputs)."""
        return np.asarray(matrix @ self.weights + self.start)


def build(images: Images, background: Sequence[Row], description: Description) -> Built:
    """Keep what each column adds to each output, less what it adds to those of a background.

    Raises:
        CannotExplainError: it is no sum over columns, or what a number adds is no line.
    """
    ask, output = _asks(images.part, description)
    shown = images.encoded(images.shown)
    total = _sum_of(ask, shown, type(images.part).__name__)
    if output in {"log-odds", "log-ratio"}:
        _check_link(images.part, total, shown)
    total = _by_output(total, output, description)
    tried = zip(*images.shown, *background, strict=True)
    asked = [_asked_of(*each) for each in zip(images.all, tried, strict=True)]
    lines, tables = [], [np.empty((0, len(total.start)))]
    for at, made in enumerate(images.of_each(asked)):
        image, own = images.all[at], [row[at] for row in background]
        weights = total.weights[image.columns]
        if _is_line(image):
            lines.append(_line(image.feature, weights, own, asked[at], made))
        else:
            tables.append(_table(image, weights, own, made))
    arrays = {
        "base": total.of(images.encoded(background)).mean(axis=0),
        "references": np.array([line.reference for line in lines]),
        "slopes": _stacked([line.slope for line in lines], total),
        "offsets": _stacked([line.offset for line in lines], total),
        "missing": _stacked([line.missing for line in lines], total),
        "tables": np.concatenate(tables),
    }
    told = {"values": [image.values for image in images.all]}
    return Built(output, Kept(told, arrays), len(background))


def _asks(part: Estimator, description: Description) -> tuple[Ask, ExplainedOutput]:
    """Give what asks an estimator for what may be a sum, and what that is of its answers."""
    if why_none := Outputs(description).why_none:
        raise CannotExplainError(why_none)
    if description.task == "regression":
        return part.predict, "value"
    name = type(part).__name__
    if not hasattr(part, "decision_function"):
        raise CannotExplainError(f"{name} is no weighted sum of its columns")
    if description.asked.scored_by == "decision_function":
        return part.decision_function, "score"
    if len(description.targets) > 1:
        raise CannotExplainError(f"{name} has classes of several targets")
    return part.decision_function, "log-odds" if len(part.classes_) == 2 else "log-ratio"


def _sum_of(ask: Ask, shown: Array, name: str) -> _Sum:
    """Find out the weights of a weighted sum, and that it is nothing but that."""
    width = shown.shape[1]
    sizes = np.abs(shown).max(axis=0, initial=0.0)
    steps = np.exp2(np.ceil(np.log2(np.where(sizes > 0, sizes, 1.0))))  # so that products are exact
    start = _asked(ask, np.zeros((1, width)), name)[0]
    weights = np.empty((width, len(start)))
    for first in range(0, width, MAX_AT_ONCE):
        at = np.arange(first, min(first + MAX_AT_ONCE, width))
        matrix = np.zeros((len(at), width))
        matrix[np.arange(len(at)), at] = steps[at]
        weights[at] = _asked(ask, matrix, name)
    total = _Sum(weights, start)
    with np.errstate(all="ignore"):  # what is no sum may be anything
        weights -= start
        weights /= steps[:, np.newaxis]
        parts = np.abs(shown) @ np.abs(weights) + np.abs(start)
        away = np.abs(_asked(ask, shown, name) - total.of(shown))
    if not (away <= SUM * parts).all():
        raise CannotExplainError(f"{name} is no weighted sum of its columns")
    return total


def _asked(ask: Ask, matrix: Array, name: str) -> Array:
    """Ask an estimator for the outputs of rows, as it is given them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as of names that columns had when it was fitted
            return dense(ask(matrix)).astype(np.float64).reshape(len(matrix), -1)
    except Exception as exc:  # estimators raise anything
        raise CannotExplainError(f"{name} takes other than a matrix of numbers") from exc


def _check_link(part: Estimator, total: _Sum, shown: Array) -> None:
    """See that probabilities are the logistic function of a sum, or the softmax of several."""
    name = type(part).__name__
    raw = total.of(shown)
    raw = np.hstack((np.zeros_like(raw), raw)) if raw.shape[1] == 1 else raw
    powers = np.exp(raw - raw.max(axis=1, keepdims=True))
    expected = powers / powers.sum(axis=1, keepdims=True)
    found = _asked(part.predict_proba, shown, name)
    if found.shape != expected.shape or not (np.abs(found - expected) <= LINK).all():
        raise CannotExplainError(f"the probabilities of {name} are no softmax of weighted sums")


def _by_output(total: _Sum, output: ExplainedOutput, description: Description) -> _Sum:
    """Give the sums of all outputs (`Outputs`), of what an estimator gives."""
    if output == "log-ratio":
        return _Sum(*(each - each.mean(axis=-1, keepdims=True) for each in total))
    count = len(Outputs(description).all)
    if len(total.start) == 1 and count == 2:  # a number for two classes
        return _Sum(*(np.concatenate((-each, each), axis=-1) for each in total))
    if len(total.start) != count:
        raise CannotExplainError("its scores are none of classes")
    return total


def _is_line(image: Image) -> bool:
    return isinstance(image.feature, Number) and image.values is None


def _asked_of(image: Image, tried: Sequence[Value]) -> list[Any]:
    """Give of which values it is to be known what is made of them: see `_line` and `_table`."""
    feature = image.feature
    if not _is_line(image):
        return image.places
    assert isinstance(feature, Number)  # noqa: S101 (or it were no line)
    numbers, ends = _doubles(tried), _doubles(feature.bounds.ends)
    if feature.type == "integer":
        numbers, ends = (each[np.abs(each) <= MAX_WHOLE] for each in (numbers, ends))
    if not len(numbers):
        raise CannotExplainError(f"{feature.name!r} has larger whole numbers than doubles tell")
    points = np.unique([*numbers, *ends])
    return [feature.example, numbers.min(), numbers.max(), None, *points]


def _line(
    feature: Feature, weights: Array, own: Sequence[Value], asked: Sequence[Any], images: Array
) -> _Line:
    """Find out what numbers add, which has to be a line, and what a missing one adds.

    ``images`` are what is made of the numbers that were ``asked`` for.
    """
    reference, low, high, _, *points = asked
    first, of_low, of_high, of_missing, *rest = images
    slope = (of_high - of_low) @ weights / (high - low or 1.0)
    made = np.array(rest)
    with np.errstate(over="ignore"):  # far out, where all is allowed
        allowed = LINE * np.abs(made - first) + ROUNDING * (np.abs(made) + np.abs(first))
        allowed = allowed @ np.abs(weights)
    away = np.abs((made - first) @ weights - np.outer(np.array(points) - reference, slope))
    if not (away <= allowed).all():
        raise CannotExplainError(f"what is made of {feature.name!r} is no line")
    missing = (of_missing - first) @ weights
    known = _doubles(own)
    of_known = slope * (known - reference).sum()
    mean = (of_known + missing * (len(own) - len(known))) / len(own)
    # Nothing less zero is zero: no contribution is to be -0.
    return _Line(reference, slope, 0.0 - mean, missing - mean + 0.0)


def _doubles(values: Sequence[Value]) -> Array:
    return np.array([value for value in values if value is not None], dtype=np.float64)


def _table(image: Image, weights: Array, own: Sequence[Value], table: Array) -> Array:
    """Find out what each value adds (`Places`)."""
    added = (table - table[0]) @ weights
    places = Places(image.values or ())
    return np.asarray(added - added[[places.of(value) for value in own]].mean(axis=0) + 0.0)


def _stacked(arrays: Sequence[Array], total: _Sum) -> Array:
    return np.array(arrays).reshape(len(arrays), len(total.start))

"""A way of explaining is taken only where it is proven to explain what the model answers.

Explanations of the table's rows, and of odd ones, have to add up to that. What was made of an
estimator's inside is compared with asking about all coalitions of columns, too.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from serving.explaining.attribution import TOLERANCE, Attribution, Way, difference
from serving.explaining.coalitions import Enumeration
from serving.explaining.explanation import WAYS
from serving.explaining.kept import Kept
from serving.model.columns import Column, by_columns
from serving.model.description import ExplainedOutput, ExplainingMethod
from serving.model.features import Row
from serving.model.outputs import Array
from training.compiling.hostile import hostile
from training.describing.asking import some
from training.explaining.built import Built, CannotExplainError
from training.explaining.case import ROWS_AT_ONCE, Case

PROVEN_ROWS = 200  # half of them of the table
PROVEN_BY_ASKING = 6  # as each takes a while
JUDGED_ROWS = 2
MAX_JUDGED = 8  # columns, of which all coalitions are asked about
JUDGED_BACKGROUND = 5  # rows, where columns are more
EPSILON = float(np.finfo(np.float64).eps)
NOT_ADDITIVE = "explanations do not add up to what the model answers"
OTHERWISE = "explanations are not what asking about all coalitions of columns gives"


class Candidate(NamedTuple):
    """A way of explaining that is to be proven; it may be built ``again`` for another background.

    That is for ways that are made of an estimator's inside, and gives nothing where it fails.
    """

    method: ExplainingMethod
    built: Built
    background: Sequence[Row]
    again: Callable[[Sequence[Row]], Built | None] | None = None


def prove(case: Case, candidate: Candidate) -> tuple[int, float]:
    """See that explanations add up to what is answered, and tell for how many rows, and how well.

    Raises:
        CannotExplainError: they do not, or are not those that asking about all coalitions gives.
    """
    built = candidate.built
    way = _way(case, candidate, built)
    half = (PROVEN_ROWS if candidate.again else PROVEN_BY_ASKING) // 2
    odd = case.answered(list(islice(hostile(case.fitted, case.rows, case.rng), half)))
    rows = [*case.rows[:half], *odd]
    answers = case.model.answers(case.columns(rows))
    answered = np.column_stack(answers.numbers or answers.values).astype(np.float64)
    largest = float(
        np.max(
            [
                difference(_explained(way, row, numbers), built.output, numbers)
                for row, numbers in zip(rows, answered, strict=True)
            ]
        )
    )
    if not largest <= TOLERANCE:
        raise CannotExplainError(NOT_ADDITIVE)
    if candidate.again:
        for row in case.rows[-JUDGED_ROWS:]:
            _judge(case, candidate, way, row)
    return len(rows), largest


def _way(case: Case, candidate: Candidate, built: Built) -> Way:
    return WAYS[candidate.method](built.kept, case.description, case.model.numbers)


def _explained(way: Way, row: Row, numbers: Array) -> Attribution:
    return way.joined(row, numbers, [part() for part in way.parts(row)])


def _judge(case: Case, candidate: Candidate, way: Way, row: Row) -> None:
    """Compare an explanation with what asking about all coalitions of columns gives.

    Where columns are many, of some: all others are alike in the row and in those with which it is
    compared, which are few, and for which the way is built once more.

    Raises:
        CannotExplainError: they are not the same.
    """
    count = len(row)
    columns, background = np.arange(count), candidate.background
    is_thinned = candidate.built.background_rows < len(background)
    if count > MAX_JUDGED or is_thinned or case.description.asked.batching == "alone":
        columns = case.rng.permutation(count)[:MAX_JUDGED]
        others = some(case.rows, JUDGED_BACKGROUND, case.rng)
        background = case.answered([_hybrid(row, other, columns) for other in others])
        rebuilt = candidate.again(background) if candidate.again and background else None
        if rebuilt is None:
            raise CannotExplainError(OTHERWISE)
        way = _way(case, candidate, rebuilt)
    found = _explained(way, row, case.model.numbers(case.columns([row]))[0])
    wanted, within = _by_asking(case, candidate.built.output, row, background, columns)
    is_same = (
        (np.abs(found.base - wanted.base) <= within).all()
        and (np.abs(found.contributions[columns] - wanted.contributions) <= within).all()
        and (np.abs(np.delete(found.contributions, columns, axis=0)) <= within).all()
    )
    # Of a probability of 0 there is no logarithm that could be compared.
    if not is_same and np.isfinite(wanted.totals).all():
        raise CannotExplainError(OTHERWISE)


def _hybrid(row: Row, other: Row, columns: Array) -> Row:
    """Give a row with the values that another has in some columns."""
    return tuple(other[at] if at in columns else value for at, value in enumerate(row))


def _by_asking(
    case: Case, output: ExplainedOutput, row: Row, background: Sequence[Row], columns: Array
) -> tuple[Attribution, float]:
    """Explain a row by all coalitions of some columns, and tell how exact that is."""
    features = tuple(case.description.features[at] for at in columns)
    whole = case.columns([row])

    def ask(asked: Sequence[Column]) -> Array:
        """Give the outputs that are explained, and last what a bit of an answer is in them."""
        alike = np.zeros(len(asked[0]), dtype=np.intp)
        filled = [column.take(alike) for column in whole]
        for at, column in zip(columns.tolist(), asked, strict=True):
            filled[at] = column
        return _with_bits(case.model.numbers(filled), output)

    def of_some(rows: Sequence[Row]) -> list[Row]:
        return [tuple(one[at] for at in columns) for one in rows]

    ((own,), others) = (of_some([row]), of_some(background))
    kept = Kept(
        {"rows": others, "rows_at_once": ROWS_AT_ONCE[-1]},
        {"numbers": ask(by_columns(features, others))},
    )
    part = case.description.model_copy(update={"features": features})
    judge = Enumeration(kept, part, ask)
    numbers = ask(by_columns(features, [own]))[0]
    results = [part() for part in judge.parts(own)]
    values = judge.values(numbers, results)
    found = judge.joined(own, numbers, results)
    bits = 8 * float(values[:, -1].max())
    within = TOLERANCE * float(np.abs(values[:, :-1]).max()) + bits
    return Attribution(found.base[:-1], found.contributions[:, :-1]), within


def _with_bits(numbers: Array, output: ExplainedOutput) -> Array:
    """Give what is explained of the numbers answered, and last what rounding of these is in it."""
    if output not in {"log-odds", "log-ratio"}:
        return np.column_stack([numbers, np.zeros(len(numbers))])
    logarithms = np.log(numbers)
    if output == "log-odds":
        logarithms = logarithms - logarithms[:, ::-1]
    else:
        logarithms = logarithms - logarithms.mean(axis=1, keepdims=True)
    return np.column_stack([logarithms, EPSILON / numbers.min(axis=1)])

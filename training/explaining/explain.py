"""The first way of explaining a model that can be had, is proven, and does not take too long.

What is known of an estimator's inside explains it best: a sum over columns, or over leaves of
trees. Else the model is asked, as it will be served: about all coalitions of few columns, or along
permutations of many, as far as there is time for that.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from serving.explaining.kept import Kept
from serving.explaining.numbers import Outputs
from serving.model.description import Description, Explained, ExplainingMethod
from serving.model.estimator import Estimator
from serving.model.features import Row
from serving.model.outputs import Array
from training.explaining.built import Built, CannotExplainError
from training.explaining.case import BUDGET_S, MAX_BACKGROUND, Case
from training.explaining.images import Images, images_of
from training.explaining.leaves import build as as_leaves
from training.explaining.linear import build as as_lines
from training.explaining.proof import Candidate, prove

Builder: TypeAlias = Callable[[Images, Sequence[Row], Description], Built]

BUILDERS: Mapping[ExplainingMethod, Builder] = {"linear": as_lines, "trees": as_leaves}

FAILS = "it fails on rows by which its explanations would be proven"
TOO_LONG = "the model takes too long to be asked so often"
TOO_MANY = "it has too many columns to be asked about"
BACKGROUND_ROWS = (MAX_BACKGROUND, 50, 20, 10)  # to compare with, as time allows
FEWEST_ROWS = 5  # where columns are many
MAX_ENUMERATED = 10  # columns, of which all coalitions are asked about
ASKED_ROWS = tuple(20_480 >> power for power in range(8))  # along permutations, as time allows
MAX_NUMBERS = 1 << 20  # answered, that are kept in memory meanwhile
MIN_DEGREES = 15  # of freedom, with which it is estimated how sure that is


def explain(
    estimator: Estimator,
    description: Description,
    rows: Sequence[Row],
    *,
    keeps_background: bool,
    seed: int,
    graph: bytes | None = None,
) -> tuple[Explained | str, bytes | None]:
    """Find how a model can be explained, and give what is kept for that; or tell why it can't be.

    ``rows`` are those of its table, of which some are kept to compare with, if that is wanted.
    ``graph`` is its compiled form, if the description tells of one.
    """
    if description.training is None:
        return "nothing is known of what it was fitted on but an example", None
    if why_none := Outputs(description).why_none:
        return why_none, None
    reasons: list[str] = []
    try:
        with warnings.catch_warnings(), threadpool_limits(limits=1):
            warnings.simplefilter("ignore")  # estimators may warn whenever they are asked
            case = Case(estimator, description, rows, seed, graph, keeps_background)
            return _explained(case, reasons)
    except CannotExplainError as exc:
        return "; ".join((str(exc), *reasons)), None
    except Exception:  # estimators raise anything
        return FAILS, None


def _explained(case: Case, reasons: list[str]) -> tuple[Explained, bytes]:
    """Take the first way that is proven; to ``reasons`` is added why others are none.

    Raises:
        CannotExplainError: none is.
    """
    for candidate in _candidates(case, reasons):
        try:
            rows, largest = prove(case, candidate)
        except Exception as exc:  # as above
            reasons.append(str(exc) if isinstance(exc, CannotExplainError) else FAILS)
            continue
        packed = candidate.built.kept.packed()
        explained = Explained(
            method=candidate.method,
            output=candidate.built.output,
            exact=candidate.method != "sampled",
            background="training" if case.keeps_background else "published",
            background_rows=candidate.built.background_rows,
            rows=rows,
            largest_difference=largest,
            sha256=hashlib.sha256(packed).hexdigest(),
            why_sampled="; ".join(reasons) if candidate.method == "sampled" else None,
        )
        return explained, packed
    raise CannotExplainError(reasons.pop())


def _candidates(case: Case, reasons: list[str]) -> Iterator[Candidate]:
    """Give the ways in which a model can be explained, the best first.

    Raises:
        CannotExplainError: there are no more.
    """
    is_small = len(case.description.features) <= MAX_ENUMERATED
    second = []
    for candidate in _from_inside(case, reasons):
        if candidate.built.output == "log-ratio" and is_small:
            second.append(candidate)  # probabilities are told rather than what is behind them
        else:
            yield candidate
    if is_small and (enumeration := _enumeration(case)):
        yield enumeration
    yield from second
    yield _sampled(case)


def _from_inside(case: Case, reasons: list[str]) -> Iterator[Candidate]:
    """Give the ways that what is known of the estimator's inside opens."""
    background = case.background(MAX_BACKGROUND)
    try:
        images = images_of(case.fitted, case.estimator, case.rows, case.rng)
    except Exception as exc:  # estimators raise anything; and where it can't be known, it is asked
        reasons.append(_reason(exc))
        return
    for method, build in BUILDERS.items():
        again = partial(_built, build, images, case.description, reasons)
        if built := again(background):
            yield Candidate(method, built, background, again)


def _built(
    build: Builder,
    images: Images,
    description: Description,
    reasons: list[str],
    background: Sequence[Row],
) -> Built | None:
    try:
        return build(images, background, description)
    except Exception as exc:  # as above
        reasons.append(_reason(exc))
        return None


def _reason(exc: Exception) -> str:
    """Tell why an estimator's inside does not explain it."""
    return str(exc) if isinstance(exc, CannotExplainError) else f"{type(exc).__name__} inside it"


def _enumeration(case: Case) -> Candidate | None:
    """Ask about all coalitions of columns, with as large a background as there is time for."""
    coalitions = 2 ** len(case.description.features) - 2
    for count in BACKGROUND_ROWS:
        background = case.background(count)
        if case.pace.seconds(coalitions * len(background)) <= BUDGET_S:
            return _asking(case, "enumeration", background, {})
    return None


def _sampled(case: Case) -> Candidate:
    """Ask along as many permutations of columns as there is time for.

    Raises:
        CannotExplainError: there is time for too few.
    """
    columns = len(case.description.features)
    each = 2 * max(1, columns - 1)  # rows, of a permutation and its reverse
    most = min(ASKED_ROWS[0], MAX_NUMBERS // len(case.outputs.all))
    if most // each <= MIN_DEGREES:
        raise CannotExplainError(TOO_MANY)
    for asked in ASKED_ROWS:
        pairs = min(asked, most) // each
        if case.pace.seconds(pairs * each) > BUDGET_S:
            continue
        for count in (*BACKGROUND_ROWS, FEWEST_ROWS):
            background = case.background(count)
            of_row = pairs // len(background)
            if (of_row - 1) * len(background) >= MIN_DEGREES:
                ranks = np.tile(np.arange(columns, dtype=np.uint16), (of_row * len(background), 1))
                ranks = case.rng.permuted(ranks, axis=1)
                return _asking(case, "sampled", background, {"ranks": ranks})
    raise CannotExplainError(TOO_LONG)


def _asking(
    case: Case, method: ExplainingMethod, background: Sequence[Row], more: dict[str, Array]
) -> Candidate:
    numbers = case.model.numbers(case.columns(background))
    told = {"rows": background, "rows_at_once": case.pace.rows}
    kept = Kept(told, {"numbers": numbers, **more})
    return Candidate(method, Built(case.output, kept, len(background)), background)

"""A graph is kept only where it is proven to give its estimator's answers.

They are compared on the table's own rows and on `hostile` ones. Whether a row gets the same bits in
any company (`company`) is compared there, too.
"""

import hashlib
import logging
import warnings
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version

import numpy as np

from serving.model.compiled import CompiledEstimator, CompiledGraph, shortest_s
from serving.model.description import Compiled, Description
from serving.model.estimator import Estimator, FittedEstimator
from serving.model.features import Row
from serving.model.outputs import Array, Outputs
from training.compiling.company import keep_rows_apart
from training.compiling.conversion import check_compilable, convert
from training.compiling.graph import CannotConvertError
from training.compiling.hostile import MAX_ALONE, MAX_ROWS, hostile
from training.compiling.rounding import is_alike_everywhere
from training.describing.asking import answers, some
from training.describing.batches import BATCH_SIZES

MAX_BATCHES = 200  # of each size
TIMED_ROWS = (1, 64)
TIMED_RUNS = 5


def compile_estimator(
    estimator: Estimator,
    description: Description,
    rows: Sequence[Row],
    tolerance: float,
    seed: int,
) -> tuple[Compiled | str, bytes | None]:
    """Compile an estimator and tell how that was proven, or tell why it is not compiled.

    ``rows`` are those of its table, and ``tolerance`` says by how much its numbers may differ from
    the estimator's, relative and absolute.
    """
    logging.getLogger("skl2onnx").setLevel(logging.CRITICAL)  # it would tell of what is told here
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what converters and estimators have to say
            return _compiled(estimator, description, rows, tolerance, np.random.default_rng(seed))
    except CannotConvertError as exc:
        return str(exc), None
    except Exception:  # estimators raise anything
        return "it fails on rows by which it would be proven alike", None


def _compiled(
    estimator: Estimator,
    description: Description,
    rows: Sequence[Row],
    tolerance: float,
    rng: np.random.Generator,
) -> tuple[Compiled, bytes]:
    check_compilable(description)
    converted = convert(estimator, description, rows)
    may_be_exact = is_alike_everywhere(converted)
    keep_rows_apart(converted)
    graph = bytes(converted.SerializeToString())
    try:
        computed = CompiledGraph(graph)
    except Exception as exc:
        raise CannotConvertError("ONNX Runtime does not take its graph") from exc
    proof = Compiled(
        rows=0,
        tolerance=tolerance,
        largest_difference=0.0,
        exact=False,
        same_bits=False,
        onnxruntime=version("onnxruntime"),
        sha256=hashlib.sha256(graph).hexdigest(),
    )
    model = FittedEstimator(estimator, description.model_copy(update={"compiled": proof}))
    compiled = CompiledEstimator(computed, model.description, model)
    asked = [*some(rows, MAX_ROWS, rng), *hostile(model, rows, rng)]
    proof = _prove(model, compiled, proof, some(asked, len(asked), rng))
    _check_speed(model, compiled, rows)
    return proof.model_copy(update={"exact": proof.exact and may_be_exact}), graph


def _prove(
    model: FittedEstimator, compiled: CompiledEstimator, proof: Compiled, rows: Sequence[Row]
) -> Compiled:
    """Compare answers, alone and in batches of several sizes, and tell how alike they are.

    They are compared with the estimator's, and with one another's.

    Raises:
        CannotConvertError: they are not alike.
    """
    rows, outputs = answered(model, rows)
    numbers = outputs.probabilities[0] if outputs.probabilities else outputs.values[:, np.newaxis]
    told = [prediction.value for prediction in model.predictions(outputs)]
    classes = model.description.classes_by_target
    graph = compiled.graph
    table = graph.table(rows)
    whole = graph(table)
    largest, exact, same_bits = 0.0, True, True
    for size in (1, *BATCH_SIZES, len(rows)):
        count = min(len(rows), size * MAX_BATCHES)
        batches = [table[start : min(start + size, count)] for start in range(0, count, size)]
        scores = np.concatenate([graph(batch) for batch in batches])
        if scores.shape[1:] != numbers.shape[1:]:
            raise CannotConvertError(f"it gives {scores.shape[1]} numbers for a row")
        sure = ~compiled.sensitive(table[:count], scores)
        differences = np.abs(scores - numbers[:count]) / (1 + np.abs(numbers[:count]))
        largest = max(largest, differences[sure].max(initial=0.0))
        if not largest <= proof.tolerance:
            raise CannotConvertError(f"its numbers differ by {largest:.1e} from the estimator's")
        wrong = np.zeros(count, dtype=bool)
        if classes:
            given = [classes[0][index] for index in scores.argmax(axis=1)]
            wrong = np.array([one != other for one, other in zip(given, told, strict=False)])
        if (sure & wrong).any():
            many = f"{(sure & wrong).sum()} of {count}"
            raise CannotConvertError(f"{many} labels differ from the estimator's")
        exact = exact and np.array_equal(scores, numbers[:count]) and not wrong.any()
        same_bits = same_bits and _same_bits(scores, whole[:count])
    found = {"largest_difference": largest, "exact": exact, "same_bits": same_bits}
    return proof.model_copy(update={"rows": len(rows), **found})


def _same_bits(some: Array, others: Array) -> bool:
    """Tell whether doubles are the same, zeros by their sign; what is not finite is not served."""
    finite = np.isfinite(some)
    return np.array_equal(finite, np.isfinite(others)) and np.array_equal(
        some[finite].view(np.int64), others[finite].view(np.int64)
    )


def answered(model: FittedEstimator, rows: Sequence[Row]) -> tuple[list[Row], Outputs]:
    """Ask the estimator, and leave out the rows for which it has no finite answer."""
    rows = list(rows)
    try:
        outputs = model.ask(model.table(rows))
        model.predictions(outputs)
    except Exception:  # estimators raise anything
        rows = [row for row in rows[:MAX_ALONE] if answers(model, [row])]
        outputs = model.ask(model.table(rows))
    return rows, outputs


def _check_speed(model: FittedEstimator, compiled: CompiledEstimator, rows: Sequence[Row]) -> None:
    """Refuse a graph that gains nothing.

    Raises:
        CannotConvertError: it takes longer than the estimator.
    """
    for count in TIMED_ROWS:
        timed = list(rows[:count])
        graph_s, own_s = (
            shortest_s(partial(one.predict, timed), TIMED_RUNS) for one in (compiled, model)
        )
        if graph_s > own_s:
            raise CannotConvertError(f"its graph is slower for {count} rows at a time")

"""From a fitted estimator to an ONNX graph, kept only where it is proven to give the same answers.

skl2onnx converts it, all in doubles (`converters`). What comes out is compared with the estimator
where they are likeliest to differ: on the table's own rows, at the values by which trees split and
next to them, at the ends of what is accepted, with missing values, and where the label changes.
Whether a row gets the same bits in any company (`company`) is compared there, too.
"""

import hashlib
import json
import logging
import re
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common._topology import Operator
from skl2onnx.common.data_types import DoubleTensorType
from skl2onnx.common.exceptions import MissingShapeCalculator
from skl2onnx.helpers.onnx_helper import select_model_inputs_outputs

from serving.model.compiled import CATEGORIES, CompiledEstimator, CompiledGraph
from serving.model.description import Compiled, Description
from serving.model.domains import Interval, Lengths
from serving.model.estimator import Estimator, FittedEstimator
from serving.model.features import Category, Feature, Number, Row
from serving.model.outputs import Array, Outputs
from training.compiling.company import keep_rows_apart
from training.compiling.converters import CannotConvertError, register, vocabulary_of
from training.compiling.rounding import is_alike_everywhere
from training.describing.domain import UNSEEN, answers
from training.describing.probe import BATCH_SIZES, boundary_rows, some

OPSET = {"": 18, "ai.onnx.ml": 3}  # what skl2onnx knows
MAX_ROWS = 2000  # of the table, and as many hostile ones
MAX_ALONE = 1000  # asked one by one, if some have no answer
MAX_BATCHES = 200  # of each size
MAX_SPLITS = 200  # of a feature, at which and next to which hostile rows lie
TINY = (0.0, -0.0, 5e-324, -5e-324, 1e-9, -1e-9)
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
    _check(description)
    converted = _convert(estimator, description, rows)
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
    asked = [*some(rows, MAX_ROWS, rng), *_hostile(model, rows, rng)]
    proof = _prove(model, compiled, proof, some(asked, len(asked), rng))
    _check_speed(model, compiled, rows)
    return proof.model_copy(update={"exact": proof.exact and may_be_exact}), graph


def _check(description: Description) -> None:
    """Refuse what a graph would not answer as `FittedEstimator` reads its answers."""
    if description.task not in {"classification", "regression"}:
        raise CannotConvertError(f"{description.task} is not compiled")
    if len(description.targets) > 1:
        raise CannotConvertError("several targets are not compiled")
    if any(feature.type == "text" for feature in description.features):
        raise CannotConvertError("texts are not compiled")
    if description.task == "classification" and description.asked.scored_by != "predict_proba":
        raise CannotConvertError("classifiers without probabilities are not compiled")


def _convert(estimator: Estimator, description: Description, rows: Sequence[Row]) -> ModelProto:
    """Convert an estimator to a graph from one matrix to one matrix."""
    told = {value for row in rows for value in row if isinstance(value, str)}
    vocabulary = sorted(told | vocabulary_of(estimator))
    register(vocabulary)
    names = [feature.name for feature in description.features]
    by_name = description.asked.input != "array"
    columns = names if by_name else ["X"]
    width = 1 if by_name else len(names)
    is_classifier = description.task == "classification"
    try:
        converted = to_onnx(
            estimator,
            initial_types=[(column, DoubleTensorType([None, width])) for column in columns],
            options={"zipmap": False} if is_classifier else None,
            target_opset=OPSET,
        )
    except CannotConvertError:
        raise
    except Exception as exc:  # converters raise anything
        raise CannotConvertError(_why_not(exc)) from exc
    output = converted.graph.output[-1].name
    graph = select_model_inputs_outputs(converted, outputs=[output])  # without the label
    if by_name:
        _take_a_matrix(graph, names)
    graph.metadata_props.add(key=CATEGORIES, value=json.dumps(vocabulary))
    return graph


def _why_not(exc: Exception) -> str:
    """Tell by which part of an estimator skl2onnx has failed, in words for whoever fitted it."""
    unknown = re.search(r"<class '(?:[^']*\.)?(\w+)'>", str(exc))
    if unknown and isinstance(exc, MissingShapeCalculator | KeyError):
        return f"{unknown[1]} has no counterpart in ONNX"
    found = [frame.f_locals.get("operator") for frame, _ in traceback.walk_tb(exc.__traceback__)]
    parts = [part.raw_operator for part in found if isinstance(part, Operator)]
    return f"skl2onnx fails on its {type(parts[-1]).__name__}" if parts else "skl2onnx fails on it"


def _take_a_matrix(model: ModelProto, names: Sequence[str]) -> None:
    """Give a graph that takes columns by name one input, which it splits into them."""
    shape = [None, len(names)]
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("X", TensorProto.DOUBLE, shape))
    split = helper.make_node("Split", ["X"], names, axis=1, num_outputs=len(names))
    model.graph.node.insert(0, split)


def _hostile(
    model: FittedEstimator, rows: Sequence[Row], rng: np.random.Generator
) -> Iterator[Row]:
    """Make rows whose answers may be changed by rounding, or by what is unusual."""
    features = model.description.features
    columns = zip(features, zip(*rows, strict=True), strict=True)
    values = [_values(feature, column, rng) for feature, column in columns]
    for index in rng.integers(len(rows), size=MAX_ROWS):
        row = rows[index]
        changed = rng.random(len(row)) < rng.random()
        yield tuple(
            others[rng.integers(len(others))] if change else value
            for value, change, others in zip(row, changed, values, strict=True)
        )
    with suppress(Exception):  # it may fail between the rows of the table
        whole = [row for row in some(rows, MAX_ALONE, rng) if None not in row]
        yield from boundary_rows(model, whole, rng)


def _values(feature: Feature, column: Sequence[Any], rng: np.random.Generator) -> list[Any]:
    """Give values of a feature for hostile rows."""
    values = set(column) - {None}
    if isinstance(feature, Number) and isinstance(feature.domain, Interval):
        values = set(_numbers(feature, feature.domain, np.array(list(values), dtype=float), rng))
    elif isinstance(feature, Category) and isinstance(feature.domain, Lengths):
        values.add(UNSEEN)
    return sorted(values) + [None] * feature.nullable


def _numbers(feature: Number, domain: Interval, seen: Array, rng: np.random.Generator) -> list[Any]:
    """Give the numbers at which trees split, their neighbours, and the ends of what is accepted.

    Trees split in the middle between two values of the table, or at one, and may round to floats.
    """
    splits = np.unique(seen)
    splits = rng.permutation(np.concatenate([splits, (splits[1:] + splits[:-1]) / 2]))[:MAX_SPLITS]
    floats = splits.astype(np.float32)
    low, high = feature.trained.minimum, feature.trained.maximum
    numbers = [
        *splits,
        *(near for way in (-np.inf, np.inf) for near in np.nextafter(splits, way)),
        *floats,
        *(near for way in (-np.inf, np.inf) for near in np.nextafter(floats, np.float32(way))),
        *(low, high, 10 * low, 10 * high, 2 * low - high, 2 * high - low, *TINY),
        *(domain.minimum, domain.maximum),
    ]
    kind = int if feature.type == "integer" else float
    whole = [kind(number) for number in numbers if np.isfinite(number)]
    return [number for number in whole if domain.minimum <= number <= domain.maximum]


def _prove(
    model: FittedEstimator, compiled: CompiledEstimator, proof: Compiled, rows: Sequence[Row]
) -> Compiled:
    """Compare answers, alone and in batches of several sizes, and tell how alike they are.

    They are compared with the estimator's, and with one another's.

    Raises:
        CannotConvertError: they are not alike.
    """
    rows, outputs = _answered(model, rows)
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


def _answered(model: FittedEstimator, rows: Sequence[Row]) -> tuple[list[Row], Outputs]:
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

    def seconds(model: FittedEstimator | CompiledEstimator, rows: list[Row]) -> float:
        """Take the shortest time, which nothing else on the machine has lengthened."""
        times = [time.perf_counter()]
        for _ in range(TIMED_RUNS):
            model.predict(rows)
            times.append(time.perf_counter())
        return min(np.diff(times))

    for count in TIMED_ROWS:
        timed = list(rows[:count])
        if seconds(compiled, timed) > seconds(model, timed):
            raise CannotConvertError(f"its graph is slower for {count} rows at a time")

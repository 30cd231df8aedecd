"""A whole estimator becomes a graph from one matrix to one matrix, or it is told why not.

skl2onnx converts it, all in doubles, with this project's own `converters` where it has none alike.
"""

import json
import re
import traceback
from collections.abc import Sequence

from onnx import ModelProto, TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common._topology import Operator
from skl2onnx.common.data_types import DoubleTensorType
from skl2onnx.common.exceptions import MissingShapeCalculator
from skl2onnx.helpers.onnx_helper import select_model_inputs_outputs
from sklearn.pipeline import Pipeline

from serving.model.compiled import CATEGORIES
from serving.model.description import Categories, Description, Label
from serving.model.estimator import Estimator
from serving.model.features import Category, Row
from serving.model.shortcut import PIPELINES
from serving.model.wrapped import unwrapped
from training.compiling.converters import register
from training.compiling.graph import CannotConvertError
from training.compiling.preparation import Preparation, vocabulary_of
from training.fitting.pipeline import parts_of

OPSET = {"": 18, "ai.onnx.ml": 3}  # what skl2onnx knows


def check_compilable(description: Description) -> None:
    """Refuse what a graph would not answer as `FittedEstimator` reads its answers."""
    if description.is_graph:
        raise CannotConvertError("it is a graph as it is")
    if description.task not in {"classification", "regression"}:
        raise CannotConvertError(f"{description.task} is not compiled")
    if len(description.targets) > 1:
        raise CannotConvertError("several targets are not compiled")
    if any(feature.type == "text" for feature in description.features):
        raise CannotConvertError("texts are not compiled")
    if description.task == "classification" and description.asked.scored_by != "predict_proba":
        raise CannotConvertError("classifiers without probabilities are not compiled")


def convert(estimator: Estimator, description: Description, rows: Sequence[Row]) -> ModelProto:
    """Convert an estimator to a graph from one matrix to one matrix."""
    for part in parts_of(estimator):  # skl2onnx takes what inherits from a pipeline for one
        if isinstance(part, Pipeline) and type(part).__module__ not in PIPELINES:
            raise CannotConvertError(_without_counterpart(type(part).__name__))
    estimator = without_labels(estimator)
    told = {value for row in rows for value in row if isinstance(value, str)}
    vocabulary = sorted(told | vocabulary_of(estimator))
    register(parts_of(estimator), Preparation(vocabulary, _categorical(description)))
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


def without_labels(estimator: Estimator) -> Estimator:
    """Give an estimator whose classes are codes, as a graph's are: places of labels."""
    if isinstance(estimator, Pipeline):
        *steps, (name, last) = estimator.steps
        return Pipeline([*steps, (name, without_labels(last))])
    return unwrapped(estimator)


def _categorical(description: Description) -> dict[int, Sequence[Label]] | None:
    """Tell which columns an estimator is given as pandas' categories, and as which.

    There are none for those of a request, and None is told of an estimator that gets no frame.
    """
    asked = description.asked
    if asked.input not in {"frame", "categorical-frame"}:
        return None
    given: dict[int, Sequence[Label]] = {}
    for at, feature in enumerate(description.features):
        dtype = asked.dtypes.get(feature.name)
        if isinstance(dtype, Categories):
            given[at] = dtype.values
        elif asked.takes_for_category(feature.name) or (
            asked.input == "categorical-frame" and isinstance(feature, Category)
        ):
            given[at] = ()
    return given


def _why_not(exc: Exception) -> str:
    """Tell by which part of an estimator skl2onnx has failed, in words for whoever fitted it."""
    unknown = re.search(r"<class '(?:[^']*\.)?(\w+)'>", str(exc))
    if unknown and isinstance(exc, MissingShapeCalculator | KeyError):
        return _without_counterpart(unknown[1])
    found = [frame.f_locals.get("operator") for frame, _ in traceback.walk_tb(exc.__traceback__)]
    parts = [part.raw_operator for part in found if isinstance(part, Operator)]
    return f"skl2onnx fails on its {type(parts[-1]).__name__}" if parts else "skl2onnx fails on it"


def _without_counterpart(kind: str) -> str:
    return f"{kind} has no counterpart in ONNX"


def _take_a_matrix(model: ModelProto, names: Sequence[str]) -> None:
    """Give a graph that takes columns by name one input, which it splits into them."""
    shape = [None, len(names)]
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("X", TensorProto.DOUBLE, shape))
    split = helper.make_node("Split", ["X"], names, axis=1, num_outputs=len(names))
    model.graph.node.insert(0, split)

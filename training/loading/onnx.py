"""Files of ONNX: read with what they have beside them, and understood by their inputs and outputs.

Labels and probabilities, dicts of them, numbers: what the outputs are is told by their types, their
names and what computes them. Refuses what no table has, such as images.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import onnx
import onnx.numpy_helper

from serving.console import listed
from serving.model.description import Task
from serving.model.estimator import Estimator
from serving.model.onnx_file import (
    NUMBERS,
    TEXTS,
    OnnxClassifier,
    OnnxModel,
    OnnxRegressor,
)
from serving.model.onnx_session import session_of
from serving.model.wrapped import unwrapped
from training.console import tell
from training.errors import TrainingError
from training.loading.survival import survive

Put: TypeAlias = Any  # an input or output of a session of ONNX Runtime's

PROBABLE = {"Softmax", "Sigmoid", "ZipMap", "Normalizer"}  # what makes probabilities
PASSING = {"Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Concat"}
FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")
MAPS = ("seq(map(string,tensor(float)))", "seq(map(int64,tensor(float)))")


def read_onnx(path: Path, task: Task | None = None) -> OnnxModel:
    """Read a graph with all that it needs; ``task`` is what a person says of it.

    Raises:
        TrainingError: it can't be read or computed, or is for no table.
    """
    survive("onnx", path)
    return load_onnx(path, task)


def load_onnx(path: Path, task: Task | None = None) -> OnnxModel:
    """Read a graph without trying first whether that ends.

    Raises:
        TrainingError: as `read_onnx` does.
    """
    try:
        model = onnx.load(path)  # weights that lie beside it too, but none of another folder
        graph = bytes(model.SerializeToString())
        session = session_of(graph)
    except Exception as exc:  # a file may hold anything, and fail in any way
        said = " ".join(f"{type(exc).__name__}: {exc}".split())
        raise TrainingError(f"{path} can't be loaded as ONNX: {said}") from exc
    check_inputs(path, session.get_inputs())
    return _understood(path, model.graph, graph, session.get_outputs(), task)


def settle(estimator: Estimator, scored_by: str | None) -> None:
    """Give up probabilities that the estimator did not have when it was asked: scores by name."""
    graph = unwrapped(estimator)
    if isinstance(graph, OnnxModel):
        graph.are_probabilities = scored_by == "predict_proba"


def check_inputs(path: Path, inputs: Sequence[Put]) -> None:
    """Refuse inputs that are no columns of a table."""
    if not inputs:
        raise TrainingError(f"{path} has no inputs")
    for given in inputs:
        rank = len(given.shape)
        if given.type not in {*NUMBERS, TEXTS} or not 1 <= rank <= 2:
            raise TrainingError(
                f"{path} has the input {given.name!r} of type {given.type} and shape "
                f"{given.shape}, which is no row of columns"
            )
        if isinstance(given.shape[0], int) and given.shape[0] != 1:
            raise TrainingError(
                f"{path} takes {given.shape[0]} rows at a time, no more and no less: export it "
                "with a dynamic axis for the batch"
            )
        if rank == 2 and not isinstance(given.shape[1], int) and len(inputs) > 1:
            raise TrainingError(
                f"{path} has several inputs, and {given.name!r} does not tell how many columns it "
                "takes"
            )


def _understood(
    path: Path,
    graph: onnx.GraphProto,
    content: bytes,
    outputs: Sequence[Put],
    task: Task | None,
) -> OnnxModel:
    """Tell labels from scores."""
    known = [out for out in outputs if out.type in MAPS or len(out.shape) <= 2]
    labels = [out for out in known if out.type not in (*MAPS, *FLOATS)]
    scores = [out for out in known if out not in labels]
    label, score = next(iter(labels), None), next(iter(scores), None)
    if (first := label or score) is None:
        raise TrainingError(f"{path} has no output with a label, or numbers, for each row")
    if others := [out.name for out in outputs if out not in (label, score)]:
        tell(f"of the outputs of {path} these are not served: {listed(others)}")
    probable = score is not None and _are_probabilities(graph, score)
    task = task or _task(label, score, probable)
    if task == "regression":
        return OnnxRegressor(content, (score or first).name)
    names = (label and label.name, score and score.name)
    if task != "classification":
        return OnnxModel(content, first.name, score.name if label and score else None)
    told = _labels(graph, label, score)
    if label and told and (label.type == TEXTS) != isinstance(told[0], str):
        told = None  # codes of labels that the graph gives otherwise
    if (
        told is None
        and score
        and (count := _columns(score))
        and not (label and label.type == TEXTS)
    ):
        told = list(range(max(2, count)))
    return OnnxClassifier(content, *names, told, are_probabilities=probable)


def _task(label: Put | None, score: Put | None, probable: bool) -> Task | None:
    """Tell what a graph is for, if its outputs do: whole numbers alone may be of a clustering."""
    count = _columns(score) if score else None
    if label is None and count == 1:
        return "regression"
    if probable or (label and label.type == TEXTS):
        return "classification"
    return None


def _columns(output: Put) -> int | None:
    """Tell how many numbers it has for each row, if it says so."""
    if output.type in MAPS:
        return None
    if len(output.shape) < 2:
        return 1
    return output.shape[1] if isinstance(output.shape[1], int) else None


def _behind(graph: onnx.GraphProto, output: Put) -> Iterator[onnx.NodeProto]:
    """Give the nodes that make an output, from the last one back."""
    makers = {name: node for node in graph.node for name in node.output}
    name = output.name
    while name in makers:
        yield (node := makers.pop(name))
        name = node.input[0] if node.input else ""


def _are_probabilities(graph: onnx.GraphProto, output: Put) -> bool:
    """Tell by its name, or by what computes it."""
    if output.type in MAPS or re.search("prob", output.name, re.IGNORECASE):
        return True
    makers = (node.op_type for node in _behind(graph, output) if node.op_type not in PASSING)
    return next(makers, None) in PROBABLE


def _labels(graph: onnx.GraphProto, label: Put | None, score: Put | None) -> list[Any] | None:
    """Give the labels that the scores are of, in their order, if the graph says them."""
    for node in _behind(graph, score) if score else ():
        for attribute in node.attribute:
            if attribute.name.startswith("classlabels") and attribute.strings:
                return [text.decode() for text in attribute.strings]
            if attribute.name.startswith("classlabels") and attribute.ints:
                return list(attribute.ints)
        if node.op_type not in PROBABLE | PASSING:
            break
    tables = {one.name: one for one in graph.initializer}
    for node in _behind(graph, label) if label else ():  # the label of the best score's place
        if node.op_type == "ArrayFeatureExtractor" and node.input[0] in tables:
            values = onnx.numpy_helper.to_array(tables[node.input[0]]).ravel().tolist()
            return [value.decode() if isinstance(value, bytes) else value for value in values]
    return None

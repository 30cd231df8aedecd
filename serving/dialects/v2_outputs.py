"""What a model gives, as tensors of the Open Inference Protocol.

They have MLServer's names: ``predict``, and ``predict_proba``, ``decision_function`` or ``score``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

import orjson

from serving.dialects.dialect import Answer
from serving.dialects.manners import PREDICT_METHOD
from serving.dialects.tensors import (
    BOOL,
    BYTES,
    FP64,
    INT64,
    MAX_EXTENT,
    UINT64,
    to_bytes,
    wrong_member,
)
from serving.model.about import About
from serving.model.description import Description, Label
from serving.model.outputs import Prediction
from serving.model.rows import MAX_PROBLEMS, expected
from serving.problems import FieldError

JSON_LENGTH = "inference-header-content-length"  # a header, where bytes follow the JSON
UNKNOWN = -1  # until the model gives some, as with a score for each pair of classes
BINARY_MEDIA_TYPE = "application/octet-stream"


class Output(NamedTuple):
    """One tensor of what a model gives for rows."""

    name: str
    method: str  # of scikit-learn
    datatype: str
    width: int | None  # elements for each row, perhaps `UNKNOWN`; none, where a row is no list
    of: Callable[[Prediction], Any]


class Wanted(NamedTuple):
    """An output that is asked for, and how."""

    output: Output
    is_binary: bool


@lru_cache(maxsize=64)
def outputs_of(about: About) -> Mapping[str, Output]:
    """Give all that a model answers with, by name, the prediction first.

    Targets whose labels have no datatype in common have outputs of their own.
    """
    outputs = [*_values_of(about), *_scores_of(about)]
    return {output.name: output for output in outputs}


def _values_of(about: About) -> Iterator[Output]:
    description = about.description
    match description.task:
        case "classification":
            datatypes = [_datatype(labels) for labels in description.classes_by_target]
        case "regression":
            datatypes = [FP64] * len(description.targets)
        case "clustering":
            datatypes = [INT64]
        case "outlier-detection":
            datatypes = [BYTES]
    if len(set(datatypes)) == 1:
        get = attrgetter("value")
        yield Output("predict", "predict", datatypes[0], len(datatypes), get)
        return
    for target, datatype in enumerate(datatypes):
        of = partial(_of_target, "value", target)
        yield Output(f"predict_{target}", "predict", datatype, 1, of)


def _datatype(labels: Sequence[Label]) -> str:
    """Give the datatype that holds all labels of a target."""
    match {type(label) for label in labels}:
        case types if types == {bool}:
            return BOOL
        case types if types == {int}:
            return INT64 if max(map(int, labels)) <= MAX_EXTENT else UINT64
        case types if types <= {int, float}:
            return FP64
    return BYTES


def _scores_of(about: About) -> Iterator[Output]:
    """Give the outputs that tell more than the prediction, if there are any."""
    classes = about.description.classes_by_target
    if "predict_proba" in about.methods:
        several = len(classes) > 1
        for target, labels in enumerate(classes):
            of = (
                partial(_of_target, "probabilities", target)
                if several
                else attrgetter("probabilities")
            )
            name = f"predict_proba_{target}" if several else "predict_proba"
            yield Output(name, "predict_proba", FP64, len(labels), of)
    elif "decision_function" in about.methods:
        is_outlier = about.description.task == "outlier-detection"
        yield Output(
            "score" if is_outlier else "decision_function",
            "decision_function",
            FP64,
            _width_of_scores(about.description),
            about.methods["decision_function"],
        )


def _width_of_scores(description: Description) -> int | None:
    """Tell how many numbers ``decision_function`` gives for a row."""
    classes = description.classes_by_target
    if all(len(labels) <= 2 for labels in classes) and len(classes) <= 1:
        return None
    return len(classes[0]) if description.asked.scores_by_class else UNKNOWN


def _of_target(member: str, target: int, prediction: Prediction) -> Any:  # noqa: ANN401
    return getattr(prediction, member)[target]


def wanted(
    about: About,
    outputs: Any,  # noqa: ANN401 (any JSON)
    parameters: Mapping[str, Any],
    mistakes: list[FieldError],
) -> list[Wanted]:
    """Choose outputs, and note what is wrong with those that are named."""
    there = outputs_of(about)
    all_binary = parameters.get("binary_data_output") is True
    if not outputs and (outputs is None or type(outputs) is list):
        method = parameters.get(PREDICT_METHOD)
        if method is None and parameters.get("content_type") is not None:
            method = "predict"  # MLServer's codecs wrote it, and read one output alone
        return [
            Wanted(output, all_binary)
            for output in there.values()
            if method in {None, output.method}
        ]
    if type(outputs) is not list:
        mistakes.append(expected("an array", outputs, ("outputs",)))
        return []
    chosen: dict[str, Wanted] = {}
    for index, each in enumerate(outputs):
        if len(mistakes) >= MAX_PROBLEMS:
            break
        if type(each) is not dict:
            mistakes.append(expected("an object", each, ("outputs", index)))
            continue
        name = each.get("name")
        if type(name) is not str or name not in there or name in chosen:
            told = f"expected one of {', '.join(there)}, each once"
            mistakes.append(wrong_member(each, "name", told, ("outputs", index)))
            continue
        own, is_binary = each.get("parameters"), None
        if type(own) is dict:
            is_binary = own.get("binary_data")
        elif own is not None:
            mistakes.append(expected("an object", own, ("outputs", index, "parameters")))
            continue
        is_binary = all_binary if is_binary is None else is_binary is True
        chosen[name] = Wanted(there[name], is_binary)
    return list(chosen.values())


def write(
    about: About,
    name: str | None,
    outputs: Sequence[Wanted],
    predictions: Sequence[Prediction],
    request_id: str,
) -> Answer:
    """Write the outputs that are wanted, as JSON or behind it."""
    written, buffers = [], []
    for output, is_binary in outputs:
        elements: list[Any] = list(map(output.of, predictions))
        shape, width = [len(elements)], output.width
        if elements and type(elements[0]) is list:
            width = len(elements[0])
            elements = list(chain.from_iterable(elements))
        if width is not None:
            shape.append(max(width, 0))
        tensor: dict[str, Any] = {"name": output.name, "shape": shape, "datatype": output.datatype}
        if is_binary:
            buffers.append(to_bytes(output.datatype, elements))
            tensor["parameters"] = {"binary_data_size": len(buffers[-1])}
        else:
            tensor["parameters"] = {"content_type": "np"}
            tensor["data"] = elements
        written.append(tensor)
    head = orjson.dumps(
        {
            "model_name": about.name,
            "model_version": about.version,
            "id": request_id if name is None else name,
            "outputs": written,
        }
    )
    if not buffers:
        return Answer(head)
    length = {"Inference-Header-Content-Length": str(len(head))}
    return Answer(b"".join([head, *buffers]), BINARY_MEDIA_TYPE, length)

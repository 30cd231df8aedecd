"""KServe's V1 protocol, which is TensorFlow Serving's: ``{"instances": [X, …]}``.

An instance is an array of values or an object by feature name, as ever; ``inputs`` is KServe's
other name for them. Members that mean nothing here are ignored, as other servers of it do.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson

from serving.dialects.dialect import (
    Answer,
    Asked,
    Conversation,
    Described,
    Dialect,
    Sent,
    Telling,
)
from serving.dialects.manners import (
    JSON_WORDING,
    PREDICT_METHOD,
    PREDICTIONS,
    Method,
    method_of,
    names,
    ready,
)
from serving.dialects.schemas import (
    TEXT,
    array_of,
    example_instances,
    instance_schemas,
    media,
    methods_schema,
    predictions_schema,
    ref,
)
from serving.json_text import parse_lenient_json, read_json
from serving.model.about import About
from serving.model.domains import Schema, closed
from serving.model.outputs import Prediction
from serving.model.rows import Question, Rows, expected, refuse
from serving.problems import JSON_MEDIA_TYPE, FieldError, Wording
from serving.settings import Settings

INSTANCES, INPUTS, PARAMETERS = "instances", "inputs", "parameters"


def dialect(_: Settings) -> Dialect:
    """Give what is spoken."""
    return Dialect(
        {"/v1/models/{model}:predict": conversation(JSON_WORDING)},
        (_MODELS, model_telling("/v1/models/{model}", "v1Model")),
        alive={"status": "alive"},
    )


def conversation(wording: Wording, name: str = "v1Predict") -> Conversation:
    """Give the conversation, with the wording of its path."""
    return Conversation(_read, partial(_describe, name), reads=(), wording=wording)


def model_telling(path: str, name: str, wording: Wording = JSON_WORDING) -> Telling:
    """Tell at a path whether the model is ready: the one that it names, or the default."""
    return Telling(
        path,
        name,
        "Whether the model is ready",
        ready,
        closed({"name": TEXT, "ready": {"const": True}}),
        ready=True,
        of_default=True,
        is_open=True,
        wording=wording,
    )


_MODELS = Telling(
    "/v1/models",
    "v1Models",
    "Which models there are",
    names,
    closed({"models": array_of(TEXT)}),
    wording=JSON_WORDING,
)


def _read(sent: Sent, about: About, rows: Rows) -> Asked:
    question, method = read_json(
        sent.body, lambda document: _asked(document, about, rows), parse_lenient_json
    )
    return Asked(question, partial(_write, method))


def _asked(document: Any, about: About, rows: Rows) -> tuple[Question, Method]:  # noqa: ANN401 (any JSON)
    if type(document) is not dict:
        refuse([expected('an object {"instances": …}', document, ())])
    given = [name for name in (INSTANCES, INPUTS) if name in document]
    if len(given) != 1:
        refuse([FieldError("", f"expected either {INSTANCES} or {INPUTS}")])
    method = method_of(about, document.get(PARAMETERS), (PARAMETERS,))
    return rows.many(document[given[0]], tuple(given)), method


def _write(method: Method, predictions: Sequence[Prediction], _: str) -> Answer:
    """Write what the method gives for each instance."""
    return Answer(orjson.dumps({PREDICTIONS: list(map(method, predictions))}))


def _describe(name: str, about: About, example: Prediction, max_rows: int) -> Described:
    mixed = example_instances(about.description)
    bodies = {
        method: {INSTANCES: mixed, PARAMETERS: {PREDICT_METHOD: method}} for method in about.methods
    }
    answers = {
        method: {PREDICTIONS: [give(example)] * len(mixed)}
        for method, give in about.methods.items()
    }
    return Described(
        name=name,
        summary="Predict instances, in KServe's V1 protocol",
        description=f"In their order; at most {max_rows}, 413 beyond that.",
        bodies={JSON_MEDIA_TYPE: media(ref("V1Body"), **bodies)},
        answers={JSON_MEDIA_TYPE: media(ref("V1Answer"), **answers)},
        schemas=instance_schemas(about.description)
        | {
            "V1Body": _body_schema(about),
            "V1Answer": closed({PREDICTIONS: predictions_schema(about, example)}),
        },
    )


def _body_schema(about: About) -> Schema:
    instances = array_of(ref("Instance"))
    return {
        "type": "object",
        "properties": {
            INSTANCES: instances,
            INPUTS: {**instances, "description": "Another name for instances."},
            PARAMETERS: methods_schema(about),
        },
        "oneOf": [{"required": [INSTANCES]}, {"required": [INPUTS]}],
    }

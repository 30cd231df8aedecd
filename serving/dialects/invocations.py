"""What is posted to ``/invocations``: by MLflow's clients, by SageMaker and its, and by vetiver's.

A table comes as JSON (see `invocations_rows`), as CSV or as an array of NumPy's, and has an answer
in any of these. It may have more rows than fit into one batch: batch transform fills bodies by
their size alone. Here, too, is what they ask beside that.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson

from serving import __version__
from serving.dialects.arrays import NPY_MEDIA_TYPE, read_npy, write_npy
from serving.dialects.dialect import (
    Answer,
    Asked,
    Conversation,
    Described,
    Dialect,
    Sent,
    Telling,
)
from serving.dialects.invocations_rows import (
    COLUMNS,
    DATA,
    FORMS,
    INPUTS,
    INSTANCES,
    PARAMS,
    RECORDS,
    SPLIT,
    read_document,
)
from serving.dialects.manners import (
    PREDICT,
    PREDICT_METHOD,
    PREDICTIONS,
    Method,
    cells_of,
    sentence,
    wording,
)
from serving.dialects.schemas import (
    BINARY,
    TEXT,
    array_of,
    example_instances,
    instance_schemas,
    media,
    methods_schema,
    predictions_schema,
    ref,
)
from serving.dialects.tables import CSV_MEDIA_TYPE, csv_body, read_csv, write_csv
from serving.json_text import parse_lenient_json, read_json
from serving.model.about import About
from serving.model.domains import Schema, closed
from serving.model.outputs import Prediction
from serving.model.rows import Rows, refuse
from serving.problems import JSON_MEDIA_TYPE, FieldError, Problem
from serving.settings import Settings

CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
MAX_CONCURRENT_TRANSFORMS = 4  # more would only wait for the same model
MEGABYTE = 2**20
MAX_MEGABYTES_AT_ONCE = 100  # in all payloads: SageMaker's CreateTransformJob takes no more
# MLflow's names of what its clients are told, by status; all else is BAD_REQUEST.
ERROR_CODES = {
    401: "UNAUTHENTICATED",
    404: "ENDPOINT_NOT_FOUND",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def _error_code(problem: Problem) -> str:
    return ERROR_CODES.get(problem.kind.status, "BAD_REQUEST")


WORDING = wording("MlflowProblem", error_code=_error_code, message=sentence)


def dialect(settings: Settings) -> Dialect:
    """Give what is spoken."""
    tell = partial(Telling, wording=WORDING)
    parameters = _execution_parameters(settings)
    told = closed({name: {"const": value} for name, value in parameters.items()})
    path, summary = "/execution-parameters", "How SageMaker may batch"
    return Dialect(
        {"/invocations": _INVOCATIONS},
        (
            tell(
                "/ping",
                "ping",
                "Whether this server can predict",
                lambda _: "\n",
                TEXT,
                media_type="text/plain",
                ready=True,
                is_open=True,
            ),
            tell(
                "/version",
                "version",
                "The version of this service",
                lambda _: __version__,
                TEXT,
                media_type="text/plain",
            ),
            tell(path, "executionParameters", summary, lambda _: parameters, told),
        ),
    )


def _execution_parameters(settings: Settings) -> dict[str, Any]:
    """Tell how large batch transform's requests may be, and how many may come at once."""
    batches = settings.max_queue_rows // settings.max_batch_rows
    at_once = max(1, min(MAX_CONCURRENT_TRANSFORMS, batches))
    megabytes = min(settings.max_body_bytes // MEGABYTE, MAX_MEGABYTES_AT_ONCE // at_once)
    return {
        "MaxConcurrentTransforms": at_once,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": max(1, megabytes),
    }


def _read(sent: Sent, about: About, rows: Rows) -> Asked:
    name = _method_name(sent, about)
    method, is_bare = about.methods[name], False
    if sent.media_type == CSV_MEDIA_TYPE:
        question = read_csv(sent.body, rows, in_parts=True)
    elif sent.media_type == NPY_MEDIA_TYPE:
        question = read_npy(sent.body, rows)
    else:
        question, method, is_bare = read_json(
            sent.body,
            lambda document: read_document(document, about, rows, name),
            parse_lenient_json,
        )
    return Asked(question, partial(_write, method, sent.wanted, is_bare))


def _method_name(sent: Sent, about: About) -> str:
    """Read what SageMaker hands on from who asks: pairs of a name and a value."""
    pairs = sent.headers.get(CUSTOM_ATTRIBUTES, "").split(",")
    attributes = {
        name.strip(): value.strip() for name, _, value in (p.partition("=") for p in pairs)
    }
    name = attributes.get(PREDICT_METHOD, PREDICT)
    if name not in about.methods:
        told = f"expected {PREDICT_METHOD} in {CUSTOM_ATTRIBUTES} to be one of "
        refuse([FieldError("", told + ", ".join(about.methods))])
    return name


def _write(
    method: Method, wanted: str, is_bare: bool, predictions: Sequence[Prediction], _: str
) -> Answer:
    """Write what the method gives for each row."""
    values = list(map(method, predictions))
    if wanted == CSV_MEDIA_TYPE:
        lines = write_csv(map(cells_of, values))
        return Answer(lines, f"{CSV_MEDIA_TYPE}; charset=utf-8")
    if wanted == NPY_MEDIA_TYPE:
        return Answer(write_npy(values), NPY_MEDIA_TYPE)
    return Answer(orjson.dumps(values if is_bare else {PREDICTIONS: values}))


# What the OpenAPI document tells of a request


def _describe(about: About, example: Prediction, max_rows: int) -> Described:
    given = {name: method(example) for name, method in about.methods.items()}
    answers: dict[str, Any] = {name: {PREDICTIONS: [value]} for name, value in given.items()}
    return Described(
        name="invocations",
        summary="Predict a table, as MLflow and SageMaker do",
        description="Columns may stand in any order, and `inputs` may be an object with an array "
        "for each column, too. An array of NumPy's has numbers alone, in the order of "
        "/model/info.",
        bodies={
            JSON_MEDIA_TYPE: media(ref("Invocation"), **_examples(about)),
            CSV_MEDIA_TYPE: csv_body(about.description),
            NPY_MEDIA_TYPE: {"schema": BINARY},
        },
        answers={
            JSON_MEDIA_TYPE: media(
                ref("InvocationAnswer"), **answers, **{"of a bare list": [given[PREDICT]]}
            ),
            CSV_MEDIA_TYPE: {
                "schema": TEXT,
                "example": write_csv([cells_of(given[PREDICT])]).decode(),
            },
            NPY_MEDIA_TYPE: {"schema": BINARY},
        },
        schemas=instance_schemas(about.description)
        | {
            "Invocation": {
                "anyOf": [array_of(ref("Instance")), ref("Values"), ref("InvocationTable")]
            },
            "InvocationTable": _table_schema(about),
            "InvocationAnswer": {
                "anyOf": [
                    closed({PREDICTIONS: predictions_schema(about, example)}),
                    predictions_schema(about, example),
                ]
            },
        },
    )


def _examples(about: About) -> dict[str, Any]:
    """Give the features' examples in each form, once for each method."""
    row, named = example_instances(about.description)
    split = {COLUMNS: list(named), DATA: [row]}
    examples: dict[str, Any] = {
        SPLIT: {SPLIT: split},
        RECORDS: {RECORDS: [named]},
        INSTANCES: {INSTANCES: [row]},
        INPUTS: {INPUTS: [row]},
        "a bare list": [row],
    }
    for name in about.methods:
        examples[name] = {SPLIT: split, PARAMS: {PREDICT_METHOD: name}}
    return examples


def _table_schema(about: About) -> Schema:
    """Describe an object with one of the forms. Columns are told in one order of many."""
    names = [feature.name for feature in about.description.features]
    split: Schema = {
        "type": "object",
        "properties": {COLUMNS: {"const": names}, DATA: array_of(ref("Values"))},
        "required": [DATA],
    }
    forms = dict.fromkeys(FORMS, array_of(ref("Instance"))) | {SPLIT: split}
    return {
        "type": "object",
        "properties": {**forms, PARAMS: methods_schema(about)},
        "oneOf": [{"required": [form]} for form in FORMS],
    }


_READS = ("", JSON_MEDIA_TYPE, CSV_MEDIA_TYPE, NPY_MEDIA_TYPE)
_INVOCATIONS = Conversation(
    _read,
    _describe,
    reads=_READS,
    writes=(JSON_MEDIA_TYPE, CSV_MEDIA_TYPE, NPY_MEDIA_TYPE),
    heeds={CUSTOM_ATTRIBUTES: f"`{PREDICT_METHOD}=` and what to ask the estimator for."},
    wording=WORDING,
    in_parts=_READS,
)

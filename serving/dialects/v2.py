"""The Open Inference Protocol (KServe V2) by HTTP, as KServe, Triton and MLServer speak it.

What is asked and answered stands in `v2_rows` and `v2_outputs`; here is what it tells of the server
and of models. Errors are 400, with ``error``, in JSON.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import orjson

from serving import __version__
from serving.dialects.dialect import Conversation, Described, Dialect, Sent, Telling
from serving.dialects.manners import JSON_WORDING, names, ready
from serving.dialects.schemas import BINARY, REQUEST_ID, TEXT, array_of, media, methods_schema, ref
from serving.dialects.tensors import BOOL, BYTES, DATATYPES, FP64, INT64, NUMBERS, UINT64
from serving.dialects.v2_outputs import BINARY_MEDIA_TYPE, JSON_LENGTH, outputs_of
from serving.dialects.v2_rows import TAKEN_BY, read
from serving.model.about import About
from serving.model.description import Description
from serving.model.domains import Schema
from serving.model.features import Feature
from serving.model.outputs import Prediction
from serving.model.rows import Rows, refuse
from serving.problems import JSON_MEDIA_TYPE, FieldError
from serving.settings import Settings

MODEL_PATHS = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
MATRIX = "input-0"  # what one tensor of all features is called; its name is not looked at
_YES: Schema = {"const": True}
_ANY: Schema = {"type": "object"}
_OPTIONAL: Schema = {"type": ["object", "null"]}


def dialect(settings: Settings) -> Dialect:
    """Give the dialect."""
    return Dialect({f"{path}/infer": _INFER for path in MODEL_PATHS}, tuple(_tells()))


def _tells() -> Iterator[Telling]:
    tell = partial(Telling, wording=JSON_WORDING)
    opened = partial(tell, is_open=True)
    for path, name in (("/v2", "v2Server"), ("/v2/", "v2ServerSlash")):
        yield tell(path, name, "What the server is", _server, _ANY)
    live = _object(live=_YES)
    yield opened("/v2/health/live", "v2Live", "Whether it lives", lambda _: {"live": True}, live)
    summary = "Whether the server can predict"
    both = {"live": True, "ready": True}
    told = _object(live=_YES, ready=_YES)
    yield opened("/v2/health/ready", "v2Ready", summary, lambda _: both, told, ready=True)
    for path in MODEL_PATHS:
        summary = "Whether the model can predict"
        told = _object(name=TEXT, ready=_YES)
        yield opened(f"{path}/ready", "v2ModelReady", summary, ready, told, ready=True)
        yield tell(path, "v2Model", "What the model takes and gives, as tensors", metadata, _ANY)
    told = _object(models=array_of(TEXT))
    yield tell("/v2/models", "v2Models", "Which models there are", names, told)
    asked = partial(tell, method="POST")
    summary = "Which models are loaded"
    yield asked("/v2/repository/index", "v2Index", summary, _index, array_of(_ANY))
    path = "/v2/repository/models/{model}"
    yield asked(f"{path}/load", "v2Load", "See that a model is loaded", lambda _: {}, _ANY)
    yield asked(f"{path}/unload", "v2Unload", "Always refused", _unload, None)


def _server(_: Sequence[About]) -> dict[str, Any]:
    extensions = ["binary_tensor_data", "model_repository"]
    return {"name": "model-api", "version": __version__, "extensions": extensions}


def _index(models: Sequence[About]) -> list[dict[str, Any]]:
    return [
        {"name": about.name, "version": about.version, "state": "READY", "reason": ""}
        for about in models
    ]


def _unload(models: Sequence[About]) -> None:
    refuse([FieldError("", "models are not unloaded on request")])


def metadata(models: Sequence[About]) -> dict[str, Any]:
    """Tell what a model takes and gives, as tensors."""
    (about,) = models
    features = about.description.features
    properties = {}
    if about.description.classes is not None:
        properties["classes"] = orjson.dumps(about.description.classes).decode()
    return {
        "name": about.name,
        "versions": [about.version],
        "platform": "sklearn_joblib",
        "inputs": [
            {"name": name, "datatype": datatype, "shape": [-1, width]}
            for name, datatype, width in (
                [(MATRIX, FP64, len(features))]
                if _is_numeric(about.description)
                else [(feature.name, _datatype(feature), 1) for feature in features]
            )
        ],
        "outputs": [
            {
                "name": output.name,
                "datatype": output.datatype,
                "shape": [-1] if output.width is None else [-1, output.width],
            }
            for output in outputs_of(about).values()
        ],
        "properties": properties,
    }


def _is_numeric(description: Description) -> bool:
    return all(feature.type in {"number", "integer"} for feature in description.features)


def _datatype(feature: Feature) -> str:
    """Give the datatype that suits a feature best."""
    if feature.type == "integer":
        return FP64 if feature.nullable else INT64
    return {"number": FP64, "boolean": BOOL}.get(feature.type, BYTES)


# What the OpenAPI document tells of a request


def _describe(about: About, example: Prediction, max_rows: int) -> Described:
    description = about.description
    row = list(description.example)
    by_feature = {
        "inputs": [
            {"name": f.name, "shape": [1, 1], "datatype": _datatype(f), "data": [value]}
            for f, value in zip(description.features, row, strict=True)
        ]
    }
    examples = {"a tensor for each feature": by_feature}
    if _is_numeric(description):
        matrix = {"name": MATRIX, "shape": [1, len(row)], "datatype": FP64, "data": row}
        examples = {"one matrix": {"inputs": [matrix]}, **examples}
    columns = [*map(_feature_tensor, description.features), *_ignored_tensors(description)]
    matrices: Schema = {"anyOf": _matrix_tensors(description.features)}
    matrix_alone = {**array_of(matrices), "minItems": 1, "maxItems": 1}
    tensors = {**array_of({"anyOf": columns}), "minItems": len(row)}
    body = _object(
        inputs={"anyOf": [matrix_alone, tensors]},
        id={"type": ["string", "null"]},
        parameters=methods_schema(about, "all outputs"),
        outputs={"type": ["array", "null"], "items": ref("V2RequestedOutput")},
    )
    outputs = list(outputs_of(about))
    requested = _object(name={"enum": outputs}, parameters=_OPTIONAL)
    asked = read(Sent(orjson.dumps(by_feature)), about, Rows(description.features, 1))
    answered = orjson.loads(asked.write([example], REQUEST_ID).body)
    return Described(
        name="v2Infer",
        summary="Predict rows of tensors",
        description=f"At most {max_rows} rows, 413 beyond that. Binary tensors follow the JSON, "
        f"whose length is then told by `{JSON_LENGTH}`.",
        bodies={
            JSON_MEDIA_TYPE: media(ref("V2Request"), **examples),
            BINARY_MEDIA_TYPE: {"schema": BINARY},
        },
        answers={
            JSON_MEDIA_TYPE: {"schema": ref("V2Answer"), "example": answered},
            BINARY_MEDIA_TYPE: {"schema": BINARY},
        },
        schemas={
            "V2Request": {**body, "required": ["inputs"]},
            "V2RequestedOutput": {**requested, "required": ["name"]},
            "V2Answer": _object(
                model_name={"const": about.name},
                model_version={"const": about.version},
                id=TEXT,
                outputs={"type": "array", "items": ref("V2Output")},
            ),
            "V2Output": {
                **_object(
                    name={"enum": outputs},
                    shape={"type": "array", "items": {"type": "integer"}},
                    datatype={"enum": [BYTES, BOOL, FP64, INT64, UINT64]},
                    parameters=_ANY,
                    data={"type": "array"},
                ),
                "required": ["name", "shape", "datatype", "parameters"],
            },
        },
        headers={JSON_LENGTH: "The length of the JSON, if binary outputs follow it."},
    )


def _object(**properties: Schema) -> Schema:
    """Describe an object that has these members, and perhaps others."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def _tensor(name: Schema, datatypes: Sequence[str], value: Schema, width: int) -> Schema:
    """Describe a tensor of rows, whose elements may be nested."""
    told = _object(
        name=name,
        datatype={"enum": list(datatypes)},
        shape={
            "type": "array",
            "prefixItems": [{"type": "integer", "minimum": 0}, {"const": width}],
            "minItems": 1 if width == 1 else 2,
            "maxItems": 2,
        },
        data={"type": ["array", "null"], "items": {"anyOf": [value, array_of(value)]}},
        parameters=_OPTIONAL,
    )
    return {**told, "required": ["name", "datatype", "shape"]}


def _matrix_tensors(features: Sequence[Feature]) -> list[Schema]:
    """Describe a tensor of all features, of any name."""
    taken = set.intersection(*[set(TAKEN_BY[feature.type]) for feature in features])
    kinds: dict[str, Sequence[str]] = {"number": list(NUMBERS), "boolean": [BOOL]}
    forms = [
        _tensor(TEXT, datatypes, _or_null(kind, features), len(features))
        for kind, datatypes in kinds.items()
        if taken.issuperset(datatypes)
    ]
    return [*forms, _text_tensor(TEXT, features)]


def _feature_tensor(feature: Feature) -> Schema:
    value = feature.json_schema()
    if feature.type == "boolean":
        value = {"anyOf": [value, {"enum": [0, 1]}]}
    name: Schema = {"const": feature.name}
    forms = [_tensor(name, TAKEN_BY[feature.type], value, 1), _text_tensor(name, [feature])]
    return {"title": feature.name, "anyOf": forms}


def _text_tensor(name: Schema, features: Sequence[Feature]) -> Schema:
    """Describe a tensor as MLServer's codecs write it, if the content type says so."""
    value = {**_or_null("string", features), "description": "Perhaps in base64, or JSON."}
    return _tensor(name, [BYTES], value, len(features))


def _or_null(kind: str, features: Sequence[Feature]) -> Schema:
    return {"type": [kind, "null"] if any(feature.nullable for feature in features) else kind}


def _ignored_tensors(description: Description) -> Iterator[Schema]:
    """Describe the columns of the training table that the model does not use."""
    for name in description.ignored:
        told = _object(name={"const": name}, datatype={"enum": list(DATATYPES)}, shape=array_of({}))
        yield {**told, "title": name}


_INFER = Conversation(
    read,
    _describe,
    reads=(),
    heeds={JSON_LENGTH: "The length of the JSON, if binary tensors follow it."},
    wording=JSON_WORDING,
)

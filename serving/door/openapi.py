"""The OpenAPI document: all endpoints, with the served model's own features in their schemas.

Built once when the model is loaded. It states what `RequestSchema` accepts, what `AnswerWriter`
writes and which problems each endpoint may answer with, and nothing that is not there.
"""

from typing import Any

from serving.model.description import (
    INLIER,
    OUTLIER,
    Category,
    Choices,
    Description,
    Feature,
    Interval,
    Label,
    Lengths,
    label_key,
)
from serving.problems import (
    BATCH_TOO_LARGE,
    BODY_TOO_LARGE,
    DEADLINE_EXCEEDED,
    INTERNAL_ERROR,
    INVALID_INPUT,
    MALFORMED_BODY,
    MEDIA_TYPE,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    OVERLOADED,
    PROBLEM_TYPES,
    QUOTA_EXCEEDED,
    UNAUTHORIZED,
    UNAVAILABLE,
    UNSUPPORTED_MEDIA_TYPE,
    ProblemType,
)
from serving.settings import Settings

Schema = dict[str, Any]

MAX_TOLD = 20  # categories of a feature

_BODY_PROBLEMS = (
    MALFORMED_BODY,
    BODY_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    INVALID_INPUT,
    UNAVAILABLE,
)
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}


def _header(description: str, example: str | None = None) -> Schema:
    header: Schema = {"description": description, "schema": {"type": "string"}}
    return header if example is None else {**header, "example": example}


_KEY_HEADERS = {
    "WWW-Authenticate": _header(
        "How to send a key, and what was wrong with the one that was sent.",
        'Bearer realm="model-api", error="invalid_token"',
    )
}
_QUOTA_HEADERS = {
    "RateLimit-Policy": _header(
        "The client's quota: q requests in a moving window of w seconds.",
        '"default";q=100;w=60',
    ),
    "RateLimit": _header(
        "What is left of it: r requests, and t seconds until there is one more.",
        '"default";r=42;t=17',
    ),
}
_CACHE_HEADERS = {
    "Cache-Status": _header(
        "Whether the prediction was kept from an identical input (RFC 9211).", "model-api; hit"
    )
}

_IGNORED: Schema = {
    "title": "ignored",
    "description": "A column of the training table that the model does not use: any value is "
    "accepted, and ignored.",
}


def openapi_document(
    description: Description, version: str, settings: Settings, example_answer: Schema
) -> Schema:
    """Describe the API as served with this model; ``example_answer`` is a real prediction."""
    features = description.features
    example = [feature.example for feature in features]
    named = {feature.name: feature.example for feature in features}
    model = {"name": description.name, "version": version}
    closing = {"model": model, "request_id": "8c0f2f6e5b1d4f0f9a3a2b1c0d9e8f7a"}
    document: Schema = {
        "openapi": "3.1.0",
        "info": {
            "title": f"Model API: {description.name}",
            "version": version,
            "description": f"Serves the {description.task} model `{description.name}`. "
            "Every error is problem+json (RFC 9457); its `type` links to a page on what to do.",
        },
        # Where this document is, whatever prefix a proxy has put before that.
        "servers": [{"url": "."}],
        "paths": {
            "/predict": {
                "post": _operation(
                    "Predictions",
                    "predict",
                    "Predict one instance",
                    "Concurrent calls are batched inside; each is answered as if it were alone.",
                    _ok("PredictAnswer", {**example_answer, **closing}),
                    _BODY_PROBLEMS,
                    _body("PredictBody", {"values": {"data": example}, "names": {"data": named}}),
                )
            },
            "/predict/batch": {
                "post": _operation(
                    "Predictions",
                    "predictBatch",
                    "Predict many instances",
                    f"In their order; at most {settings.max_batch_rows}, 413 beyond that.",
                    _ok("BatchAnswer", {"predictions": [example_answer], **closing}),
                    _BODY_PROBLEMS,
                    _body("BatchBody", {"mixed": {"data": [example, named]}}),
                )
            },
            "/model/info": {
                "get": _operation(
                    "Model", "modelInfo", "What the model is", "", _ok("ModelInfo"), (UNAVAILABLE,)
                )
            },
            "/model/card": {
                "get": _operation(
                    "Model",
                    "modelCard",
                    "What the model is, for people",
                    "Written by training: scores with plots, features, limits, how to call it.",
                    _text("A page", "text/html"),
                    (),
                )
            },
            "/health": {
                "get": _operation(
                    "Operations",
                    "health",
                    "Whether this server can predict",
                    "200 once the model is loaded and has answered a warm-up prediction.",
                    _ok("Health", {"status": "ok", "model": model}),
                    (UNAVAILABLE,),
                )
            },
            "/livez": {"get": _probe("livez", "Liveness probe", ())},
            "/readyz": {"get": _probe("readyz", "Readiness probe", (UNAVAILABLE,))},
            "/healthz": {"get": _probe("healthz", "Liveness probe, under its older name", ())},
            "/metrics": {
                "get": _operation(
                    "Operations",
                    "metrics",
                    "Prometheus metrics",
                    "Text exposition format, for all worker processes of this server.",
                    _text("The metrics", "text/plain"),
                    (),
                )
            },
            "/errors/{slug}": {
                "get": {
                    **_operation(
                        "Documents",
                        "problemType",
                        "What a problem type means and what to do",
                        "Every `type` in a problem links here.",
                        _text("A page", "text/html"),
                        (NOT_FOUND,),
                    ),
                    "parameters": [
                        {
                            "name": "slug",
                            "in": "path",
                            "required": True,
                            "schema": {"type": "string", "enum": list(PROBLEM_TYPES)},
                        }
                    ],
                }
            },
            "/docs.json": {
                "get": _operation(
                    "Documents", "openapi", "This document", "", _object("OpenAPI 3.1"), ()
                )
            },
            "/schema.json": {
                "get": _operation(
                    "Documents",
                    "bentomlSchema",
                    "The description that BentoML's own client reads",
                    "",
                    _object("BentoML's description of its APIs"),
                    (),
                )
            },
            "/": {
                "get": _operation(
                    "Documents",
                    "docs",
                    "This document as a page",
                    "",
                    _text("A page", "text/html"),
                    (),
                )
            },
        },
        "components": {
            "schemas": _schemas(description, version, example_answer),
            "responses": {},
            "headers": {
                "X-Request-ID": _header(
                    "The request's id: the client's own if it is sane, else a new "
                    "one. Every log line of the request has it."
                ),
                "Retry-After": _header("Seconds to wait before another try."),
                "Allow": _header("The methods that the path takes."),
            },
        },
    }
    _guard(document, settings)
    return document


def _guard(document: Schema, settings: Settings) -> None:
    """Add what keys, quotas and the cache tell clients where they are on, and the problems."""
    components = document["components"]
    if settings.clients:
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    if settings.keeps_predictions:
        operation = document["paths"]["/predict"]["post"]
        operation["responses"]["200"]["headers"] |= _headers(*_CACHE_HEADERS)
        components["headers"] |= _CACHE_HEADERS
    # A status has one response: that of a body too large stands for a batch as well, that of an
    # unavailable server for one that is overloaded.
    absent = {BATCH_TOO_LARGE, OVERLOADED, UNAUTHORIZED, QUOTA_EXCEEDED}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if settings.needs_key(path):
                operation["security"] = [{"bearer": []}, {"header": []}]
                operation["responses"]["401"] = _problem_ref(UNAUTHORIZED)
                components["headers"] |= _KEY_HEADERS
                absent.discard(UNAUTHORIZED)
            if settings.is_limited(path):
                operation["responses"]["429"] = _problem_ref(QUOTA_EXCEEDED)
                operation["responses"]["200"]["headers"] |= _headers(*_QUOTA_HEADERS)
                components["headers"] |= _QUOTA_HEADERS
                absent.discard(QUOTA_EXCEEDED)
    components["responses"] = {
        kind.slug: _problem_response(kind) for kind in PROBLEM_TYPES.values() if kind not in absent
    }


def _operation(
    tag: str,
    name: str,
    summary: str,
    description: str,
    success: Schema,
    problems: tuple[ProblemType, ...],
    body: Schema | None = None,
) -> Schema:
    responses: Schema = {"200": success}
    for kind in (*problems, METHOD_NOT_ALLOWED, INTERNAL_ERROR, DEADLINE_EXCEEDED):
        responses.setdefault(str(kind.status), _problem_ref(kind))
    operation: Schema = {
        "tags": [tag],
        "operationId": name,
        "summary": summary,
        "responses": responses,
    }
    if description:
        operation["description"] = description
    if body is not None:
        operation["requestBody"] = body
    return operation


def _body(schema: str, examples: dict[str, Schema]) -> Schema:
    content = {
        "schema": _ref(schema),
        "examples": {name: {"value": value} for name, value in examples.items()},
    }
    return {
        "description": "May be compressed, with the header `Content-Encoding: gzip`.",
        "required": True,
        "content": {"application/json": content},
    }


def _ok(schema: str, example: Schema | None = None) -> Schema:
    content: Schema = {"schema": _ref(schema)}
    if example is not None:
        content["example"] = example
    return _response("Success", "application/json", content)


def _object(description: str) -> Schema:
    return _response(description, "application/json", {"schema": {"type": "object"}})


def _text(description: str, media_type: str) -> Schema:
    return _response(description, media_type, {"schema": {"type": "string"}})


def _probe(name: str, summary: str, problems: tuple[ProblemType, ...]) -> Schema:
    return _operation("Operations", name, summary, "", _text("Yes", "text/plain"), problems)


def _response(description: str, media_type: str, content: Schema) -> Schema:
    return {
        "description": description,
        "headers": _headers("X-Request-ID"),
        "content": {media_type: content},
    }


def _problem_response(kind: ProblemType) -> Schema:
    response = _response(kind.cause, MEDIA_TYPE, {"schema": _ref("Problem")})
    extra: dict[ProblemType, tuple[str, ...]] = {
        UNAUTHORIZED: tuple(_KEY_HEADERS),
        UNAVAILABLE: ("Retry-After",),
        QUOTA_EXCEEDED: ("Retry-After", *_QUOTA_HEADERS),
        METHOD_NOT_ALLOWED: ("Allow",),
    }
    response["headers"] |= _headers(*extra.get(kind, ()))
    return response


def _problem_ref(kind: ProblemType) -> Schema:
    return {"$ref": f"#/components/responses/{kind.slug}"}


def _headers(*names: str) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _ref(schema: str) -> Schema:
    return {"$ref": f"#/components/schemas/{schema}"}


def _closed(properties: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    """Describe an object that has these members and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _schemas(description: Description, version: str, example_answer: Schema) -> Schema:
    features = description.features
    text: Schema = {"type": "string"}
    remarks: Schema = {"type": "array", "items": _closed({"pointer": text, "detail": text})}
    prediction = _prediction(description, example_answer)
    model = _closed({"name": {"const": description.name}, "version": {"const": version}})
    closing = {"warnings": remarks, "model": model, "request_id": text}
    return {
        "Values": {
            "type": "array",
            "description": "One value for each feature, in the order of /model/info.",
            "prefixItems": [{"title": feature.name, **_value(feature)} for feature in features],
            "minItems": len(features),
            "maxItems": len(features),
        },
        "Named": {
            **_closed(
                {feature.name: _value(feature) for feature in features}
                | dict.fromkeys(description.ignored, _IGNORED),
                description.ignored,
            ),
            "description": "One value for each feature, by its name.",
        },
        "Instance": {"oneOf": [_ref("Values"), _ref("Named")]},
        "PredictBody": _closed({"data": _ref("Instance")}),
        # No maxItems: what the schema refuses is 422, a batch over the limit 413.
        "BatchBody": _closed({"data": {"type": "array", "items": _ref("Instance")}}),
        "Prediction": _closed(prediction),
        "PredictAnswer": _closed({**prediction, **closing}, ("warnings",)),
        "BatchAnswer": _closed(
            {"predictions": {"type": "array", "items": _ref("Prediction")}, **closing},
            ("warnings",),
        ),
        "Health": _closed({"status": {"const": "ok"}, "model": model}),
        **_model_info(),
        "Problem": _closed(
            {
                "type": {"type": "string", "format": "uri-reference"},
                "title": text,
                "status": {"type": "integer"},
                "detail": text,
                "errors": remarks,
                "request_id": text,
            },
            ("errors",),
        ),
    }


def _model_info() -> Schema:
    """Describe the answer to ``GET /model/info``: what `Description` publishes, and three more."""
    schema = Description.model_json_schema(
        mode="serialization", ref_template="#/components/schemas/{model}"
    )
    parts = schema.pop("$defs")
    properties = schema["properties"]
    for private in ("artifact_sha256", "asked", "compiled"):
        del properties[private]
    for private in ("Asked", "Categories", "Compiled"):
        del parts[private]
    for kind in ("Category", "Number"):
        del parts[kind]["properties"]["known"]
    text: Schema = {"type": "string"}
    properties |= {
        "version": text,
        "runtime": _closed(
            {
                "name": {"enum": ["onnx", "sklearn"]},
                "proven": text,
                "tolerance": {"type": "number"},
                "largest_difference": {"type": "number"},
                "same_bits": {
                    "type": "boolean",
                    "description": "whether a row gets the same bits alone, in any batch and "
                    "from any worker of one machine; if not, its last bits may differ",
                },
                "not_compiled": text,
            },
            ("tolerance", "largest_difference", "not_compiled"),
        ),
        "size_bytes": {"type": "integer"},
    }
    return {**parts, "ModelInfo": _closed(properties)}


def _prediction(description: Description, example_answer: Schema) -> dict[str, Schema]:
    """Describe a prediction, which has the members that the example has."""
    number: Schema = {"type": "number"}
    classes = description.classes_by_target
    count = len(description.targets)
    probabilities = [_closed({label_key(label): number for label in c}) for c in classes]
    match description.task:
        case "classification":
            value = _each([_label(labels) for labels in classes])
        case "regression":
            value = _each([number] * count)
        case "clustering":
            value = {"type": "integer", "description": "The number of the cluster."}
        case "outlier-detection":
            value = {"enum": [INLIER, OUTLIER]}
    members: dict[str, Schema] = {
        "prediction": value,
        "probabilities": _each(probabilities),
        "scores": number,
        "score": {**number, "description": "Below zero for outliers."},
    }
    match example_answer.get("scores"):
        case dict():
            members["scores"] = probabilities[0]
        case list():
            members["scores"] = {"type": "array", "items": number}
    return {name: schema for name, schema in members.items() if name in example_answer}


def _each(schemas: list[Schema]) -> Schema:
    """Describe what there is one of, or a list with one for each target."""
    if len(schemas) == 1:
        return schemas[0]
    return {
        "type": "array",
        "prefixItems": schemas,
        "minItems": len(schemas),
        "maxItems": len(schemas),
    }


def _value(feature: Feature) -> Schema:
    """Describe the accepted values of a feature."""
    kind = "string" if feature.type in {"category", "text"} else feature.type
    schema: Schema = {"type": [kind, "null"] if feature.nullable else kind}
    match feature.domain:
        case Interval(minimum=minimum, maximum=maximum):
            schema |= {"minimum": minimum, "maximum": maximum}
        case Lengths(min_length=min_length, max_length=max_length):
            schema |= {"minLength": min_length, "maxLength": max_length}
        case Choices(values=values, rare=0):
            schema["enum"] = [*values, None] if feature.nullable else list(values)
    if isinstance(feature, Category):
        schema["description"] = _categories(feature)
    return {**schema, "examples": [feature.example]}


def _categories(feature: Category) -> str:
    """Tell which strings a category takes."""
    names, rare = list(feature.trained.categories), feature.trained.rare_categories
    told = names[:MAX_TOLD]
    if len(names) > MAX_TOLD:
        told.append(f"{len(names) - MAX_TOLD} more")
    if rare:
        told.append(f"{rare} in few rows")
    others = "refused" if isinstance(feature.domain, Choices) else "answered with a warning"
    return f"Seen in training: {', '.join(told)}. Others are {others}."


def _label(classes: tuple[Label, ...]) -> Schema:
    return {"type": sorted({_TYPES[type(label)] for label in classes}), "enum": list(classes)}

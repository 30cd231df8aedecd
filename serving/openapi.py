"""The OpenAPI document: all endpoints, with the served model's own features in their schemas.

Built once when the model is loaded. It states what `RequestSchema` accepts, what `AnswerWriter`
writes and which problems each endpoint may answer with, and nothing that is not there.
"""

from typing import Any

from serving.description import Description, Feature, Label, label_key
from serving.errors import (
    BATCH_TOO_LARGE,
    BODY_TOO_LARGE,
    DEADLINE_EXCEEDED,
    INTERNAL_ERROR,
    INVALID_INPUT,
    MALFORMED_BODY,
    MEDIA_TYPE,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    PROBLEM_TYPES,
    UNAVAILABLE,
    UNSUPPORTED_MEDIA_TYPE,
    ProblemType,
)
from serving.settings import Settings

Schema = dict[str, Any]

_BODY_PROBLEMS = (
    MALFORMED_BODY,
    BODY_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    INVALID_INPUT,
    UNAVAILABLE,
)
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}


def openapi_document(
    description: Description, version: str, settings: Settings, example_answer: Schema
) -> Schema:
    """Describe the API as served with this model; ``example_answer`` is a real prediction."""
    features = description.features
    example = [feature.example for feature in features]
    named = {feature.name: feature.example for feature in features}
    model = {"name": description.name, "version": version}
    closing = {"model": model, "request_id": "8c0f2f6e5b1d4f0f9a3a2b1c0d9e8f7a"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Model API: {description.name}",
            "version": version,
            "description": f"Serves the {description.task} model `{description.name}`. "
            "Every error is problem+json (RFC 9457); its `type` links to a page on what to do.",
        },
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
            "schemas": _schemas(description, version, "probabilities" in example_answer),
            # A status has one response: that of a body too large stands for a batch as well.
            "responses": {
                kind.slug: _problem_response(kind)
                for kind in PROBLEM_TYPES.values()
                if kind is not BATCH_TOO_LARGE
            },
            "headers": {
                "X-Request-ID": {
                    "description": "The request's id: the client's own if it is sane, else a new "
                    "one. Every log line of the request has it.",
                    "schema": {"type": "string"},
                },
                "Retry-After": {
                    "description": "Seconds to wait before another try.",
                    "schema": {"type": "string"},
                },
                "Allow": {
                    "description": "The methods that the path takes.",
                    "schema": {"type": "string"},
                },
            },
        },
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
        responses.setdefault(str(kind.status), {"$ref": f"#/components/responses/{kind.slug}"})
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
    return {"required": True, "content": {"application/json": content}}


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
        "headers": {"X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"}},
        "content": {media_type: content},
    }


def _problem_response(kind: ProblemType) -> Schema:
    response = _response(kind.cause, MEDIA_TYPE, {"schema": _ref("Problem")})
    extra = {UNAVAILABLE: "Retry-After", METHOD_NOT_ALLOWED: "Allow"}.get(kind)
    if extra is not None:
        response["headers"][extra] = {"$ref": f"#/components/headers/{extra}"}
    return response


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


def _schemas(description: Description, version: str, has_probabilities: bool) -> Schema:
    features = description.features
    text: Schema = {"type": "string"}
    number: Schema = {"type": "number"}
    prediction: dict[str, Schema] = {
        "prediction": _label(description.classes),
        "probabilities": _closed({label_key(label): number for label in description.classes}),
    }
    if not has_probabilities:
        del prediction["probabilities"]
    closing = {
        "model": _closed({"name": {"const": description.name}, "version": {"const": version}}),
        "request_id": text,
    }
    interval = _closed({"minimum": number, "maximum": number})
    return {
        "Values": {
            "type": "array",
            "description": "One value for each feature, in the order of /model/info.",
            "prefixItems": [{"title": feature.name, **_number(feature)} for feature in features],
            "items": False,
            "minItems": len(features),
            "maxItems": len(features),
        },
        "Named": {
            **_closed({feature.name: _number(feature) for feature in features}),
            "description": "One value for each feature, by its name.",
        },
        "Instance": {"oneOf": [_ref("Values"), _ref("Named")]},
        "PredictBody": _closed({"data": _ref("Instance")}),
        # No maxItems: what the schema refuses is 422, a batch over the limit 413.
        "BatchBody": _closed({"data": {"type": "array", "items": _ref("Instance")}}),
        "Prediction": _closed(prediction),
        "PredictAnswer": _closed({**prediction, **closing}),
        "BatchAnswer": _closed(
            {"predictions": {"type": "array", "items": _ref("Prediction")}, **closing}
        ),
        "Health": _closed({"status": {"const": "ok"}, "model": closing["model"]}),
        "Feature": _closed(
            {
                "name": text,
                "type": {"const": "number"},
                "nullable": {"type": "boolean"},
                "trained": interval,
                "domain": interval,
                "example": number,
            }
        ),
        "ModelInfo": _closed(
            {
                "name": text,
                "version": text,
                "task": {"const": description.task},
                "created": {"type": "string", "format": "date-time"},
                "features": {"type": "array", "items": _ref("Feature")},
                "classes": {"type": "array", "items": _label(description.classes)},
                "metrics": _closed(
                    {
                        "split": text,
                        "values": {"type": "object", "additionalProperties": number},
                    }
                ),
                "training": _closed({"rows": {"type": "integer"}, "fingerprint": text}),
                "runtime": _closed({"name": text, "proven": text}),
                "versions": {"type": "object", "additionalProperties": text},
                "size_bytes": {"type": "integer"},
            }
        ),
        "Problem": _closed(
            {
                "type": {"type": "string", "format": "uri-reference"},
                "title": text,
                "status": {"type": "integer"},
                "detail": text,
                "errors": {
                    "type": "array",
                    "items": _closed({"pointer": text, "detail": text}),
                },
                "request_id": text,
            },
            ("errors",),
        ),
    }


def _number(feature: Feature) -> Schema:
    return {
        "type": "number",
        "minimum": feature.domain.minimum,
        "maximum": feature.domain.maximum,
        "examples": [feature.example],
    }


def _label(classes: tuple[Label, ...]) -> Schema:
    return {"type": sorted({_TYPES[type(label)] for label in classes}), "enum": list(classes)}

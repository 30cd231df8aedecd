"""The OpenAPI document, made of the routes that are served: neither says what the other does not.

Here stands what holds for all operations: the problems that any may answer with, keys, quotas, and
the headers that go with these. Built once, when the model is loaded.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from starlette.routing import compile_path

from serving.door.routes import Operation, Route
from serving.model.about import About
from serving.model.domains import Schema, closed
from serving.problems import (
    BATCH_TOO_LARGE,
    BODY_TOO_LARGE,
    DEADLINE_EXCEEDED,
    INTERNAL_ERROR,
    METHOD_NOT_ALLOWED,
    OVERLOADED,
    PROBLEM_JSON,
    QUOTA_EXCEEDED,
    UNAUTHORIZED,
    UNAVAILABLE,
    ProblemType,
    Wording,
)

_ANY_OPERATION = (METHOD_NOT_ALLOWED, INTERNAL_ERROR, DEADLINE_EXCEEDED)
# A status has one response: that of a body too large stands for a batch as well, that of an
# unavailable server for one that is overloaded.
_TOLD_BY = {BATCH_TOO_LARGE: BODY_TOO_LARGE, OVERLOADED: UNAVAILABLE}


def header(description: str, example: str | None = None) -> Schema:
    """Describe a header, as a Header Object."""
    told: Schema = {"description": description, "schema": {"type": "string"}}
    return told if example is None else {**told, "example": example}


_HEADERS: Mapping[str, Schema] = {
    "X-Request-ID": header(
        "The request's id: the client's own if it is sane, else a new "
        "one. Every log line of the request has it."
    ),
    "Retry-After": header("Seconds to wait before another try."),
    "Allow": header("The methods that the path takes."),
}
_KEY_HEADERS = {
    "WWW-Authenticate": header(
        "How to send a key, and what was wrong with the one that was sent.",
        'Bearer realm="model-api", error="invalid_token"',
    )
}
_QUOTA_HEADERS = {
    "RateLimit-Policy": header(
        "The client's quota: q requests in a moving window of w seconds.",
        '"default";q=100;w=60',
    ),
    "RateLimit": header(
        "What is left of it: r requests, and t seconds until there is one more.",
        '"default";r=42;t=17',
    ),
}
_HEADERS_OF_PROBLEMS: Mapping[ProblemType, tuple[str, ...]] = {
    UNAUTHORIZED: tuple(_KEY_HEADERS),
    UNAVAILABLE: ("Retry-After",),
    QUOTA_EXCEEDED: ("Retry-After", *_QUOTA_HEADERS),
    METHOD_NOT_ALLOWED: ("Allow",),
}
_SCHEMAS = "#/components/schemas/"
_TEXT: Schema = {"type": "string"}
_PROBLEM: Mapping[str, Schema] = {
    "type": {"type": "string", "format": "uri-reference"},
    "title": _TEXT,
    "status": {"type": "integer"},
    "detail": _TEXT,
    "errors": {"type": "array", "items": closed({"pointer": _TEXT, "detail": _TEXT})},
    "request_id": _TEXT,
}

TRY_PAGE = "/try"


def openapi_document(
    routes: Iterable[Route], models: Sequence[About], *, asks_for_keys: bool, has_quotas: bool
) -> Schema:
    """Describe the API as it is served with models, the first of which is the default."""
    paths: dict[str, Schema] = {}
    schemas: dict[str, Schema] = {}
    responses: dict[str, Schema] = {}
    headers = dict(_HEADERS)
    for route, shown, unguarded in _told_of(routes):
        needs_key = asks_for_keys and not route.is_open
        tells = _guarded(unguarded, needs_key=needs_key, is_limited=has_quotas and route.counts)
        _, path, parameters = compile_path(shown)
        operation = _operation(tells, parameters, route.wording)
        if needs_key:
            headers |= _KEY_HEADERS
            operation["security"] = [{"bearer": []}, {"header": []}]
        headers |= tells.headers
        paths.setdefault(path, {})[route.method.lower()] = operation
        schemas |= tells.schemas
        schemas[route.wording.schema] = _problem_schema(route.wording)
        for kind in _told(tells, route.wording).values():
            responses[_response_name(kind, route.wording)] = _problem_response(kind, route.wording)
    components: Schema = {"schemas": schemas, "responses": responses, "headers": headers}
    if asks_for_keys:
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Model API: {', '.join(about.name for about in models)}",
            "version": models[0].version,
            "description": f"Serves {_named(models)}. "
            f"{'[Try it in the browser](try). ' if TRY_PAGE in paths else ''}"
            "Every error has the members of problem+json (RFC 9457); its `type` links to a page on "
            "what to do.",
        },
        # Where this document is, whatever prefix a proxy has put before that.
        "servers": [{"url": "."}],
        "paths": paths,
        "components": components,
    }


def _told_of(routes: Iterable[Route]) -> Iterator[tuple[Route, str, Operation]]:
    """Give what routes tell, with the path that is shown."""
    for route in routes:
        for path, tells in route.tells.items():
            yield route, path, tells


def _named(models: Sequence[About]) -> str:
    if len(models) == 1:
        return f"the {models[0].description.task} model `{models[0].name}`"
    told = [f"`{each.name}` ({each.description.task}, version {each.version})" for each in models]
    return f"the models {', '.join(told)}; the first is meant where a path names none"


def _guarded(tells: Operation, *, needs_key: bool, is_limited: bool) -> Operation:
    """Add what stands before a route."""
    problems, headers = tells.problems, tells.headers
    if needs_key:
        problems = (*problems, UNAUTHORIZED)
    if is_limited:
        problems, headers = (*problems, QUOTA_EXCEEDED), {**headers, **_QUOTA_HEADERS}
    return replace(tells, problems=problems, headers=headers)


def _told(tells: Operation, wording: Wording) -> dict[int, ProblemType]:
    """Give the problems that an operation is told to answer with, by status, one for each."""
    told: dict[int, ProblemType] = {}
    for kind in (*tells.problems, *_ANY_OPERATION):
        told.setdefault(wording.status(kind), _TOLD_BY.get(kind, kind))
    return told


def _operation(tells: Operation, parameters: Iterable[str], wording: Wording) -> Schema:
    responses: Schema = {}
    if tells.answer is not None:
        headers = _refer("headers", "X-Request-ID", *tells.headers)
        responses["200"] = {**tells.answer, "headers": headers}
    for status, kind in _told(tells, wording).items():
        response = {"$ref": f"#/components/responses/{_response_name(kind, wording)}"}
        responses[str(status)] = response
    operation: Schema = {
        "tags": [tells.tag],
        "operationId": tells.name,
        "summary": tells.summary,
        "responses": responses,
    }
    if tells.description:
        operation["description"] = tells.description
    if tells.body is not None:
        operation["requestBody"] = tells.body
    told = [
        {"name": name, "in": "path", "required": True, "schema": tells.parameters.get(name, _TEXT)}
        for name in parameters
    ]
    told += [{"name": name, "in": "query", **parameter} for name, parameter in tells.query.items()]
    told += [
        {"name": name, "in": "header", "schema": _TEXT, "description": text}
        for name, text in tells.heeds.items()
    ]
    if told:
        operation["parameters"] = told
    return operation


def _response_name(kind: ProblemType, wording: Wording) -> str:
    own = "" if wording is PROBLEM_JSON else f"-{wording.schema}"
    return f"{kind.slug}{own}"


def _problem_schema(wording: Wording) -> Schema:
    return closed({**_PROBLEM, **dict.fromkeys(wording.members, _TEXT)}, ("errors",))


def _problem_response(kind: ProblemType, wording: Wording) -> Schema:
    names = ("X-Request-ID", *_HEADERS_OF_PROBLEMS.get(kind, ()))
    return {
        "description": kind.cause,
        "headers": _refer("headers", *names),
        "content": {
            wording.media_type: {"schema": {"$ref": f"#/components/schemas/{wording.schema}"}}
        },
    }


def _refer(section: str, *names: str) -> Schema:
    return {name: {"$ref": f"#/components/{section}/{name}"} for name in names}


def of_model(tells: Operation, name: str) -> Operation:
    """Give an operation whose schemas, and what refers to them, have a model's name before theirs.

    Without it, those of one model would go by the names of another's.
    """

    def renamed(told: Any) -> Any:  # noqa: ANN401 (any JSON)
        if isinstance(told, Mapping):
            return {key: own(key, value) for key, value in told.items()}
        return list(map(renamed, told)) if isinstance(told, list | tuple) else told

    def own(key: str, value: Any) -> Any:  # noqa: ANN401
        if key == "$ref" and isinstance(value, str) and value.startswith(_SCHEMAS):
            return f"{_SCHEMAS}{name}.{value.removeprefix(_SCHEMAS)}"
        return renamed(value)

    return replace(
        tells,
        answer=renamed(tells.answer),
        body=renamed(tells.body),
        schemas={f"{name}.{own_name}": renamed(s) for own_name, s in tells.schemas.items()},
    )

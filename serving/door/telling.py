"""What dialects tell beside predictions: of models, and whether they are ready."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import orjson
from starlette.requests import Request
from starlette.responses import Response

from serving.dialects.dialect import Dialect, Telling
from serving.door.routes import Operation, Route, answer_of
from serving.model.domains import Schema
from serving.prediction.shelf import Shelf
from serving.problems import INVALID_INPUT, JSON_MEDIA_TYPE, NOT_FOUND, UNAVAILABLE, Problem

# The parts of a path that name a model and its version.
MODEL, VERSION = "model", "version"


def telling(dialect: Dialect, shelf: Shelf, unready: Callable[[], str | None]) -> Iterator[Route]:
    """Give the routes at which a dialect tells something.

    ``unready`` tells why clients should ask another server.
    """
    for told in dialect.tells:
        answer = partial(_answer, told, shelf, unready)
        yield Route(
            told.method,
            told.path,
            answer,
            _operation(told, shelf),
            is_open=told.is_open,
            wording=told.wording,
        )


async def _answer(
    told: Telling, shelf: Shelf, unready: Callable[[], str | None], request: Request
) -> Response:
    parts = request.path_params
    models = shelf.all if MODEL not in parts else [shelf.find(parts[MODEL], parts.get(VERSION))]
    if told.ready and (reason := unready()):
        raise Problem(UNAVAILABLE, reason)
    document = told.tell([loaded.about for loaded in models])
    is_json = told.media_type == JSON_MEDIA_TYPE
    return Response(orjson.dumps(document) if is_json else document, media_type=told.media_type)


def _operation(told: Telling, shelf: Shelf) -> Operation:
    problems = [NOT_FOUND] if f"{{{MODEL}}}" in told.path else []
    answer = None
    if told.schema is None:
        problems.append(INVALID_INPUT)
    else:
        example = told.tell([loaded.about for loaded in shelf.all])
        answer = answer_of("Success", told.media_type, told.schema, example=example)
    if told.ready:
        problems.append(UNAVAILABLE)
    return Operation(
        "Operations" if told.is_open else "Model",
        operation_id(told.name, told.path),
        told.summary,
        answer,
        problems=problems,
        parameters=parameters(shelf),
    )


def operation_id(name: str, path: str) -> str:
    """Name an operation; what is asked of a version of a model is another."""
    return f"{name}OfVersion" if f"{{{VERSION}}}" in path else name


def parameters(shelf: Shelf) -> Mapping[str, Schema]:
    """Describe what may stand in a path."""
    return {
        MODEL: {"enum": [loaded.about.name for loaded in shelf.all]},
        VERSION: {"enum": [loaded.about.version for loaded in shelf.all]},
    }

"""What dialects tell beside predictions: of models, and whether they are ready."""

from collections.abc import Iterator
from functools import partial

import orjson
from starlette.requests import Request
from starlette.responses import Response

from serving.dialects.dialect import Dialect, Telling
from serving.door.naming import MODEL, Unready, found, meant_at, shown
from serving.door.routes import Operation, Route, answer_of, for_none
from serving.prediction.loaded import Loaded
from serving.prediction.shelf import Shelf
from serving.problems import INVALID_INPUT, JSON_MEDIA_TYPE, NOT_FOUND, UNAVAILABLE, Problem


def telling(dialect: Dialect, shelf: Shelf, unready: Unready) -> Iterator[Route]:
    """Give the routes at which a dialect tells something."""
    for told in dialect.tells:
        yield Route(
            told.method,
            told.path,
            partial(_answer, told, shelf, unready),
            shown(told.path, shelf, partial(_operation, told, shelf)),
            model=meant_at(told.path, shelf) if _is_of_one(told) else for_none,
            is_open=told.is_open,
            wording=told.wording,
        )


def _is_of_one(told: Telling) -> bool:
    return told.of_default or MODEL in told.path


async def _answer(told: Telling, shelf: Shelf, unready: Unready, request: Request) -> Response:
    one = found(shelf, request.path_params) if _is_of_one(told) else None
    if told.ready and (reason := unready(one)):
        raise Problem(UNAVAILABLE, reason)
    document = told.tell([loaded.about for loaded in ([one] if one else shelf.all)])
    is_json = told.media_type == JSON_MEDIA_TYPE
    return Response(orjson.dumps(document) if is_json else document, media_type=told.media_type)


def _operation(told: Telling, shelf: Shelf, loaded: Loaded) -> Operation:
    problems = [NOT_FOUND] if MODEL in told.path else []
    answer = None
    if told.schema is None:
        problems.append(INVALID_INPUT)
    else:
        models = [loaded] if _is_of_one(told) else shelf.all
        example = told.tell([each.about for each in models])
        answer = answer_of("Success", told.media_type, told.schema, example=example)
    if told.ready:
        problems.append(UNAVAILABLE)
    return Operation(
        "Operations" if told.is_open else "Model",
        told.name,
        told.summary,
        answer,
        problems=problems,
    )

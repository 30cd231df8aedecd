"""What is told of the models that are served: which there are, what each is, and its card."""

from collections.abc import Iterator, Mapping
from functools import partial

import orjson
from starlette.requests import Request
from starlette.responses import Response

from serving.door.naming import found, of_each_model
from serving.door.pages import Document, fixed, page
from serving.door.routes import Operation, Route, answer_of, page_answer
from serving.model.about import About
from serving.model.domains import Schema, closed
from serving.model.facts import model_info_schemas
from serving.prediction.shelf import Shelf
from serving.problems import JSON_MEDIA_TYPE, UNAVAILABLE

_TEXT: Schema = {"type": "string"}
_MODEL = closed({"name": _TEXT, "version": _TEXT, "task": _TEXT, "default": {"type": "boolean"}})


def models(shelf: Shelf) -> Iterator[Route]:
    """Give the routes."""
    yield _list(shelf)
    infos = {
        loaded.about: Document(orjson.dumps(loaded.info), JSON_MEDIA_TYPE) for loaded in shelf.all
    }
    cards = {loaded.about: page(loaded.card) for loaded in shelf.all}
    for part, documents, tells in (("info", infos, _INFO), ("card", cards, _CARD)):
        answer = partial(_answer, shelf, documents)
        yield from of_each_model(part, shelf, answer, partial(_alike, tells))


async def _answer(shelf: Shelf, documents: Mapping[About, Document], request: Request) -> Response:
    return documents[found(shelf, request.path_params).about].answer(request)


def _list(shelf: Shelf) -> Route:
    told = {
        "models": [
            {
                **loaded.about.named,
                "task": loaded.about.description.task,
                "default": loaded is shelf.default,
            }
            for loaded in shelf.all
        ]
    }
    schema = closed({"models": {"type": "array", "items": _MODEL}})
    return fixed(
        "/models",
        Document(orjson.dumps(told), JSON_MEDIA_TYPE),
        Operation(
            "Model",
            "models",
            "Which models are served",
            answer_of("Success", JSON_MEDIA_TYPE, schema, example=told),
            "Each answers below `/models/NAME`, the default one at paths without a name too.",
        ),
    )


def _alike(tells: Operation, *_: object) -> Operation:
    """Describe all models alike."""
    return tells


_INFO = Operation(
    "Model",
    "modelInfo",
    "What the model is",
    answer_of("Success", JSON_MEDIA_TYPE, {"$ref": "#/components/schemas/ModelInfo"}),
    problems=(UNAVAILABLE,),
    schemas=model_info_schemas(),
)
_CARD = Operation(
    "Model",
    "modelCard",
    "What the model is, for people",
    page_answer(),
    "Written by training: scores with plots, features, limits, how to call it.",
)

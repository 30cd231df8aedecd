"""The one story of every prediction: body, dialect, predictor, dialect, answer."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from serving.dialects.dialect import Dialect
from serving.door.bodies import read_body
from serving.door.openapi import header
from serving.door.routes import Operation, Route, answer_of
from serving.prediction.cache import Lookup
from serving.prediction.predictor import EstimatorError
from serving.prediction.shelf import Shelf
from serving.problems import (
    BODY_TOO_LARGE,
    INVALID_INPUT,
    MALFORMED_BODY,
    UNAVAILABLE,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
)
from serving.telemetry import current_record

MODEL = "model"  # the part of a path that names one

# The Cache-Status header (RFC 9211) of an answer.
CACHE_STATUS: dict[str | None, dict[str, str]] = {
    None: {},
    Lookup.HIT: {"cache-status": "model-api; hit"},
    Lookup.MISS: {"cache-status": "model-api; fwd=miss; stored"},
    Lookup.COLLAPSED: {"cache-status": "model-api; fwd=miss; collapsed"},
}

_CACHE_HEADERS = {
    "Cache-Status": header(
        "Whether the prediction was kept from an identical input (RFC 9211).", "model-api; hit"
    )
}
_PROBLEMS = (
    MALFORMED_BODY,
    BODY_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    INVALID_INPUT,
    UNAVAILABLE,
)


class Predicting:
    """Answers requests for predictions, in any dialect."""

    def __init__(self, shelf: Shelf, max_body_bytes: int) -> None:
        """Take where models are found, and how large a body may be, inflated."""
        self._shelf = shelf
        self._max_body_bytes = max_body_bytes

    def route(self, path: str, dialect: Dialect) -> Route:
        """Give the route on which a dialect is spoken; each of its requests counts."""
        return Route(
            "POST",
            path,
            partial(self.answer, dialect),
            self._tells(dialect),
            counts=True,
            refuse=dialect.refuse,
            problem_media_type=dialect.problem_media_type,
        )

    def _tells(self, dialect: Dialect) -> Operation:
        loaded = self._shelf.default
        told = dialect.described(loaded.about, loaded.example, loaded.rows.max_rows)
        examples = {name: {"value": value} for name, value in told.examples.items()}
        body = {
            "description": "May be compressed, with the header `Content-Encoding: gzip`.",
            "required": True,
            "content": {dialect.media_type: {"schema": told.body, "examples": examples}},
        }
        return Operation(
            "Predictions",
            told.name,
            told.summary,
            answer_of("Success", dialect.media_type, told.answer, example=told.answered),
            told.description,
            _PROBLEMS,
            body,
            headers=_CACHE_HEADERS if told.is_of_one and loaded.keeps_predictions else {},
            schemas=told.schemas,
        )

    async def answer(self, dialect: Dialect, request: Request) -> Response:
        """Answer one request.

        Raises:
            Problem: 400, 404, 413, 415, 422 or 503.
            EstimatorError: the estimator failed.
        """
        loaded = self._shelf.find(request.path_params.get(MODEL))
        body = await read_body(request, dialect.media_type, self._max_body_bytes)
        question = dialect.read(body, loaded.rows)
        record = current_record()
        record.rows, record.unusual = len(question.rows), question.unusual
        try:
            outcome = await loaded.predictor.ask(question)
        except EstimatorError as exc:
            # A ValueError is how scikit-learn refuses input. Where values are unlike training's, it
            # is they that the estimator can't compute with, and no defect.
            if question.warnings and isinstance(exc.__cause__, ValueError):
                detail = "the model can't compute with values unlike those of training"
                raise Problem(INVALID_INPUT, detail, errors=question.warnings) from exc
            raise
        answer = dialect.write(outcome.predictions, question, loaded.about, record.id)
        headers = CACHE_STATUS[outcome.lookup]
        return Response(answer, media_type=dialect.media_type, headers=headers)

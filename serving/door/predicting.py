"""The one story of every prediction: body, conversation, predictor, conversation, answer."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Container, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from serving.dialects.dialect import Answer, Asked, Conversation, Dialect, ReadParts, Sent
from serving.door.bodies import declared, read_body
from serving.door.explaining import QUERY, explanation_asked
from serving.door.naming import MODEL, found, meant_at, shown
from serving.door.negotiation import media_type_for, weights
from serving.door.openapi import header
from serving.door.routes import Operation, Route
from serving.door.streamed import Streamed
from serving.prediction.cache import Lookup
from serving.prediction.loaded import Loaded
from serving.prediction.predictor import EstimatorError, Outcome
from serving.prediction.shelf import Shelf
from serving.problems import (
    BODY_TOO_LARGE,
    INVALID_INPUT,
    MALFORMED_BODY,
    NOT_ACCEPTABLE,
    NOT_FOUND,
    UNAVAILABLE,
    UNLIKE_TRAINING,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
    ProblemType,
)
from serving.telemetry import current_record

# What is larger is read, and answered, apart from the event loop: 64 KiB take it some milliseconds.
MAX_BYTES_AT_ONCE = 65_536
# Of such bodies as may have more rows than a batch: rows take up to seventy times what they took as
# CSV. Others wait as they came, for no longer than they would otherwise: one model answers all.
MAX_LARGE_AT_ONCE = 2

_NO_HEADERS: Mapping[str, str] = {}

Result = TypeVar("Result")

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


class Predicting:
    """Answers requests for predictions, in any dialect."""

    def __init__(self, shelf: Shelf, max_body_bytes: int) -> None:
        """Take where models are found, and how large a body may be, inflated."""
        self._shelf = shelf
        self._max_body_bytes = max_body_bytes
        self._one_apart = ThreadPoolExecutor(1, "apart")
        self._turns = asyncio.Semaphore(MAX_LARGE_AT_ONCE)

    def routes(self, dialect: Dialect) -> Iterator[Route]:
        """Give the routes on which a dialect is spoken about predictions."""
        for path, conversation in dialect.conversations.items():
            yield self.route(path, conversation)

    def route(self, path: str, conversation: Conversation) -> Route:
        """Give the route of a conversation; each of its requests counts."""
        return Route(
            "POST",
            path,
            partial(self.answer, conversation),
            shown(path, self._shelf, partial(_operation, path, conversation)),
            model=meant_at(path, self._shelf),
            counts=True,
            wording=conversation.wording,
        )

    async def answer(self, conversation: Conversation, request: Request) -> Response:
        """Answer one request.

        Raises:
            Problem: 400, 404, 406, 413, 415, 422 or 503.
            EstimatorError: the estimator failed.
        """
        parts = request.path_params
        loaded = found(self._shelf, parts) if parts else self._shelf.default
        wanted, headers = conversation.writes[0], _NO_HEADERS
        explain = explanation_asked(request) if conversation.explains else None
        if len(conversation.writes) > 1:
            accepted = weights(request.headers.getlist("accept"))
            if explain is not None:
                wanted = media_type_for(accepted, [wanted], "an answer with explanations")
            else:
                wanted = media_type_for(accepted, conversation.offers(declared(request)))
        if conversation.heeds:
            headers = _heeded(request.scope["headers"], conversation.heeds)
        body, media_type = await read_body(request, conversation.reads, self._max_body_bytes)
        sent = Sent(body, media_type, wanted, headers, self._max_body_bytes, explain)
        is_large = len(body) > MAX_BYTES_AT_ONCE or media_type in conversation.swells
        if wanted == media_type and (read := conversation.streams.get(media_type)) is not None:
            return await self._stream(read, loaded, sent, is_large=is_large)
        if is_large and media_type in conversation.in_parts:
            async with self._turns:  # in their order
                return await self._predict(conversation, loaded, sent, is_large=True)
        return await self._predict(conversation, loaded, sent, is_large=is_large)

    async def _predict(
        self, conversation: Conversation, loaded: Loaded, sent: Sent, *, is_large: bool
    ) -> Response:
        read = conversation.read
        if is_large:
            asked = await self._apart(read, sent, loaded.about, loaded.rows)
        else:
            asked = read(sent, loaded.about, loaded.rows)
        outcome, answer = await self._answer_to(asked, loaded, is_large=is_large)
        headers = CACHE_STATUS[outcome.lookup]
        if answer.headers:
            headers = {**headers, **answer.headers}
        return Response(answer.body, media_type=answer.media_type, headers=headers)

    async def _stream(
        self, read: ReadParts, loaded: Loaded, sent: Sent, *, is_large: bool
    ) -> Response:
        """Answer part by part; what fails by the end of the first has a status of its own."""
        asked = read(sent, loaded.about, loaded.rows)
        parts = self._parts(asked, loaded, is_large=is_large)
        return Streamed(await anext(parts, b""), parts, sent.wanted)

    async def _parts(
        self, parts: Iterator[Asked], loaded: Loaded, *, is_large: bool
    ) -> AsyncGenerator[bytes, None]:
        """Give the answer to each part of what is asked, which is read only then."""
        while True:
            asked = await self._apart(next, parts, None) if is_large else next(parts, None)
            if asked is None:
                break
            try:
                _, answer = await self._answer_to(asked, loaded, is_large=is_large)
            except EstimatorError as exc:
                if not _is_of_input(exc, asked):
                    current_record().exception = exc
                answer = await self._answer_to_each(asked, loaded)
            yield answer.body

    async def _answer_to_each(self, asked: Asked, loaded: Loaded) -> Answer:
        """Answer the rows on which the model does not fail."""
        given = await loaded.predictor.ask_each(asked.question)
        predictions = [None if isinstance(each, EstimatorError) else each for each in given]
        return await self._apart(asked.write, predictions, current_record().id)

    async def _answer_to(
        self, asked: Asked, loaded: Loaded, *, is_large: bool
    ) -> tuple[Outcome, Answer]:
        question, write = asked
        record = current_record()
        record.asks(len(question.rows), question.unusual)
        outcome = await _outcome(asked, loaded)
        # A small body may have more rows than a batch: thousands of a digit each, say.
        if is_large or len(question.rows) > loaded.rows.max_rows:
            answer = await self._apart(write, outcome.predictions, record.id)
        else:
            answer = write(outcome.predictions, record.id)
        return outcome, answer

    async def _apart(self, run: Callable[..., Result], *given: Any) -> Result:  # noqa: ANN401
        """Run in a thread what would hold up all other requests, one such thing at a time."""
        return await asyncio.get_running_loop().run_in_executor(self._one_apart, run, *given)


def _is_of_input(exc: EstimatorError, asked: Asked) -> bool:
    """Tell whether an estimator failed on values unlike those of training, which is no defect.

    A ValueError is how scikit-learn refuses input.
    """
    return bool(asked.question.unusual) and isinstance(exc.__cause__, ValueError)


async def _outcome(asked: Asked, loaded: Loaded) -> Outcome:
    try:
        return await loaded.predictor.ask(asked.question)
    except EstimatorError as exc:
        warnings = asked.question.warnings
        if warnings and _is_of_input(exc, asked):
            raise Problem(INVALID_INPUT, UNLIKE_TRAINING, errors=warnings) from exc
        raise


def _heeded(given: Iterable[tuple[bytes, bytes]], names: Container[str]) -> dict[str, str]:
    """Give headers by name, in lower case.

    One that is there twice is a list (RFC 9110, 5.3), and none of what it should be.
    """
    heeded: dict[str, str] = {}
    for raw, value in given:
        if (name := raw.decode("latin-1")) in names:
            text = value.decode("latin-1")
            heeded[name] = f"{heeded[name]}, {text}" if name in heeded else text
    return heeded


def _operation(path: str, conversation: Conversation, loaded: Loaded) -> Operation:
    told = conversation.describe(loaded.about, loaded.example, loaded.rows.max_rows)
    headers = {name: header(text) for name, text in told.headers.items()}
    if told.is_of_one and loaded.keeps_predictions:
        headers |= _CACHE_HEADERS
    return Operation(
        "Predictions",
        told.name,
        told.summary,
        {"description": "Success", "content": told.answers},
        told.description,
        tuple(_problems(path, conversation)),
        {
            "description": "May be compressed, with the header `Content-Encoding: gzip`.",
            "required": True,
            "content": told.bodies,
        },
        query=QUERY if conversation.explains and loaded.explains else {},
        heeds=conversation.heeds,
        headers=headers,
        schemas=told.schemas,
    )


def _problems(path: str, conversation: Conversation) -> Iterator[ProblemType]:
    yield MALFORMED_BODY
    if MODEL in path:
        yield NOT_FOUND
    if len(conversation.writes) > 1:
        yield NOT_ACCEPTABLE
    yield BODY_TOO_LARGE
    yield UNSUPPORTED_MEDIA_TYPE
    yield INVALID_INPUT
    yield UNAVAILABLE

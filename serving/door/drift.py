"""Drift for who has no Prometheus: what came in of late beside training, as JSON and as a page.

Refuses a window that can't be read, and anything else in the query.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import orjson
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response

from serving.door.naming import found, of_each_model
from serving.door.negotiation import media_type_for, weights
from serving.door.pages import HTML_MEDIA_TYPE, Document, page
from serving.door.routes import Operation, Route, answer_of
from serving.drift.page import Rows, written
from serving.drift.report import schemas
from serving.model.domains import Schema
from serving.prediction.drift import Drift
from serving.prediction.loaded import Loaded
from serving.prediction.shelf import Shelf
from serving.problems import (
    INVALID_INPUT,
    JSON_MEDIA_TYPE,
    NOT_ACCEPTABLE,
    NOT_FOUND,
    Problem,
)

WINDOW, USUAL = "window", "1h"
# A day is what the history keeps: 1m to 1440m, or 1h to 24h.
PATTERN = "^(([1-9]|1[0-9]|2[0-4])h|([1-9][0-9]{0,2}|1[0-3][0-9]{2}|14[0-3][0-9]|1440)m)$"
SHOWN = ("15m", "1h", "6h", "24h")  # windows that the page leads to
_UNITS = {"m": ("minute", 60), "h": ("hour", 3600)}
_QUERY: Mapping[str, Schema] = {
    WINDOW: {
        "description": "How far to look back: minutes (15m) or hours (6h), at most a day.",
        "schema": {"type": "string", "pattern": PATTERN, "default": USUAL},
    }
}
_HEADERS = {"vary": "Accept", "cache-control": "no-store"}  # a moment later it is another


def drift_routes(drift: Drift, shelf: Shelf) -> Iterator[Route]:
    """Give what tells of the drift of each model, or why nothing does."""

    async def answer(request: Request) -> Response:
        tally = drift.of(found(shelf, request.path_params).about)
        window = _window(request)
        accepted = weights(request.headers.getlist("accept"))
        media_type = media_type_for(accepted, (JSON_MEDIA_TYPE, HTML_MEDIA_TYPE))

        def write() -> Document:
            report = {WINDOW: window, **tally.report(_seconds(window))}
            if media_type == JSON_MEDIA_TYPE:
                return Document(orjson.dumps(report), JSON_MEDIA_TYPE, _HEADERS)
            return page(_written(report), _HEADERS)

        # It reads the files of all workers, and takes milliseconds.
        return (await run_sync(write)).answer(request)

    return of_each_model("drift", shelf, answer, partial(_operation, drift))


def _operation(drift: Drift, loaded: Loaded, path: str) -> Operation:
    tag, name, summary = "Model", "modelDrift", "Whether what comes in is still like training"
    try:
        drift.of(loaded.about)
    except Problem as exc:
        return Operation(tag, name, summary, None, f"{exc.detail}.", (NOT_FOUND,))
    answer = answer_of("Success", JSON_MEDIA_TYPE, {"$ref": "#/components/schemas/DriftReport"})
    answer["content"][HTML_MEDIA_TYPE] = {"schema": {"type": "string"}}
    return Operation(
        tag,
        name,
        summary,
        answer,
        "Of each feature, of the predictions and of the largest probabilities: how many values lay "
        "in which bin, of all workers of this server, beside how many did in training. For people "
        f"it is [a page]({path.removeprefix('/')}).",
        (NOT_ACCEPTABLE, INVALID_INPUT),
        query=_QUERY,
        schemas=schemas(),
    )


def _window(request: Request) -> str:
    """Read the window.

    Raises:
        Problem: 422, it is none, or not all that was asked for.
    """
    asked = request.query_params.multi_items()
    if any(name != WINDOW for name, _ in asked):
        raise Problem(INVALID_INPUT, f"unknown parameter in the query: there is {WINDOW} alone")
    if len(asked) > 1:
        raise Problem(INVALID_INPUT, f"{WINDOW} is given more than once")
    window = asked[0][1] if asked else USUAL
    if not re.fullmatch(PATTERN, window):
        raise Problem(
            INVALID_INPUT,
            f"{WINDOW} is a whole number of minutes or hours, from 1m to 24h, such as {USUAL}",
        )
    return window


def _seconds(window: str) -> int:
    return int(window[:-1]) * _UNITS[window[-1]][1]


def _written(report: Mapping[str, Any]) -> str:
    """Write the page."""
    since, until = (datetime.fromisoformat(report[name]) for name in ("since", "until"))
    facts: dict[str, str | datetime] = {"From": since, "To": until}
    if until - since < timedelta(seconds=_seconds(report[WINDOW])):
        facts["Window"] = "not yet whole: the server has counted for no longer"
    windows = {window: _told(window) for window in SHOWN}
    return written(report, Rows(_told(report[WINDOW]), facts, report[WINDOW], windows))


def _told(window: str) -> str:
    """Tell a window in words: last hour, last 15 minutes."""
    count, unit = window[:-1], _UNITS[window[-1]][0]
    return f"last {unit}" if count == "1" else f"last {count} {unit}s"

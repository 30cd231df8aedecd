"""Routes: what is at which path, found once for each request.

A route is one value: method, path, who answers, whether it is open, whether it counts against a
quota, for which model a request is, and what it tells the OpenAPI document. What is no route is
`UNMATCHED` in logs and metrics, so that these never have a series for each path.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path

from serving.model.about import About
from serving.model.domains import Schema
from serving.problems import (
    METHOD_NOT_ALLOWED,
    PROBLEM_JSON,
    Problem,
    ProblemType,
    Wording,
)
from serving.telemetry import log

UNMATCHED = "unmatched"
MAX_KNOWN_PATHS = 64  # that were found by a pattern of late: clients ask for few again and again

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """What the OpenAPI document says of a route, beside what holds for all.

    ``answer`` is a Response Object of OpenAPI 3.1, ``body`` a Request Body Object, and ``schemas``
    what these refer to, by name. ``parameters`` says what may stand in the path, by name, if that
    is not any text, and ``query`` has the rest of the Parameter Objects of what may stand behind
    it. ``headers`` has the Header Objects of the answer.
    """

    tag: str
    name: str
    summary: str
    answer: Schema | None  # none, if all is refused
    description: str = ""
    problems: Sequence[ProblemType] = ()
    body: Schema | None = None
    parameters: Mapping[str, Schema] = field(default_factory=dict)
    query: Mapping[str, Schema] = field(default_factory=dict)
    heeds: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, Schema] = field(default_factory=dict)
    schemas: Mapping[str, Schema] = field(default_factory=dict)


Told: TypeAlias = Mapping[str, Operation]  # by path, as the document shows it


def answer_of(description: str, media_type: str, schema: Schema, **more: Any) -> Schema:  # noqa: ANN401
    """Describe an answer of one media type; ``more`` has an example, perhaps."""
    return {"description": description, "content": {media_type: {"schema": schema, **more}}}


def page_answer(description: str = "A page") -> Schema:
    """Describe an answer for people."""
    return answer_of(description, "text/html", {"type": "string"})


def for_none(_: Mapping[str, Any]) -> None:
    """Say that a request is for no model."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path; ``{name}`` in it stands for a segment, ``{name:path}`` for many.

    What it ``tells`` has an operation for each path that the document shows: one for each model,
    where a part of the path names one. ``model`` gives, by the parts of a request's path, the
    `serving.model.about.About` of the model that it is for, if it is for one.
    """

    method: str
    path: str
    answer: Handler
    tells: Told = field(default_factory=dict)  # what is not told of is for pages alone
    model: Callable[[Mapping[str, Any]], About | None] = for_none
    is_open: bool = False  # to who has no key
    counts: bool = False  # against a client's quota
    wording: Wording = PROBLEM_JSON  # of what is refused


class Found(NamedTuple):
    """What is at a path: its template, the routes by method, and what stands in the template."""

    template: str
    routes: Mapping[str, Route]
    parts: Mapping[str, Any]

    @property
    def any(self) -> Route:
        """A route of the path, which says for all its methods who may ask."""
        return next(iter(self.routes.values()))

    def not_allowed(self) -> Problem:
        """Refuse another method (RFC 9110, 15.5.6: Allow is due)."""
        allowed = sorted(self.routes)
        return Problem(
            METHOD_NOT_ALLOWED, METHOD_NOT_ALLOWED.cause, headers={"Allow": ", ".join(allowed)}
        )


_Pattern: TypeAlias = tuple[re.Pattern[str], str, dict[str, Route]]


class Routes:
    """All routes, by their paths."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Take routes; what answers GET answers HEAD.

        Raises:
            ValueError: two are at one path for one method.
        """
        self._routes = tuple(routes)
        by_path: dict[str, dict[str, Route]] = {}
        for route in self._routes:
            methods = by_path.setdefault(route.path, {})
            if route.method in methods:
                raise ValueError(f"two routes answer {route.method} {route.path}")
            methods[route.method] = route
            if route.method == "GET":
                methods["HEAD"] = route
        self._wordings = {_first_segment(route.path): route.wording for route in self._routes}
        self._exact: dict[str, Found] = {}
        patterns: list[_Pattern] = []
        for path, methods in by_path.items():
            pattern, template, convertors = compile_path(path)
            if convertors:
                patterns.append((pattern, template, methods))
            else:
                self._exact[path] = Found(path, methods, {})
        # Of two that match, the one that says more of the path: /{name}:predict before /{name}.
        patterns.sort(key=lambda each: len(re.sub("{.*?}", "", each[1])), reverse=True)
        self._match = lru_cache(MAX_KNOWN_PATHS)(partial(_first_match, patterns))

    def __iter__(self) -> Iterator[Route]:
        """Give the routes in their order."""
        return iter(self._routes)

    def wording_at(self, path: str) -> Wording:
        """Tell how what is not found is refused: as all is below the same first segment."""
        return self._wordings.get(_first_segment(path), PROBLEM_JSON)

    def find(self, path: str) -> Found | None:
        """Find what is at a path, if anything is."""
        if (found := self._exact.get(path)) is not None:
            return found
        return self._match(path)


def _first_match(patterns: Iterable[_Pattern], path: str) -> Found | None:
    for pattern, template, methods in patterns:
        if match := pattern.match(path):
            return Found(template, methods, match.groupdict())
    return None


def overridden(routes: Iterable[Route], *later: Iterable[Route]) -> list[Route]:
    """Give routes, and over them later ones, which go before those at the same path and method.

    The log tells of what is not served because of that.
    """
    kept = list(routes)
    for group in map(list, later):
        taken = {(route.method, route.path) for route in group}
        for route in kept:
            if (route.method, route.path) in taken:
                log.warning("route.replaced", method=route.method, path=route.path)
        kept = [route for route in kept if (route.method, route.path) not in taken] + group
    return kept


def _first_segment(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else ""

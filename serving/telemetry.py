"""What happened: noted on the record of a request under way, told by frozen events to listeners.

The edge opens a `RequestRecord` for each request; rooms further in note on it what they learn (how
many rows, what was unusual), and at its end the edge tells each listener `Answered`. The predictor
tells `Predicted`. The log line of a request is one listener, the metrics are another.
No input value and no key is ever noted on a record, or logged here.
"""

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import structlog

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


def timestamp(time_s: float, timespec: str = "microseconds") -> str:
    """Write a moment, in seconds since the epoch, in UTC as RFC 3339 has it."""
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


class Answered(NamedTuple):
    """A request is over."""

    request_id: str
    method: str
    route: str  # its template
    status: int  # 499 where no client was left to receive one
    duration_s: float  # from its head to the end of its answer
    client: str | None  # its address
    api_key: str | None  # its name, never the key
    model: Any  # which it was for, as in `Predicted`; None, if for none
    rows: int | None
    unusual: Mapping[str, int]  # values unlike those of training, by feature
    cache: str | None
    explained: int | None  # of the rows, where that was asked for
    problem: str | None
    exception: BaseException | None


@dataclass(slots=True)
class RequestRecord:
    """What is known of the request that is under way; see `Answered`."""

    id: str
    method: str
    route: str
    client: str | None
    api_key: str | None = None
    model: Any = None
    rows: int | None = None
    unusual: Mapping[str, int] = field(default_factory=dict)
    cache: str | None = None
    explained: int | None = None
    problem: str | None = None
    exception: BaseException | None = None

    def asks(self, rows: int, unusual: Mapping[str, int]) -> None:
        """Add rows that the model is asked for, and how many of their values are unusual."""
        self.rows = rows if self.rows is None else self.rows + rows
        if unusual:
            self.unusual = Counter(self.unusual) + Counter(unusual)

    def answered(self, status: int, duration_s: float) -> Answered:
        """Give what is told of it at its end."""
        return Answered(
            self.id,
            self.method,
            self.route,
            status,
            duration_s,
            self.client,
            self.api_key,
            self.model,
            self.rows,
            self.unusual,
            self.cache,
            self.explained,
            self.problem,
            self.exception,
        )


_record: ContextVar[RequestRecord] = ContextVar("request_record")
open_record = _record.set
current_record = _record.get


class Predicted(NamedTuple):
    """Rows of a request were answered, be it from the cache.

    ``rows`` are tuples of values in the order of the features, ``predictions`` as many
    `serving.model.outputs.Prediction`, and ``about`` the `serving.model.about.About` of the version
    that answered: of these this room knows no more than that they are there. ``numbers`` are those
    of the rows in their request, from 0; none, where the rows are all that it has.
    """

    request_id: str
    about: Any
    rows: Sequence[Any]
    predictions: Sequence[Any]
    numbers: Sequence[int] = ()


class Listener:
    """Hears of what it overrides, on the event loop, and has to be quick about it."""

    def started(self, route: str) -> None:
        """Hear that a request to a route has begun."""

    def answered(self, event: Answered) -> None:
        """Hear that it is over."""

    def predicted(self, event: Predicted) -> None:
        """Hear what was answered."""


class Listeners:
    """Tells each listener. One that raises is logged, once, and harms nobody."""

    def __init__(self, listeners: Iterable[Listener]) -> None:
        """Take the listeners, of which each is told only what it wants to hear."""
        listeners = tuple(listeners)
        self.started = _teller([each.started for each in listeners], Listener.started)
        self.answered = _teller([each.answered for each in listeners], Listener.answered)
        self.predicted = _teller([each.predicted for each in listeners], Listener.predicted)


def _teller(hearers: list[Callable[..., None]], deaf: Callable[..., None]) -> Callable[[Any], None]:
    wanted = [hearer for hearer in hearers if getattr(hearer, "__func__", None) is not deaf]
    failed: set[Callable[..., None]] = set()

    def tell(what: object) -> None:
        for hear in wanted:
            try:
                hear(what)
            except Exception as exc:
                if hear not in failed:
                    failed.add(hear)
                    log.error("listener.failed", listener=repr(hear), exception=stack_trace(exc))

    return tell


class LogLine(Listener):
    """Writes one line for each request."""

    def __init__(self, default: Any) -> None:  # noqa: ANN401 (see `Predicted`)
        """Take the model that lines of requests for none tell."""
        self._default = default

    def answered(self, event: Answered) -> None:
        """Write it."""
        write = log.info if event.exception is None else log.error
        model = event.model or self._default
        write(
            "request.finished",
            request_id=event.request_id,
            method=event.method,
            route=event.route,
            status=event.status,
            duration_ms=round(event.duration_s * 1000, 3),
            client=event.client,
            api_key=event.api_key,
            model_name=model.name,
            model_version=model.version,
            cache=event.cache,
            rows=event.rows,
            unusual=sum(event.unusual.values()) or None,
            explained=event.explained,
            problem=event.problem,
            exception=stack_trace(event.exception) if event.exception else None,
        )


def stack_trace(exc: BaseException) -> str:
    """Format an exception and its causes without their messages, which may repeat input values."""
    parts = []
    link: BaseException | None = exc
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        kind = f"{type(link).__module__}.{type(link).__qualname__}".removeprefix("builtins.")
        parts.append("".join(traceback.format_tb(link.__traceback__)) + kind)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\n\nThe above exception caused the following one:\n\n".join(reversed(parts))

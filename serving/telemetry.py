"""What an operator reads: one record a request, and JSON log lines.

The edge opens a `RequestRecord` for each request; rooms further in note on it what they learn (how
many rows, what went wrong), and the edge writes it down as one log line and as metrics.
No input value and no key is ever noted.
"""

import io
import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, NoReturn, TextIO, cast

import orjson
import structlog

from serving.console import take_any_text

FRAMEWORK_LOGGERS = ("bentoml", "circus", "uvicorn", "uvicorn.error", "py.warnings")


@dataclass(slots=True)
class RequestRecord:
    """What is known of the request that is under way."""

    id: str
    method: str
    route: str
    client: str | None  # its address
    api_key: str | None = None  # its name, never the key
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)  # of the answer, beside its id
    status: int = 0
    rows: int | None = None
    problem: str | None = None
    cache: str | None = None
    unusual: Mapping[str, int] = field(default_factory=dict)
    warnings: Sequence[Any] = ()
    exception: BaseException | None = None
    client_left: bool = False
    is_late: bool = False  # the deadline has passed


MODEL_THREAD = "model"  # the name of the thread that the model runs in, by which it is found


_record: ContextVar[RequestRecord] = ContextVar("request_record")
open_record = _record.set
current_record = _record.get


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


class _LossyStream:
    """A stream that loses what it can't write: a full disk or a closed pipe ends no service."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write whole lines."""
        if self._stream is not None:  # as it is when stdout was closed before the start
            with suppress(OSError, ValueError):
                self._stream.write(text)
                self._stream.flush()

    def flush(self) -> None:
        """Do nothing: there is nothing left to write."""


class PrintsAsLog(io.TextIOBase):
    """Takes the place of stdout for what estimators print, which may repeat input values.

    It is logged at level debug, so that stdout has log lines alone.
    """

    def __init__(self) -> None:
        """Start with an empty line."""
        self._line = ""

    def write(self, text: str) -> int:
        """Log the lines that are complete now."""
        *lines, self._line = (self._line + text).split("\n")
        for line in filter(str.strip, lines):
            logging.getLogger("stdout").debug(line)
        return len(text)

    def fileno(self) -> int:
        """Give the descriptor of stdout to code that goes round Python; that is not logged."""
        return 1


def configure_logging(level: str, *, as_json: bool) -> None:
    """Send every log line of this process, whoever writes it, to stdout in one shape.

    BentoML configures logging just before it imports the service, in the parent and in each worker,
    so what is set while the service is imported stays.
    """
    take_any_text("utf-8" if as_json else None)  # JSON is UTF-8 (RFC 8259, 8.1), always
    stdout = cast(TextIO, _LossyStream(sys.stdout))
    renderer = (
        _as_json
        if as_json
        else structlog.dev.ConsoleRenderer(colors=bool(sys.stdout and sys.stdout.isatty()))
    )
    structlog.configure(
        processors=[_stamped, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _lift_stack_trace,
                _stamped,
                renderer,
            ],
        )
    )
    logging.captureWarnings(capture=True)
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in FRAMEWORK_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)
        logger.propagate = True
    silent = logging.getLogger("uvicorn.access")  # the edge writes the line of a request
    silent.handlers.clear()
    silent.propagate = False
    sys.excepthook = _log_crash
    threading.excepthook = lambda args: _log_crash(
        args.exc_type, args.exc_value, args.exc_traceback
    )


def _as_json(_: object, __: str, event: Mapping[str, Any]) -> str:
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # a lone surrogate, or an integer beyond 64 bits
        return json.dumps(event, default=str)


def _lift_stack_trace(
    _: object, __: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Move a stack trace that is logged as the message, as uvicorn does, to its own field."""
    if event["event"].startswith("Traceback (most recent call last)"):
        event["exception"] = event["event"].rstrip()
        event["event"] = event["exception"].splitlines()[-1]
    return event


def _stamped(_: object, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Begin with what every line has, and leave out what this one does not know."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    head = {"timestamp": now, "level": level, "event": event.pop("event")}
    return head | {name: value for name, value in event.items() if value is not None}


def _log_crash(
    kind: type[BaseException], exc: BaseException | None, trace: TracebackType | None
) -> None:
    if exc is not None and not issubclass(kind, KeyboardInterrupt):
        logging.getLogger("process").critical("process.crashed", exc_info=(kind, exc, trace))


log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
logging_is_configured = structlog.is_configured


def end_process(event: str, **fields: object) -> NoReturn:
    """End a worker that can't start, with one line; all that it could raise is logged by others.

    BentoML, Starlette and uvicorn each have something to say to it, with pages of stack trace.
    """
    log.critical(event, **fields)
    os._exit(1)


def append_whole(descriptor: int, data: bytes) -> None:
    """Append to a file that is open for that, all or nothing.

    Raises:
        OSError: it can't be done; the file is as it was, unless another process appended too.
    """
    before = os.fstat(descriptor).st_size
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, before)
        raise

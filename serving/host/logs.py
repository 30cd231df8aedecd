"""The log: every line of this process, whoever writes it, goes to stdout in one shape.

JSON for machines, or console for people. Loses what can't be written: a full disk or a closed pipe
ends no service. What an estimator prints may repeat input values, and is logged at level debug.
"""

import io
import json
import logging
import sys
import threading
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from types import TracebackType
from typing import Any, TextIO, cast

import orjson
import structlog

from serving.console import take_any_text
from serving.settings import LogFormat, LogLevel
from serving.telemetry import timestamp

FRAMEWORK_LOGGERS = ("bentoml", "circus", "uvicorn", "uvicorn.error", "py.warnings")


class _LossyStream:
    """A stream that loses what it can't write."""

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
    """Takes the place of stdout for what estimators print, so that stdout has log lines alone."""

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


def configure_logging(level: LogLevel, form: LogFormat) -> None:
    """Send every log line of this process, whoever writes it, to stdout in one shape.

    BentoML configures logging just before it imports the service, in the parent and in each worker,
    so what is set while the service is imported stays.
    """
    is_terminal = bool(sys.stdout and sys.stdout.isatty())
    as_json = form is LogFormat.JSON or (form is LogFormat.AUTO and not is_terminal)
    take_any_text("utf-8" if as_json else None)  # JSON is UTF-8 (RFC 8259, 8.1), always
    stdout = cast(TextIO, _LossyStream(sys.stdout))
    renderer = _as_json if as_json else structlog.dev.ConsoleRenderer(colors=is_terminal)
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
    silent = logging.getLogger("uvicorn.access")  # the edge tells of each request
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
    now = timestamp(time.time())
    head = {"timestamp": now, "level": level, "event": event.pop("event")}
    return head | {name: value for name, value in event.items() if value is not None}


def _log_crash(
    kind: type[BaseException], exc: BaseException | None, trace: TracebackType | None
) -> None:
    if exc is not None and not issubclass(kind, KeyboardInterrupt):
        logging.getLogger("process").critical("process.crashed", exc_info=(kind, exc, trace))

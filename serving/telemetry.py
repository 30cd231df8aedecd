"""What an operator sees: one record a request, JSON log lines, and all metrics, declared once.

The edge opens a `RequestRecord` for each request; rooms further in note on it what they learn (how
many rows, what went wrong), and the edge writes it down as one log line and as metrics.
No input value and no key is ever noted.
"""

import io
import json
import logging
import os
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, NoReturn, TextIO, cast

import orjson
import prometheus_client.values
import structlog
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import mark_process_dead

from serving.description import Label, label_key

FRAMEWORK_LOGGERS = ("bentoml", "circus", "uvicorn", "uvicorn.error", "py.warnings")
MAX_NAMED_SERIES = 100
OTHERS = "other"
_METRICS_FILE_BYTES = 65_536


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
        if self._stream is not None:  # as it is when stdout was closed before the start
            with suppress(OSError, ValueError):
                self._stream.write(text)

    def flush(self) -> None:
        if self._stream is not None:
            with suppress(OSError, ValueError):
                self._stream.flush()


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
    stdout = cast(TextIO, _LossyStream(sys.stdout))
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(serializer=_dumps)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=bool(sys.stdout and sys.stdout.isatty()))
    )
    structlog.configure(
        processors=[*shared, _in_order, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                *shared,
                structlog.stdlib.add_logger_name,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _lift_stack_trace,
                _in_order,
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
    _MetricsFile.tell_loss()


def _dumps(event: Mapping[str, Any], **_: object) -> str:
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


def _in_order(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put first what every line has, and leave out what this one does not know."""
    head = {name: event.pop(name) for name in ("timestamp", "level", "event")}
    return head | {name: value for name, value in event.items() if value is not None}


def _log_crash(
    kind: type[BaseException], exc: BaseException | None, trace: TracebackType | None
) -> None:
    if exc is not None and not issubclass(kind, KeyboardInterrupt):
        logging.getLogger("process").critical("process.crashed", exc_info=(kind, exc, trace))


log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


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


class _Grown:
    """A file of metrics that grows by zeros which are written, so that they have their place."""

    def __init__(self, file: Any) -> None:  # noqa: ANN401 (prometheus_client's own)
        self.fileno, self.close = file.fileno, file.close

    def truncate(self, size: int) -> None:
        append_whole(self.fileno(), bytes(size - os.fstat(self.fileno()).st_size))


class _MetricsFile(MmapedDict):
    """The values of this worker's metrics, in a file that all workers of the server read.

    prometheus_client makes it by ``truncate``, with holes. On a full disk the first write to a hole
    is SIGBUS, the end of the worker. Here what finds no place on the disk raises, and these values
    are kept in memory, where no other worker and no ``/metrics`` sees them: nothing else is harmed.
    """

    _reason: ClassVar[str | None] = None
    _told: ClassVar[bool] = False

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        self._unseen: dict[str, tuple[float, float]] = {}
        self._positions: dict[str, int] = {}
        try:
            if not os.path.exists(filename):
                _make_whole(filename)
            super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]
            self._f: Any = _Grown(self._f)
        except OSError as exc:
            self._f, self._used, self._capacity = None, 0, 0
            self._lose(exc)

    def read_value(self, key: str) -> tuple[float, float]:
        if key not in self._positions and key not in self._unseen:
            self._place(key)
        if key in self._unseen:
            return self._unseen[key]
        return super().read_value(key)  # type: ignore[no-any-return, no-untyped-call]

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        if key in self._unseen:
            self._unseen[key] = value, timestamp
        else:  # it was read before: each value is, when it is made
            super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]

    def _place(self, key: str) -> None:
        """Find a place for a value: in the file, or else in memory."""
        capacity = self._capacity
        if self._f is not None:
            try:
                return self._init_value(key)  # type: ignore[no-any-return, no-untyped-call]
            except OSError as exc:
                self._capacity = capacity  # which was doubled before the file was
                self._lose(exc)
        self._unseen[key] = 0.0, 0.0

    @classmethod
    def _lose(cls, exc: OSError) -> None:
        cls._reason = exc.strerror or str(exc)
        if structlog.is_configured():
            cls.tell_loss()

    @classmethod
    def tell_loss(cls) -> None:
        """Log once that metrics were lost; the first are while this module is imported."""
        if cls._reason is not None and not cls._told:
            cls._told = True
            log.error("metrics.lost", reason=cls._reason)


def _make_whole(filename: str) -> None:
    """Make a file of metrics under another name: workers that read it must not find it empty."""
    draft = f"{filename}.new"
    descriptor = os.open(draft, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        append_whole(descriptor, bytes(_METRICS_FILE_BYTES))
        os.rename(draft, filename)
    except OSError:
        with suppress(OSError):
            os.unlink(draft)
        raise
    finally:
        os.close(descriptor)


def make_metrics_folder() -> str:
    """Make the folder in which the worker processes of this server keep their metrics.

    Raises:
        SystemExit: with a line that says why that can't be done, and what to do.
    """
    try:
        return tempfile.mkdtemp(prefix="model-api-metrics-")
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise SystemExit(
            f"no folder for temporary files can be written to ({reason}): name one with TMPDIR"
        ) from None


prometheus_client.values.MmapedDict = _MetricsFile  # type: ignore[attr-defined]  # before the first metric

# BentoML's names and labels, so that dashboards made for it work; what its middlewares would count
# is counted at the edge, with the route's template for ``endpoint``.
SERVICE_LABELS = ("service_name", "service_version", "runner_name")
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_ROWS = tuple(2**power for power in range(13))

REQUESTS = Counter(
    "bentoml_service_request_total",
    "HTTP requests answered.",
    ("endpoint", *SERVICE_LABELS, "http_response_code"),
)
DURATION = Histogram(
    "bentoml_service_request_duration_seconds",
    "Time from a request's head to the end of its answer.",
    ("endpoint", *SERVICE_LABELS, "http_response_code"),
    buckets=_SECONDS,
)
IN_PROGRESS = Gauge(
    "bentoml_service_request_in_progress",
    "HTTP requests being answered.",
    ("endpoint", *SERVICE_LABELS),
    multiprocess_mode="livesum",
)
BATCH_SIZE = Histogram(
    "bentoml_service_adaptive_batch_size",
    "Rows that went through the model together.",
    ("method_name", *SERVICE_LABELS, "worker_index"),
    buckets=_ROWS,
)
ERRORS = Counter(
    "serving_errors_total", "Requests answered with a problem, by its type.", ("type",)
)
PREDICTIONS = Counter(
    "serving_predictions_total",
    f"Predictions, by predicted class; those beyond the first {MAX_NAMED_SERIES} as one.",
    ("class",),
)
UNUSUAL = Counter(
    "serving_unusual_values_total",
    f"Values unlike those seen in training; features beyond the first {MAX_NAMED_SERIES} as one.",
    ("feature",),
)
CACHE_LOOKUPS = Counter(
    "serving_cache_lookups_total",
    "Single predictions looked up in the cache: hit, miss, or collapsed into one under way.",
    ("result",),
)
LIMITED = Counter(
    "serving_limited_requests_total",
    "Requests refused for a used-up quota, by the name of the client's key.",
    ("api_key",),
)
QUOTA_STORAGE_UP = Gauge(
    "serving_quota_storage_up",
    "1 while requests are counted in the storage that is set, 0 while each worker counts alone.",
    multiprocess_mode="livemin",
)
PREDICTIONS_LOGGED = Counter(
    "serving_prediction_log_total",
    "Predictions for the prediction log: written, or lost for want of room or of a disk.",
    ("result",),
)
WAITING = Gauge("serving_waiting_rows", "Rows waiting for the model.", multiprocess_mode="livesum")
MODEL_INFO = Gauge(
    "serving_model_info",
    "1 for the model that is served.",
    ("name", "version", "task"),
    multiprocess_mode="livemax",
)


class ServiceMetrics:
    """The metrics of one service in one worker process, with its labels bound once."""

    def __init__(self, common: Mapping[str, str], worker_index: int) -> None:
        """Take the labels by which BentoML tells services apart: `SERVICE_LABELS`."""
        # A label lookup costs more than the count itself; routes and statuses are few.
        self.in_progress = cache(lambda route: IN_PROGRESS.labels(endpoint=route, **common))
        self._answered = cache(
            lambda route, status: (
                REQUESTS.labels(endpoint=route, http_response_code=status, **common),
                DURATION.labels(endpoint=route, http_response_code=status, **common),
            )
        )
        self._batch_size = BATCH_SIZE.labels(
            method_name="predict", worker_index=worker_index, **common
        )
        self._lookups = cache(CACHE_LOOKUPS.labels)
        self._by_class = _Named(PREDICTIONS)
        self._by_feature = _Named(UNUSUAL)

    def request_finished(self, record: RequestRecord, duration_s: float) -> None:
        """Count one answered request."""
        total, duration = self._answered(record.route, record.status)
        total.inc()
        duration.observe(duration_s)
        if record.problem is not None:
            ERRORS.labels(record.problem).inc()
        for feature, count in record.unusual.items():
            self._by_feature.count(feature, count)

    def batch_started(self, rows: int, waiting: int) -> None:
        """Count the rows that go into the model together, and those that still wait."""
        if rows:
            self._batch_size.observe(rows)
        WAITING.set(waiting)

    def looked_up(self, lookup: str) -> None:
        """Count a look into the cache."""
        self._lookups(lookup).inc()

    def predicted(self, labels: Mapping[Label, int]) -> None:
        """Count predictions by their label."""
        for label, count in labels.items():
            self._by_class.count(label_key(label), count)


class _Named:
    """A counter with one label whose values come from models: at most so many become series."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._series: dict[str, Counter] = {}

    def count(self, name: str, count: int) -> None:
        if name not in self._series and len(self._series) >= MAX_NAMED_SERIES:
            name = OTHERS
        if name not in self._series:
            self._series[name] = self._counter.labels(name)
        self._series[name].inc(count)


def forget_dead_workers(folder: Path) -> None:
    """Drop the gauges of worker processes that died without a word, so that sums stay right."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            with suppress(OSError):
                mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
        except PermissionError:
            pass  # it lives, as another user

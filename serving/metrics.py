"""All metrics, declared once, and the files in which the workers of a server keep them.

Counted by the rooms that see what happens; what belongs to a request is counted by the edge. A full
disk costs metrics, never a request.
"""

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import prometheus_client.values
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import mark_process_dead
from prometheus_client.values import MultiProcessValue

from serving.model.description import Label, label_key
from serving.settings import metrics_folder
from serving.telemetry import RequestRecord, append_whole, log, logging_is_configured

MAX_NAMED_SERIES = 100
OTHERS = "other"
_METRICS_FILE_BYTES = 65_536


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
        if logging_is_configured():
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


def tell_lost_metrics() -> None:
    """Log what was lost before logging was configured."""
    _MetricsFile.tell_loss()


# Before the first metric is made.
prometheus_client.values.MmapedDict = _MetricsFile  # type: ignore[attr-defined]
if metrics_folder() is not None:
    # Workers are started, not forked: asking for the process at each count takes half of its time.
    _THIS_PROCESS = os.getpid()
    prometheus_client.values.ValueClass = MultiProcessValue(lambda: _THIS_PROCESS)  # type: ignore[no-untyped-call]

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


def forget_this_worker(folder: Path) -> None:
    """Take away the files of a worker that has counted nothing, and ends."""
    for file in folder.glob(f"*_{os.getpid()}.db"):
        with suppress(OSError):
            file.unlink()

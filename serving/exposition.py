"""How metrics are told: those of all workers, summed, in Prometheus' text format.

The workers of a server keep their values in one folder, from which any of them answers for all.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import TypeAlias, TypeVar

import prometheus_client.values
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.values import MultiProcessValue

from serving.settings import metrics_folder

MEDIA_TYPE = CONTENT_TYPE_LATEST
CONSTANTS = CollectorRegistry()
READS = 3  # of files that may be gone when it comes to them
Series: TypeAlias = tuple[str, frozenset[tuple[str, str]]]
T = TypeVar("T")

if metrics_folder() is not None:  # before the first metric is made
    # Workers are started, not forked: asking for the process at each count takes half of its time.
    _THIS_PROCESS = os.getpid()
    prometheus_client.values.ValueClass = MultiProcessValue(lambda: _THIS_PROCESS)  # type: ignore[no-untyped-call]


class Constant(Collector):
    """A gauge whose series never change: each worker tells them alike, through no file."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        """Begin without series."""
        self._name, self._documentation, self._labels = name, documentation, tuple(labels)
        self._values: dict[tuple[str, ...], float] = {}
        CONSTANTS.register(self)

    def tell(self, value: float, **labels: str) -> None:
        """Tell a number from now on."""
        self._values[tuple(labels[name] for name in self._labels)] = value
        _constants.cache_clear()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give the series, if there are any."""
        family = GaugeMetricFamily(self._name, self._documentation, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        if self._values:
            yield family


@cache
def _constants() -> bytes:
    """Write them all out, once: of a model of many features they are half of what is told."""
    return generate_latest(CONSTANTS)


def exposition() -> bytes:
    """Give the metrics of all workers, in Prometheus' text format.

    Of a dead worker the counts stay, and the gauges go: here, since one that was killed, or that
    drained while its successor started, can't see to that itself.
    """
    folder = metrics_folder()
    if folder is None:
        return generate_latest(REGISTRY) + _constants()
    forget_dead_workers(folder)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return _read(folder, partial(generate_latest, registry)) + _constants()


def observe_all(series: Histogram, counts: Iterable[int], total: float) -> None:
    """Observe what was counted elsewhere, by bucket, the one of infinity too, and summed."""
    for bucket, count in zip(series._buckets, counts, strict=True):
        if count:
            bucket.inc(count)
    series._sum.inc(total)


def totals(counters: Iterable[Counter]) -> dict[Series, float]:
    """Sum counters over all workers, by their series."""
    folder = metrics_folder()
    names = {_name(counter) for counter in counters}
    families = (
        [family for counter in counters for family in counter.collect()]
        if folder is None
        else _read(folder, partial(_merged, folder, "counter"))
    )
    return {
        (family.name, frozenset(sample.labels.items())): sample.value
        for family in families
        if family.name in names
        for sample in family.samples
        if sample.name.endswith("_total")
    }


def samples(folder: Path, metrics: Iterable[Counter | Histogram]) -> Iterator[Sample]:
    """Give what the workers of a server have counted, summed, whichever server it is.

    Raises:
        OSError: its folder can't be read.
    """
    names = {_name(metric) for metric in metrics}
    for family in _read(folder, partial(_merged, folder, "counter", "histogram")):
        if family.name in names:
            yield from family.samples


def _merged(folder: Path, *kinds: str) -> Iterable[Metric]:
    files = [str(file) for kind in kinds for file in folder.glob(f"{kind}_*.db")]
    merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
    return merged


def _read(folder: Path, read: Callable[[], T]) -> T:
    """Read the workers' files; again, if one that counted nothing has taken its own away."""
    with locked(folder):
        for _ in range(READS - 1):
            with suppress(FileNotFoundError):
                return read()
        return read()


@contextmanager
def locked(folder: Path, *, alone: bool = False) -> Iterator[None]:
    """Let nobody move what is counted from file to file meanwhile, or ``alone`` do so."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def series_key(counter: Counter, labels: Mapping[str, str]) -> Series:
    """Give what `totals` calls a series of a counter."""
    return _name(counter), frozenset(labels.items())


def _name(metric: Counter | Histogram) -> str:
    return next(iter(metric.describe())).name


def forget_dead_workers(folder: Path) -> None:
    """Drop the gauges of worker processes that are no more, so that sums and bounds stay right."""
    for file in filter(is_dead, folder.glob("gauge_live*_*.db")):
        with suppress(OSError):
            mark_process_dead(_process_of(file), str(folder))  # type: ignore[no-untyped-call]


def is_dead(file: Path) -> bool:
    """Tell whether the process is no more that wrote a file."""
    return not lives(_process_of(file))


def lives(pid: int) -> bool:
    """Tell whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, as another user
    return True


def _process_of(file: Path) -> int:
    return int(file.stem.rpartition("_")[2])


def forget_this_worker(folder: Path) -> None:
    """Take away the files of a worker that has counted nothing, and ends."""
    for file in folder.glob(f"*_{os.getpid()}.db"):
        with suppress(OSError):
            file.unlink()

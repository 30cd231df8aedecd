"""What was measured, and what it has to come to: mostly ratios, and their bounds.

Servers of the same round drift together with their machine. So a ratio is taken in each round, and
the median of these counts.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from statistics import median

from benchmarks.load import Load, Sample
from benchmarks.models import FOREST, LOGISTIC
from benchmarks.peers import PEERS, SERVERS

ONE, SOME, MANY = (Load(amount) for amount in (1, 16, 64))
BATCH_ROWS = 1000
# What is measured beside the loads.
BEFORE, AFTER = f"{ONE} before a burst", f"{ONE} after a burst"
BATCH, IN_PROCESS = f"{BATCH_ROWS} rows", f"{BATCH_ROWS} rows in process"
P95_MS = 200  # at a fixed rate


@dataclass(frozen=True)
class Point:
    """A value of a measurement: of a server, under a load or so, one of a sample's fields.

    It is of the model that is judged, unless another one is named.
    """

    server: str
    load: Load | str
    key: str
    model: str | None = None


@dataclass
class Results:
    """The samples of all rounds, by model, server, and load or other measurement."""

    samples: dict[tuple[str, str, str], list[Sample]] = field(default_factory=dict)

    def add(self, model: str, server: str, load: Load | str, sample: Sample) -> None:
        """Take a sample of one more round."""
        self.samples.setdefault((model, server, str(load)), []).append(sample)

    def values(self, model: str, point: Point) -> list[float]:
        """Give a value for each round; none, if it was not measured."""
        samples = self.samples.get((point.model or model, point.server, str(point.load)), [])
        return [getattr(sample, point.key) for sample in samples]

    def failures(self, model: str, server: str | None = None) -> int:
        """Count the requests that failed, in all rounds, of one server or of all."""
        some = [
            s for key, s in self.samples.items() if key[0] == model and server in (None, key[1])
        ]
        return sum(sample.failures for samples in some for sample in samples)


@dataclass(frozen=True)
class Target:
    """A bound for a value, or for its ratio to another: in each round to the lowest of several.

    ``guard`` is the bound for a short run, which is noisier; nothing, if it is not held to any.
    """

    text: str
    value: Point
    bases: tuple[Point, ...]
    bound: float
    guard: float | None = None
    at_least: bool = False

    def measured(self, results: Results, model: str) -> float | None:
        """Give what was measured; nothing, if a server or a load was left out."""
        values = results.values(model, self.value)
        bases = [some for base in self.bases if (some := results.values(model, base))]
        if not values or (self.bases and not bases):
            return None
        if not bases:
            return median(values)
        rounds = zip(values, map(min, zip(*bases, strict=True)), strict=True)
        return median(value / base if base else float("nan") for value, base in rounds)

    def holds(self, value: float, bound: float) -> bool:
        """Tell whether a value is within a bound; NaN never is."""
        return value >= bound if self.at_least else value <= bound

    def told(self, bound: float) -> str:
        """Write a bound."""
        return f"at {'least' if self.at_least else 'most'} {bound:g}"


def faster(load: Load, peer: str, bound: float, guard: float | None = None) -> Target:
    """Demand a multiple of a peer's requests a second."""
    text = f"{load}: requests/s, to those of {SERVERS[peer].title}"
    value, base = Point("ours", load, "rps"), Point(peer, load, "rps")
    return Target(text, value, (base,), bound, guard, at_least=True)


def faster_as(variant: str, peer: str, bound: float) -> Target:
    """Demand a multiple of a peer's requests a second in the peer's own protocol."""
    value, base = Point(variant, SOME, "rps"), Point(peer, SOME, "rps")
    text = f"{SOME}: requests/s of {SERVERS[variant].title}, to those of {SERVERS[peer].title}"
    return Target(text, value, (base,), bound, at_least=True)


def quicker(peer: str, bound: float, guard: float | None = None) -> Target:
    """Demand a lone client's latency, to a peer's."""
    text = f"{ONE}: median latency, to that of {SERVERS[peer].title}"
    return Target(text, Point("ours", ONE, "p50"), (Point(peer, ONE, "p50"),), bound, guard)


def as_quick_as(other: str, bound: float, guard: float | None = None) -> Target:
    """Demand a lone client's latency, to that with another model."""
    text = f"{ONE}: median latency, to that of {other}"
    value = Point("ours", ONE, "p50")
    return Target(text, value, (replace(value, model=other),), bound, guard)


def targets(model: str, loads: Iterable[Load]) -> Iterator[Target]:
    """Give what a model has to come to, at the fixed rates among the loads too."""
    if model == LOGISTIC:
        yield faster(SOME, "fastapi", 4, guard=2)
        yield faster(MANY, "fastapi", 4)
        yield quicker("fastapi", 1, guard=1.5)
    elif model == FOREST:
        yield faster(SOME, "litserve", 8)
        yield faster(MANY, "litserve", 8)
        yield faster(SOME, "fastapi", 20, guard=5)
        yield faster(MANY, "fastapi", 20)
        yield quicker("fastapi", 0.1, guard=0.5)
    else:
        yield faster(SOME, "litserve", 10)
        yield faster(SOME, "fastapi", 10, guard=4)
        yield as_quick_as(LOGISTIC, 1.2, guard=2)
    tail, middle = Point("ours", SOME, "p99"), Point("ours", SOME, "p50")
    yield Target(f"{SOME}: p99, to its own median", tail, (middle,), 3)
    tails = tuple(Point(peer.name, SOME, "p99") for peer in PEERS)
    yield Target(f"{SOME}: p99, to the best peer's", tail, tails, 1)
    after, before = Point("ours", AFTER, "p50"), Point("ours", BEFORE, "p50")
    yield Target(f"{AFTER}: median, to before", after, (before,), 1.2, guard=2)
    batch, in_process = Point("ours", BATCH, "p50"), Point("ours", IN_PROCESS, "p50")
    yield Target(f"{BATCH}: time, to that in process", batch, (in_process,), 1.5, guard=3)
    yield faster(SOME, "plain", 0.65, guard=0.4)
    yield faster(SOME, "unwatched", 0.97)
    yield faster_as("ours-v2", "mlserver", 5)
    yield faster_as("ours-invocations", "mlflow", 5)
    for load in loads:
        if load.open:
            yield Target(f"{load}: p95 in ms", Point("ours", load, "p95"), (), P95_MS)

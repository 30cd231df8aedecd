"""What a server has counted for comparison with training, as Prometheus reads it."""

import math
from collections import defaultdict
from typing import TypeAlias

from tests.server import Server, eventually

COUNTERS = {
    "serving_feature_values_total": "feature",
    "serving_prediction_values_total": "target",
    "serving_confidence_total": "target",
}
REFERENCES = {
    "serving_feature_values_total": "serving_feature_reference",
    "serving_prediction_values_total": "serving_prediction_reference",
    "serving_confidence_total": "serving_confidence_reference",
}
Thing: TypeAlias = tuple[str, str]  # a counter, and the feature or target
Counts: TypeAlias = dict[Thing, dict[str, int]]


def tallied(server: Server, **labels: str) -> Counts:
    """Give the rows by bin of all that is watched; of several models, labels choose one."""
    found: Counts = defaultdict(dict)
    for sample in server.metrics():
        if sample.name in COUNTERS and labels.items() <= sample.labels.items():
            thing = sample.name, sample.labels[COUNTERS[sample.name]]
            assert sample.labels["bin"] not in found[thing]
            found[thing][sample.labels["bin"]] = round(sample.value)
    return found


def sums(counts: Counts) -> dict[Thing, int]:
    """Give the rows of each thing."""
    return {thing: sum(bins.values()) for thing, bins in counts.items()}


def grown(counts: Counts, before: Counts) -> Counts:
    """Give what came after."""
    return {
        thing: {name: count - before[thing][name] for name, count in bins.items()}
        for thing, bins in counts.items()
    }


def counts_of(server: Server, rows: int, before: Counts, **labels: str) -> Counts:
    """Wait until so many rows are counted that were not before, of each thing; give them."""

    def all_counted() -> Counts | None:
        more = grown(tallied(server, **labels), before)
        assert max(sums(more).values()) <= rows
        return more if set(sums(more).values()) == {rows} else None

    found = eventually(f"{rows} rows counted", all_counted)
    assert found is not None
    return found


def psi_by_query(server: Server, thing: Thing, counts: dict[str, int]) -> float:
    """Compare counts with the reference that is told beside them, as a query does."""
    counter, name = thing
    reference, label = REFERENCES[counter], {COUNTERS[counter]: name}
    rows = server.metric(f"{reference}_rows", **label)
    ratios = {
        sample.labels["bin"]: sample.value
        for sample in server.metrics()
        if sample.name == f"{reference}_ratio" and label.items() <= sample.labels.items()
    }
    assert ratios.keys() == counts.keys()
    bins, total = len(counts), sum(counts.values())
    index = 0.0
    for each, count in counts.items():
        now = (count + 0.5) / (total + 0.5 * bins)
        then = (ratios[each] * rows + 0.5) / (rows + 0.5 * bins)
        index += (now - then) * math.log(now / then)
    return index

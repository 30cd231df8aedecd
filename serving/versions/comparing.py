"""What shadows have said so far, beside what was answered: of all servers, for people or programs.

It is read from what their workers count, which is there as long as a server runs and the version is
served, and for a while after that (`serving.gathering`).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from serving import metrics
from serving.exposition import samples
from serving.model.stored import ModelError
from serving.versions.listing import aligned

QUANTILES = (0.5, 0.9, 0.99, 1.0)
_COUNTED = (
    metrics.SHADOW_ROWS,
    metrics.SHADOW_LABELS,
    metrics.SHADOW_DIFFERENCE,
    metrics.SHADOW_DURATION,
    metrics.DURATION,
)


@dataclass(slots=True)
class _Pair:
    """What was counted of a version that answers and its shadow."""

    rows: Counter[str] = field(default_factory=Counter)
    labels: Counter[tuple[str, str]] = field(default_factory=Counter)
    differences: Counter[float] = field(default_factory=Counter)  # that are no larger
    seconds: float = 0.0
    timed_rows: float = 0.0


@dataclass(slots=True)
class _Requests:
    """What was counted of requests for a version."""

    seconds: float = 0.0
    count: float = 0.0


class Comparison:
    """What was counted of a model in folders of metrics."""

    def __init__(self, name: str, folders: Iterable[Path]) -> None:
        """Read them.

        Raises:
            ModelError: one can't be read.
        """
        self._pairs: defaultdict[tuple[str, str], _Pair] = defaultdict(_Pair)
        self._requests: defaultdict[str, _Requests] = defaultdict(_Requests)
        for folder in folders:
            try:
                for sample in samples(folder, _COUNTED):
                    if sample.labels.get("model_name") == name:
                        self._take(sample.name, sample.labels, sample.value)
            except FileNotFoundError:
                pass  # the server has just ended
            except OSError as exc:
                raise ModelError(f"{folder} can't be read: {exc.strerror or exc}") from exc

    def _take(self, name: str, labels: Mapping[str, str], value: float) -> None:
        version = labels["version"]
        if "shadow" not in labels:
            requests = self._requests[version]
            match name.removeprefix("bentoml_service_request_duration_seconds"):
                case "_sum":
                    requests.seconds += value
                case "_count":
                    requests.count += value
            return
        pair = self._pairs[version, labels["shadow"]]
        match name.removeprefix("serving_shadow_"):
            case "rows_total":
                pair.rows[labels["result"]] += int(value)
            case "labels_total":
                pair.labels[labels["served"], labels["shadowed"]] += int(value)
            case "difference_bucket":
                pair.differences[float(labels["le"])] += int(value)
            case "duration_seconds_sum":
                pair.seconds += value
            case "duration_seconds_count":
                pair.timed_rows += value

    def documents(self) -> list[dict[str, Any]]:
        """Give it for JSON, for each version that answered and its shadow."""
        return [
            {
                "version": version,
                "shadow": shadow,
                "rows": {result: pair.rows[result] for result in metrics.SHADOW_RESULTS},
                "different_ratio": _ratio(
                    pair.rows["different"], pair.rows["same"] + pair.rows["different"]
                ),
                "labels": [
                    {"served": served, "shadowed": shadowed, "rows": count}
                    for (served, shadowed), count in pair.labels.most_common()
                ],
                "differences": dict(_quantiles(pair.differences)),
                "request_seconds": _ratio(
                    self._requests[version].seconds, self._requests[version].count
                ),
                "shadow_row_seconds": _ratio(pair.seconds, pair.timed_rows),
            }
            for (version, shadow), pair in sorted(self._pairs.items())
        ]


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _quantiles(differences: Mapping[float, int]) -> Iterator[tuple[str, float | None]]:
    """Give what so many of the differences do not exceed: the bounds of buckets, or none."""
    total = differences.get(inf, 0)
    for quantile in QUANTILES if total else ():
        bound = min(le for le, count in differences.items() if count >= quantile * total)
        yield f"{quantile:g}", bound if bound < inf else None


def lines(name: str, documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give it for people."""
    if not documents:
        return [f"nothing was counted of a shadow of {name} in servers that run on this machine"]
    return [line for document in documents for line in _lines(name, document)]


def _lines(name: str, document: Mapping[str, Any]) -> Iterator[str]:
    rows = document["rows"]
    yield f"{name}:{document['version']} answers, {document['shadow']} is its shadow"
    share = document["different_ratio"]
    told = f" ({share:.2%} of those compared)" if share is not None else ""
    yield (
        f"  rows: {rows['same']} same, {rows['different']} different{told}, "
        f"{rows['failed']} failed, {rows['dropped']} dropped"
    )
    if document["labels"]:
        counts = ["ROWS", *[str(each["rows"]) for each in document["labels"]]]
        labels = [(each["served"], each["shadowed"]) for each in document["labels"]]
        width = max(map(len, counts))
        pairs = zip([("ANSWERED", "SHADOW"), *labels], counts, strict=True)
        for line in aligned([(*pair, count.rjust(width)) for pair, count in pairs]):
            yield f"  {line}"
    if document["differences"]:
        told = ", ".join(
            f"{float(quantile):.0%} {'above 1' if bound is None else f'at most {bound:g}'}"
            for quantile, bound in document["differences"].items()
        )
        yield f"  differences of numbers: {told}"
    request_s, row_s = document["request_seconds"], document["shadow_row_seconds"]
    if row_s is not None:
        told = f"a request took {request_s * 1000:.3f} ms, " if request_s is not None else ""
        yield f"  on average {told}a row of the shadow {row_s * 1000:.3f} ms"

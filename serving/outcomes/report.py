"""What is printed: by version, training's scores beside those of all rows and of each day."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from serving.outcomes.joining import Join
from serving.outcomes.reading import PREDICTIONS
from serving.outcomes.versions import Row, Version


def document(join: Join, rows: Sequence[Row]) -> dict[str, Any]:
    """Give all of it for JSON: what was joined, and its rows."""
    counts = {what: count for what, count in join.counts.items() if count or what == PREDICTIONS}
    versions = [
        {"model": name.model_dump(), **_scored(version, [r for r in rows if r.version is version])}
        for name, version in join.versions.items()
        if isinstance(version, Version)
    ]
    return {"counts": counts, "versions": versions}


def _scored(version: Version, rows: Sequence[Row]) -> dict[str, Any]:
    metrics, of_day = version.description.metrics, attrgetter("day")
    days = {day: list(own) for day, own in groupby(sorted(rows, key=of_day), key=of_day)}
    return {
        "training": {"split": metrics.split, "scores": dict(metrics.values)},
        "rows": len(rows),
        "scores": version.scores(rows),
        "days": [
            {"date": day.isoformat(), "rows": len(own), "scores": version.scores(own)}
            for day, own in days.items()
        ],
    }


def notes(report: Mapping[str, Any]) -> list[str]:
    """Say what was read, and what became of it."""
    return [f"{count} {what}" for what, count in report["counts"].items()]


def text(report: Mapping[str, Any]) -> str:
    """Give it as tables for a terminal."""
    lines = notes(report)
    for version in report["versions"]:
        tag, split = ":".join(version["model"].values()), version["training"]["split"]
        lines += ["", tag, f"  training: {split}", *(f"  {line}" for line in _table(version))]
    return "\n".join(lines)


def _table(version: Mapping[str, Any]) -> Iterator[str]:
    """Give the lines of a table, the first column to the left and the others to the right."""
    training = version["training"]["scores"]
    scored = [("all days", version), *((day["date"], day) for day in version["days"])]
    names = list(dict.fromkeys([*training, *version["scores"]]))
    rows = [["", "rows", *names], ["training", "", *_told(training, names)]]
    rows += [[label, str(of["rows"]), *_told(of["scores"], names)] for label, of in scored]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for label, *cells in rows:
        padded = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        yield "  ".join((label.ljust(widths[0]), *padded))


def _told(scores: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [f"{scores[name]:.3f}" if name in scores else "-" for name in names]

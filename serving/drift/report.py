"""What is told of a comparison with training, as JSON."""

from collections.abc import Sequence
from typing import Any

from serving.drift.comparison import MIN_ROWS, SHARES, Comparison
from serving.drift.watch import Kind
from serving.drift.words import verdict, words
from serving.model.domains import Schema, closed

SECTIONS = {"features": Kind.FEATURE, "predictions": Kind.PREDICTION, "confidence": Kind.CONFIDENCE}


def document(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Tell of comparisons by their kinds, what differs most first."""
    ordered = sorted(comparisons, key=_order, reverse=True)
    by_section = {
        section: [each for each in ordered if each.watched.kind is kind]
        for section, kind in SECTIONS.items()
    }
    rows = max((each.rows for each in comparisons), default=0)
    return {
        "rows": rows,
        "rows_needed": MIN_ROWS,
        "drifts": any(each.drifts for each in comparisons),
        "told": verdict(rows, by_section),
        **{section: [_told(each) for each in of_it] for section, of_it in by_section.items()},
    }


def _order(each: Comparison) -> tuple[bool, float]:
    return each.drifts, each.psi / each.critical if each.psi and each.critical else 0.0


def _told(each: Comparison) -> dict[str, Any]:
    seen = each.watched.seen
    return {
        "name": each.watched.name,
        "rows": each.rows,
        "training_rows": int(seen.sum()),
        "psi": each.psi,
        "critical_psi": each.critical,
        "drifts": each.drifts,
        "told": "; ".join(words(each)),
        "shares": {
            what: {"now": share.now, "training": share.training, "differs": share.differs}
            for what, share in each.shares.items()
        },
        "bins": [
            {
                "bin": name,
                "told": told,
                "rows": int(now),
                "ratio": int(now) / each.rows if each.rows else None,
                "training_ratio": int(then) / int(seen.sum()),
            }
            for name, told, now, then in zip(
                each.watched.bins.names, each.watched.bins.words, each.counts, seen, strict=True
            )
        ],
    }


def schemas() -> dict[str, Schema]:
    """Describe such a document, with what says of which model and time it is: ``DriftReport``."""
    share: Schema = {"type": "number", "minimum": 0, "maximum": 1}
    maybe: Schema = {"type": ["number", "null"]}
    count: Schema = {"type": "integer", "minimum": 0}
    text: Schema = {"type": "string"}
    yes: Schema = {"type": "boolean"}
    moment: Schema = {"type": "string", "format": "date-time"}
    compared: Schema = {"type": "array", "items": {"$ref": "#/components/schemas/DriftOf"}}
    return {
        "DriftReport": closed(
            {
                "model": closed({"name": text, "version": text}),
                "window": {**text, "description": "how much was asked for"},
                "since": {
                    **moment,
                    "description": "when the rows began: up to a minute before the window, or "
                    "later if the server is younger",
                },
                "until": moment,
                "rows": count,
                "rows_needed": {**count, "description": "with fewer, no drift is told"},
                "drifts": yes,
                "told": text,
                "features_left_out": {
                    **count,
                    "description": "features that are not watched, as there are too many",
                },
                **dict.fromkeys(SECTIONS, compared),
            }
        ),
        "DriftShare": closed({"now": share, "training": share, "differs": yes}),
        "DriftBin": closed(
            {
                "bin": {**text, "description": "its name in the metrics"},
                "told": text,
                "rows": count,
                "ratio": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
                "training_ratio": share,
            }
        ),
        "DriftOf": closed(
            {
                "name": {
                    **text,
                    "description": "of the feature, or of the target; empty where the model has "
                    "no targets",
                },
                "rows": count,
                "training_rows": count,
                "psi": {
                    **maybe,
                    "description": "population stability index against training; null without rows",
                },
                "critical_psi": {
                    **maybe,
                    "description": "what the index of so many rows exceeds by chance in one of a "
                    "thousand windows, over all features",
                },
                "drifts": yes,
                "told": text,
                "shares": closed(
                    {name: {"$ref": "#/components/schemas/DriftShare"} for name in SHARES},
                    tuple(SHARES),
                ),
                "bins": {"type": "array", "items": {"$ref": "#/components/schemas/DriftBin"}},
            }
        ),
    }

"""What is told of a comparison with training: as JSON, and in words."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from serving.model.bins import ABOVE, BELOW
from serving.model.domains import Schema, closed
from serving.model.drifting import MIN_ROWS, Comparison, psi_terms
from serving.model.outputs import Array
from serving.model.watch import Kind

NAMED_SHARES = {
    "all": 1.0,
    "three quarters": 3 / 4,
    "two thirds": 2 / 3,
    "half": 1 / 2,
    "a third": 1 / 3,
    "a quarter": 1 / 4,
    "a fifth": 1 / 5,
    "a tenth": 1 / 10,
}
NEAR = 0.005
SECTIONS = {"features": Kind.FEATURE, "predictions": Kind.PREDICTION, "confidence": Kind.CONFIDENCE}


def document(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Tell of comparisons by their kinds, what differs most first."""
    ordered = sorted(comparisons, key=_order, reverse=True)
    return {
        "drifts": any(each.drifts for each in comparisons),
        **{
            section: [_told(each) for each in ordered if each.watched.kind is kind]
            for section, kind in SECTIONS.items()
        },
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


def words(each: Comparison) -> Iterator[str]:
    """Tell in plain words what has changed, or that it can't be told, or that nothing has."""
    if each.rows < MIN_ROWS:
        yield f"{each.rows} rows are too few to tell: it takes {MIN_ROWS}"
    elif not each.drifts:
        yield "as in training"
    ratios = dict(zip(each.watched.bins.names, each.counts / max(each.rows, 1), strict=True))
    for what, share in each.shares.items():
        if not share.differs:
            continue
        match what:
            case "missing":
                now, then = ratio(share.now), ratio(share.training)
                yield f"missing in {now} of the rows, in training in {then}"
            case "unseen":
                yield f"{ratio(share.now)} of the rows have a value that training never saw"
            case _:
                side = "above" if ratios[ABOVE] >= ratios[BELOW] else "below"
                yield f"{ratio(ratios[side])} of the rows lie {side} all that training saw"
    if each.moved:
        yield _moved(each)


def _moved(each: Comparison) -> str:
    """Tell of the bin that has changed most."""
    at = int(np.argmax(psi_terms(each.counts, each.watched.seen)))
    seen: Array = each.watched.seen
    now, then = each.counts[at] / each.rows, seen[at] / seen.sum()
    return f"{each.watched.bins.words[at]}: {ratio(now)} of the rows, in training {ratio(then)}"


def ratio(share: float) -> str:
    """Tell a share: by its name if it has one, else in percent."""
    for name, exact in NAMED_SHARES.items():
        if abs(share - exact) <= NEAR:
            return name
    if share == 0:
        return "none"
    return f"{share:.0%}".replace("%", " %") if share >= 0.1 else f"{share * 100:.2g} %"


def schemas() -> dict[str, Schema]:
    """Describe such a document's parts, as ``Comparison`` and what it has."""
    share: Schema = {"type": "number", "minimum": 0, "maximum": 1}
    maybe: Schema = {"type": ["number", "null"]}
    count: Schema = {"type": "integer", "minimum": 0}
    text: Schema = {"type": "string"}
    yes: Schema = {"type": "boolean"}
    return {
        "DriftShare": closed({"now": share, "training": share, "differs": yes}),
        "DriftBin": closed(
            {
                "bin": text,
                "told": text,
                "rows": count,
                "ratio": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
                "training_ratio": share,
            }
        ),
        "Comparison": closed(
            {
                "name": text,
                "rows": count,
                "training_rows": count,
                "psi": {
                    **maybe,
                    "description": "population stability index against training",
                },
                "critical_psi": {
                    **maybe,
                    "description": "what the index of so many rows exceeds by chance in one of a "
                    "thousand windows, over all features",
                },
                "drifts": yes,
                "told": text,
                "shares": {
                    "type": "object",
                    "additionalProperties": {"$ref": "#/components/schemas/DriftShare"},
                },
                "bins": {"type": "array", "items": {"$ref": "#/components/schemas/DriftBin"}},
            }
        ),
    }

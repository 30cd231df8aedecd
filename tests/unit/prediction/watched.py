"""A model that is watched: of mail, by its length and its colour, with what training saw."""

from collections.abc import Sequence
from typing import Any

from serving.drift.bins import digest
from serving.drift.watch import Kind, Watch
from serving.model.about import About
from serving.model.description import Reference, References
from serving.model.features import Feature, Row
from serving.model.outputs import Prediction
from serving.telemetry import Predicted
from tests.unit.fakes import sample
from tests.unit.samples import PROBABILITIES, category, description, number

RARE = "colour of few"  # known to training, and told to nobody
FEATURES: tuple[Feature, ...] = (
    number("length", (0.0, 10.0), nullable=True),
    category("colour"),
)
REFERENCES = References(
    features={
        "length": Reference(
            edges=(2.0, 5.0),
            rows={"below": 0, "0": 30, "1": 30, "2": 30, "above": 0, "missing": 10},
        ),
        "colour": Reference(
            others=(digest(RARE),), rows={"red": 60, "blue": 38, "rare": 2, "unseen": 0}
        ),
    },
    predictions={"kind": Reference(rows={"ham": 15, "spam": 10})},
    confidence={"kind": Reference(edges=(0.75,), rows={"0": 10, "1": 15})},
    importance=("colour", "length"),
)
HAM, SPAM = Prediction("ham", [0.75, 0.25]), Prediction("spam", [0.125, 0.875])
NAMES = {
    Kind.FEATURE: ("serving_feature_values_total", "feature"),
    Kind.PREDICTION: ("serving_prediction_values_total", "target"),
    Kind.CONFIDENCE: ("serving_confidence_total", "target"),
}


def about(
    name: str,
    references: References | None = REFERENCES,
    **changes: Any,  # noqa: ANN401 (any field)
) -> About:
    """Give the model; no other test's metrics have a test's name."""
    described = description(name=name, features=FEATURES, asked=PROBABILITIES, reference=references)
    described = described.model_copy(update=changes)
    return About(described, "v1")


def watch(about: About, features: int = 30) -> Watch:
    """Watch it."""
    references = about.description.reference
    assert references is not None
    return Watch(about.description, references, features)


def predicted(about: About, rows: Sequence[Row], prediction: Prediction = HAM) -> Predicted:
    """Tell that rows were answered, all alike."""
    return Predicted("id-1", about, rows, [prediction] * len(rows))


def counted(about: About) -> dict[str, dict[str, float]]:
    """Give what was counted of all that is watched, by its name, in the bins that were hit."""
    found: dict[str, dict[str, float]] = {}
    for each in watch(about).all:
        name, label = NAMES[each.kind]
        owner = {"model_name": about.name, "version": about.version, label: each.name}
        counts = {bin_name: sample(name, **owner, bin=bin_name) for bin_name in each.bins.names}
        key = each.name if each.kind is Kind.FEATURE else each.kind
        found[key] = {bin_name: count for bin_name, count in counts.items() if count}
    return found

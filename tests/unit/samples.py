"""Descriptions of models that the tests share."""

from datetime import UTC, datetime

import sklearn

from serving.description import Description, Feature, Interval, Label, Metrics, Training


def feature(name: str, limit: float = 1e12) -> Feature:
    """Give a feature that accepts numbers up to ``limit`` on both sides of zero."""
    return Feature(
        name=name,
        type="number",
        nullable=False,
        trained=Interval(minimum=0.0, maximum=9.0),
        domain=Interval(minimum=-limit, maximum=limit),
        example=4.5,
    )


def description(
    classes: tuple[Label, ...] = ("ham", "spam"),
    features: tuple[Feature, ...] = (feature("length"), feature("a/b ~c")),
    versions: dict[str, str] | None = None,
) -> Description:
    """Give the description of a small classifier."""
    return Description(
        name="mail",
        task="classification",
        created=datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC),
        features=features,
        classes=classes,
        metrics=Metrics(split="held out: 3 of 12 rows", values={"accuracy": 0.75}),
        training=Training(rows=12, fingerprint="sha256:0123"),
        versions={"scikit-learn": sklearn.__version__} if versions is None else versions,
        batch_invariant=False,
        artifact_sha256="",
    )

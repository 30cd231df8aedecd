"""Descriptions of models that the tests share: features of each type, models of each task."""

from datetime import UTC, datetime
from typing import Any

import sklearn

from serving.model.description import Asked, Description, Explained, Label, Metrics, Training
from serving.model.domains import Choices, Frequencies, Interval, Lengths
from serving.model.features import Boolean, Category, Feature, Number, Text

CREATED = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
LIMIT = 1e12


def number(
    name: str,
    trained: tuple[float, float] = (0.0, 9.0),
    domain: tuple[float, float] = (-LIMIT, LIMIT),
    *,
    nullable: bool = False,
) -> Number:
    """Give a feature that takes numbers."""
    return Number(
        type="number",
        trained=Interval(minimum=trained[0], maximum=trained[1]),
        domain=Interval(minimum=domain[0], maximum=domain[1]),
        quantiles={"0.5": trained[0]},
        example=trained[0] / 2 + trained[1] / 2,
        **_common(name, nullable=nullable),
    )


def integer(
    name: str,
    trained: tuple[float, float] = (0, 9),
    domain: tuple[float, float] = (-(10**6), 10**6),
    *,
    nullable: bool = False,
) -> Number:
    """Give a feature that takes whole numbers."""
    return Number(
        type="integer",
        trained=Interval(minimum=trained[0], maximum=trained[1]),
        domain=Interval(minimum=domain[0], maximum=domain[1]),
        quantiles={"0.5": trained[0]},
        example=int(trained[1]),
        **_common(name, nullable=nullable),
    )


def boolean(name: str, *, nullable: bool = False) -> Boolean:
    """Give a feature that takes booleans."""
    counts = {"false": 8, "true": 4}
    return Boolean(
        type="boolean",
        trained=Frequencies(categories=counts, rare_categories=0, rare_rows=0),
        example=False,
        **_common(name, nullable=nullable),
    )


def category(
    name: str,
    named: tuple[str, ...] = ("red", "blue"),
    domain: Lengths | None = None,
    known: tuple[str, ...] | None = None,
    *,
    nullable: bool = False,
) -> Category:
    """Give a feature that takes strings out of few: those known, or any of up to 20 characters."""
    rare = 1 if known is None else len(set(known) - set(named))
    return Category(
        type="category",
        trained=Frequencies(
            categories=dict.fromkeys(named, 5), rare_categories=rare, rare_rows=2 * rare
        ),
        domain=domain
        or (
            Lengths(min_length=0, max_length=20)
            if known is None
            else Choices(values=named, rare=rare)
        ),
        known=known,
        example=named[0] if named else "blue",
        **_common(name, nullable=nullable),
    )


def closed_category(
    name: str,
    values: tuple[str, ...] = ("red", "blue", "rare"),
    named: tuple[str, ...] = ("red", "blue"),
    *,
    nullable: bool = False,
) -> Category:
    """Give a feature that takes these strings alone."""
    return category(name, named, known=values, nullable=nullable)


def unknown(feature: Feature) -> Feature:
    """Give a feature of which it is not known what training saw."""
    return feature.model_copy(update={"trained": None, "missing": None})


def text(
    name: str,
    trained: tuple[int, int] = (2, 10),
    domain: tuple[int, int] = (0, 30),
    *,
    nullable: bool = False,
) -> Text:
    """Give a feature that takes texts."""
    return Text(
        type="text",
        trained=Lengths(min_length=trained[0], max_length=trained[1]),
        domain=Lengths(min_length=domain[0], max_length=domain[1]),
        example="x" * trained[0],
        **_common(name, nullable=nullable),
    )


def _common(name: str, *, nullable: bool) -> dict[str, Any]:
    return {"name": name, "nullable": nullable, "missing": int(nullable)}


MIXED: tuple[Feature, ...] = (
    number("length"),
    integer("count", nullable=True),
    boolean("is a/b ~c"),
    category("colour"),
    closed_category("shape", ("red", "blue"), nullable=True),
    text("ünï"),
)


def asked(**changes: Any) -> Asked:  # noqa: ANN401 (any of its fields)
    """Tell that an estimator is given an array, and asked for nothing but its ``predict``."""
    plain: dict[str, Any] = {
        "input": "array",
        "batching": "tolerant",
        "scored_by": None,
        "scores_by_class": False,
        "label_by": None,
    }
    return Asked(**(plain | changes))


PROBABILITIES = asked(scored_by="predict_proba", label_by="predict_proba")
EXPLAINED = Explained(
    method="trees",
    output="probability",
    exact=True,
    background="training",
    background_rows=9,
    rows=12,
    largest_difference=0.0,
    sha256="",
)
SCORES = asked(scored_by="decision_function", scores_by_class=True, label_by="decision_function")


def description(
    classes: tuple[Any, ...] | None = ("ham", "spam"),
    features: tuple[Feature, ...] = (number("length"), number("a/b ~c")),
    **changes: Any,  # noqa: ANN401 (any of its fields)
) -> Description:
    """Give the description of a small classifier; whatever of it is named may be otherwise."""
    small: dict[str, Any] = {
        "name": "mail",
        "task": "classification",
        "created": CREATED,
        "features": features,
        "targets": ("kind",),
        "classes": classes,
        "metrics": Metrics(
            split="held out: 3 of 12 rows", values={"accuracy": 0.75}, dummy={"accuracy": 0.5}
        ),
        "training": Training(rows=12, fingerprint="sha256:0123"),
        "versions": {"scikit-learn": sklearn.__version__},
        "requirements": (),
        "artifact_sha256": "",
        "asked": asked(),
    }
    return Description(**(small | changes))


def several_labels(
    *classes: tuple[Label, ...],
    **changes: Any,  # noqa: ANN401 (any of its fields)
) -> Description:
    """Give the description of a classifier with one target for each of these lists of classes."""
    targets = tuple(f"label {index}" for index in range(len(classes)))
    return description(classes=classes, **({"targets": targets} | changes))


def regression(*targets: str, **changes: Any) -> Description:  # noqa: ANN401 (any of its fields)
    """Give the description of a regressor."""
    return description(classes=None, **({"task": "regression", "targets": targets} | changes))


def clustering(**changes: Any) -> Description:  # noqa: ANN401 (any of its fields)
    """Give the description of a clusterer."""
    return description(classes=None, **({"task": "clustering", "targets": ()} | changes))


def outlier_detection(**changes: Any) -> Description:  # noqa: ANN401 (any of its fields)
    """Give the description of an outlier detector, which scores by ``decision_function``."""
    scored = asked(scored_by="decision_function", label_by="decision_function")
    own: dict[str, Any] = {"task": "outlier-detection", "targets": (), "asked": scored}
    return description(classes=None, **(own | changes))


EACH_TASK: dict[str, Description] = {
    "one label": description(asked=PROBABILITIES),
    "one label, no scores": description(),
    "one label, scores by class": description(asked=SCORES),
    "one label, scores in a list": description(
        ("a", "b", "c"), asked=asked(scored_by="decision_function")
    ),
    "several labels": several_labels((0, 1), ("a", "b", "c"), asked=PROBABILITIES),
    "one number": regression("price"),
    "several numbers": regression("price", "weight"),
    "clusters": clustering(),
    "outliers": outlier_detection(),
}

"""Train the default model: fit, evaluate, describe, save to the BentoML model store.

With no arguments it fits a classifier on the iris data that scikit-learn ships and saves it as
``iris:<version>``. The estimator that is saved is fitted on all rows; its scores are those of the
same pipeline fitted without the held-out ones.
"""

import argparse
import hashlib
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from serving.description import Description, Feature, Interval, Metrics, Training
from serving.model import library_versions, save
from serving.settings import forbid_usage_reports

Array = np.ndarray[Any, np.dtype[Any]]

MAX_EXPONENT = 308  # of ten, in a double
MAX_CORNERS = 1024


@dataclass(frozen=True, slots=True)
class Table:
    """Training data: ``values`` of shape (rows, features), ``target`` of shape (rows,)."""

    feature_names: tuple[str, ...]
    values: Array
    target: Array

    @property
    def fingerprint(self) -> str:
        """Digest of all that the estimator is fitted on."""
        digest = hashlib.sha256("\0".join(self.feature_names).encode())
        digest.update(np.ascontiguousarray(self.values, dtype="<f8").tobytes())
        digest.update("\0".join(map(str, self.target)).encode())
        return f"sha256:{digest.hexdigest()}"


def iris() -> Table:
    """Load the iris data: 150 flowers, four measures in cm, three species."""
    data = load_iris()
    return Table(tuple(data.feature_names), data.data, data.target_names[data.target])


def build_pipeline(seed: int) -> Pipeline:
    """Give the unfitted default pipeline."""
    return make_pipeline(StandardScaler(), LogisticRegression(random_state=seed))


def evaluate(pipeline: Pipeline, table: Table, test_size: float, seed: int) -> Metrics:
    """Score a pipeline on rows that it was not fitted on."""
    values, held_out, target, truth = train_test_split(
        table.values, table.target, test_size=test_size, random_state=seed, stratify=table.target
    )
    fitted = clone(pipeline).fit(values, target)
    labels = fitted.predict(held_out)
    return Metrics(
        split=f"held out: {len(truth)} of {len(table.target)} rows, stratified, seed {seed}",
        values={
            "accuracy": float(accuracy_score(truth, labels)),
            "f1_macro": float(f1_score(truth, labels, average="macro")),
            "log_loss": float(
                log_loss(truth, fitted.predict_proba(held_out), labels=fitted.classes_)
            ),
        },
    )


def numeric_domain(estimator: Pipeline, center: Array, seed: int) -> float:
    """Find the largest power of ten within which the estimator's answers stay finite.

    Probes points around the center where one feature, or all of them with any signs, are extreme.

    Raises:
        ValueError: the estimator fails even where no feature is beyond one.
    """
    count = len(center)
    if 2**count <= MAX_CORNERS:
        signs = np.array(
            [[1 - 2 * (n >> bit & 1) for bit in range(count)] for n in range(2**count)]
        )
    else:
        signs = np.random.default_rng(seed).choice((-1, 1), size=(MAX_CORNERS, count))
    axes = np.concatenate([np.eye(count), -np.eye(count)])

    def fails(exponent: int) -> bool:
        extreme = 10.0**exponent
        points = np.concatenate([signs * extreme, np.where(axes, axes * extreme, center)])
        try:
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                estimator.predict(points)
                return not np.isfinite(estimator.predict_proba(points)).all()
        except (ValueError, FloatingPointError, OverflowError):
            return True

    largest = bisect_left(range(MAX_EXPONENT + 1), True, key=fails) - 1
    if largest < 0:
        raise ValueError("the estimator gives no finite answers even for features within one")
    return 10.0**largest


def describe(
    name: str, table: Table, estimator: Pipeline, metrics: Metrics, seed: int
) -> Description:
    """Describe a fitted estimator; examples are medians, so no row of the table appears."""
    medians = np.median(table.values, axis=0)
    limit = numeric_domain(estimator, medians, seed)
    features = tuple(
        Feature(
            name=feature_name,
            type="number",
            nullable=False,
            trained=Interval(minimum=float(column.min()), maximum=float(column.max())),
            domain=Interval(minimum=-limit, maximum=limit),
            example=float(median),
        )
        for feature_name, column, median in zip(
            table.feature_names, table.values.T, medians, strict=True
        )
    )
    return Description(
        name=name,
        task="classification",
        created=datetime.now(UTC),
        features=features,
        classes=tuple(estimator.classes_.tolist()),
        metrics=metrics,
        training=Training(rows=len(table.target), fingerprint=table.fingerprint),
        versions=library_versions(),
        artifact_sha256="",
    )


def summary(tag: str, description: Description, pipeline: Pipeline) -> str:
    """Tell a person what was trained."""
    metrics, training = description.metrics, description.training
    steps = " → ".join(type(step).__name__ for _, step in pipeline.steps)
    shape = f"{training.rows} rows, {len(description.features)} features"
    scores = ", ".join(f"{name} {value:.3f}" for name, value in metrics.values.items())
    return "\n".join(
        (
            f"Saved {tag}",
            f"  pipeline     {steps}",
            f"  data         {shape}, {training.fingerprint[:19]}…",
            f"  classes      {', '.join(map(str, description.classes))}",
            f"  scores       {scores}",
            f"               ({metrics.split})",
            f"  accepts      numbers up to ±{description.features[0].domain.maximum:g}",
            f"  scikit-learn {description.versions['scikit-learn']}",
            "Serve it with: bentoml serve",
        )
    )


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train a model and save it to the model store")
    parser.add_argument("--name", default="iris", help="name in the model store (%(default)s)")
    parser.add_argument("--seed", type=int, default=42, help="of every random choice (%(default)s)")
    parser.add_argument(
        "--test-size", type=float, default=0.25, help="share of rows held out (%(default)s)"
    )
    args = parser.parse_args(argv)
    if not 0 < args.test_size < 1:
        parser.error("--test-size must lie between 0 and 1")
    return args


def main(argv: list[str] | None = None) -> None:
    """Train, save, and tell about it."""
    args = arguments(argv)
    forbid_usage_reports()
    table = iris()
    pipeline = build_pipeline(args.seed)
    metrics = evaluate(pipeline, table, args.test_size, args.seed)
    pipeline.fit(table.values, table.target)
    description = describe(args.name, table, pipeline, metrics, args.seed)
    tag = save(pipeline, description)
    print(summary(str(tag), description, pipeline))


if __name__ == "__main__":
    main()

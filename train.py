"""Train the default model: fit, evaluate, describe, save to the BentoML model store.

With no arguments it fits a classifier on the iris data that scikit-learn ships and saves it as
``iris:<version>``. The estimator that is saved is fitted on all rows; its scores are those of the
same pipeline fitted without the held-out ones.
"""

import argparse
import hashlib
import re
from bisect import bisect_left
from collections.abc import Callable
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
MAX_PROBED_ROWS = 200
PROBED_BATCH_SIZES = (2, 3, 7, 16, 64)


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


def _scores_of(estimator: Pipeline) -> Callable[[Array], Array]:
    """Give the method by which a classifier tells how sure it is."""
    for name in ("predict_proba", "decision_function"):
        if hasattr(estimator, name):
            return getattr(estimator, name)  # type: ignore[no-any-return]
    return lambda points: np.zeros(len(points))


def is_batch_invariant(estimator: Pipeline, values: Array) -> bool:
    """Tell whether rows are answered alone and in batches of several sizes alike, bit for bit.

    So it is where each row is computed by itself, as by trees. Where linear algebra computes them
    together it may round them differently, and serving then takes care of what that could change.
    """
    rows = values[:: -(-len(values) // MAX_PROBED_ROWS)]

    def answers(size: int) -> list[Array]:
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        ask = (estimator.predict, _scores_of(estimator))
        return [np.concatenate([method(part) for part in parts]) for method in ask]

    alone = answers(1)
    return all(
        np.array_equal(one, other)
        for size in (*PROBED_BATCH_SIZES, len(rows))
        for one, other in zip(alone, answers(size), strict=True)
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
    scores = _scores_of(estimator)

    def fails(exponent: int) -> bool:
        extreme = 10.0**exponent
        points = np.concatenate([signs * extreme, np.where(axes, axes * extreme, center)])
        try:
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                estimator.predict(points)
                return not np.isfinite(scores(points)).all()
        except (ValueError, FloatingPointError, OverflowError):
            return True

    largest = bisect_left(range(MAX_EXPONENT + 1), True, key=fails) - 1
    if largest < 0:
        raise ValueError("the estimator gives no finite answers even for features within one")
    return 10.0**largest


def synthetic_row(values: Array) -> Array:
    """Give a typical row that is none of the table's, which may be somebody's.

    The medians, of which as many as needed are moved halfway to a neighbouring value.
    """
    row = np.median(values, axis=0)
    for index, column in enumerate(values.T):
        if not (values == row).all(axis=1).any():
            break
        seen = np.unique(column)
        if len(seen) > 1:
            above = min(int(np.searchsorted(seen, row[index], side="right")), len(seen) - 1)
            row[index] = seen[above - 1 : above + 1].mean()
    return row


def describe(
    name: str, table: Table, estimator: Pipeline, metrics: Metrics, seed: int
) -> Description:
    """Describe a fitted estimator."""
    example = synthetic_row(table.values)
    limit = numeric_domain(estimator, example, seed)
    features = tuple(
        Feature(
            name=feature_name,
            type="number",
            nullable=False,
            trained=Interval(minimum=float(column.min()), maximum=float(column.max())),
            domain=Interval(minimum=-limit, maximum=limit),
            example=float(value),
        )
        for feature_name, column, value in zip(
            table.feature_names, table.values.T, example, strict=True
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
        batch_invariant=is_batch_invariant(estimator, table.values),
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


def model_name(text: str) -> str:
    """Check a name for the model store, which gives the version itself."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", text):
        raise argparse.ArgumentTypeError("expected lower-case letters, digits, '_', '.' and '-'")
    return text


def seed(text: str) -> int:
    """Check a seed as NumPy takes it."""
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError("expected a whole number from 0 to 4294967295")
    return value


def share(text: str) -> float:
    """Check a share of the rows."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError("expected a number between 0 and 1")
    return value


def build_parser() -> argparse.ArgumentParser:
    """Declare the command line."""
    parser = argparse.ArgumentParser(description="Train a model and save it to the model store")
    parser.add_argument(
        "--name", type=model_name, default="iris", help="name in the model store (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=seed, default=42, help="of every random choice (%(default)s)"
    )
    parser.add_argument(
        "--test-size", type=share, default=0.25, help="share of rows held out (%(default)s)"
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    """Train, save, and tell about it."""
    parser = build_parser()
    args = parser.parse_args(argv)
    forbid_usage_reports()
    table = iris()
    pipeline = build_pipeline(args.seed)
    try:
        metrics = evaluate(pipeline, table, args.test_size, args.seed)
    except ValueError as exc:  # too few rows are left on one side of the split
        parser.error(f"--test-size: {exc}")
    pipeline.fit(table.values, table.target)
    description = describe(args.name, table, pipeline, metrics, args.seed)
    tag = save(pipeline, description)
    print(summary(str(tag), description, pipeline))


if __name__ == "__main__":
    main()

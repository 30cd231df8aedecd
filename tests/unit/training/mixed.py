"""Tables of made-up penguins, with all types of columns, and models as training has them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from serving.drift.comparison import Comparison, compare
from serving.drift.watch import Watch
from serving.model.description import Asked, Description
from serving.model.estimator import Estimator, FittedEstimator
from training.card.findings import Findings, ask
from training.describing.describe import before_asking, rows_of
from training.expected import expected
from training.fitting.evaluation import evaluate, truth_of
from training.fitting.pipeline import build_pipeline, fit
from training.table.columns import FeatureType
from training.table.table import Table

TYPES: dict[str, FeatureType] = {
    "bill": "number",
    "flipper": "integer",
    "income": "number",
    "visits": "integer",
    "island": "category",
    "male": "boolean",
    "note": "text",
}
SPECIES = np.array(["Adelie", "Chinstrap", "Gentoo"], dtype=object)


def penguins(rows: int, seed: int, *, regression: bool = False) -> Table:
    """Make up rows of one distribution; a tenth of some values is missing."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, rows, p=[0.44, 0.2, 0.36])
    frame = pd.DataFrame(
        {
            "bill": rng.normal(np.array([38.8, 48.8, 47.5])[kind], 2.9).round(1),
            "flipper": rng.normal(np.array([190, 196, 217])[kind], 6.5).round().astype("int64"),
            "income": np.exp(rng.normal(0, 1.5, rows)),
            "visits": rng.poisson(1.5, rows).astype("int64"),
            "island": rng.choice(list("abcdef"), rows, p=[0.4, 0.2, 0.15, 0.15, 0.05, 0.05]),
            "male": rng.random(rows) < 0.5,
            "note": np.array(["x" * length for length in rng.poisson(12, rows)], dtype=object),
        }
    ).astype({"island": object})
    for name in ("bill", "income", "note"):
        frame.loc[rng.random(rows) < 0.1, name] = np.nan
    mass = 3700 + 50 * (frame["flipper"] - 200) + 300 * frame["male"] + rng.normal(0, 300, rows)
    target = pd.DataFrame({"mass": mass} if regression else {"species": SPECIES[kind]})
    return Table(frame, TYPES, target, "regression" if regression else "classification", ())


def part(table: Table, first: int, rows: int) -> Table:
    """Give some rows of a table."""
    frame, target = (
        each.iloc[first : first + rows].reset_index(drop=True)
        for each in (table.frame, table.target)
    )
    return Table(frame, table.types, target, table.task, ())


@dataclass(frozen=True)
class Served:
    """A model as it is served, and what of it is watched."""

    model: FittedEstimator
    watch: Watch

    def compared(self, table: Table) -> list[Comparison]:
        """Answer all rows, and compare them with training."""
        rows = rows_of(table)
        predictions = self.model.predictions(self.model.ask(self.model.table(rows)))
        return compare(self.watch, self.watch.count(rows, predictions))

    def told(self, table: Table) -> list[str]:
        """Name what drifts."""
        return [f"{c.watched.kind} {c.watched.name}" for c in self.compared(table) if c.drifts]


def served(table: Table, estimator: Estimator) -> Served:
    """Learn from a table, as training does; described by what it holds alone."""
    pipeline = build_pipeline(table.types, table.frame, estimator)
    evaluation = evaluate(pipeline, table, test_size=0.2, seed=42)
    fitted = fit(pipeline, table.frame, truth_of(table))
    is_classifier = table.task == "classification"
    asked = Asked(
        input="frame",
        batching="invariant",
        scored_by="predict_proba" if is_classifier else None,
        scores_by_class=False,
        label_by=None,
    )
    description = before_asking("penguins", fitted, table, evaluation.metrics).model_copy(
        update={"asked": asked, "classes": tuple(fitted.classes_) if is_classifier else None}
    )
    outputs = ask(description, evaluation.estimator, evaluation.frame)
    found = Findings(outputs, importances=None)
    references = expected(fitted, description, table, evaluation, found)
    written = description.model_copy(update={"reference": references}).model_dump_json()
    description = Description.model_validate_json(written)
    assert description.reference is not None
    watch = Watch(description, description.reference, max_features=30)
    return Served(FittedEstimator(fitted, description), watch)

"""Saves the models that tests serve beside the default one; run as a module with BENTOML_HOME set.

They share the default model's data and description, so that what differs is the estimator alone.
"""

from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serving.model.description import Metrics
from serving.model.estimator import to_array
from serving.model.store import save
from tests.wire.estimators import Faulty, Fragile, Gated, Stuck, Unloadable
from training.describing.describe import describe, rows_of
from training.learn import iris
from training.table.table import to_table

UNMEASURED = Metrics(split="none", values={}, dummy={})


def main() -> None:
    """Fit once, save many."""
    table = to_table(iris(), ["species"])
    features = to_array(rows_of(table), has_strings=False)  # as training does, bit for bit
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(random_state=42))
    pipeline.fit(features, table.labels)
    description = describe("iris", pipeline, table, UNMEASURED, seed=42)
    for kind in (Faulty, Fragile, Gated, Stuck, Unloadable):
        name = kind.__name__.lower()
        save(kind(pipeline), description.model_copy(update={"name": name}), card="")
    classes = sorted(set(table.labels))
    numbered = RidgeClassifier().fit(features, [classes.index(label) for label in table.labels])
    asked = description.asked.model_copy(
        update={
            "scored_by": "decision_function",
            "scores_by_class": True,
            "label_by": "decision_function",
        }
    )
    update = {"name": "numbered", "classes": tuple(range(len(classes))), "asked": asked}
    save(numbered, description.model_copy(update=update), card="")


if __name__ == "__main__":
    main()

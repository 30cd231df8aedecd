"""Saves the models that tests serve beside the default one; run as a module with BENTOML_HOME set.

They share the default model's data and description, so that what differs is the estimator alone.
"""

from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serving.model.description import Description, Metrics, References
from serving.model.estimator import Estimator, FittedEstimator, to_array
from serving.model.store import save
from tests.wire.estimators import Faulty, Fragile, Gated, Stuck, Unloadable
from training.describing.describe import describe, rows_of
from training.describing.reference import references_of
from training.learn import iris
from training.table.table import Table, to_table

UNMEASURED = Metrics(split="none", values={}, dummy={})


def main() -> None:
    """Fit once, save many."""
    table = to_table(iris(), ["species"])
    features = to_array(rows_of(table), has_strings=False)  # as training does, bit for bit
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(random_state=42))
    pipeline.fit(features, table.labels)
    description = describe("iris", pipeline, table, UNMEASURED, seed=42)
    watched = {"reference": seen_by(pipeline, description, table)}
    for kind in (Faulty, Fragile, Gated, Stuck, Unloadable):
        # `Fragile` is as if an older version had saved it, which kept nothing to compare with.
        update = {"name": kind.__name__.lower()} | (watched if kind is not Fragile else {})
        save(kind(pipeline), description.model_copy(update=update), card="")
    classes = sorted(set(table.labels))
    numbered = RidgeClassifier().fit(features, [classes.index(label) for label in table.labels])
    asked = description.asked.model_copy(
        update={
            "scored_by": "decision_function",
            "scores_by_class": True,
            "label_by": "decision_function",
        }
    )
    described = {"name": "numbered", "classes": tuple(range(len(classes))), "asked": asked}
    save(numbered, description.model_copy(update=described), card="")
    lonely = {"name": "lonely", "asked": description.asked.model_copy(update={"batching": "alone"})}
    save(pipeline, description.model_copy(update=lonely), card="")


def seen_by(estimator: Estimator, description: Description, table: Table) -> References:
    """Give what requests can be compared with: all rows, and what is predicted for others."""
    model, rows = FittedEstimator(estimator, description), rows_of(table)
    values = table.frame.to_numpy(dtype=float)
    between = list(map(tuple, (values[1:] / 2 + values[:-1] / 2).tolist()))
    predictions = model.predictions(model.ask(model.table(between)))
    return references_of(description, rows, predictions, importance=())


if __name__ == "__main__":
    main()

"""Saves the models that tests serve beside the default one; run as a module with BENTOML_HOME set.

They share the default model's data and description, so that what differs is the estimator alone.
"""

from sklearn.linear_model import RidgeClassifier

from serving.model import save
from tests.wire.estimators import Fragile, Gated, Unloadable
from train import build_pipeline, describe, evaluate, iris


def main() -> None:
    """Fit once, save many."""
    seed = 42
    table = iris()
    pipeline = build_pipeline(seed)
    metrics = evaluate(pipeline, table, test_size=0.25, seed=seed)
    pipeline.fit(table.values, table.target)
    description = describe("iris", table, pipeline, metrics, seed)
    for kind in (Fragile, Gated, Unloadable):
        save(kind(pipeline), description.model_copy(update={"name": kind.__name__.lower()}))
    classes = sorted(set(table.target.tolist()))
    numbered = RidgeClassifier().fit(table.values, [classes.index(label) for label in table.target])
    labels = tuple(range(len(classes)))
    save(numbered, description.model_copy(update={"name": "numbered", "classes": labels}))


if __name__ == "__main__":
    main()

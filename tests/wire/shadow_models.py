"""Saves versions of one model to be shadows of the first; run as a module with BENTOML_HOME set.

Prints as JSON the version of each by what it is.
"""

import json
import sys
from pathlib import Path

import bentoml
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serving.model.estimator import to_array
from serving.model.store import save
from serving.model.stored import ARTIFACT
from tests.wire.estimators import Dissenting, Ruinous
from tests.wire.models import UNMEASURED
from training.describing.describe import describe, rows_of
from training.learn import iris
from training.table.table import to_table

NAME = "shaded"


def main() -> None:
    """Fit once, save many."""
    table = to_table(iris(), ["species"])
    features = to_array(rows_of(table), has_strings=False)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(random_state=42))
    pipeline.fit(features, table.labels)
    description = describe(NAME, pipeline, table, UNMEASURED, seed=42)
    other = description.model_copy(update={"targets": ("kind",)})
    tags = {
        "served": save(pipeline, description, card=""),
        "dissenting": save(Dissenting(pipeline), description, card=""),
        "ruinous": save(Ruinous(pipeline), description, card=""),
        "of another target": save(pipeline, other, card=""),
        "damaged": save(pipeline, description, card=""),
    }
    with (Path(bentoml.models.get(tags["damaged"]).path) / ARTIFACT).open("ab") as file:
        file.write(b"x")
    json.dump({name: tag.version for name, tag in tags.items()}, sys.stdout)


if __name__ == "__main__":
    main()

"""An estimator that takes as long as a test wants, saved beside the default model.

It sleeps rather than computes, so what it can carry does not depend on the machine.
"""

import os
import time

import numpy as np

from tests.wire.estimators import Array, Wrapped

SECONDS = "TEST_ROW_S"  # names how long a row takes


class Slow(Wrapped):
    """Answers as the estimator inside does, after a while for each row."""

    def predict(self, rows: Array) -> Array:
        """Give the labels."""
        time.sleep(float(os.environ.get(SECONDS, "0")) * len(rows))
        return super().predict(rows)

    def predict_proba(self, rows: Array) -> Array:
        """Give the probabilities; a service asks for these alone, or for both."""
        time.sleep(float(os.environ.get(SECONDS, "0")) * len(rows))
        return np.asarray(super().predict_proba(rows))


def save_slow() -> None:
    """Save it with the default model's description."""
    # Not above: importing BentoML warns, and tests import this module.
    import bentoml

    from serving.model.store import ServedModel, save
    from serving.model.stored import verify

    verified = verify(ServedModel("iris:latest").resolve())
    why_not = "it is not the estimator that was"
    changes = {"name": "slow", "compiled": why_not, "explained": why_not}
    description = verified.description.model_copy(update=changes)
    save(Slow(bentoml.sklearn.load_model("iris:latest")), description, card="")

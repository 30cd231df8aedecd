"""Explains models by shap, in its own environment: Shapley values of rows, interventional ones.

    python -m tests.system.judges.shap FOLDER

For each ``NAME.joblib``, a pipeline of scikit-learn whose steps but the last take each column by
itself, ``NAME.npz`` has the ``background`` and the ``rows``. ``NAME.json`` is written: the base
(outputs,) and the contributions (rows, columns, outputs) of what the estimator adds up itself, or
else of its probabilities or decision function.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import shap
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

LINEAR = (LogisticRegression, RidgeClassifier)
BY_ASKING = (KNeighborsClassifier, SVC)


def explained(pipeline: Any, background: Any, rows: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """Give bases, and contributions with a last axis of outputs if there are several."""
    part = pipeline[-1]
    if isinstance(part, BY_ASKING):
        ask = getattr(pipeline, "predict_proba", None) or pipeline.decision_function
        masker = shap.maskers.Independent(background, max_samples=len(background))
        found = shap.explainers.Exact(ask, masker)(rows)
        return found.base_values[0], found.values
    if len(pipeline) > 1:
        background, rows = (pipeline[:-1].transform(each) for each in (background, rows))
    if isinstance(part, LINEAR):
        masker = shap.maskers.Independent(background, max_samples=len(background))
        explainer = shap.LinearExplainer(part, masker)
        return explainer.expected_value, explainer.shap_values(rows)
    explainer = shap.TreeExplainer(part, background, feature_perturbation="interventional")
    return explainer.expected_value, explainer.shap_values(rows, check_additivity=False)


def main() -> None:
    """Explain all models of a folder."""
    warnings.simplefilter("ignore")
    for file in sorted(Path(sys.argv[1]).glob("*.joblib")):
        given = np.load(file.with_suffix(".npz"))
        base, values = explained(joblib.load(file), given["background"], given["rows"])
        values = np.asarray(values)
        told = {
            "base": np.atleast_1d(base).tolist(),
            "contributions": values.reshape(*values.shape[:2], -1).tolist(),
        }
        file.with_suffix(".json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()

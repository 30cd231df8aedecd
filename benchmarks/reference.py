"""What the estimator itself answers: JSON rows on stdin, ``[label, {class: probability}]`` out.

A script of its own because it needs scikit-learn, which the runner's Python may not have.
"""

import json
import os
import sys

import joblib
import numpy as np

estimator = joblib.load(os.environ["BENCH_MODEL_PATH"])
rows = np.array(json.load(sys.stdin))
classes = [str(name) for name in estimator.classes_]
labels = [str(label) for label in estimator.predict(rows)]
probabilities = estimator.predict_proba(rows).tolist()
json.dump(
    [
        [label, dict(zip(classes, row, strict=True))]
        for label, row in zip(labels, probabilities, strict=True)
    ],
    sys.stdout,
)

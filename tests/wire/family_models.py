"""Saves a model of each other library's; run as a module with BENTOML_HOME set, and a folder named.

Prints as JSON what each says in process of some rows, as `zoo_models` does.
"""

import json
import sys
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import joblib
import numpy as np

import train
from tests.families import FAMILIES, FITTED, ask_less, tables

ROWS = 60
SAMPLE = {
    "xgboost": "strings",
    "lightgbm": "missing",
    "catboost": "booleans",
    "imblearn": "string labels",
    "skrub": "three classes",
    "ebm": "regression",
}


def main() -> None:
    """Fit as its users do, bring it, and ask."""
    warnings.simplefilter("ignore")
    ask_less(setattr)
    folder, told, small = Path(sys.argv[1]), {}, tables()
    for family, fit in FAMILIES.items():
        name = family.lower()
        table = small[SAMPLE[name]]
        estimator, features = fit(table)
        estimator.fit(features[:FITTED], table.target[:FITTED])
        brought, reference = folder / f"{name}.joblib", folder / "reference.csv"
        joblib.dump(estimator, brought)
        table.frame.assign(y=table.target)[:FITTED].to_csv(reference, index=False)
        options = ["--target", "y", "--trust"]
        with redirect_stdout(sys.stderr):
            train.main(["--model", str(brought), "--reference", str(reference), *options])
        asked, frame = features[-ROWS:], table.frame[-ROWS:].astype(object)
        answers = [{"prediction": value} for value in np.ravel(estimator.predict(asked)).tolist()]
        if hasattr(estimator, "predict_proba"):
            keys = [str(label) for label in estimator.classes_.tolist()]
            for answer, shares in zip(answers, estimator.predict_proba(asked), strict=True):
                answer["probabilities"] = dict(zip(keys, shares.tolist(), strict=True))
        rows = frame.where(frame.notna(), None).to_numpy().tolist()
        told[name] = {"rows": rows, "answers": answers}
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()

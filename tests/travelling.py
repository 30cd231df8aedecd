"""A model with a package of a person's own: fitted by a script, as people do, and brought with it.

The folder of the script is gone when the model is served: nothing but the model has its code.
"""

import shutil
from pathlib import Path

from tests.server import ROOT, run_python

NAME = "travels"
STEPS = {
    "my_steps/__init__.py": "from my_steps.shapes import Shapes",
    "my_steps/shapes.py": '''
import json
from pathlib import Path

from sklearn.base import BaseEstimator, TransformerMixin

SCALE = 1
CODES = json.loads(Path(__file__).with_name("codes.json").read_text("utf-8"))


class Shapes(TransformerMixin, BaseEstimator):
    """Numbers for islands, and how long a bill is for its depth."""

    def fit(self, X, y=None):
        self.feature_names_in_ = list(X.columns)
        return self

    def transform(self, X):
        shapes = X["bill_length_mm"] / X["bill_depth_mm"]
        islands = X["island"].map(CODES).astype(float)
        return SCALE * X.assign(island=islands, shape=shapes).to_numpy()
''',
    "my_steps/codes.json": '{"Biscoe": 0, "Dream": 1, "Torgersen": 2}',
    "fit.py": """
import sys

import joblib
from palmerpenguins import load_penguins
from sklearn.pipeline import make_pipeline

from my_steps import Shapes

frame = load_penguins().dropna().drop(columns=["sex", "year"])
frame = frame.astype({"island": object, "species": object})
frame.to_csv("reference.csv", index=False)
features = frame.drop(columns="species")
if sys.argv[1] == "lightgbm":
    from lightgbm import LGBMClassifier

    last = LGBMClassifier(n_estimators=20, verbose=-1, n_jobs=1)
else:
    from sklearn.tree import DecisionTreeClassifier

    last = DecisionTreeClassifier(max_depth=4, random_state=1)
joblib.dump(make_pipeline(Shapes(), last).fit(features, frame["species"]), "mine.joblib")
""",
}


def bring(home: Path, last: str = "tree") -> str:
    """Fit a pipeline that ends with a tree or with LightGBM, and save it to a model store.

    Gives what training has told.
    """
    folder = home / "gone"
    for file, text in STEPS.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text, "utf-8")
    run_python(home, "fit.py", last, folder=folder)
    command = "--model mine.joblib --reference reference.csv --target species --trust"
    options = [*command.split(), "--name", NAME, "--code", "my_steps"]
    told = run_python(home, str(ROOT / "train.py"), *options, folder=folder)
    shutil.rmtree(folder)
    return told

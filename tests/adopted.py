"""An estimator that was fitted elsewhere, on data frames with named columns and with texts."""

from pathlib import Path
from typing import Any

import joblib
import pandas as pd
from palmerpenguins import load_penguins
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tests.server import ROOT, run_python


def known_penguins() -> pd.DataFrame:
    """Give penguins of which everything is known."""
    return load_penguins().dropna().astype({"island": object, "sex": object, "species": object})


def fitted(frame: pd.DataFrame) -> Any:  # noqa: ANN401 (scikit-learn has no type for it)
    """Fit a pipeline that takes columns by name, and no category that it has not seen."""
    columns = make_column_transformer(
        (OneHotEncoder(), ["island", "sex"]), remainder=StandardScaler()
    )
    features = frame.drop(columns="species")
    return make_pipeline(columns, LogisticRegression()).fit(features, frame["species"])


def adopt(frame: pd.DataFrame, estimator: Any, home: Path, folder: Path) -> None:  # noqa: ANN401
    """Save it to a model store as `mine`, as a person would bring it."""
    joblib.dump(estimator, folder / "mine.joblib")
    frame.to_csv(folder / "reference.csv", index=False)
    command = "--model mine.joblib --reference reference.csv --target species --trust"
    told = run_python(home, str(ROOT / "train.py"), *command.split(), folder=folder)
    assert "needs        pandas==" in told

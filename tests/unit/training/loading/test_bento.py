"""Models of the store that something else has saved: found by tag, and read by their kind."""

from collections.abc import Callable
from pathlib import Path

import bentoml
import numpy as np
import pytest
import xgboost
from lightgbm import LGBMRegressor
from sklearn.linear_model import LinearRegression

from training.errors import TrainingError
from training.loading.bento import file_of
from training.loading.code import Code
from training.loading.fitted import load_fitted

ROWS = np.arange(80.0).reshape(40, 2)
VALUES = ROWS.sum(axis=1)


def test_what_scikit_learns_and_lightgbms_modules_save_is_read_without_trust() -> None:
    linear = LinearRegression().fit(ROWS, VALUES)
    boosted = LGBMRegressor(n_estimators=3, verbose=-1).fit(ROWS, VALUES)
    saved = [
        bentoml.sklearn.save_model("store-linear", linear),
        bentoml.lightgbm.save_model("store-boosted", boosted.booster_),
    ]

    for fitted, model in zip((linear, boosted), saved, strict=True):
        loaded = load_fitted(f"bento:{model.tag}", trust=False, code=Code()).estimator
        assert (loaded.predict(ROWS) == fitted.predict(ROWS)).all()
    assert file_of("store-linear") == file_of("store-linear:latest")


def stored(name: str, module: str, write: Callable[[Path], object]) -> bentoml.Model:
    """Put a model into the store, as one of BentoML's modules would."""
    context = bentoml.models.ModelContext("none", {})
    with bentoml.models.create(name, module=module, context=context) as model:
        write(Path(model.path))
    return model


def test_what_xgboosts_module_saves_is_read() -> None:
    fitted = xgboost.XGBRegressor(n_estimators=3, n_jobs=1).fit(ROWS, VALUES)
    model = stored(
        "store-trees",
        "bentoml.xgboost",  # whose save_model knows no xgboost-cpu
        lambda folder: fitted.save_model(folder / "saved_model.ubj"),
    )

    loaded = load_fitted(f"bento:{model.tag}", trust=False, code=Code()).estimator

    assert (loaded.predict(ROWS) == fitted.predict(ROWS)).all()


@pytest.mark.parametrize(
    ("tag", "told"),
    [
        ("nowhere", "no model nowhere is in the BentoML model store"),
        ("nowhere:1", "no model nowhere:1 is in the BentoML model store"),
        ("No Tag!", "no model No Tag! is in the BentoML model store"),
        ("", "no model  is in the BentoML model store"),
        ("store-deep", "was saved with bentoml.pytorch: what is read is saved with"),
        ("store-empty", "has 0 files saved_model, not one"),
    ],
)
def test_what_can_not_be_read_is_told(tag: str, told: str) -> None:
    stored("store-deep", "bentoml.pytorch", lambda folder: (folder / "saved_model.pt").touch())
    stored("store-empty", "bentoml.sklearn", lambda folder: None)

    with pytest.raises(TrainingError, match=told):
        load_fitted(f"bento:{tag}", trust=True, code=Code())

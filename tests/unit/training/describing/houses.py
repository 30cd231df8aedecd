"""Made-up houses, in forms on which estimators are fitted, and estimators of several libraries."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from xgboost import XGBClassifier

import train
from serving.model.description import Description, Metrics
from serving.model.features import Row
from training.adopt import reference_table
from training.describing.describe import before_asking, rows_of
from training.describing.forms import with_form
from training.loading.code import Code
from training.loading.fitted import load_fitted
from training.options import Options
from training.table.table import Table

Estimator = Any  # scikit-learn has no type for it
Given = Any  # what estimators take and give
TRAINED, ASKED = 400, 500
TOWNS = np.array(["Bari", "Lodi", "Pisa", "Rome"], dtype=object)
UNKNOWN = Metrics(split="none", values={}, dummy={})
Form = Callable[[pd.DataFrame], pd.DataFrame]


def houses(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
    """Make up houses, and whether they are sold, which depends on all that is known of them."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "rooms": rng.integers(1, 6, rows),
            "code": rng.choice([10115, 20095, 50667, 80331], rows),
            "lift": rng.integers(0, 2, rows).astype(bool),
            "baths": rng.integers(1, 6, rows) / 2,
            "town": TOWNS[rng.integers(0, 4, rows)],
            "x": rng.normal(size=rows).round(3),
        }
    )
    signs = [frame.rooms % 2 == 0, frame.x > 0, frame.lift, frame.baths == 1.5]
    signs += [frame.town == "Pisa", frame.code == 20095]
    return frame, np.logical_xor.reduce(signs).astype(int)


def categories(*names: str, as_text: bool = False, ordered: bool = False) -> Form:
    """Give the columns, and x, as pandas' categories."""

    def form(frame: pd.DataFrame) -> pd.DataFrame:
        held = {name: frame[name].astype(str) if as_text else frame[name] for name in names}
        return pd.DataFrame(
            {name: pd.Categorical(held[name], ordered=ordered) for name in names} | {"x": frame.x}
        )

    return form


def typed(**dtypes: str) -> Form:
    """Give columns with dtypes of pandas' own."""
    return lambda frame: frame[list(dtypes)].astype(dtypes)


def with_gaps(form: Form) -> Form:
    """Leave out a value here and there."""

    def gapped(frame: pd.DataFrame) -> pd.DataFrame:
        whole = form(frame)
        places = np.arange(len(whole))[:, None] % 7 == np.arange(whole.shape[1])
        return whole.mask(places)

    return gapped


def in_another_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Give categories that are not in the order in which pandas would put them."""
    rooms = pd.Categorical(frame.rooms, categories=[5, 3, 1, 2, 4], ordered=True)
    return pd.DataFrame({"rooms": rooms, "x": frame.x})


FORMS: dict[str, Form] = {
    "categories of whole numbers": categories("rooms"),
    "categories of codes": categories("code"),
    "categories of booleans": categories("lift"),
    "categories of decimals": categories("baths"),
    "categories of texts": categories("town"),
    "categories of texts that are numbers": categories("rooms", as_text=True),
    "ordered categories": categories("rooms", ordered=True),
    "categories in an order of their own": in_another_order,
    "two columns of categories": categories("rooms", "code"),
    "one column of categories of two": lambda frame: frame[["rooms", "code", "x"]].astype(
        {"code": "category"}
    ),
    "categories of a small dtype": lambda frame: (
        frame[["rooms", "x"]].astype({"rooms": "int8"}).astype({"rooms": "category"})
    ),
    "categories of a nullable dtype": lambda frame: (
        frame[["rooms", "x"]].astype({"rooms": "Int64"}).astype({"rooms": "category"})
    ),
    "categories with gaps": with_gaps(categories("rooms")),
    "nullable dtypes": typed(rooms="Int64", lift="boolean", x="Float64"),
    "nullable dtypes with gaps": with_gaps(typed(rooms="Int64", lift="boolean", x="Float64")),
    "Arrow's dtypes": typed(rooms="int64[pyarrow]", lift="bool[pyarrow]", x="double[pyarrow]"),
    "plain dtypes": lambda frame: frame[["rooms", "lift", "baths", "x"]],
    "floats of half the size": typed(rooms="int64", x="float32"),
}


def light(frame: pd.DataFrame) -> Estimator:
    return LGBMClassifier(n_estimators=15, min_child_samples=3, verbose=-1, n_jobs=1)


def extreme(frame: pd.DataFrame) -> Estimator:
    return XGBClassifier(n_estimators=15, enable_categorical=True, n_jobs=1)


def cat(frame: pd.DataFrame) -> Estimator:
    chosen = [name for name, dtype in frame.dtypes.items() if dtype == "category"]
    return CatBoostClassifier(
        iterations=15,
        verbose=0,
        allow_writing_files=False,
        cat_features=chosen or None,
        thread_count=1,
    )


def histogram(frame: pd.DataFrame) -> Estimator:
    return HistGradientBoostingClassifier(max_iter=15)


BOOSTERS = (light, extreme, cat, histogram)
NOT_TAKEN = {  # by the library itself, when it is fitted
    light: {"Arrow's dtypes"},
    extreme: {
        "categories of booleans",
        "categories of decimals",
        "categories of a nullable dtype",
    },
    cat: {"categories of decimals", "categories with gaps", "nullable dtypes with gaps"},
}
FITTED = [
    pytest.param(form, booster, id=f"{booster.__name__} on {name}")
    for name, form in FORMS.items()
    for booster in BOOSTERS
    if name not in NOT_TAKEN.get(booster, ())
]


def brought(
    estimator: Estimator,
    frame: pd.DataFrame,
    labels: Given,
    folder: Path,
    options: str = "",
    kind: str = "csv",
) -> tuple[Description, Table]:
    """Bring an estimator and its table, as far as the form is decided in which it is asked."""
    joblib.dump(estimator, folder / "mine.joblib")
    file = folder / f"table.{kind}"
    getattr(frame.assign(sold=labels), f"to_{kind}")(file, index=False)
    parsed = train.build_parser().parse_args(["--target", "sold", *options.split()])
    loaded = load_fitted(str(folder / "mine.joblib"), trust=True, code=Code()).estimator
    found, evidence = reference_table(file, Options(**vars(parsed) | {"code": Code()}), loaded)
    unasked = before_asking("mine", loaded, found, UNKNOWN)
    return with_form(loaded, unasked, rows_of(found), evidence), found


def sent(frame: pd.DataFrame, description: Description) -> list[Row]:
    """Give rows as a client sends them: numbers, booleans and texts, as the features have it."""
    kinds = {"integer": int, "number": float, "boolean": bool, "category": str, "text": str}
    columns = [
        [None if pd.isna(value) else kinds[feature.type](value) for value in frame[feature.name]]
        for feature in description.features
    ]
    return list(zip(*columns, strict=True))

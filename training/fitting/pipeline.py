"""From a table's column types to the pipeline that a careful person would have written.

A pipeline is made of scikit-learn's and NumPy's own parts, so that it loads where nothing of this
project is installed. Frames and arrays, of floats or of objects, are alike to it: columns are
selected by position, and what is done to them begins with an array of a certain type.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils import get_tags

from serving.model.estimator import Estimator, TableLike
from serving.model.outputs import Array
from training.errors import TrainingError
from training.table.columns import FeatureType

MIN_CATEGORY_ROWS = 5  # a category of fewer is treated alike with the others of few
MAX_WORDS = 1000  # of a text feature: the commonest

# What splits features, or takes each by itself, is indifferent to their scales.
UNSCALED_MODULES = {"tree", "ensemble", "naive_bayes", "dummy", "isotonic"}


def build_pipeline(
    types: Mapping[str, FeatureType], frame: pd.DataFrame, estimator: Estimator
) -> Pipeline:
    """Put before an estimator what it needs to take the columns of a frame, and no more."""
    takes = get_tags(estimator).input_tags
    modules = set(type(estimator).__module__.split("."))
    scaling = [StandardScaler()] if modules.isdisjoint(UNSCALED_MODULES) else []
    positions: dict[str, list[int]] = {}
    for position, (name, column) in enumerate(frame.items()):
        part = _part(types[name], bool(column.isna().any()) and not takes.allow_nan, position)
        positions.setdefault(part, []).append(position)
    if positions.keys() == {"numbers"}:
        return make_pipeline(*scaling, estimator)
    columns = ColumnTransformer(
        [(part, _preparation(part, scaling), columns) for part, columns in positions.items()],
        # What takes sparse input seldom takes it with gaps, for which they are left here.
        sparse_threshold=float(takes.sparse and not takes.allow_nan),
    )
    return Pipeline([("columns", columns), (get_tags(estimator).estimator_type, estimator)])


def _part(kind: FeatureType, impute: bool, position: int) -> str:
    """Name the part of the columns that are prepared together."""
    if kind == "text":
        return f"text_{position}"
    if kind == "category":
        return "categories"
    if not impute:
        return "numbers"
    return "booleans_with_gaps" if kind == "boolean" else "numbers_with_gaps"


def _preparation(part: str, scaling: Sequence[StandardScaler]) -> Pipeline:
    floats, objects = (
        FunctionTransformer(np.asarray, kw_args={"dtype": dtype}, feature_names_out="one-to-one")
        for dtype in ("float64", "object")
    )
    match part:
        case "numbers":
            return make_pipeline(floats, *scaling)
        case "numbers_with_gaps" | "booleans_with_gaps":
            imputer = SimpleImputer(
                strategy="median" if part.startswith("numbers") else "most_frequent",
                add_indicator=True,
                keep_empty_features=True,  # a fold may have nothing else
            )
            return make_pipeline(floats, imputer, *scaling)
        case "categories":
            encoder = OneHotEncoder(
                handle_unknown="infrequent_if_exist",
                min_frequency=MIN_CATEGORY_ROWS,
                sparse_output=False,
            )
            return make_pipeline(objects, encoder)
        case _:
            return make_pipeline(
                objects,
                SimpleImputer(strategy="constant", fill_value=""),
                FunctionTransformer(np.ravel, feature_names_out="one-to-one"),
                # A word may be one character long, as it is in Chinese.
                TfidfVectorizer(
                    token_pattern=r"(?u)\b\w+\b",  # noqa: S106 (not that kind of token)
                    max_features=MAX_WORDS,
                    sublinear_tf=True,
                ),
            )


def fit(pipeline: Pipeline, rows: TableLike, labels: Array | None) -> Pipeline:
    """Fit a pipeline on rows in a frame or an array, and give it back.

    That it has not converged is not said: its scores tell whether that is good enough.

    Raises:
        TrainingError: it can't be fitted on these.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return pipeline.fit(rows, labels)
    except Exception as exc:  # estimators raise anything
        name = type(pipeline[-1]).__name__
        raise TrainingError(f"{name} can't be fitted on this table: {exc}") from exc


def one_job(estimator: Estimator) -> None:
    """Keep an estimator, and all that it is made of, from starting threads or processes of its own.

    For a few rows they cost more than they do, and they add up numbers in any order.
    """
    for part in parts_of(estimator):
        if hasattr(part, "n_jobs"):
            part.n_jobs = None


def parts_of(estimator: Estimator) -> Iterator[BaseEstimator]:
    """Give an estimator and all estimators that it is made of."""
    waiting, seen = [estimator], set()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, BaseEstimator):
            yield part
            waiting.extend(vars(part).values())
        elif isinstance(part, list | tuple):
            waiting.extend(part)
        elif isinstance(part, dict):
            waiting.extend(part.values())

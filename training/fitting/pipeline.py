"""From a table's column types to the pipeline that a careful person would have written.

A pipeline is made of scikit-learn's and NumPy's own parts, so that it loads where nothing of this
project is installed. Frames and arrays, of floats or of objects, are alike to it: columns are
selected by position, and what is done to them begins with an array of a certain type.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)
from sklearn.utils.validation import check_is_fitted

from serving.model.estimator import Estimator, TableLike
from serving.model.outputs import Array
from serving.model.wrapped import unwrapped
from training.errors import TrainingError
from training.fitting.estimators import tags_of
from training.fitting.families import family_of, is_foreign, one_thread
from training.fitting.telling import TellingPipeline
from training.table.columns import FeatureType

MIN_CATEGORY_ROWS = 5  # a category of fewer is treated alike with the others of few
MAX_WORDS = 1000  # of a text feature: the commonest

# What splits features, or takes each by itself, is indifferent to their scales.
UNSCALED_MODULES = {"tree", "ensemble", "naive_bayes", "dummy", "isotonic"}


def build_pipeline(
    types: Mapping[str, FeatureType], frame: pd.DataFrame, estimator: Estimator
) -> Pipeline:
    """Put before an estimator what it needs to take the columns of a frame, and no more."""
    tags, family = tags_of(estimator), family_of(estimator)
    takes, is_native = tags.input_tags, family.tells is not None
    modules = set(type(unwrapped(estimator)).__module__.split("."))
    is_scaled = family.scales and modules.isdisjoint(UNSCALED_MODULES)
    scaling = [StandardScaler()] if is_scaled else []
    positions: dict[str, list[int]] = {}
    for position, (name, column) in enumerate(frame.items()):
        part = _part(types[name], bool(column.isna().any()) and not takes.allow_nan, position)
        if part == "categories" and is_native:
            part = f"categories_as_{family.categories_are}"
        positions.setdefault(part, []).append(position)
    if positions.keys() == {"numbers"}:
        # Libraries refuse some names of columns, and frames that are not like the array that it is
        # asked with later.
        arrays = [_as_array("float64")] if is_foreign(unwrapped(estimator)) else []
        return make_pipeline(*arrays, *scaling, estimator)
    first = sorted(positions, key=lambda part: not part.startswith("categories_as_"))
    columns = ColumnTransformer(
        [(part, _preparation(part, scaling), positions[part]) for part in first],
        # What takes sparse input seldom takes it with gaps, for which they are left here.
        sparse_threshold=float(takes.sparse and not takes.allow_nan),
    )
    steps = [("columns", columns), (tags.estimator_type or "estimator", estimator)]
    if not first[0].startswith("categories_as_"):
        return Pipeline(steps)
    return TellingPipeline(steps, categories=len(positions[first[0]]))


def _part(kind: FeatureType, impute: bool, position: int) -> str:
    """Name the part of the columns that are prepared together."""
    if kind == "text":
        return f"text_{position}"
    if kind == "category":
        return "categories"
    if not impute:
        return "numbers"
    return "booleans_with_gaps" if kind == "boolean" else "numbers_with_gaps"


def _as_array(dtype: str) -> FunctionTransformer:
    return FunctionTransformer(np.asarray, kw_args={"dtype": dtype}, feature_names_out="one-to-one")


def _preparation(part: str, scaling: Sequence[StandardScaler]) -> Pipeline:
    floats, objects = _as_array("float64"), _as_array("object")
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
        case "categories_as_codes":
            encoder = OrdinalEncoder(  # what it has not seen is missing, too
                handle_unknown="use_encoded_value",
                unknown_value=np.nan,
                encoded_missing_value=np.nan,
                min_frequency=MIN_CATEGORY_ROWS,
            )
            return make_pipeline(objects, encoder)
        case "categories_as_strings":
            return make_pipeline(objects, SimpleImputer(strategy="constant", fill_value=""))
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
    What only training needs is taken off.

    Raises:
        TrainingError: it can't be fitted on these.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", "Missing values detected")  # EBM, of its plots
            fitted = pipeline.fit(rows, labels)
    except Exception as exc:  # estimators raise anything
        name = type(unwrapped(pipeline[-1])).__name__
        raise TrainingError(f"{name} can't be fitted on this table: {reason(exc)}") from exc
    try:
        check_is_fitted(fitted[-1])
    except NotFittedError:  # as NGBoost seems to scikit-learn
        fitted[-1].is_fitted_ = True
    return fitted.plain() if isinstance(fitted, TellingPipeline) else fitted


def reason(exc: Exception) -> str:
    """Tell why it failed; XGBoost adds its stack to that."""
    return str(exc).partition("\nStack trace")[0].strip()


def one_job(estimator: Estimator) -> None:
    """Keep an estimator, and all that it is made of, from starting threads or processes of its own.

    For a few rows they cost more than they do, and they add up numbers in any order.
    """
    for part in parts_of(estimator):
        one_thread(part)


def parts_of(estimator: Estimator) -> Iterator[Estimator]:
    """Give an estimator and all estimators that it is made of."""
    waiting, seen = [estimator], set()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        is_estimator = hasattr(part, "get_params") and not isinstance(part, type)
        if is_estimator:
            yield part
        if is_estimator or type(part).__module__.startswith("sklearn."):
            waiting.extend(getattr(part, "__dict__", {}).values())
        elif isinstance(part, list | tuple):
            waiting.extend(part)
        elif isinstance(part, dict):
            waiting.extend(part.values())

"""The steps of an estimator before its last, which make a matrix of rows; pipelines taken apart."""

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.pipeline import Pipeline

from serving.model.columns import Column, by_columns
from serving.model.estimator import Estimator, FittedEstimator, TableLike
from serving.model.features import Row
from serving.model.outputs import Array, dense
from serving.model.shortcut import PIPELINES
from serving.model.wrapped import unwrapped
from training.explaining.built import CannotExplainError

MAX_S = 30.0  # for all that is asked, as there may be many columns


@dataclass(frozen=True)
class Steps:
    """What makes a matrix of doubles of rows, for the last step of an estimator.

    That is tried until it ``ends_s``, by the clock.
    """

    model: FittedEstimator
    transforms: Sequence[Estimator]
    part: Estimator
    ends_s: float

    def encoded(self, rows: Sequence[Row]) -> Array:
        """Give the matrix of rows, each as long as the last step takes them."""
        return self.matrix(self.model.table(rows))

    def matrix(self, table: TableLike) -> Array:
        """Give the matrix of a table, as the estimator takes it.

        Raises:
            CannotExplainError: it can't be had, or not in time.
        """
        if time.perf_counter() > self.ends_s:
            raise CannotExplainError("what is made of its columns takes too long to be found out")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as of categories that an encoder has not seen
            for transform in self.transforms:
                try:
                    table = transform.transform(table)
                except Exception as exc:  # estimators raise anything
                    name = type(transform).__name__
                    raise CannotExplainError(
                        f"{name} fails on values that requests may have"
                    ) from exc
            try:
                matrix = _doubles(table, self.part)
            except (TypeError, ValueError) as exc:
                raise CannotExplainError("its last step takes other than numbers") from exc
        if matrix.ndim != 2:
            raise CannotExplainError("its last step takes other than a matrix")
        return matrix

    @cached_property
    def _example(self) -> TableLike:
        return self.model.table([self.model.description.example])

    @cached_property
    def _typical(self) -> list[Column]:
        description = self.model.description
        return by_columns(description.features, [description.example])

    def exchanged(self, at: int, column: Column) -> TableLike:
        """Give a table of the example's values, and other ones in one column."""
        example = self._example
        if isinstance(example, np.ndarray) and example.dtype == np.float64:
            table = example.repeat(len(column), axis=0)
            table[:, at] = column.doubles()
            return table
        columns = [other.take(np.zeros(len(column), dtype=np.intp)) for other in self._typical]
        columns[at] = column
        return self.model.table_of(columns)


def steps_of(model: FittedEstimator, estimator: Estimator) -> Steps:
    """Take pipelines apart, one in the other too."""
    *transforms, part = _flat(estimator)
    transforms = [step for step in transforms if hasattr(step, "transform")]  # no sampler's
    if getattr(part, "_preprocessor", None) is not None:  # of HistGradientBoosting
        transforms.append(part._preprocessor)
    return Steps(model, transforms, part, time.perf_counter() + MAX_S)


def _flat(estimator: Estimator) -> list[Estimator]:
    estimator = unwrapped(estimator)
    estimator = getattr(estimator, "best_estimator_", estimator)  # of what has searched for it
    if isinstance(estimator, Pipeline) and type(estimator).__module__ in PIPELINES:
        return [part for _, step in estimator.steps for part in _flat(step)]
    return [estimator]


def _doubles(table: TableLike, part: Estimator) -> Array:
    if not hasattr(table, "to_numpy"):
        return dense(table).astype(np.float64)
    booster = getattr(part, "booster_", None) or getattr(part, "booster", None)
    coded = [name for name, dtype in table.dtypes.items() if dtype == "category"]
    known = getattr(booster, "pandas_categorical", None) or []  # LightGBM's
    for name, categories in zip(coded, known, strict=False):
        codes = table[name].cat.set_categories(categories).cat.codes.astype(np.float64)
        table = table.assign(**{name: codes.where(codes >= 0)})
    return np.asarray(table.to_numpy(dtype=np.float64, na_value=np.nan))

"""Columns of a table, and what an estimator tells of them: names, values, dtypes."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from serving.model.description import Categories, Label
from serving.model.estimator import Estimator

GENERATED = re.compile(r"([A-Za-z_]*)(\d+)")  # as libraries name the columns of an array


@dataclass(frozen=True, slots=True)
class Column:
    """What is told of a column; None is what is not.

    ``is_categorical`` says whether it had pandas' dtype ``category``, ``values`` which ones are
    known, in their order and of the ``dtype``. Another than those of a column that is ``closed`` is
    answered by chance. A column that is not ``known`` had no part in it.
    """

    is_categorical: bool | None = None
    values: tuple[Label, ...] | None = None
    dtype: str = "object"
    known: bool = True
    closed: bool = False

    @property
    def categories(self) -> Categories | None:
        """The dtype of such a column, if it is told."""
        if not self.is_categorical or self.values is None:
            return None
        return Categories(values=self.values, dtype=self.dtype)


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of a table, in order: their values, and which are said to be of dtype category.

    What comes after a step that makes others of their values gets them ``changed``.
    """

    values: Mapping[str, frozenset[Label]]
    said: Sequence[str] | None = None
    changed: bool = False

    @classmethod
    def of(cls, frame: pd.DataFrame, said: Sequence[str] | None) -> "Columns":
        """Take the columns of a frame whose values can be told apart."""
        values = {}
        for name, column in frame.items():
            with suppress(TypeError):  # lists are not hashable
                values[str(name)] = frozenset(column.dropna().unique().tolist())
        return cls(values, said)

    def selected(self, chosen: Any) -> "Columns":  # noqa: ANN401 (as ColumnTransformer has it)
        """Select some: by name, position, mask or slice."""
        chosen = [chosen] if isinstance(chosen, str | int) else chosen
        names = chosen
        if isinstance(chosen, slice) or not all(isinstance(name, str) for name in chosen):
            names = np.array(list(self.values), dtype=object)[chosen]
        return replace(
            self, values={name: self.values[name] for name in names if name in self.values}
        )

    def named(self, own: Sequence[str] | None) -> list[str]:
        """Give the names by which a part's own are known here: none, if they are not."""
        names = list(self.values)
        if own is None or (len(own) == len(names) and _made_up(own)):
            return names
        found = same_names(own, names)
        return found if set(found) <= set(names) else []


def same_names(own: Sequence[str], names: Sequence[str]) -> list[str]:
    """Give the names of a table for those of an estimator, where they are written otherwise.

    LightGBM has underscores for blanks, a ``ColumnTransformer`` puts a prefix before names.
    """
    ways = {name.replace(" ", "_"): name for name in names} | {name: name for name in names}
    return [ways.get(name, ways.get(name.rpartition("__")[2], name)) for name in own]


def names_in(estimator: Estimator) -> list[str] | None:
    """Give the names of the columns that an estimator was fitted on, unless it made them up."""
    for attribute in ("feature_names_in_", "feature_names_"):
        names: list[object] = []
        with suppress(Exception):  # other libraries raise anything, asked for an attribute
            names = list(getattr(estimator, attribute))
        if names and all(isinstance(name, str) for name in names) and not _made_up(names):
            return list(map(str, names))
    return None


def counted(estimator: Estimator) -> int | None:
    """Tell how many features an estimator says to take; CatBoost says 0, unpickled."""
    with suppress(Exception):
        return int(estimator.n_features_in_) or None
    return None


def is_named(estimator: Estimator) -> bool | None:
    """Tell whether an estimator was fitted on columns with names; None, if nothing tells."""
    if names_in(estimator) is not None:
        return True
    return None if counted(estimator) is None else False


def _made_up(names: Sequence[object]) -> bool:
    found = [GENERATED.fullmatch(str(name)) for name in names]
    parts = [match.groups() for match in found if match]
    numbers = [int(number) for _, number in parts]
    return (
        len(parts) == len(names)
        and len({prefix for prefix, _ in parts}) == 1
        and numbers == list(range(numbers[0], numbers[0] + len(names)))
    )

"""How libraries keep what they were told of a data frame's columns: names, categories, their order.

Each does so in a way of its own, and so do scikit-learn's encoders. A teller looks at one part of
an estimator, and raises what that raises where it is another thing.
"""

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from sklearn.feature_extraction import DictVectorizer

from serving.model.description import Categories, Label
from serving.model.estimator import Estimator

MAX_ASKED = 200  # rows, of which some come where the answer changes
GENERATED = re.compile(r"([A-Za-z_]*)(\d+)")  # as libraries name the columns of an array


@dataclass(frozen=True, slots=True)
class Column:
    """What is told of a column; None is what is not.

    ``is_categorical`` says whether it had pandas' dtype ``category``, ``values`` which ones are
    known, in their order and of the ``dtype``. A column that is not ``known`` had no part in it.
    """

    is_categorical: bool | None = None
    values: tuple[Label, ...] | None = None
    dtype: str = "object"
    known: bool = True

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


def _made_up(names: Sequence[object]) -> bool:
    found = [GENERATED.fullmatch(str(name)) for name in names]
    parts = [match.groups() for match in found if match]
    numbers = [int(number) for _, number in parts]
    return (
        len(parts) == len(names)
        and len({prefix for prefix, _ in parts}) == 1
        and numbers == list(range(numbers[0], numbers[0] + len(names)))
    )


def _lightgbm(part: Any, columns: Columns) -> Iterator[tuple[str, Column]]:  # noqa: ANN401
    """LightGBM keeps lists of categories, but not which columns they are of."""
    lists, own = part.pandas_categorical, part.feature_name()
    names = columns.named(own)
    if not lists:
        yield from ((name, Column(is_categorical=False)) for name in names)
        return
    infos = part.dump_model(num_iteration=1)["feature_infos"]
    split = {name for name, one in zip(names, own, strict=True) if infos.get(one, {}).get("values")}
    owners = list(islice(_owners(lists, names, columns, split), 2))
    if len(owners) == 1:
        told = dict(zip(owners[0], lists, strict=True))
        for name in names:
            values = told.get(name)
            dtype = "object" if values is None else str(pd.Index(values).dtype)
            yield name, Column(values is not None, values and tuple(values), dtype)


def _owners(
    lists: Sequence[Sequence[Label]], names: Sequence[str], columns: Columns, split: Set[str]
) -> Iterator[list[str]]:
    """Give the ways in which lists may be those of columns, in their order.

    A column's values are in its list, and by a category's the trees ``split`` as by no number's.
    """
    if not lists:
        if split.isdisjoint(names):
            yield []
        return
    texts = set(map(alike, lists[0]))
    for at, name in enumerate(names):
        fits = texts.issuperset(map(alike, columns.values[name]))
        if name in columns.said if columns.said is not None else fits:
            for rest in _owners(lists[1:], names[at + 1 :], columns, split):
                yield [name, *rest]
        if name in split:
            return


def alike(value: object) -> Label:
    """Give what is the same for a value and a text that says it: files may turn one into other."""
    text = str(value)
    try:
        return float(text)
    except ValueError:
        return text.lower() if text.lower() in {"true", "false"} else text


def _xgboost(part: Any, columns: Columns) -> Iterator[tuple[str, Column]]:  # noqa: ANN401
    kinds = part.feature_types
    kept = [values for _, values in part.get_categories(export_to_arrow=True).to_arrow()]
    for at, name in enumerate(columns.named(part.feature_names)):
        if kept[at] is not None:
            index = pd.Index(kept[at].to_pandas())
            yield name, Column(True, tuple(index.tolist()), str(index.dtype))
        elif kinds is None or kinds[at] != "c":
            yield name, Column(is_categorical=False)


def _catboost(part: Any, columns: Columns) -> Iterator[tuple[str, Column]]:  # noqa: ANN401
    """CatBoost keeps no categories, and takes them in whatever form they come."""
    categorical = set(part.get_cat_feature_indices())
    for at, name in enumerate(columns.named(part.feature_names_)):
        if at not in categorical:
            yield name, Column(is_categorical=False)
        elif all(isinstance(value, bool) for value in columns.values[name]):
            yield name, Column(values=_words_of_booleans(part, columns, name))


def _words_of_booleans(part: Any, columns: Columns, name: str) -> tuple[Label, ...] | None:  # noqa: ANN401
    """Give the words that a file has turned into booleans, if CatBoost knows those.

    It takes any other for a category that it has not seen, without a word.
    """
    rng = np.random.default_rng(0)
    drawn = {
        other: rng.choice(np.array(list(values), dtype=object), MAX_ASKED)
        for other, values in columns.values.items()
    }

    def told(word: str) -> Any:  # noqa: ANN401 (an array)
        held = pd.DataFrame({**drawn, name: word}).to_numpy(dtype=object)
        return part.predict(held, prediction_type="RawFormulaVal")

    ways = (("false", "true"), ("False", "True"), ("FALSE", "TRUE"))
    return next((way for way in ways if (told(way[0]) != told(way[1])).any()), None)


def _encoder(part: Any, columns: Columns) -> Iterator[tuple[str, Column]]:  # noqa: ANN401
    """scikit-learn's encoders keep the values of each column, if they get columns as they are."""
    if columns.changed:
        return
    for name, values in zip(columns.named(names_in(part)), part.categories_, strict=True):
        present = [value for value in values.tolist() if value == value and value is not None]
        yield name, Column(values=tuple(present))


def _dict_vectorizer(part: Any, columns: Columns) -> Iterator[tuple[str, Column]]:  # noqa: ANN401
    if not isinstance(part, DictVectorizer):
        return
    for name in columns.values:
        start = f"{name}{part.separator}"
        values = tuple(key[len(start) :] for key in part.vocabulary_ if key.startswith(start))
        if name not in part.vocabulary_:
            yield name, Column(values=values or None, known=bool(values))


TELLERS = (_lightgbm, _xgboost, _catboost, _encoder, _dict_vectorizer)

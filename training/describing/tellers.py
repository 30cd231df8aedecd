"""How libraries keep what they were told of a data frame's columns: names, categories, their order.

Each does so in a way of its own, and so do scikit-learn's encoders. A teller looks at one part of
an estimator, and raises what that raises where it is another thing.
"""

from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import accumulate, islice, pairwise
from typing import Any

import numpy as np
import pandas as pd
from sklearn.feature_extraction import DictVectorizer

from serving.model.description import Label
from training.describing.columns import Column, Columns, names_in

MAX_ASKED = 200  # rows, of which some come where the answer changes


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
    """XGBoost takes a category that it does not know for the next in its order, if there is one."""
    kinds = part.feature_types
    kept = [values for _, values in part.get_categories(export_to_arrow=True).to_arrow()]
    for at, name in enumerate(columns.named(part.feature_names)):
        if kept[at] is not None:
            index = uncut(kept[at], columns.values[name])
            if index is not None:
                yield name, Column(True, tuple(index.tolist()), str(index.dtype), closed=True)
        elif kinds is None or kinds[at] != "c":
            yield name, Column(is_categorical=False)


def uncut(kept: Any, seen: Iterable[Label]) -> pd.Index | None:  # noqa: ANN401 (an arrow array)
    """Give the categories that XGBoost keeps; None if it keeps them cut, and nothing tells how.

    It cuts the bytes of all texts by their numbers of letters, so from the first letter of several
    bytes on each is another text, and the last lack their ends. What it has ``seen``, in the order
    that pandas gives categories, tells what they were, if that is cut alike.
    """
    if str(kept.type) != "string":
        return pd.Index(kept.to_pandas())
    held = kept.cast("binary").to_pylist()
    texts = sorted(value for value in seen if isinstance(value, str))
    together = "".join(texts).encode()
    if held == [
        together[start:end] for start, end in pairwise(accumulate(map(len, texts), initial=0))
    ]:
        return pd.Index(texts)
    is_whole = bool(texts) and {text.encode() for text in texts} <= set(held)
    return pd.Index(kept.to_pandas()) if is_whole or b"".join(held).isascii() else None


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


def _interpret(part: Any, columns: Columns) -> Iterator[tuple[str, Column]]:  # noqa: ANN401
    """An EBM takes pandas' categories for nominal, numbers too, and booleans for continuous."""
    names = columns.named(part.feature_names_in_)
    for name, kind in zip(names, part.feature_types_in_, strict=True):
        if kind == "continuous":
            yield name, Column(is_categorical=False)


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


TELLERS = (_lightgbm, _xgboost, _catboost, _interpret, _encoder, _dict_vectorizer)

"""How much each feature contributes to predictions, by the explanations that will be served."""

import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serving.explaining.explanation import Explanation, NotAdditiveError
from serving.explaining.kept import read
from serving.model.description import Description, Explained
from serving.model.features import Row
from serving.model.outputs import Array, Prediction
from serving.model.store import LoadedModel
from training.card.importance import Bar, shown
from training.card.numbers import number

MAX_ROWS = 200
MAX_S = 10.0  # after which no other row is explained


@dataclass(frozen=True, slots=True)
class Contributions:
    """The mean size of each feature's contributions to the predictions of so many rows.

    There are bars for each target, the largest first; if there is one, its name is "".
    """

    rows: int
    bars: Mapping[str, Sequence[Bar]]


def contributions_of(
    model: LoadedModel, description: Description, kept: bytes | None, rows: Sequence[Row], seed: int
) -> Contributions | None:
    """Explain predictions of some rows as they will be; nothing, if that can't be done.

    ``model`` is what will answer, and ``kept`` what is kept for its explanations.
    """
    explained = description.explained
    if kept is None or not isinstance(explained, Explained):
        return None
    explanation = Explanation(read(io.BytesIO(kept)), explained, description, model)
    ends_s = time.perf_counter() + MAX_S
    sums: dict[str, Array] = {}
    count = 0
    for at in np.random.default_rng(seed).permutation(len(rows))[:MAX_ROWS].tolist():
        sizes = _sizes(explanation, rows[at], model)
        for target, of_target in sizes.items():
            sums[target] = sums.get(target, 0) + of_target
        count += bool(sizes)
        if time.perf_counter() > ends_s:
            break
    if not count:
        return None
    names = [feature.name for feature in description.features]
    return Contributions(count, {to: _bars(names, sum_ / count) for to, sum_ in sums.items()})


def _sizes(explanation: Explanation, row: Row, model: LoadedModel) -> Mapping[str, Array]:
    """Give the sizes of a row's contributions, by target; none, if it can't be explained."""
    prediction = _answer(model, row)
    if prediction is None:
        return {}
    try:
        results = [part() for part in explanation.parts(row)]
        attribution = explanation.attribution(row, prediction, results)
    except NotAdditiveError:
        return {}
    told = explanation.told(attribution, prediction, of_all=False)
    return {
        each.get("target", ""): np.abs(list(each["contributions"].values()))
        for each in (told if isinstance(told, list) else [told])
    }


def _answer(model: LoadedModel, row: Row) -> Prediction | None:
    try:
        return model.predict([row])[0]
    except Exception:  # estimators raise anything, and may not answer all rows
        return None


def _bars(names: Sequence[str], means: Array) -> Sequence[Bar]:
    longest = max(means.max(), np.finfo(float).tiny)
    return [
        Bar(names[at], number(means[at]), means[at] / longest)
        for at in np.argsort(-means, kind="stable")[: shown(len(names))]
    ]

"""Every estimator of scikit-learn that predicts, fitted on small data that suits it."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin, ClusterMixin, OutlierMixin, RegressorMixin, clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.utils import all_estimators, get_tags

# scikit-learn's own list of parameters under which its tests can fit each estimator.
from sklearn.utils._test_common.instance_generator import _construct_instances

from serving.model.description import INLIER, OUTLIER, label_key
from serving.model.estimator import Estimator
from training.fitting.estimators import task_of
from training.table.table import Table

ROWS = 60
CLOSE = 1e-12  # the contract's agreement of numbers
KINDS = (ClassifierMixin, RegressorMixin, ClusterMixin, OutlierMixin)

# What some need so that they predict for rows that they were not fitted on, and alike each time.
NEEDS: dict[str, dict[str, Any]] = {
    "DummyClassifier": {"strategy": "prior"},
    "LocalOutlierFactor": {"novelty": True},
}

# Classifiers, regressors, clusterers and outlier detectors that can't be served, and why.
_NO_PREDICT = "has no predict: it groups the rows that it is fitted on, and no others"
NOT_SERVED = dict.fromkeys(
    (
        "AgglomerativeClustering",
        "DBSCAN",
        "FeatureAgglomeration",
        "HDBSCAN",
        "OPTICS",
        "SpectralClustering",
    ),
    _NO_PREDICT,
)


@dataclass(frozen=True, slots=True)
class Specimen:
    """An unfitted estimator, with one target or several; the name tells it from all others."""

    name: str
    kind: str
    estimator: Estimator
    several: bool

    def fit(self) -> tuple[Estimator, Table]:
        """Fit it on data that suits it, and give it with the table."""
        table = self._table()
        labels = table.labels if len(table.target.columns) else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return clone(self.estimator).fit(table.frame.to_numpy(), labels), table

    def _table(self) -> Table:
        task = task_of(self.estimator) or "clustering"  # as that of a mixture
        tags = get_tags(self.estimator)
        frame, targets = _measures() if task == "regression" else _flowers()
        if not (tags.classifier_tags is None or tags.classifier_tags.multi_class):
            targets = targets[["is large"]]
        if tags.input_tags.categorical and tags.input_tags.positive_only:
            frame = frame.round().astype("int64")
        if tags.input_tags.one_d_array:
            frame = frame.iloc[:, :1]
        if task in {"clustering", "outlier-detection"}:
            targets = targets.iloc[:, :0]
        elif self.several:
            targets = targets.iloc[:, -2:]
        else:
            targets = targets.iloc[:, :1]
        kinds = {"i": "integer", "f": "number"}
        types: Any = {name: kinds[dtype.kind] for name, dtype in frame.dtypes.items()}
        return Table(frame=frame, types=types, target=targets, task=task, notes=())


def _measures() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Four measures of patients, and two positive numbers to predict."""
    data = load_diabetes(as_frame=True).frame.iloc[:ROWS]
    frame = data[["bmi", "bp", "s5", "s6"]] * 10
    target = data["target"] / 100
    return frame, pd.DataFrame({"progression": target, "another": 2 + target / 2 + frame["bmi"]})


def _flowers() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Four positive measures of flowers, their species, and two yes-or-no labels as numbers."""
    data = load_iris(as_frame=True)
    rows = np.random.default_rng(0).permutation(len(data.data))[:ROWS]
    frame = data.data.iloc[rows].reset_index(drop=True)
    species = data.target_names[data.target.iloc[rows]]
    large = np.where(frame.iloc[:, 2] > 4, "large", "small")
    return frame, pd.DataFrame(
        {
            "species": species.astype(object),
            "is large": large.astype(object),
            "is virginica": (species == "virginica").astype(int),
            "is long": (frame.iloc[:, 0] > 6).astype(int),
        }
    )


def specimens() -> Iterator[Specimen]:
    """Give all that predict for rows that they were not fitted on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind, made in all_estimators():
            if not (hasattr(made, "predict") or kind in NEEDS):
                continue
            for number, estimator in enumerate(_construct_instances(made)):
                estimator.set_params(**NEEDS.get(kind, {}))
                if "random_state" in estimator.get_params(deep=False):
                    estimator.set_params(random_state=0)
                tags = get_tags(estimator)
                if tags.input_tags.pairwise:  # its rows are distances to other rows
                    continue
                name = f"{kind}-{number}" if number else kind
                one = tags.target_tags.single_output
                if one:
                    yield Specimen(name, kind, estimator, several=False)
                labels = tags.classifier_tags is not None and tags.classifier_tags.multi_label
                if not one or tags.target_tags.multi_output or labels:
                    yield Specimen(f"{name} of several targets", kind, estimator, several=True)


def all_names() -> set[str]:
    """Name all classifiers, regressors, clusterers and outlier detectors of scikit-learn."""
    return {name for name, made in all_estimators() if issubclass(made, KINDS)}


def in_process(estimator: Estimator, table: Table, row: Any) -> dict[str, Any]:  # noqa: ANN401
    """Write down what an estimator says of one row, from scikit-learn's own methods alone."""
    targets = len(table.target.columns)
    value = np.ravel(estimator.predict([row])).tolist()
    answer: dict[str, Any] = {"prediction": value if targets > 1 else value[0]}
    if table.task == "outlier-detection":
        answer["prediction"] = {1: INLIER, -1: OUTLIER}[value[0]]
        answer["score"] = estimator.decision_function([row])[0]
    if table.task != "classification":
        return answer
    labels = [np.unique(column) for column in np.reshape(table.labels, (-1, targets)).T]
    keys = [[label_key(label) for label in column.tolist()] for column in labels]
    if hasattr(estimator, "predict_proba"):
        given = estimator.predict_proba([row])
        if targets == 1:
            answer["probabilities"] = dict(zip(keys[0], given[0], strict=True))
        elif isinstance(given, list):
            answer["probabilities"] = [
                dict(zip(k, p[0], strict=True)) for k, p in zip(keys, given, strict=True)
            ]
        else:
            answer["probabilities"] = [
                dict(zip(k, (1 - p, p), strict=True)) for k, p in zip(keys, given[0], strict=True)
            ]
    elif hasattr(estimator, "decision_function"):
        (given,) = estimator.decision_function([row])
        scores = [-given, given] if np.ndim(given) == 0 else list(given)
        answer["scores"] = dict(zip(keys[0], scores, strict=True)) if targets == 1 else scores
    return answer


def edge_rows(estimator: Estimator, table: Table, count: int = 6) -> list[list[float]]:
    """Give rows at which the label changes, two and two; between them halves the way no more."""
    rows = table.frame.to_numpy()
    rng = np.random.default_rng(1)
    found: list[list[float]] = []
    for _ in range(20 * count):
        low, high = rows[rng.integers(len(rows), size=2)]
        label = estimator.predict([low]).tolist()
        if len(found) == 2 * count or table.types[str(table.frame.columns[0])] != "number":
            break
        if estimator.predict([high]).tolist() == label:
            continue
        for _ in range(60):
            middle = low / 2 + high / 2
            if estimator.predict([middle]).tolist() == label:
                low = middle
            else:
                high = middle
        found += [low.tolist(), high.tolist()]
    return found


def assert_alike(got: Any, wanted: Any) -> None:  # noqa: ANN401 (any JSON)
    """Compare two answers: the same members and labels, and numbers within the tolerance."""
    if isinstance(wanted, dict):
        assert list(got) == list(wanted)
        for name, value in wanted.items():
            assert_alike(got[name], value)
    elif isinstance(wanted, list):
        assert len(got) == len(wanted)
        for one, other in zip(got, wanted, strict=True):
            assert_alike(one, other)
    elif isinstance(wanted, float):
        assert np.isclose(got, wanted, rtol=CLOSE, atol=CLOSE)
    else:
        assert (type(got), got) == (type(wanted), wanted)

"""Labels for codes: as a person names them, or asked for where the table has others."""

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.naive_bayes import GaussianNB

from serving.model.onnx_file import OnnxClassifier
from serving.model.wrapped import CodedLabels
from training.errors import TrainingError
from training.loading.labels import labelled

ROWS, CODES = load_iris(return_X_y=True)
CODED = GaussianNB().fit(ROWS, CODES)
NAMED = GaussianNB().fit(ROWS, np.array(["x", "y", "z"])[CODES])


@pytest.mark.parametrize(
    ("said", "held", "labels"),
    [
        (["z", "x", "y"], ["x", "y", "z"], ["z", "x", "y"]),
        (["z", "x", "y"], ["x"], ["z", "x", "y"]),
        (["3", "5", "7"], [3, 5, 7], [3, 5, 7]),
        (["3", "5", "7"], ["3", "5", "7"], ["3", "5", "7"]),
        (["0.5", "1", "2"], [0.5, 1.0, 2.0], [0.5, 1.0, 2.0]),
        (["3", "5", "7"], [], [3, 5, 7]),
        (["a", "5", "7"], [], ["a", "5", "7"]),
    ],
)
def test_codes_become_labels_of_the_tables_kind(said: Any, held: Any, labels: Any) -> None:  # noqa: ANN401
    found = labelled(CODED, said, held)

    assert isinstance(found, CodedLabels)
    assert found.classes_.tolist() == labels
    assert [type(one) for one in found.classes_.tolist()] == [type(one) for one in labels]
    assert (found.predict(ROWS) == np.array(labels, dtype=object)[CODED.predict(ROWS)]).all()


def test_two_codes_may_be_booleans() -> None:
    estimator = GaussianNB().fit(ROWS, (CODES > 0).astype(int))

    assert labelled(estimator, ["False", "true"], [False, True]).classes_.tolist() == [False, True]


@pytest.mark.parametrize("held", [[], [0, 1], [0, 1, 2], [False, True]])
def test_codes_that_the_table_has_too_stay(held: Any) -> None:  # noqa: ANN401
    assert labelled(CODED, [], held) is CODED


@pytest.mark.parametrize("held", [[], ["x", "y", "q"]])
def test_labels_of_its_own_stay(held: Any) -> None:  # noqa: ANN401
    assert labelled(NAMED, [], held) is NAMED


@pytest.mark.parametrize(
    ("estimator", "said", "held", "told"),
    [
        (CODED, [], ["x", "y", "z"], "in their order. If they were sorted: --classes x y z"),
        (CODED, [], [1, 2, 3], "the target has 3, but the estimator gives 0, 1, 2"),
        (CODED, [], [2, 3], "name the labels of these codes with --classes, in their order$"),
        (CODED, ["x", "y"], ["x", "y"], "--classes names 2 labels, but the estimator has 3"),
        (CODED, ["x", "x", "y"], ["x", "y"], "names a label twice"),
        (CODED, ["x", "y", "z"], ["x", "q"], "the target has 'q', which --classes does not name"),
        (NAMED, ["a", "b", "c"], [], "labels of its own, 'x', 'y', 'z'"),
        (OnnxClassifier(b"", "label", "scores"), [], ["x", "y"], "If they were sorted: .* x y"),
    ],
)
def test_what_does_not_fit_is_told(estimator: Any, said: Any, held: Any, told: str) -> None:  # noqa: ANN401
    with pytest.raises(TrainingError, match=told):
        labelled(estimator, said, held)


def test_a_graph_that_does_not_tell_the_order_of_its_labels_is_told_it() -> None:
    found = labelled(OnnxClassifier(b"", "label", "scores"), ["y", "x"], ["x", "y"])

    assert found.classes_.tolist() == ["y", "x"]

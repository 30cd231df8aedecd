"""ONNX files: understood by their inputs and outputs, asked as an estimator is, or refused."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx._supported_operators import sklearn_operator_name_map
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import LinearSVC

from serving.model.description import Task
from serving.model.onnx_file import OnnxModel
from training.errors import TrainingError
from training.fitting.estimators import task_of
from training.loading.onnx import read_onnx, settle

ROWS, CODES = load_iris(return_X_y=True)
ROWS = ROWS.astype(np.float32).astype(float)
LABELS = np.array(["x", "y", "z"], dtype=object)[CODES]
MATRIX = [("X", FloatTensorType([None, 4]))]
OPSET = {"": 18, "ai.onnx.ml": 3}


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convert by skl2onnx's own converters, whatever was compiled in this process before."""
    for kind, name in [*sklearn_operator_name_map.items()]:
        if name.startswith("Exact"):
            monkeypatch.setitem(sklearn_operator_name_map, kind, f"Sklearn{kind.__name__}")


def converted(folder: Path, estimator: Any, types: Any = None, **options: Any) -> Path:  # noqa: ANN401
    """Write a fitted estimator as skl2onnx does."""
    graph = to_onnx(
        estimator, initial_types=types or MATRIX, options=options or None, target_opset=OPSET
    )
    (folder / "a.onnx").write_bytes(graph.SerializeToString())
    return folder / "a.onnx"


def net(
    folder: Path,
    last: str,
    batch: Any = "n",  # noqa: ANN401
    outputs: int = 3,
    kind: int = TensorProto.FLOAT,
    **saved: Any,  # noqa: ANN401
) -> Path:
    """Write one layer of a network, as what exports such does."""
    weights = np.random.default_rng(0).normal(size=(4, outputs)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["in", "W"], ["h"]), helper.make_node(last, ["h"], ["out"])],
        "net",
        [helper.make_tensor_value_info("in", kind, [batch, 4])],
        [helper.make_tensor_value_info("out", kind, [batch, outputs])],
        [numpy_helper.from_array(weights, "W")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, folder / "a.onnx", **saved)
    return folder / "a.onnx"


def refusal(path: Path) -> str:
    """Give what tells why a file is not read."""
    with pytest.raises(TrainingError) as caught:
        read_onnx(path)
    return str(caught.value)


@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("labels", [CODES, CODES + 1, LABELS], ids=["codes", "others", "texts"])
@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        RandomForestClassifier(5, random_state=0),
        GaussianNB(),
        VotingClassifier([("a", LogisticRegression())], voting="soft", flatten_transform=False),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_labels_and_their_probabilities_are_those_of_the_graph(
    tmp_path: Path,
    estimator: Any,  # noqa: ANN401
    labels: Any,  # noqa: ANN401
    zipmap: bool,
) -> None:
    estimator.fit(ROWS, labels)

    loaded = read_onnx(converted(tmp_path, estimator, zipmap=zipmap))
    loaded = pickle.loads(pickle.dumps(loaded))  # noqa: S301

    assert task_of(loaded) == "classification"
    assert loaded.n_features_in_ == 4
    if "classes_" in dir(loaded) and loaded.labels != list(range(3)):
        assert loaded.classes_.tolist() == estimator.classes_.tolist()
    assert (loaded.predict(ROWS) == estimator.predict(ROWS)).mean() > 0.99
    assert np.abs(loaded.predict_proba(ROWS) - estimator.predict_proba(ROWS)).max() < 1e-5


def test_columns_of_all_kinds_have_an_input_each(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": ROWS[:, 0], "b": np.where(CODES > 0, "u", "v"), "c": CODES})
    encoder = ColumnTransformer([("e", OneHotEncoder(), ["b"])], remainder="passthrough")
    estimator = make_pipeline(encoder, LogisticRegression()).fit(frame, LABELS)
    one = [None, 1]
    types = [("a", FloatTensorType(one)), ("b", StringTensorType(one)), ("c", Int64TensorType(one))]

    loaded = read_onnx(converted(tmp_path, estimator, types))

    assert loaded.feature_names_in_.tolist() == ["a", "b", "c"]
    for rows in (frame, frame.to_numpy(object)):
        assert (loaded.predict(rows) == estimator.predict(frame)).all()
    for name, value, told in [
        ("b", None, "takes texts"),
        ("b", 1, "takes texts"),
        ("c", 0.5, "takes whole numbers"),
        ("c", None, "takes whole numbers"),
        ("a", "u", "takes numbers"),
        ("a", 1e300, "too large"),
    ]:
        with pytest.raises(ValueError, match=told):
            loaded.predict(frame.astype({name: object}).assign(**{name: [value] * 150}))
    with pytest.raises(ValueError, match="takes 3 columns, not 2"):
        loaded.predict(frame[["a", "b"]])


def test_scores_that_are_named_probabilities_are_given_as_scores(tmp_path: Path) -> None:
    estimator = LinearSVC().fit(ROWS, LABELS)
    loaded = read_onnx(converted(tmp_path, estimator))

    with pytest.raises(ValueError, match="are no probabilities"):
        loaded.predict_proba(ROWS)
    settle(loaded, "decision_function")

    assert not hasattr(loaded, "predict_proba")
    differences = loaded.decision_function(ROWS) - estimator.decision_function(ROWS)
    assert np.abs(differences).max() < 1e-4


@pytest.mark.parametrize(
    ("last", "outputs", "task", "own"),
    [
        ("Softmax", 3, None, "classification"),
        ("Sigmoid", 1, None, "regression"),
        ("Identity", 1, None, "regression"),
        ("Identity", 3, None, None),
        ("Identity", 3, "classification", "classification"),
        ("Identity", 3, "regression", "regression"),
    ],
)
def test_numbers_alone_are_what_they_look_like_or_what_is_said(
    tmp_path: Path, last: str, outputs: int, task: Task | None, own: Task | None
) -> None:
    loaded = read_onnx(net(tmp_path, last, outputs=outputs), task)

    assert task_of(loaded) == own
    answers = loaded.predict(ROWS)
    if own == "classification":
        assert loaded.classes_.tolist() == [0, 1, 2]
        assert (answers == loaded.decision_function(ROWS).argmax(axis=1)).all()
    assert answers.shape == ((150,) if own == "classification" or outputs == 1 else (150, 3))


def test_a_label_of_the_second_class_is_that_of_a_probability_above_one_half(
    tmp_path: Path,
) -> None:
    loaded = read_onnx(net(tmp_path, "Sigmoid", outputs=1), "classification")

    assert (loaded.predict(ROWS) == (loaded.predict_proba(ROWS)[:, 1] > 0.5)).all()


def test_a_graph_that_takes_one_row_is_asked_row_by_row(tmp_path: Path) -> None:
    alone = read_onnx(net(tmp_path, "Softmax", batch=1))
    together = read_onnx(net(tmp_path, "Softmax"))

    assert alone.predict_proba(ROWS).shape == (150, 3)
    assert np.abs(alone.predict_proba(ROWS) - together.predict_proba(ROWS)).max() < 1e-6


def test_what_finds_groups_does_not_tell_what_it_does(tmp_path: Path) -> None:
    estimator = KMeans(3, n_init=1).fit(ROWS)

    loaded = read_onnx(converted(tmp_path, estimator))

    assert type(loaded) is OnnxModel
    assert task_of(loaded) is None
    assert (loaded.predict(ROWS) == estimator.predict(ROWS)).all()


def test_several_targets_are_numbers_if_that_is_said(tmp_path: Path) -> None:
    estimator = LinearRegression().fit(ROWS[:, :2], ROWS[:, 2:])
    path = converted(tmp_path, estimator, [("X", FloatTensorType([None, 2]))])

    loaded = read_onnx(path, "regression")

    assert np.abs(loaded.predict(ROWS[:, :2]) - estimator.predict(ROWS[:, :2])).max() < 1e-4


def beside(path: Path, location: str) -> None:
    """Have a graph look for its weights elsewhere."""
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    path.write_bytes(model.SerializeToString())


def test_weights_are_read_from_a_graphs_own_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    way: dict[str, Any] = {"save_as_external_data": True, "location": "a.data", "size_threshold": 0}
    path = net(tmp_path / "own", "Softmax", **way)
    loaded = read_onnx(path)
    (tmp_path / "own" / "a.data").rename(tmp_path / "b.data")
    (tmp_path / "own" / "link").symlink_to(tmp_path / "b.data")

    assert pickle.loads(pickle.dumps(loaded)).predict(ROWS).shape == (150,)  # noqa: S301
    assert "can't be loaded as ONNX" in refusal(path)
    for location in ("../b.data", str(tmp_path / "b.data"), "link"):
        beside(path, location)
        assert "can't be loaded as ONNX" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04", None])
def test_what_is_no_graph_is_told(tmp_path: Path, content: bytes | None) -> None:
    path = net(tmp_path, "Softmax")
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)

    assert f"{path} can't be loaded as ONNX: " in refusal(path)


def test_what_is_for_no_table_is_told(tmp_path: Path) -> None:
    assert "8 rows at a time" in refusal(net(tmp_path, "Softmax", batch=8))
    for shape, told in [([None, 3, 8, 8], "no row of columns"), ([], "no row of columns")]:
        graph = helper.make_graph(
            [helper.make_node("Identity", ["in"], ["out"])],
            "images",
            [helper.make_tensor_value_info("in", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        onnx.save(model, tmp_path / "b.onnx")
        assert told in refusal(tmp_path / "b.onnx")

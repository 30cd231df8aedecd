"""Estimators that were fitted elsewhere: taken as they are, or refused in words."""

import pickle
import sys
from pathlib import Path
from typing import Any

import bentoml
import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from catboost import CatBoostRegressor
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBRegressor

from serving.model.estimator import FittedEstimator
from tests.unit.training.pets import HEADER, TABLE, frame, refusal, run, text_of, with_values
from tests.wire.estimators import Fragile
from training.describing.describe import rows_of
from training.table.table import to_table

pytestmark = pytest.mark.usefixtures("folder")

NUMBERS = ["size", "count"]
ADOPT = "--reference reference.csv --model mine"


@pytest.fixture
def reference() -> pd.DataFrame:
    """Write a table that stands for what an estimator was fitted on."""
    frame().to_csv("reference.csv", index=False)
    return frame()


def fitted(reference: pd.DataFrame) -> Any:  # noqa: ANN401 (scikit-learn has no type for it)
    """Fit a classifier on columns with names."""
    return LogisticRegression().fit(reference[NUMBERS], reference["kind"])


def test_a_skops_file_of_known_types_needs_no_trust(quick: None, reference: pd.DataFrame) -> None:
    estimator = fitted(reference)
    skops.io.dump(estimator, "mine.skops")

    description = run(f"{ADOPT}.skops --target kind")

    assert description.name == "mine"
    assert [feature.name for feature in description.features] == NUMBERS
    assert description.ignored == ("flag", "color", "kind")
    assert description.classes == ("cat", "dog")
    accuracy = estimator.score(reference[NUMBERS], reference["kind"])
    assert description.metrics.values["accuracy"] == accuracy
    assert description.metrics.dummy["accuracy"] < accuracy
    assert description.metrics.split == (
        "40 rows of the reference, which may be those it was fitted on"
    )


def test_a_pickle_needs_trust_and_answers_as_before(
    quick: None, reference: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    estimator = fitted(reference)
    Path("mine.pkl").write_bytes(pickle.dumps(estimator))

    message = refusal(f"{ADOPT}.pkl --target kind", capsys)
    assert "loading a pickle runs whatever code is in it: add --trust" in message
    description = run(f"{ADOPT}.pkl --target kind --trust")

    model = FittedEstimator(bentoml.sklearn.load_model("mine:latest"), description)
    predictions = model.predict(rows_of(to_table(reference[[*NUMBERS, "kind"]], ["kind"])))
    assert [found and found.value for found in predictions] == list(
        estimator.predict(reference[NUMBERS])
    )


def test_without_a_target_nothing_is_scored(
    quick: None, reference: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    skops.io.dump(fitted(reference), "mine.skops")

    description = run(f"{ADOPT}.skops")

    assert description.metrics.split == "none: the reference has no target"
    assert description.metrics.values == {}
    assert description.targets == ("y",)
    assert description.classes == ("cat", "dog")
    assert "scores" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("estimator", "task"),
    [
        (KMeans(2, n_init=1), "clustering"),
        (IsolationForest(n_estimators=5), "outlier-detection"),
    ],
)
def test_what_learns_no_target_is_adopted_by_its_features(
    quick: None,
    reference: pd.DataFrame,
    estimator: Any,  # noqa: ANN401
    task: str,
) -> None:
    joblib.dump(estimator.fit(reference[NUMBERS]), "mine.pkl")

    description = run(f"{ADOPT}.pkl --trust")

    assert description.task == task
    assert description.metrics.values
    assert description.metrics.split.startswith("40 rows of the reference")
    assert description.ignored == ("flag", "color", "kind")


def test_several_targets_are_named_by_the_reference_or_numbered(
    quick: None, reference: pd.DataFrame
) -> None:
    estimator = LinearRegression().fit(reference[["flag"]], reference[NUMBERS])
    joblib.dump(estimator, "mine.pkl")

    assert run(f"{ADOPT}.pkl --trust --target size count").targets == ("size", "count")
    assert run(f"{ADOPT}.pkl --trust").targets == ("y0", "y1")


def test_several_quantiles_of_one_target_are_served_and_not_scored(
    quick: None, reference: pd.DataFrame
) -> None:
    levels = {"objective": "reg:quantileerror", "quantile_alpha": [0.25, 0.75]}
    estimator = XGBRegressor(n_estimators=3, n_jobs=1, **levels)
    joblib.dump(estimator.fit(reference[["count"]], reference["size"]), "mine.pkl")

    description = run(f"{ADOPT}.pkl --trust --target size")

    assert description.targets == ("size at 0.25", "size at 0.75")
    assert "size" in description.ignored
    assert description.metrics.split == "none: the estimator gives 2 numbers for the one target"
    model = FittedEstimator(estimator, description)
    (prediction,) = model.predict([(3,)])
    assert prediction is not None
    assert prediction.value == estimator.predict([[3]])[0].tolist()


def test_a_regressor_with_an_empty_array_of_classes_is_adopted(
    quick: None, reference: pd.DataFrame
) -> None:
    estimator = CatBoostRegressor(n_estimators=3, verbose=0, allow_writing_files=False)
    joblib.dump(estimator.fit(reference[["count"]], reference["size"]), "mine.pkl")

    assert run(f"{ADOPT}.pkl --trust --target size").task == "regression"


def test_a_reference_is_read_as_the_table_of_a_training(
    quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("pets.csv").write_text("x;y;z\n" + "".join(f"{n}.500,5;{n % 7};?\n" for n in range(1, 41)))
    numbers = pd.DataFrame({"x": [n * 1000 + 500.5 for n in range(1, 41)]})
    joblib.dump(LinearRegression().fit(numbers, [n % 7 for n in range(1, 41)]), "mine.joblib")

    command = "--model mine.joblib --reference pets.csv --trust --target y --missing ?"
    (feature,) = run(command).features

    assert feature.model_dump()["trained"]["maximum"] == 40500.5
    told = capsys.readouterr().err
    assert "column 'x': ',' is read as the decimal mark" in told
    assert "'z'" not in told


def test_columns_in_another_order_are_put_in_the_estimators(
    quick: None, reference: pd.DataFrame
) -> None:
    skops.io.dump(fitted(reference), "mine.skops")
    expected = run(f"{ADOPT}.skops --target kind")
    reference[reversed(HEADER)].to_csv("reference.csv", index=False)

    description = run(f"{ADOPT}.skops --target kind")

    assert description.features == expected.features
    assert description.metrics == expected.metrics
    assert description.training == expected.training


def test_a_reference_that_lacks_columns_is_refused(
    reference: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    skops.io.dump(fitted(reference), "mine.skops")
    reference[["color", "size", "kind"]].to_csv("reference.csv", index=False)

    message = refusal(f"{ADOPT}.skops --target kind", capsys)

    assert "reference.csv lacks what the estimator needs: count" in message


def test_a_reference_of_columns_that_can_not_be_served_is_refused(
    reference: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    skops.io.dump(fitted(reference), "mine.skops")
    reference.assign(count=np.nan).to_csv("reference.csv", index=False)

    message = refusal(f"{ADOPT}.skops --target kind", capsys)

    assert "the estimator needs columns that can't be served: ['count']" in message
    assert "column 'count' is left out: it has no values" in message


def test_without_names_the_number_of_features_has_to_be_right(
    quick: None, reference: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    unnamed = LogisticRegression().fit(reference[NUMBERS].to_numpy(), reference["kind"])
    skops.io.dump(unnamed, "mine.skops")

    message = refusal(f"{ADOPT}.skops --target kind", capsys)

    assert "the estimator takes 2 features, but reference.csv has 4 beside the target" in message
    description = run(f"{ADOPT}.skops --target kind --drop flag color")
    assert [feature.name for feature in description.features] == NUMBERS


@pytest.mark.parametrize("option", ["--target", "--drop"])
def test_a_column_that_the_reference_does_not_have_is_told(
    reference: pd.DataFrame, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    skops.io.dump(fitted(reference), "mine.skops")

    message = refusal(f"{ADOPT}.skops {option} kinds", capsys)

    assert f"there is no column 'kinds' for {option}: did you mean 'kind'?" in message


def test_a_target_of_other_classes_than_the_estimators_is_told(
    reference: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    skops.io.dump(fitted(reference), "mine.skops")

    message = refusal(f"{ADOPT}.skops --target color", capsys)

    assert "no value of 'color' is a class of the estimator" in message


UNUSABLE: dict[str, tuple[Any, str]] = {
    "a transformer": (
        OneHotEncoder().fit([["a"], ["b"]]),
        "holds a OneHotEncoder without predict",
    ),
    "a pipeline that is not fitted": (
        make_pipeline(StandardScaler(), LogisticRegression()),
        "the Pipeline in mine.pkl is not fitted",
    ),
    "a forest of several targets": (
        RandomForestClassifier(2).fit([[1, 2], [3, 4]], [["a", "b"], ["b", "a"]]),
        "predict gave an array of shape",
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_can_not_be_served_is_told(
    reference: pd.DataFrame, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    held, words = UNUSABLE[name]
    joblib.dump(held, "mine.pkl")

    assert words in refusal(f"{ADOPT}.pkl --trust --target kind --drop flag color", capsys)


def test_a_truncated_file_is_told(
    reference: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    estimator = fitted(reference)
    for ending, dump in ((".pkl", joblib.dump), (".skops", skops.io.dump)):
        dump(estimator, f"mine{ending}")
        whole = Path(f"mine{ending}").read_bytes()
        Path(f"mine{ending}").write_bytes(whole[: len(whole) // 2])

        assert "can't be loaded: " in refusal(f"{ADOPT}{ending} --trust", capsys)


def test_a_broken_reference_is_told(
    reference: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    skops.io.dump(fitted(reference), "mine.skops")
    command = "--model mine.skops --reference"
    Path("few.csv").write_text(text_of(TABLE[:3]))
    Path("mixed.csv").write_text(
        with_values("count", ["about 5", *(line[1] for line in TABLE[1:])])
    )

    assert "there is no file none.csv" in refusal(f"{command} none.csv", capsys)
    assert "3 rows are too few" in refusal(f"{command} few.csv", capsys)
    assert "the estimator does not answer the rows of the table" in refusal(
        f"{command} mixed.csv --target kind", capsys
    )


def foreign(monkeypatch: pytest.MonkeyPatch, file: str, source: str) -> None:
    """Make an estimator whose module is known in this process, and save it."""
    module = type(sys)("elsewhere")
    monkeypatch.setitem(sys.modules, "elsewhere", module)
    exec(source, module.__dict__)  # noqa: S102 (this file's own code)
    joblib.dump(module.Estimator(), file)


BY_POSITION = """
class Estimator:
    def predict(self, rows):
        return ["cat" if row[0] > 20 else "dog" for row in rows]
"""
LIKE_SCIKIT_LEARN = """
class Estimator:
    classes_ = ["cat", "dog"]
    def fit(self, rows, labels):
        return self
    def predict(self, rows):
        return ["cat" if row[0] > 20 else "dog" for row in rows]
"""
POSITIONS = "--trust --target kind --drop flag color"


@pytest.mark.parametrize("source", [BY_POSITION, LIKE_SCIKIT_LEARN])
def test_whatever_predicts_is_adopted_if_its_task_is_said(
    quick: None,
    reference: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    foreign(monkeypatch, "mine.pkl", source)

    command = f"{ADOPT}.pkl {POSITIONS}"
    assert "the estimator does not tell what it does: say it with --task" in refusal(
        command, capsys
    )
    description = run(f"{command} --task classification")

    assert description.classes == ("cat", "dog")
    assert description.asked.scored_by is None


@pytest.mark.slow
def test_an_estimator_whose_module_is_nowhere_can_not_be_served(
    reference: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign(monkeypatch, "mine.pkl", BY_POSITION)

    message = refusal(f"{ADOPT}.pkl {POSITIONS} --task classification", capsys)

    assert "the estimator can't be loaded in another process, as serving does it" in message
    assert "No module named 'elsewhere'" in message


@pytest.mark.slow
def test_files_of_this_folder_that_a_model_needs_are_named(
    reference: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    estimator = LogisticRegression().fit(reference[NUMBERS].to_numpy(), reference["kind"])
    joblib.dump(Fragile(estimator), "mine.pkl")

    run(f"{ADOPT}.pkl {POSITIONS} --task classification")

    printed = capsys.readouterr()
    assert "the model needs tests/wire/estimators.py: bring it along with --code\n" in printed.err
    assert "needs   " not in printed.out


def test_a_graph_is_adopted_with_the_labels_of_its_codes(
    quick: None,
    reference: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("training.loading.onnx.survive", lambda *_: None)
    codes = (reference["kind"] == "dog").astype(int)
    estimator = LogisticRegression().fit(reference[NUMBERS].to_numpy(), codes)
    types = [("X", FloatTensorType([None, 2]))]
    Path("mine.onnx").write_bytes(to_onnx(estimator, initial_types=types).SerializeToString())

    command = f"{ADOPT}.onnx --target kind --drop flag color"
    assert "If they were sorted: --classes cat dog" in refusal(command, capsys)
    description = run(f"{command} --classes cat dog")

    assert description.is_graph
    assert description.classes == ("cat", "dog")
    model = FittedEstimator(bentoml.sklearn.load_model("mine:latest"), description)
    predictions = model.predict(rows_of(to_table(reference[[*NUMBERS, "kind"]], ["kind"])))
    assert [found and found.value for found in predictions] == [
        ("cat", "dog")[code] for code in estimator.predict(reference[NUMBERS].to_numpy())
    ]


def test_a_model_of_the_store_is_adopted_under_its_name(
    quick: None, reference: pd.DataFrame
) -> None:
    estimator = LogisticRegression().fit(reference[NUMBERS], reference["kind"])
    bentoml.sklearn.save_model("store_of.mine", estimator)

    description = run("--model bento:store_of.mine --reference reference.csv --target kind")

    assert description.name == "store_of.mine"

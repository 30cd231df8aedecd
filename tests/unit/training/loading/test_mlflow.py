"""Models of MLflow: which is found, what of it is believed, and what is refused in words."""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost
import yaml  # type: ignore[import-untyped]

from tests.unit.training.loading.mlflow_folders import about, fitted, of_sklearn, people, write
from training.errors import TrainingError
from training.loading.code import Code
from training.loading.fitted import Brought, load_fitted
from training.loading.folders import name_of
from training.loading.signature import Sample

# A list of lists of lists, each of nine times the one before.
BOMB = "\n".join(
    ["a: &a [x]", *(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]" for a, b in pairwise("abcdefghijkl"))]
)


@pytest.fixture
def code() -> Iterator[Code]:
    """Let modules be brought along."""
    with Code() as brought:
        yield brought


def load(path: Path, code: Code, *, trust: bool = False) -> Brought:
    """Load as `--model` does."""
    return load_fitted(str(path), trust=trust, code=code)


def refusal(path: Path, code: Code, *, trust: bool = False) -> str:
    """Load what has to be refused."""
    with pytest.raises(TrainingError) as caught:
        load(path, code, trust=trust)
    return str(caught.value)


def test_a_folder_of_skops_needs_no_trust_and_shows_what_it_takes(
    tmp_path: Path, code: Code
) -> None:
    brought = load(write(tmp_path), code)

    assert brought.estimator.classes_.tolist() == ["no", "yes"]
    assert isinstance(brought.sample, Sample)
    assert [str(dtype) for dtype in brought.sample.frame.dtypes] == ["Int64", "Float64"]


def test_a_pickle_is_a_pickle_wherever_it_lies(tmp_path: Path, code: Code) -> None:
    flavours = of_sklearn(pickled_model="model.pkl", serialization_format="cloudpickle")
    folder = write(tmp_path, about(flavors=flavours))

    assert "runs whatever code is in it: add --trust" in refusal(folder, code)
    assert load(folder, code, trust=True).estimator.n_features_in_ == 2


def test_types_that_the_folder_itself_trusts_are_not_trusted(tmp_path: Path, code: Code) -> None:
    estimator = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(*people())
    flavours = {
        "lightgbm": {
            "data": "model.skops",
            "model_class": "lightgbm.sklearn.LGBMClassifier",
            "serialization_format": "skops",
            "skops_trusted_types": ["lightgbm.sklearn.LGBMClassifier", "lightgbm.basic.Booster"],
        }
    }
    folder = write(tmp_path, about(flavors=flavours), estimator)

    assert "types that skops does not know to be harmless" in refusal(folder, code)
    found = load(folder, code, trust=True).estimator
    assert found.predict(people()[0]).tolist() == estimator.predict(people()[0]).tolist()


def test_files_of_other_libraries_are_read_as_such(tmp_path: Path, code: Code) -> None:
    frame, member = people()
    codes = (member == "yes").astype(int)
    quiet: dict[str, Any] = {"verbose": 0, "allow_writing_files": False}
    estimators = {
        "xgboost": xgboost.XGBClassifier(n_estimators=3).fit(frame, codes),
        "lightgbm": lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(frame, codes).booster_,
        "catboost": catboost.CatBoostClassifier(iterations=3, **quiet).fit(frame, codes),
    }
    for (name, estimator), file in zip(
        estimators.items(), ("model.xgb", "model.lgb", "model.cb"), strict=True
    ):
        folder = write(tmp_path / name, about(flavors={name: {"data": file, "code": None}}))
        ubj = {"xgboost": "ubj"}.get(name)
        if ubj:
            Path(folder, file).write_bytes(estimator.get_booster().save_raw(ubj))
        else:
            estimator.save_model(folder / file)

        found = load(folder, code).estimator

        assert found.classes_.tolist() == [0, 1]
        expected = estimator.predict(frame)
        if expected.dtype == float:  # a booster of LightGBM gives the probability
            expected = (expected > 0.5).astype(int)
        assert np.array_equal(np.ravel(found.predict(frame.to_numpy())), expected)


def test_a_model_is_found_in_runs_of_both_versions(tmp_path: Path, code: Code) -> None:
    second = tmp_path / "second" / "run"
    write(second / "artifacts" / "deep" / "model")
    third = tmp_path / "third"
    model = third / "models" / "m-1"
    write(model / "artifacts")
    (model / "meta.yaml").write_text("name: churn\n")
    output = third / "run" / "outputs" / "m-1"
    output.mkdir(parents=True)

    for path in (second, third, third / "run", output, model, model / "artifacts" / "MLmodel"):
        assert load(path, code).estimator.n_features_in_ == 2
    assert [name_of(str(path)) for path in (second, third / "run", model)] == [
        "model",
        "churn",
        "churn",
    ]


def test_of_several_models_one_has_to_be_named(tmp_path: Path, code: Code) -> None:
    write(tmp_path / "artifacts" / "one")
    write(tmp_path / "artifacts" / "two")

    told = refusal(tmp_path, code)

    assert "has 2 models: name one of\n" in told
    assert told.endswith(f"{tmp_path / 'artifacts' / 'two'} (two)")


def test_what_is_no_model_is_refused(tmp_path: Path, code: Code) -> None:
    (tmp_path / "model.zip").write_bytes(b"PK")

    assert "none in it has a file MLmodel" in refusal(tmp_path, code)
    assert "there is no file" in refusal(tmp_path / "nothing", code)
    assert "unpack it" in refusal(tmp_path / "model.zip", code)
    assert "none in it has a file MLmodel" in refusal(tmp_path / "MLmodel", code)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("flavors: [", "can't be read as YAML"),
        ("flavors: !!python/object/apply:os.system ['touch harm']", "can't be read as YAML"),
        ("[" * 1000, "can't be read as YAML"),
        ("just words", "holds no object"),
        ("\x00", "can't be read as YAML"),
        (f"{BOMB}\nflavors: {{sklearn: *l}}", "more than 100000 values, as aliases are counted"),
        ("flavors: &a {sklearn: *a}", "more than 100000 values, as aliases are counted"),
        ("flavors: {a: &a {b: [1]}, c: *a}", "has the flavour a, c: those that are read"),
        ("flavors: 3", "names no flavors"),
        ("flavors: {sklearn: 3}", "has the flavour sklearn: those that are read"),
        ("flavors: {python_function: {}}", "has the flavour python_function alone"),
        ("flavors: {pytorch: {}, python_function: {}}", "has the flavour pytorch: those that are"),
        ("flavors: {sklearn: {}}", "names no file where one is expected"),
        ("flavors: {sklearn: {pickled_model: [1]}}", "names no file where one is expected"),
        ("flavors: {sklearn: {pickled_model: gone.pkl}}", "'gone.pkl', which is not there"),
        ("flavors: {sklearn: {pickled_model: .}}", "is no file"),
        (
            "flavors: {sklearn: {pickled_model: model.pkl, serialization_format: dill}}",
            "is written by dill; what is read is pickle, cloudpickle, skops",
        ),
    ],
)
def test_a_wrong_file_is_refused_in_words(tmp_path: Path, code: Code, text: str, told: str) -> None:
    folder = write(tmp_path / "model")
    (folder / "MLmodel").write_text(text, "utf-8")

    assert told in refusal(folder, code, trust=True)
    assert not Path("harm").exists()


@pytest.mark.parametrize("name", ["../out.pkl", "/etc/hostname", "link.pkl", "circle", "a\\b"])
def test_nothing_outside_of_the_folder_is_read(tmp_path: Path, code: Code, name: str) -> None:
    (tmp_path / "out.pkl").write_bytes(b"")
    folder = write(tmp_path / "model", about(flavors=of_sklearn(pickled_model=name)))
    os.symlink(tmp_path / "out.pkl", folder / "link.pkl")
    os.symlink("circle", folder / "circle")

    told = refusal(folder, code, trust=True)

    assert "leads out of its folder" in told or "which is no file of its folder" in told


def test_another_version_of_scikit_learn_is_refused_before_it_is_loaded(
    tmp_path: Path, code: Code
) -> None:
    flavours = of_sklearn(sklearn_version="1.2.0", pickled_model="model.pkl")
    folder = write(tmp_path, about(flavors=flavours))
    (folder / "model.pkl").write_bytes(b"no pickle")

    assert "was fitted with scikit-learn 1.2.0, but" in refusal(folder, code, trust=True)


def test_byte_code_of_another_python_is_refused(tmp_path: Path, code: Code) -> None:
    flavours = of_sklearn(serialization_format="cloudpickle", pickled_model="model.pkl")
    flavours["python_function"] = {"python_version": "3.8.1"}
    folder = write(tmp_path, about(flavors=flavours))
    assert load(folder, code, trust=True).estimator  # it has none

    (folder / "model.pkl").write_bytes(b"\x80\x04ccloudpickle.cloudpickle\n_make_function\n.")

    assert "saved by cloudpickle with Python 3.8.1" in refusal(folder, code, trust=True)


def test_other_versions_are_told_and_what_is_missing_with_how_to_install_it(
    tmp_path: Path, code: Code, capsys: pytest.CaptureFixture[str]
) -> None:
    flavours = of_sklearn(serialization_format="pickle", pickled_model="model.pkl")
    folder = write(tmp_path, about(flavors=flavours))
    (folder / "requirements.txt").write_text(
        "mlflow==2.1\nnumpy==1.0\nnot-there==3.1  # so\n--index-url x\nscipy\nxgboost==0.9\n"
    )
    (folder / "model.pkl").write_bytes(b"cnot_there\nThing\n.")

    told = refusal(folder, code, trust=True)

    assert told.endswith("it names not-there==3.1: pip install that")
    heard = capsys.readouterr().err
    assert "numpy 1.0, " in heard
    assert "not-there 3.1, not installed here" in heard
    assert f"xgboost 0.9, {xgboost.__version__} here" in heard
    assert "mlflow" not in heard


def test_code_of_the_model_comes_along(tmp_path: Path, code: Code) -> None:
    folder = write(tmp_path, about(flavors=of_sklearn(code="code")))
    (folder / "code" / "whole_package").mkdir(parents=True)
    (folder / "code" / "whole_package" / "__init__.py").write_text("ONE = 1\n")
    (folder / "code" / "my_own_steps.py").write_text("TWO = 2\n")
    (folder / "code" / "notes.txt").write_text("no code")

    load(folder, code)

    assert set(code.files) == {"my_own_steps.py", "whole_package/__init__.py"}
    (folder / "MLmodel").write_text(yaml.safe_dump(about(flavors=of_sklearn(code="../x"))))
    assert "leads out of its folder" in refusal(folder, code)


def test_an_unfitted_estimator_is_refused(tmp_path: Path, code: Code) -> None:
    estimator = type(fitted())()

    assert "is not fitted" in refusal(write(tmp_path, estimator=estimator), code)

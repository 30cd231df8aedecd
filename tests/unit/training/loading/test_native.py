"""Files that XGBoost, LightGBM and CatBoost write: taken as they read them, or refused in words."""

import pickle
import sys
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.datasets import load_iris

from training.errors import TrainingError
from training.fitting.estimators import task_of
from training.loading.code import Code
from training.loading.fitted import load_fitted
from training.loading.native import read_native

ROWS, CODES = load_iris(return_X_y=True)
HELD = xgboost.DMatrix(ROWS, CODES)
QUIET = {"verbose": 0, "allow_writing_files": False, "iterations": 3}


def boosted(objective: str, rounds: int = 3, **params: object) -> xgboost.Booster:
    """Fit a booster of XGBoost, as its own interface does."""
    return xgboost.train({"objective": objective, **params}, HELD, rounds)


def refusal(path: Path) -> str:
    """Give what tells why a file is not read."""
    with pytest.raises(TrainingError) as caught:
        read_native(path)
    return str(caught.value)


@pytest.mark.parametrize("ending", ["json", "ubj"])
def test_what_a_wrapper_of_xgboost_has_saved_is_that_wrapper(tmp_path: Path, ending: str) -> None:
    fitted = xgboost.XGBClassifier(n_estimators=50, early_stopping_rounds=1, n_jobs=1)
    fitted.fit(ROWS, CODES, eval_set=[(ROWS[::3], CODES[::3])], verbose=False)
    assert fitted.best_iteration + 1 < fitted.get_booster().num_boosted_rounds()
    fitted.save_model(tmp_path / f"a.{ending}")

    loaded = read_native(tmp_path / f"a.{ending}")

    assert type(loaded) is xgboost.XGBClassifier
    assert (loaded.predict_proba(ROWS) == fitted.predict_proba(ROWS)).all()


@pytest.mark.parametrize(
    ("objective", "params", "task"),
    [
        ("binary:logistic", {}, "classification"),
        ("binary:hinge", {}, "classification"),
        ("binary:logitraw", {}, "regression"),
        ("multi:softprob", {"num_class": 3}, "classification"),
        ("multi:softmax", {"num_class": 3}, "classification"),
        ("reg:squarederror", {}, "regression"),
        ("reg:squarederror", {"booster": "gblinear"}, "regression"),
        ("count:poisson", {}, "regression"),
        ("rank:pairwise", {}, None),
    ],
)
def test_a_booster_of_xgboost_answers_as_it_does_itself(
    tmp_path: Path, objective: str, params: dict[str, object], task: str | None
) -> None:
    labels = (CODES > 0) if objective.startswith("binary:") else CODES
    booster = xgboost.train({"objective": objective, **params}, xgboost.DMatrix(ROWS, labels), 3)
    booster.save_model(tmp_path / "a.ubj")

    loaded = read_native(tmp_path / "a.ubj")
    answers = booster.predict(HELD)

    assert task_of(loaded) == task
    if objective in {"binary:logistic", "multi:softprob"}:
        given = loaded.predict_proba(ROWS)
        assert ((given[:, 1] if answers.ndim == 1 else given) == answers).all()
        assert (loaded.predict(ROWS) == given.argmax(axis=1)).all()
    else:
        assert (loaded.predict(ROWS) == answers).all()


def test_all_rounds_of_a_booster_that_was_stopped_early_answer_as_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = [(xgboost.DMatrix(ROWS[::3], np.arange(50) % 3), "held")]
    params = {"objective": "multi:softprob", "num_class": 3}
    booster = xgboost.train(
        params, HELD, 50, evals=held, early_stopping_rounds=1, verbose_eval=False
    )
    booster.save_model(tmp_path / "a.json")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(booster))

    for loaded in (
        read_native(tmp_path / "a.json"),
        load_fitted(str(tmp_path / "a.pkl"), trust=True, code=Code()).estimator,
    ):
        assert (loaded.predict_proba(ROWS) == booster.predict(HELD)).all()
    assert capsys.readouterr().err.count(f"its best round is {booster.best_iteration}") == 2
    assert booster.attr("best_iteration") is not None  # the person's own stays as it was


@pytest.mark.parametrize(
    ("params", "task"),
    [
        ({"objective": "binary"}, "classification"),
        ({"objective": "multiclass", "num_class": 3}, "classification"),
        ({"objective": "multiclassova", "num_class": 3}, "classification"),
        ({"objective": "regression"}, "regression"),
        ({"objective": "poisson"}, "regression"),
        ({"objective": "cross_entropy"}, "regression"),
    ],
)
def test_a_text_of_lightgbm_answers_as_its_booster(
    tmp_path: Path, params: dict[str, object], task: str
) -> None:
    labels = CODES if "num_class" in params else (CODES > 0).astype(float)
    booster = lightgbm.train({**params, "verbose": -1}, lightgbm.Dataset(ROWS, labels), 5)
    booster.save_model(tmp_path / "a.txt")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(booster))

    for loaded in (
        read_native(tmp_path / "a.txt"),
        load_fitted(str(tmp_path / "a.pkl"), trust=True, code=Code()).estimator,
    ):
        loaded = pickle.loads(pickle.dumps(loaded))  # noqa: S301
        answers = booster.predict(ROWS)
        assert task_of(loaded) == task
        if task == "regression":
            assert (loaded.predict(ROWS) == answers).all()
            continue
        given = loaded.predict_proba(ROWS)
        assert ((given[:, 1] if answers.ndim == 1 else given) == answers).all()
        assert (loaded.predict(ROWS) == given.argmax(axis=1)).all()
        assert loaded.classes_.tolist() == list(range(given.shape[1]))


def test_a_booster_of_lightgbm_knows_its_columns_and_the_trees_that_were_saved(
    tmp_path: Path,
) -> None:
    frame = pd.DataFrame(ROWS, columns=list("abcd"))
    held = lightgbm.Dataset(frame, CODES > 0)
    booster = lightgbm.train(
        {"objective": "binary", "verbose": -1},
        held,
        300,
        valid_sets=[lightgbm.Dataset(frame[::3], np.arange(50) % 2)],
        callbacks=[lightgbm.early_stopping(1, verbose=False)],
    )
    booster.save_model(tmp_path / "a.txt")

    loaded = read_native(tmp_path / "a.txt")

    assert loaded.booster.num_trees() == booster.best_iteration
    assert (loaded.predict_proba(frame)[:, 1] == booster.predict(frame)).all()
    assert loaded.feature_names_in_.tolist() == list("abcd")
    assert loaded.n_features_in_ == 4


@pytest.mark.parametrize("labels", [CODES, CODES == 1, np.array(["x", "y", "z"])[CODES]], ids=type)
def test_catboost_keeps_labels_of_every_kind(tmp_path: Path, labels: Any) -> None:  # noqa: ANN401
    fitted = catboost.CatBoostClassifier(**QUIET).fit(ROWS, labels)
    fitted.save_model(str(tmp_path / "a.cbm"))

    loaded = read_native(tmp_path / "a.cbm")

    assert loaded.classes_.tolist() == np.unique(labels).tolist()
    assert (loaded.predict(ROWS) == fitted.predict(ROWS)).all()
    assert (loaded.predict_proba(ROWS) == fitted.predict_proba(ROWS)).all()


def test_catboost_keeps_categories_and_texts(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": ROWS[:, 0], "b": np.array(["u", "v"])[CODES % 2]})
    frame["c"] = [f"word{code} other" for code in CODES]
    fitted = catboost.CatBoostRegressor(**QUIET, cat_features=["b"], text_features=["c"])
    fitted.fit(frame, CODES).save_model(str(tmp_path / "a.cbm"))

    assert (read_native(tmp_path / "a.cbm").predict(frame) == fitted.predict(frame)).all()


def test_features_that_no_table_has_are_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": ROWS[:, 0], "b": list(ROWS)})
    fitted = catboost.CatBoostRegressor(**QUIET, embedding_features=["b"]).fit(frame, CODES)
    fitted.save_model(str(tmp_path / "a.cbm"))

    assert "embeddings" in refusal(tmp_path / "a.cbm")


@pytest.mark.parametrize(
    ("ending", "content", "told"),
    [
        (".json", b"", "is no file that save_model"),
        (".txt", b"tree\nversion=v4\n", "it is not whole"),
        (".json", b'{"learner": {}}', "can't be loaded by XGBoost: XGBoostError: "),
        (".json", b'[ { "nodeid": 0, "depth"', "dump of a model, which it can't read back"),
        (".txt", b"booster[0]:\n0:[f2<2.45]", "dump of a model, which it can't read back"),
        (".json", b'{"name": "tree", "tree_info": []}', "LightGBM's dump of a model"),
        (".json", b'{"features_info": {}}', "save it with save_model('model.cbm')"),
        (".model", b"\0\0\0?\4\0\0\0binary:logistic\0\6gbtree", "old binary format"),
        (".cbm", b"CBM1\x90\0\0\0rest", "can't be loaded by CatBoost: CatBoostError: "),
        (".ubj", b"{L\0\0\0\0\0\0\0\7learner", "can't be loaded by XGBoost: XGBoostError: "),
        (".json", b"\xff\xfe{\0", "is no file that save_model"),
    ],
)
def test_what_is_no_model_is_told(tmp_path: Path, ending: str, content: bytes, told: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(content)

    assert told in refusal(path)


PLACES = ("\nTree=3", "\nend of trees", "\nfeature_imp", "\nparameters:", "\nend of parameters")


def test_a_text_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    params = {"objective": "binary", "verbose": -1}
    lightgbm.train(params, lightgbm.Dataset(ROWS, CODES > 0), 5).save_model(tmp_path / "a.txt")
    text = (tmp_path / "a.txt").read_text()

    cut = [text[: text.index(place)] for place in PLACES]
    for some in [*cut, text.rstrip()[:-1], text[: text.index("pandas_categorical") + 5]]:
        (tmp_path / "a.txt").write_text(some)
        assert "it is not whole" in refusal(tmp_path / "a.txt")
    first, second = text.index("\nTree=2"), text.index("\nTree=3")
    (tmp_path / "a.txt").write_text(text[:first] + text[second:])
    assert "it is not whole" in refusal(tmp_path / "a.txt")


def test_a_library_that_is_not_there_is_named_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boosted("reg:squarederror").save_model(tmp_path / "a.json")
    monkeypatch.setitem(sys.modules, "xgboost", None)

    assert "XGBoost, which is not installed: pip install xgboost-cpu" in refusal(
        tmp_path / "a.json"
    )


@pytest.mark.slow
def test_a_file_that_crashes_its_library_does_not_take_training_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boosted("reg:squarederror").save_model(tmp_path / "a.ubj")
    assert read_native(tmp_path / "a.ubj").predict(ROWS).shape == (150,)

    crashing = tmp_path / "xgboost.py"  # a library that ends its process
    crashing.write_text("import os\nos.abort()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "xgboost crashes on it: it is damaged" in refusal(tmp_path / "a.ubj")
    crashing.write_text("while True: pass\n")
    monkeypatch.setattr("training.loading.survival.TIMEOUT_S", 1)
    assert "xgboost has not read it in 1 s" in refusal(tmp_path / "a.ubj")

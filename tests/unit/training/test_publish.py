"""What is saved of a model, and what a person is told of it."""

import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import pytest
import sklearn

import train
from serving.model.description import Compiled, Explained, Metrics
from serving.model.stored import EXPLANATION, verify
from tests.unit.model.saved import explained_by
from tests.unit.training.pets import ROWS, TABLE, run, text_of
from training import publish
from training.fitting.evaluation import Evaluation
from training.publish import explained_line, warn_of_scores, what_serves

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.slow
def test_a_person_is_told_what_was_trained_and_how_to_serve_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    description = run("")

    told = capsys.readouterr().out
    assert description.training is not None
    for expected in (
        f"Saved {bentoml.models.get('iris:latest').tag}\n",
        "pipeline     StandardScaler → LogisticRegression\n",
        "task         classification\n",
        f"150 rows, 4 features, {description.training.fingerprint[:19]}…\n",
        "predicts     species\n",
        "classes      setosa, versicolor, virginica\n",
        "scores       accuracy 0.",
        "a dummy's    accuracy 0.3",
        f"measured on  {description.metrics.split}\n",
        "compiled     to ONNX, alike within ",
        "explained    exactly, by asking for all coalitions of columns, against ",
        f"scikit-learn {sklearn.__version__}\n",
        "Serve it with: bentoml serve\n",
    ):
        assert expected in told
    assert "needs" not in told
    assert "nan" not in told
    assert description.requirements == ()
    assert isinstance(description.compiled, Compiled)
    assert isinstance(description.explained, Explained)
    stored = verify(bentoml.models.get("iris:latest"))
    assert stored.card.startswith("<!doctype html>")
    assert "setosa" in stored.card
    assert "Mean size, in probability" in stored.card


def test_a_terminal_that_can_not_show_all_is_no_fault(quick: None) -> None:
    header = ["größe", "数", "flag", "色", "🌸 →"]
    Path("blüte.csv").write_text(text_of(TABLE, header).replace("cat", "猫"), "utf-8")
    command = ["--data", "blüte.csv", "--target", "🌸 →", "--estimator", "DecisionTreeClassifier"]
    stream = io.TextIOWrapper(screen := io.BytesIO(), encoding="cp1252", errors="strict")
    with redirect_stdout(stream):
        train.main([*command, "--name", "blossom"])
    told = screen.getvalue().decode("cp1252")
    assert told.startswith(f"Saved {bentoml.models.get('blossom:latest').tag}")
    assert "\\U0001f338 \\u2192" in told
    assert "dog, \\u732b" in told
    for what in ("compiled", "explained"):
        assert f"{what:<13}no: it was not tried\n" in told.replace("\r\n", "\n")
    assert "Serve it with: SERVING_MODEL=blossom bentoml serve" in told


@pytest.mark.parametrize("option", ["", " --no-background"])
def test_what_is_kept_for_explanations_is_saved_and_rows_held_out_are_explained_for_the_card(
    quick: None, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    asked: dict[str, Any] = {}

    def explain(*_: object, **options: object) -> tuple[Explained, bytes]:
        asked.update(options)
        return explained_by(b"kept"), b"kept"

    def contributions_of(model: object, described: object, kept: bytes, rows: Any, _: int) -> None:  # noqa: ANN401 (rows of anything)
        asked.update(kept=kept, rows=rows)

    monkeypatch.setattr(publish, "explain", explain)
    monkeypatch.setattr(publish, "contributions_of", contributions_of)
    Path("pets.csv").write_text(text_of(TABLE))
    run(f"--data pets.csv --target kind --estimator DecisionTreeClassifier --seed 7{option}")

    stored = verify(bentoml.models.get("pets:latest"))
    assert stored.description.explained == explained_by(b"kept")
    assert (stored.path / EXPLANATION).read_bytes() == b"kept"
    assert (asked["seed"], asked["keeps_background"]) == (7, not option)
    assert asked["kept"] == b"kept"
    assert len(asked["rows"]) == ROWS // 4
    assert {tuple(row) for row in asked["rows"]} < {tuple(row[:-1]) for row in TABLE}


@pytest.mark.parametrize(
    ("proof", "told"),
    [
        ("a cluster is no number", "no: a cluster is no number"),
        (explained_by(b""), "exactly, by its trees, against 100 rows of training"),
        (
            explained_by(b"", method="sampled", exact=False, background="published"),
            "nearly, by asking along permutations of columns, against 100 rows made of what is "
            "published",
        ),
    ],
)
def test_a_person_is_told_how_predictions_are_explained(proof: Explained | str, told: str) -> None:
    assert explained_line(proof) == told


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("", "SERVING_MODEL=pets bentoml serve"),
        ('{"models": {"others": {"promoted": ["v1"]}}}', "SERVING_MODEL=pets bentoml serve"),
        (
            '{"models": {"pets": {"promoted": ["v1"]}}}',
            "python -m serving.versions promote pets:v2",
        ),
    ],
)
def test_a_new_version_of_what_was_promoted_is_served_when_it_is_promoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, told: str
) -> None:
    monkeypatch.setenv("SERVING_STATE_FILE", str(file := tmp_path / "state.json"))
    file.write_text(state)
    assert what_serves("pets:v2") == told


@pytest.mark.parametrize(
    ("values", "dummy", "told"),
    [
        ({}, {}, "no score could be computed"),
        ({"accuracy": 0.5}, {"accuracy": 0.5}, "no better than a dummy: accuracy 0.500"),
        ({"r2": -0.1}, {"r2": 0.0}, "no better than a dummy: r2 -0.100"),
        ({"accuracy": 0.6}, {"accuracy": 0.5}, ""),
    ],
)
def test_scores_that_say_little_are_told(
    values: dict[str, float],
    dummy: dict[str, float],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    metrics = Metrics(split="some", values=values, dummy=dummy)
    warn_of_scores(Evaluation(metrics, None, None, np.array([1])))
    said = capsys.readouterr().err
    assert told in said if told else not said

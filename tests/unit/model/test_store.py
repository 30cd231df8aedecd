"""The store: what is loaded is what was saved, and computed by what may compute it."""

import threading
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import pytest
import sklearn

from serving.model.compiled import CompiledEstimator
from serving.model.description import Description
from serving.model.outputs import Prediction
from serving.model.store import LoadedModel, ServedModel, load, save
from serving.model.stored import ARTIFACT, CARD, DESCRIPTION, ModelError, VerifiedModel, verify
from serving.settings import Runtime
from tests.unit.fakes import ProbaEstimator, SignEstimator
from tests.unit.model.saved import BY_ESTIMATOR, PAGE, stored, stored_compiled
from tests.unit.samples import PROBABILITIES, description

BY_GRAPH = [0.25, 0.75]  # of the row that is asked for


@pytest.fixture
def saved() -> bentoml.Model:
    """Save a small model."""
    return stored(SignEstimator())


def who_answers(model: LoadedModel) -> list[Any] | None:
    """Ask for a row alone."""
    (prediction,) = model.predict([(0.25, 0.75)])
    assert prediction is not None
    return prediction.probabilities


# Saved


def test_the_description_and_the_card_lie_beside_the_estimator(saved: bentoml.Model) -> None:
    folder = Path(saved.path)
    assert {ARTIFACT, DESCRIPTION, CARD} <= {file.name for file in folder.iterdir()}
    assert Description.model_validate_json((folder / DESCRIPTION).read_bytes()).name == "mail"
    assert (folder / CARD).read_text("utf-8") == PAGE


def test_the_estimator_stays_loadable_with_bentoml_alone(saved: bentoml.Model) -> None:
    assert isinstance(bentoml.sklearn.load_model(saved.tag), SignEstimator)


def test_the_store_knows_the_task_the_scores_and_the_data(saved: bentoml.Model) -> None:
    assert saved.info.labels == {"task": "classification"}
    assert saved.info.metadata == {"metrics": {"accuracy": 0.75}, "fingerprint": "sha256:0123"}
    assert saved.info.context.framework_versions == {"scikit-learn": sklearn.__version__}


def test_an_estimator_of_no_module_is_saved_with_its_code() -> None:
    class Local(SignEstimator):
        """No pickle could find it."""

    tag = save(Local(), description(), PAGE)
    model, _ = load(verify(bentoml.models.get(tag)))
    assert model.predict([(-1.0, 0.0)]) == [Prediction("ham")]


def test_two_models_of_one_name_are_two_versions(saved: bentoml.Model) -> None:
    again = save(SignEstimator(), description(), PAGE)
    assert again.name == saved.tag.name
    assert again.version != saved.tag.version
    assert bentoml.models.get(f"{again.name}:latest").tag == again


def test_a_model_that_could_not_be_saved_leaves_nothing_in_the_store() -> None:
    before = {model.tag for model in bentoml.models.list()}
    with pytest.raises(TypeError):
        save(threading.Lock(), description(), PAGE)
    assert {model.tag for model in bentoml.models.list()} == before


# Found


def test_a_missing_model_is_told_with_what_to_do() -> None:
    with pytest.raises(ModelError, match=r"no model nowhere:latest .* `python train\.py`"):
        ServedModel("nowhere:latest").resolve()


def test_a_reference_finds_the_version_that_is_really_there(saved: bentoml.Model) -> None:
    assert ServedModel("mail:latest").resolve().tag == saved.tag


# Loaded


def test_what_was_saved_can_be_verified_loaded_and_asked(saved: bentoml.Model) -> None:
    verified = verify(saved)
    model, _ = load(verified)
    assert (model.runtime, model.description) == ("sklearn", verified.description)
    assert model.predict([(-1.0, 0.0)]) == [Prediction("ham")]


@pytest.mark.parametrize(
    ("runtime", "name", "answer"),
    [
        (Runtime.AUTO, "onnx", BY_GRAPH),
        (Runtime.ONNX, "onnx", BY_GRAPH),
        (Runtime.SKLEARN, "sklearn", BY_ESTIMATOR),
    ],
)
def test_a_compiled_model_answers_unless_the_estimator_is_to(
    runtime: Runtime, name: str, answer: list[float]
) -> None:
    model, _ = load(verify(stored_compiled()), runtime)
    assert (model.runtime, who_answers(model)) == (name, answer)


def test_the_estimator_of_an_exact_graph_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    verified = verify(stored_compiled(exact=True))
    monkeypatch.delattr("joblib.load")
    model, _ = load(verified)
    assert isinstance(model, CompiledEstimator)
    assert who_answers(model) == BY_GRAPH
    with pytest.raises(ModelError, match="can't be unpickled"):  # or this would show nothing
        load(verified, Runtime.SKLEARN)


def test_what_was_proven_with_another_onnxruntime_is_left_to_the_estimator() -> None:
    verified = verify(stored_compiled(onnxruntime="0.9.1"))
    assert who_answers(load(verified)[0]) == BY_ESTIMATOR


def test_without_onnxruntime_the_estimator_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(name: str) -> str:
        raise PackageNotFoundError(name)

    verified = verify(stored_compiled())
    monkeypatch.setattr("serving.model.stored.version", nowhere)
    assert who_answers(load(verified)[0]) == BY_ESTIMATOR


# Refused when it is loaded


def test_a_graph_that_can_not_be_computed_is_refused_with_what_to_do() -> None:
    with pytest.raises(
        ModelError, match=r"by onnxruntime: .*\(SERVING_RUNTIME=sklearn does without\)"
    ):
        load(verify(stored_compiled(b"no graph")))


def test_a_pickle_that_cannot_be_read_here_is_told_as_such(
    saved: bentoml.Model, tmp_path: Path
) -> None:
    (tmp_path / ARTIFACT).write_bytes(b"no pickle")
    with pytest.raises(ModelError, match=f"model {saved.tag} can't be unpickled"):
        load(VerifiedModel(saved.tag, tmp_path, description()))


class Forgetful(SignEstimator):
    """Answers for one row too few."""

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Forget the last row."""
        return super().predict(features)[:-1]


@pytest.mark.parametrize(
    "estimator", [ProbaEstimator([np.nan, 1]), Forgetful(), "no estimator"], ids=lambda e: type(e)
)
def test_a_model_that_fails_on_its_own_example_is_refused(estimator: object) -> None:
    verified = verify(stored(estimator, description(asked=PROBABILITIES)))
    with pytest.raises(ModelError, match=f"model {verified.tag} fails on its example"):
        load(verified)

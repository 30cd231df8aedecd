"""The store: what is loaded is what was saved; whatever else is there is refused, and why."""

import hashlib
import json
import threading
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import pytest
import sklearn
from onnx import TensorProto, helper, numpy_helper
from packaging.version import Version
from sklearn.linear_model import LogisticRegression

from serving.model.compiled import CompiledEstimator
from serving.model.description import Compiled, Description, Label
from serving.model.estimator import FittedEstimator
from serving.model.outputs import Prediction, WrongOutputError
from serving.model.store import (
    ARTIFACT,
    CARD,
    DESCRIPTION,
    GRAPH,
    ModelError,
    ServedModel,
    VerifiedModel,
    load,
    model_info,
    save,
    verify,
)
from serving.settings import Runtime
from tests.unit.fakes import ProbaEstimator, SignEstimator
from tests.unit.samples import EACH_TASK, MIXED, PROBABILITIES, asked, description

OURS = Version(sklearn.__version__)
PAGE = "<!doctype html>\n<title>Mail — ünï</title>\n"


def other_release(major: int = 0, minor: int = 0, micro: int = 0) -> str:
    """Give a version that many releases away from the installed scikit-learn."""
    return f"{OURS.major + major}.{OURS.minor + minor}.{OURS.micro + micro}"


def stored(
    estimator: object, described: Description | None = None, card: str = PAGE
) -> bentoml.Model:
    """Save a model, and look it up in the store."""
    return bentoml.models.get(save(estimator, described or description(), card))


@pytest.fixture
def saved() -> bentoml.Model:
    """Save a small model."""
    return stored(SignEstimator())


def rewrite_description(model: bentoml.Model, **changes: object) -> None:
    """Change what a model in the store says of itself."""
    file = Path(model.path) / DESCRIPTION
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


# Saved and loaded


def test_what_was_saved_can_be_verified_loaded_and_asked(saved: bentoml.Model) -> None:
    verified = verify(saved)
    assert verified.tag == saved.tag
    model = load(verified)
    assert model.description == verified.description
    assert model.predict([(-1.0, 0.0)])[0] == [Prediction("ham")]


@pytest.mark.parametrize("task", EACH_TASK)
def test_a_description_is_read_as_it_was_saved_but_for_the_digest(task: str) -> None:
    described = EACH_TASK[task].model_copy(update={"features": MIXED})
    read_back = verify(stored(SignEstimator(), described)).description
    assert len(read_back.artifact_sha256) == 64
    assert read_back == described.model_copy(update={"artifact_sha256": read_back.artifact_sha256})


def test_the_description_and_the_card_lie_beside_the_estimator(saved: bentoml.Model) -> None:
    folder = Path(saved.path)
    assert {ARTIFACT, DESCRIPTION, CARD} <= {file.name for file in folder.iterdir()}
    assert Description.model_validate_json((folder / DESCRIPTION).read_bytes()).name == "mail"
    assert (folder / CARD).read_text("utf-8") == PAGE


def test_a_verified_model_tells_its_card_and_size(saved: bentoml.Model) -> None:
    verified = verify(saved)
    assert verified.card == PAGE
    assert verified.size_bytes == (Path(saved.path) / ARTIFACT).stat().st_size


def test_the_estimator_stays_loadable_with_bentoml_alone(saved: bentoml.Model) -> None:
    assert isinstance(bentoml.sklearn.load_model(saved.tag), SignEstimator)


def test_the_store_knows_the_task_the_scores_and_the_data(saved: bentoml.Model) -> None:
    assert saved.info.labels == {"task": "classification"}
    assert saved.info.metadata == {"metrics": {"accuracy": 0.75}, "fingerprint": "sha256:0123"}
    assert saved.info.context.framework_versions == {"scikit-learn": sklearn.__version__}


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


def test_a_missing_model_is_told_with_what_to_do() -> None:
    with pytest.raises(ModelError, match=r"no model nowhere:latest .* `python train\.py`"):
        ServedModel("nowhere:latest").resolve()


def test_a_reference_finds_the_version_that_is_really_there(saved: bentoml.Model) -> None:
    assert ServedModel("mail:latest").resolve().tag == saved.tag


@pytest.mark.parametrize(
    "classes",
    [("1", "2"), (1, 2), (1.5, 2.0), (False, True), (2**53 + 1, 2**53 + 3)],
    ids=["str", "int", "float", "bool", "large"],
)
def test_classes_keep_their_types_in_the_store(classes: tuple[Label, ...]) -> None:
    read_back = verify(stored(SignEstimator(), description(classes))).description.classes
    assert repr(read_back) == repr(classes)


# Compiled


@pytest.fixture(scope="module")
def graph() -> bytes:
    """Compile a constant: 0.25 for ham, 0.75 for spam, whatever the row."""
    rows = helper.make_tensor_value_info("X", TensorProto.DOUBLE, [None, 2])
    scores = helper.make_tensor_value_info("scores", TensorProto.DOUBLE, [None, 2])
    zero, constant = (
        numpy_helper.from_array(np.array(values), name)
        for name, values in (("zero", [[0.0, 0.0]]), ("constant", [[0.25, 0.75]]))
    )
    nodes = [
        helper.make_node("Mul", ["X", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "constant"], ["scores"]),
    ]
    made = helper.make_graph(nodes, "constant", [rows], [scores], [zero, constant])
    opset = helper.make_opsetid("", 18)
    return bytes(helper.make_model(made, opset_imports=[opset], ir_version=9).SerializeToString())


def proof_of(graph: bytes, **changes: Any) -> Compiled:  # noqa: ANN401 (any of its fields)
    """Say that a graph was proven."""
    told: dict[str, Any] = {
        "rows": 12,
        "tolerance": 1e-9,
        "largest_difference": 1e-10,
        "exact": False,
        "onnxruntime": version("onnxruntime"),
        "sha256": hashlib.sha256(graph).hexdigest(),
    }
    return Compiled(**(told | changes))


def stored_compiled(graph: bytes, **changes: Any) -> bentoml.Model:  # noqa: ANN401 (of the proof)
    """Save an estimator that says ham, with a graph that says spam."""
    proof = proof_of(graph, **changes)
    described = description(asked=PROBABILITIES, compiled=proof)
    return bentoml.models.get(save(ProbaEstimator([0.75, 0.25]), described, PAGE, graph))


def who_answers(model: FittedEstimator, row: tuple[float, ...] = (1.0, 2.0)) -> list[float] | None:
    """Ask for a row alone."""
    return model.predict([row])[0][0].probabilities


BY_GRAPH, BY_ESTIMATOR = [0.25, 0.75], [0.75, 0.25]


def test_a_compiled_model_answers_in_place_of_the_estimator(graph: bytes) -> None:
    verified = verify(stored_compiled(graph))
    for runtime in (Runtime.AUTO, Runtime.ONNX):
        model = load(verified, runtime)
        assert model.runtime == "onnx"
        assert model.predict([(1.0, 2.0), (3.0, 4.0)]) == ([Prediction("spam", BY_GRAPH)] * 2, [])
        told = model_info(verified, runtime)["runtime"]
        assert told.pop("proven").startswith("for 12 rows, ")
        assert told == {
            "name": "onnx",
            "tolerance": 1e-9,
            "largest_difference": 1e-10,
            "same_bits": False,
        }


def test_the_estimator_answers_where_that_is_set(graph: bytes) -> None:
    verified = verify(stored_compiled(graph))
    model = load(verified, Runtime.SKLEARN)
    assert (model.runtime, who_answers(model)) == ("sklearn", BY_ESTIMATOR)
    assert model_info(verified, Runtime.SKLEARN)["runtime"] == {
        "name": "sklearn",
        "proven": "the fitted estimator itself answers",
        "same_bits": False,
        "not_compiled": "SERVING_RUNTIME=sklearn",
    }


@pytest.mark.parametrize(
    ("proven", "holds"),
    [
        ({"same_bits": True}, True),
        ({"exact": True}, True),  # of the estimator's own bits, in all batches
        ({}, False),  # saved by a version that did not look
    ],
    ids=str,
)
def test_it_is_told_whether_a_compiled_model_keeps_a_row_s_bits_in_company(
    proven: dict[str, bool], holds: bool, graph: bytes
) -> None:
    verified = verify(stored_compiled(graph, **proven))
    assert model_info(verified)["runtime"]["same_bits"] is holds
    assert model_info(verified, Runtime.SKLEARN)["runtime"]["same_bits"] is False


@pytest.mark.parametrize(
    ("batching", "holds"), [("alone", True), ("invariant", True), ("tolerant", False)]
)
def test_it_is_told_whether_an_estimator_keeps_a_row_s_bits_in_company(
    batching: str, holds: bool
) -> None:
    described = description(asked=asked(batching=batching))
    verified = verify(stored(SignEstimator(), described))
    assert model_info(verified)["runtime"]["same_bits"] is holds


def test_rows_far_from_training_s_are_left_to_the_estimator(graph: bytes) -> None:
    model = load(verify(stored_compiled(graph)))
    far = (1e9, 0.0)
    assert who_answers(model, far) == BY_ESTIMATOR
    predictions, again = model.predict([(1.0, 2.0), far, (3.0, 4.0)])
    assert (predictions[0].probabilities, again) == (BY_GRAPH, [1])


@pytest.mark.parametrize(
    ("scores", "by"),
    [
        ([0.5, 0.5], BY_ESTIMATOR),
        ([np.nan, 1], BY_ESTIMATOR),
        ([0.5, 0.5 + 3e-9], BY_ESTIMATOR),
        ([0.4, 0.6], [0.4, 0.6]),
    ],
)
def test_near_ties_and_what_is_no_number_are_left_to_the_estimator(
    scores: list[float], by: list[float], graph: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(verify(stored_compiled(graph)))
    monkeypatch.setattr(
        CompiledEstimator, "__call__", lambda _, rows: np.array([scores] * len(rows))
    )
    assert who_answers(model) == by


def test_an_exact_model_answers_all_rows_and_its_estimator_is_not_loaded(
    graph: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified = verify(stored_compiled(graph, exact=True))
    monkeypatch.delattr("joblib.load")
    model = load(verified)
    assert who_answers(model, (1e9, 0.0)) == BY_GRAPH
    tied = np.array([[0.5, 0.5]])
    monkeypatch.setattr(CompiledEstimator, "__call__", lambda *_: tied)
    assert who_answers(model) == [0.5, 0.5]
    monkeypatch.setattr(CompiledEstimator, "__call__", lambda *_: tied * np.nan)
    with pytest.raises(WrongOutputError):
        who_answers(model)


def test_what_was_proven_with_another_onnxruntime_is_left_to_the_estimator(graph: bytes) -> None:
    verified = verify(stored_compiled(graph, onnxruntime="0.9.1"))
    assert who_answers(load(verified)) == BY_ESTIMATOR
    ours = ".".join(version("onnxruntime").split(".")[:2])
    why = f"it was proven with onnxruntime 0.9.1, not with {ours}"
    assert model_info(verified)["runtime"]["not_compiled"] == why
    with pytest.raises(ModelError, match=f"SERVING_RUNTIME=onnx: {why}"):
        load(verified, Runtime.ONNX)


def test_without_onnxruntime_the_estimator_answers(
    graph: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(name: str) -> str:
        raise PackageNotFoundError(name)

    verified = verify(stored_compiled(graph))
    monkeypatch.setattr("serving.model.store.version", nowhere)
    assert who_answers(load(verified)) == BY_ESTIMATOR


def test_a_model_that_is_not_compiled_is_refused_where_only_that_is_wanted(
    saved: bentoml.Model,
) -> None:
    with pytest.raises(ModelError, match=r"SERVING_RUNTIME=onnx: it was saved by a version that"):
        load(verify(saved), Runtime.ONNX)


@pytest.mark.parametrize("harm", [lambda file: file.write_bytes(b""), Path.unlink])
def test_a_graph_that_is_damaged_or_missing_is_refused(
    harm: Callable[[Path], None], graph: bytes
) -> None:
    model = stored_compiled(graph)
    harm(Path(model.path) / GRAPH)
    with pytest.raises(ModelError, match=rf"is damaged: {GRAPH} is not|has no {GRAPH}"):
        verify(model)


def test_a_graph_that_can_not_be_computed_is_refused_with_what_to_do() -> None:
    with pytest.raises(
        ModelError, match=r"by onnxruntime: .*\(SERVING_RUNTIME=sklearn does without\)"
    ):
        load(verify(stored_compiled(b"no graph")))


# Refused before it is unpickled


class Trap:
    """Unpickling it is noticed."""

    sprung = False

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        """Run code when unpickled."""
        return _spring, ()


def _spring() -> None:
    Trap.sprung = True


@pytest.fixture
def trap() -> bentoml.Model:
    """Save a model that notices when it is unpickled."""
    Trap.sprung = False
    return stored(Trap())


def refusal(model: bentoml.Model) -> str:
    """Tell why a model is refused, before it is unpickled."""
    with pytest.raises(ModelError) as caught:
        verify(model)
    assert not Trap.sprung
    return str(caught.value)


def test_the_trap_would_notice(trap: bentoml.Model) -> None:
    with pytest.raises(ModelError, match="fails on its example"):
        load(verify(trap))
    assert Trap.sprung


@pytest.mark.parametrize(
    "fitted",
    [
        other_release(minor=1),
        other_release(minor=-1),
        other_release(major=1),
        other_release(major=-1),
        other_release(minor=-1) + "rc1",
    ],
)
def test_a_model_of_another_minor_version_is_refused(trap: bentoml.Model, fitted: str) -> None:
    rewrite_description(trap, versions={"scikit-learn": fitted})
    told = refusal(trap)
    assert f"fitted with scikit-learn {fitted}, but {OURS} is installed" in told
    assert "install scikit-learn" in told


def test_a_model_of_another_patch_release_is_served_with_a_warning(saved: bentoml.Model) -> None:
    fitted = other_release(micro=1)
    rewrite_description(saved, versions={"scikit-learn": fitted})
    with pytest.warns(UserWarning, match=f"fitted with scikit-learn {fitted}; {OURS} serves it"):
        verified = verify(saved)
    assert load(verified).predict([(-1.0, 0.0)])[0] == [Prediction("ham")]


@pytest.mark.parametrize("versions", [{}, {"scikit-learn": "newest"}], ids=["none", "nonsense"])
def test_a_model_that_does_not_tell_its_version_is_refused(
    trap: bentoml.Model, versions: dict[str, str]
) -> None:
    rewrite_description(trap, versions=versions)
    assert "does not tell which scikit-learn fitted it" in refusal(trap)


def test_a_model_that_needs_a_package_that_is_not_here_is_refused(trap: bentoml.Model) -> None:
    rewrite_description(trap, requirements=["no-such-package==1.2.3"])
    assert "needs no-such-package==1.2.3: pip install no-such-package==1.2.3" in refusal(trap)


def test_a_model_is_served_with_a_package_of_another_version_with_a_warning(
    saved: bentoml.Model,
) -> None:
    rewrite_description(saved, requirements=["numpy==0.0.1"])
    installed = version("numpy")
    with pytest.warns(UserWarning, match=f"fitted with numpy==0.0.1; {installed} serves it"):
        verified = verify(saved)
    assert load(verified).predict([(-1.0, 0.0)])[0] == [Prediction("ham")]


@pytest.mark.parametrize(
    "requirements",
    [[], [f"numpy=={version('numpy')}"], ["numpy"], [f"NumPy=={version('numpy')}", "scipy>=1"]],
    ids=str,
)
def test_a_model_whose_packages_are_here_is_served_without_a_word(
    saved: bentoml.Model, requirements: list[str]
) -> None:
    rewrite_description(saved, requirements=requirements)
    assert verify(saved).description.requirements == tuple(requirements)


def test_a_package_before_its_release_is_one_of_its_versions(
    saved: bentoml.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"numpy": "2.1.0rc1", "scikit-learn": sklearn.__version__}
    monkeypatch.setattr("serving.model.store.version", told.__getitem__)
    rewrite_description(saved, requirements=["numpy>=2"])
    assert verify(saved).tag == saved.tag


def test_a_damaged_file_is_refused(trap: bentoml.Model) -> None:
    with (Path(trap.path) / ARTIFACT).open("ab") as file:
        file.write(b"\0")
    assert f"is damaged: {ARTIFACT} is not the file saved" in refusal(trap)


@pytest.mark.parametrize("missing", [ARTIFACT, DESCRIPTION, CARD])
def test_a_model_with_a_file_missing_is_refused(trap: bentoml.Model, missing: str) -> None:
    (Path(trap.path) / missing).unlink()
    assert f"has no {missing}: save it with train.py" in refusal(trap)


def test_a_model_saved_with_bentoml_alone_is_refused() -> None:
    model = bentoml.sklearn.save_model("foreign", LogisticRegression())
    assert f"has no {DESCRIPTION}" in refusal(model)


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "forecasting"},
        {"features": [{"name": "x"}]},
        {"surprise": 1},
        {"classes": {}},
        {"asked": None},
        {"requirements": "numpy"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_description_that_cannot_be_read_is_refused(
    trap: bentoml.Model, changes: dict[str, object]
) -> None:
    rewrite_description(trap, **changes)
    told = refusal(trap)
    assert f"has a {DESCRIPTION} that this service can't read" in told
    assert "train it again" in told


def test_a_description_that_is_not_json_is_refused(trap: bentoml.Model) -> None:
    (Path(trap.path) / DESCRIPTION).write_bytes(b"\xff{")
    assert "train it again" in refusal(trap)


# Refused when it is loaded


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


# Told


def test_model_info_tells_all_that_is_public(saved: bentoml.Model) -> None:
    assert model_info(verify(saved)) == {
        "name": "mail",
        "version": saved.tag.version,
        "task": "classification",
        "created": "2024-05-06T07:08:09Z",
        "features": [
            {
                "name": name,
                "type": "number",
                "nullable": False,
                "missing": 0,
                "trained": {"minimum": 0.0, "maximum": 9.0},
                "domain": {"minimum": -1e12, "maximum": 1e12},
                "quantiles": {"0.5": 0.0},
                "example": 4.5,
            }
            for name in ("length", "a/b ~c")
        ],
        "ignored": [],
        "targets": ["kind"],
        "classes": ["ham", "spam"],
        "metrics": {
            "split": "held out: 3 of 12 rows",
            "values": {"accuracy": 0.75},
            "dummy": {"accuracy": 0.5},
        },
        "training": {"rows": 12, "fingerprint": "sha256:0123"},
        "runtime": {
            "name": "sklearn",
            "proven": "the fitted estimator itself answers",
            "same_bits": False,
            "not_compiled": "it was saved by a version that compiled none",
        },
        "versions": {"scikit-learn": sklearn.__version__},
        "requirements": [],
        "size_bytes": (Path(saved.path) / ARTIFACT).stat().st_size,
    }


@pytest.mark.parametrize("task", EACH_TASK)
def test_model_info_keeps_to_itself_how_the_estimator_is_asked(task: str) -> None:
    info: dict[str, Any] = model_info(verify(stored(SignEstimator(), EACH_TASK[task])))
    assert not {"asked", "artifact_sha256", "compiled"} & info.keys()
    assert json.loads(json.dumps(info)) == info

"""The store: what is loaded is what was saved; whatever else is there is refused, and why."""

import json
import pickle
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import pytest
import sklearn
from packaging.version import Version
from sklearn.linear_model import LogisticRegression

from serving.answers import Prediction
from serving.description import Description, Label
from serving.store import (
    ARTIFACT,
    CARD,
    DESCRIPTION,
    ModelError,
    ServedModel,
    VerifiedModel,
    load,
    model_info,
    save,
    verify,
)
from tests.unit.fakes import ProbaEstimator, SignEstimator
from tests.unit.samples import EACH_TASK, MIXED, PROBABILITIES, description

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
    with pytest.raises((pickle.PicklingError, AttributeError)):
        save(lambda: None, description(), PAGE)
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
    monkeypatch.setattr("serving.store.version", lambda _: "2.1.0rc1")
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
        "targets": ["kind"],
        "classes": ["ham", "spam"],
        "metrics": {
            "split": "held out: 3 of 12 rows",
            "values": {"accuracy": 0.75},
            "dummy": {"accuracy": 0.5},
        },
        "training": {"rows": 12, "fingerprint": "sha256:0123"},
        "runtime": {"name": "sklearn", "proven": "the fitted estimator itself answers"},
        "versions": {"scikit-learn": sklearn.__version__},
        "requirements": [],
        "size_bytes": (Path(saved.path) / ARTIFACT).stat().st_size,
    }


@pytest.mark.parametrize("task", EACH_TASK)
def test_model_info_keeps_to_itself_how_the_estimator_is_asked(task: str) -> None:
    info: dict[str, Any] = model_info(verify(stored(SignEstimator(), EACH_TASK[task])))
    assert not {"asked", "artifact_sha256"} & info.keys()
    assert json.loads(json.dumps(info)) == info

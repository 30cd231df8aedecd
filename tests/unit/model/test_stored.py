"""A model of the store is verified before anything of it runs: refused, and told why."""

import json
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import bentoml
import pytest
import sklearn
from packaging.version import Version
from sklearn.linear_model import LogisticRegression

from serving.model.description import Label
from serving.model.store import load
from serving.model.stored import (
    ARTIFACT,
    CARD,
    DESCRIPTION,
    EXPLANATION,
    GRAPH,
    ModelError,
    check_needs,
    compiled_form,
    described,
    verify,
)
from serving.settings import Runtime
from tests.unit.fakes import SignEstimator
from tests.unit.model.saved import (
    PAGE,
    explained_by,
    rewrite_description,
    stored,
    stored_compiled,
)
from tests.unit.samples import EACH_TASK, MIXED, description

OURS = Version(sklearn.__version__)
VERSIONS = {"scikit-learn": sklearn.__version__}


def other_release(major: int = 0, minor: int = 0, micro: int = 0) -> str:
    """Give a version that many releases away from the installed scikit-learn."""
    return f"{OURS.major + major}.{OURS.minor + minor}.{OURS.micro + micro}"


@pytest.fixture
def saved() -> bentoml.Model:
    """Save a small model."""
    return stored(SignEstimator())


# Verified


@pytest.mark.parametrize("task", EACH_TASK)
def test_a_description_is_read_as_it_was_saved_but_for_the_digest(task: str) -> None:
    described = EACH_TASK[task].model_copy(update={"features": MIXED})
    read_back = verify(stored(SignEstimator(), described)).description
    assert len(read_back.artifact_sha256) == 64
    assert read_back == described.model_copy(update={"artifact_sha256": read_back.artifact_sha256})


def test_a_description_is_read_without_what_it_takes_to_load_the_model(
    saved: bentoml.Model,
) -> None:
    (Path(saved.path) / ARTIFACT).unlink()
    rewrite_description(saved, versions={"scikit-learn": other_release(major=1)})
    assert described(str(saved.tag)).name == "mail"
    rewrite_description(saved, task="guessing")
    with pytest.raises(ModelError, match="that this service can't read"):
        described(str(saved.tag))


@pytest.mark.parametrize("tag", ["mail:gone", "mail", "mail:", "", "No Name:v1", "a:b:c"])
def test_a_model_that_is_not_there_under_this_very_tag_has_no_description(
    saved: bentoml.Model, tag: str
) -> None:
    for other in (tag, f"{saved.tag}"[:-1]):
        with pytest.raises(ModelError, match="is not in the model store"):
            described(other)


def test_a_verified_model_tells_its_card_and_size(saved: bentoml.Model) -> None:
    verified = verify(saved)
    assert verified.card == PAGE
    assert verified.size_bytes == (Path(saved.path) / ARTIFACT).stat().st_size


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
        assert verify(saved).tag == saved.tag


@pytest.mark.parametrize("versions", [{}, {"scikit-learn": "newest"}], ids=["none", "nonsense"])
def test_a_model_that_does_not_tell_its_version_is_refused(
    trap: bentoml.Model, versions: dict[str, str]
) -> None:
    rewrite_description(trap, versions=versions)
    assert "does not tell which scikit-learn fitted it" in refusal(trap)


def test_a_model_that_needs_a_package_that_is_not_here_is_refused(trap: bentoml.Model) -> None:
    rewrite_description(trap, requirements=["no-such-package==1.2.3"])
    assert "needs no-such-package==1.2.3: pip install no-such-package==1.2.3" in refusal(trap)


def test_one_line_installs_all_that_several_models_need(saved: bentoml.Model) -> None:
    other = stored(SignEstimator())
    rewrite_description(saved, requirements=["not-here==1.2", "numpy", "nor-this==3"])
    rewrite_description(other, requirements=["nor-this==3", "nowhere==4"])
    with pytest.raises(ModelError) as caught:
        check_needs([verify(each, installed=False) for each in (saved, other)])
    assert str(caught.value) == (
        f"models {saved.tag}, {other.tag} need not-here==1.2, nor-this==3, nowhere==4: "
        "pip install not-here==1.2 nor-this==3 nowhere==4"
    )


def test_the_larger_package_of_the_same_modules_does_as_well(
    saved: bentoml.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(name: str) -> str:
        if name == "xgboost-cpu":
            raise PackageNotFoundError(name)
        return "3.2.0" if name == "xgboost" else sklearn.__version__

    monkeypatch.setattr("serving.model.stored.version", told)
    rewrite_description(saved, requirements=["xgboost-cpu==3.2.0"])
    assert verify(saved).tag == saved.tag


def test_what_is_not_loaded_here_may_need_what_is_not_here(saved: bentoml.Model) -> None:
    rewrite_description(saved, requirements=["no-such-package==1.2.3"])
    assert verify(saved, installed=False).tag == saved.tag


def test_byte_code_of_another_python_is_refused(trap: bentoml.Model) -> None:
    rewrite_description(trap, requirements=["cloudpickle"], versions=VERSIONS | {"python": "3.8.1"})
    assert refusal(trap).endswith("can't run them: serve it with Python 3.8")


@pytest.mark.parametrize(
    ("requirements", "python"),
    [(["cloudpickle"], platform.python_version()), (["numpy"], "3.8.1")],
    ids=["of this one", "none"],
)
def test_byte_code_is_served_by_the_python_that_made_it(
    saved: bentoml.Model, requirements: list[str], python: str
) -> None:
    rewrite_description(saved, requirements=requirements, versions=VERSIONS | {"python": python})
    assert verify(saved).tag == saved.tag


def test_a_model_is_served_with_a_package_of_another_version_with_a_warning(
    saved: bentoml.Model,
) -> None:
    rewrite_description(saved, requirements=["numpy==0.0.1"])
    installed = version("numpy")
    with pytest.warns(UserWarning, match=f"fitted with numpy==0.0.1; {installed} serves it"):
        assert verify(saved).tag == saved.tag


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
    monkeypatch.setattr("serving.model.stored.version", told.__getitem__)
    rewrite_description(saved, requirements=["numpy>=2"])
    assert verify(saved).tag == saved.tag


def test_a_damaged_file_is_refused(trap: bentoml.Model) -> None:
    with (Path(trap.path) / ARTIFACT).open("ab") as file:
        file.write(b"\0")
    assert f"is damaged: {ARTIFACT} is not the file saved" in refusal(trap)


@pytest.mark.parametrize("missing", [ARTIFACT, DESCRIPTION, CARD])
def test_a_model_with_a_file_missing_is_refused(trap: bentoml.Model, missing: str) -> None:
    (Path(trap.path) / missing).unlink()
    way_on = "save it with train.py"
    if missing == DESCRIPTION:
        way_on = f"python train.py --model bento:{trap.tag} --reference TABLE.csv writes one"
    assert f"has no {missing}: {way_on}" in refusal(trap)


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


# What is kept for explanations


def test_what_is_kept_for_explanations_is_the_file_that_was_saved() -> None:
    model = stored(SignEstimator(), description(explained=explained_by(b"kept")), None, b"kept")
    file = Path(model.path) / EXPLANATION
    assert verify(model).description.explained == explained_by(b"kept")
    assert file.read_bytes() == b"kept"
    file.write_bytes(b"other")
    with pytest.raises(ModelError, match=f"is damaged: {EXPLANATION} is not the file saved"):
        verify(model)
    file.unlink()
    with pytest.raises(ModelError, match=rf"has no {EXPLANATION}: save it with train\.py"):
        verify(model)


def test_a_model_of_a_version_that_explained_nothing_is_served_and_says_so() -> None:
    model = stored(SignEstimator())
    file = Path(model.path) / DESCRIPTION
    older = json.loads(file.read_bytes())
    del older["explained"]
    file.write_text(json.dumps(older))
    assert "kept nothing for explanations" in str(verify(model).description.explained)
    assert not (Path(model.path) / EXPLANATION).exists()


@pytest.mark.parametrize("kind", ["bentomodel", "tar.gz"])
def test_what_is_kept_for_explanations_travels_with_an_exported_model(
    kind: str, tmp_path: Path
) -> None:
    model = stored(SignEstimator(), description(explained=explained_by(b"kept")), None, b"kept")
    file = bentoml.models.export_model(model.tag, str(tmp_path / f"mail.{kind}"))
    brought = bentoml.Model.import_from(file)  # what is unpacked goes with it
    assert (verify(brought).path / EXPLANATION).read_bytes() == b"kept"


# Its compiled form


@pytest.mark.parametrize("harm", [lambda file: file.write_bytes(b""), Path.unlink])
def test_a_graph_that_is_damaged_or_missing_is_refused(harm: Callable[[Path], None]) -> None:
    model = stored_compiled()
    harm(Path(model.path) / GRAPH)
    with pytest.raises(ModelError, match=rf"is damaged: {GRAPH} is not|has no {GRAPH}"):
        verify(model)


def test_a_proven_graph_may_answer_unless_the_estimator_is_to() -> None:
    verified = verify(stored_compiled())
    for runtime in (Runtime.AUTO, Runtime.ONNX):
        assert compiled_form(verified, runtime) == verified.description.compiled
    assert compiled_form(verified, Runtime.SKLEARN) == "SERVING_RUNTIME=sklearn"


OURS_MINOR = ".".join(version("onnxruntime").split(".")[:2])


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda: stored(SignEstimator()), "it was saved by a version that compiled none"),
        (
            lambda: stored_compiled(onnxruntime="0.9.1"),
            f"it was proven with onnxruntime 0.9.1, not with {OURS_MINOR}",
        ),
    ],
    ids=["none", "another onnxruntime"],
)
def test_without_one_the_estimator_answers_unless_only_the_graph_is_wanted(
    model: Callable[[], bentoml.Model], why: str
) -> None:
    verified = verify(model())
    assert compiled_form(verified, Runtime.AUTO) == why
    with pytest.raises(ModelError, match=f"with SERVING_RUNTIME=onnx: {why}"):
        compiled_form(verified, Runtime.ONNX)

"""A model is found by its tag, in its folder, or in an exported file, and is the same in all."""

import tarfile
from pathlib import Path

import bentoml
import pytest

from serving.model.named import exact, opened
from serving.model.state import ModelState, State, write_state
from serving.model.store import load, save
from serving.model.stored import ModelError, sha256
from tests.unit.fakes import SignEstimator
from tests.unit.model.saved import PAGE, stored
from tests.unit.samples import description


@pytest.fixture
def saved() -> bentoml.Model:
    return stored(SignEstimator())


@pytest.fixture
def state_file(tmp_path: Path) -> Path:
    return tmp_path / "serving.json"


@pytest.fixture
def exported(saved: bentoml.Model, tmp_path: Path) -> Path:
    return Path(saved.export(str(tmp_path / "mail.bentomodel")))


def names(saved: bentoml.Model, exported: Path) -> tuple[str, ...]:
    return str(saved.tag), f"{saved.tag.name}:latest", str(saved.path), str(exported)


def test_a_tag_a_folder_and_an_exported_file_name_the_same_model(
    saved: bentoml.Model, exported: Path, state_file: Path
) -> None:
    for name in names(saved, exported):
        with opened(name, state_file) as verified:
            assert verified.tag == saved.tag
            assert load(verified)[0].predict([(-1.0, 0.0)])


def test_no_store_is_touched_for_a_file_and_nothing_of_it_is_left(
    exported: Path, state_file: Path
) -> None:
    before = {model.tag for model in bentoml.models.list()}
    with opened(str(exported), state_file) as verified:
        unpacked = verified.path
        assert unpacked.is_dir()
    assert {model.tag for model in bentoml.models.list()} == before
    assert not unpacked.exists()


def test_code_that_a_model_brings_stays_while_the_process_runs(
    tmp_path: Path, state_file: Path
) -> None:
    (tmp_path / "code").mkdir()
    file = tmp_path / "code" / "steps_named.py"
    file.write_text("STEPS = 3\n")
    described = description(code={file.name: sha256(file)})
    model = bentoml.models.get(save(SignEstimator(), described, PAGE, code=tmp_path / "code"))
    with opened(model.export(str(tmp_path / "mine.bentomodel")), state_file) as verified:
        unpacked = verified.path
    assert (unpacked / "code" / file.name).read_text() == "STEPS = 3\n"


def test_latest_is_what_was_promoted_as_it_is_for_a_server(
    saved: bentoml.Model, state_file: Path
) -> None:
    stored(SignEstimator())
    name, version = saved.tag.name, str(saved.tag.version)
    write_state(state_file, State(models={name: ModelState(promoted=(version,))}))
    assert exact(f"{name}:latest", state_file) == exact(name, state_file) == str(saved.tag)


def test_a_path_is_made_whole_for_processes_that_run_elsewhere(
    state_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exact("mail.bentomodel", state_file) == str(tmp_path / "mail.bentomodel")
    assert exact("./mail", state_file) == str(tmp_path / "mail")


def test_what_is_no_model_is_told_in_a_sentence(
    saved: bentoml.Model, exported: Path, state_file: Path, tmp_path: Path
) -> None:
    empty, cut, other = tmp_path / "empty", tmp_path / "cut.bentomodel", tmp_path / "other.tar"
    empty.mkdir()
    cut.write_bytes(exported.read_bytes()[:-200])
    with tarfile.open(other, "w") as archive:
        archive.add(exported, "a")
    wrong = {
        "nobody": "no model nobody in the BentoML model store",
        "nobody:v1": "nobody:v1 is not in the model store",
        "not/there": "there is no file or folder",
        f"{saved.path}/..": "can't be read as a model",
        str(empty): "can't be read as a model",
        str(cut): "can't be read as a model",
        str(other): "can't be read as a model",
        str(Path(saved.path) / "saved_model.pkl"): "can't be read as a model",
    }
    for name, words in wrong.items():
        with pytest.raises(ModelError, match=words), opened(name, state_file):
            pass

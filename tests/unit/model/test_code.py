"""Code that travels with a model: found in its folder alone, by its very name, from source."""

import importlib
import py_compile
import sys
from collections.abc import Iterator
from pathlib import Path

import bentoml
import pytest

from serving.model.code import CodeError, CodeFinder, forget, let_find
from serving.model.outputs import Prediction
from serving.model.store import load, save
from serving.model.stored import CODE, ModelError, sha256, verify
from tests.unit.fakes import SignEstimator
from tests.unit.model.saved import PAGE, rewrite_description, stored
from tests.unit.samples import description

FILES = {
    "travels.py": "from travelling.inner import WORD",
    "travelling/__init__.py": "from . import inner",
    "travelling/inner.py": "WORD = 'brought'",
    "travelling/words.txt": "of a package",
    "travelling/deeper/leaf.py": "DEPTH = 2",
}


def folder_of(folder: Path, files: dict[str, str]) -> dict[str, str]:
    """Write files, and give their digests by their paths."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return {name: sha256(folder / name) for name in files}


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """Leave nothing behind that could be imported."""
    yield
    forget([each for each in sys.meta_path if isinstance(each, CodeFinder)])


def test_modules_packages_and_what_lies_in_them_are_found(tmp_path: Path) -> None:
    let_find(tmp_path, folder_of(tmp_path, FILES), "a model")

    assert importlib.import_module("travels").WORD == "brought"
    assert importlib.import_module("travelling.deeper.leaf").DEPTH == 2
    words = importlib.resources.files("travelling").joinpath("words.txt")
    assert words.read_text() == "of a package"


def test_it_is_found_before_what_has_its_name_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "travels.py").write_text("WORD = 'edited since'")
    monkeypatch.syspath_prepend(tmp_path / "here")
    let_find(tmp_path / "kept", folder_of(tmp_path / "kept", FILES), "a model")

    assert importlib.import_module("travels").WORD == "brought"


def test_what_was_not_named_when_it_was_saved_is_not_found(tmp_path: Path) -> None:
    let_find(tmp_path, folder_of(tmp_path, FILES), "a model")
    folder_of(tmp_path, {"stranger.py": "", "travelling/stranger.py": ""})

    for name in ("stranger", "travelling.stranger", "travelling.inner.stranger"):
        with pytest.raises(ModuleNotFoundError, match=f"No module named {name!r}"):
            importlib.import_module(name)
    with pytest.raises(ImportError, match="cannot import name 'stranger'"):
        exec("from travelling import stranger")  # noqa: S102 (this file's own code)


def test_byte_code_is_neither_read_nor_written(tmp_path: Path) -> None:
    digests = folder_of(tmp_path, FILES)
    inner = tmp_path / "travelling" / "inner.py"
    inner.write_text("WORD = 'forged '")
    py_compile.compile(
        str(inner), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH, doraise=True
    )
    inner.write_text(FILES["travelling/inner.py"])
    let_find(tmp_path, digests, "a model")

    assert importlib.import_module("travels").WORD == "brought"
    assert not (tmp_path / "__pycache__").exists()


def test_models_with_the_same_code_share_it_and_with_other_code_are_refused(tmp_path: Path) -> None:
    first = folder_of(tmp_path / "1", FILES)
    let_find(tmp_path / "1", first, "model a:1")
    brought = importlib.import_module("travels")

    let_find(tmp_path / "2", folder_of(tmp_path / "2", FILES), "model b:1")
    assert importlib.import_module("travels") is brought

    other = folder_of(tmp_path / "3", FILES | {"travelling/inner.py": "WORD = 'other'"})
    with pytest.raises(CodeError, match="model c:1 brings other code under the name tra"):
        let_find(tmp_path / "3", other, "model c:1")


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("json", "a module of Python itself"),
        ("service", "a module of this service"),
        ("serving", "a module of this service"),
        ("tests", "a module that is imported already"),
        ("pylab", "an installed package"),
    ],
)
def test_a_name_that_other_code_has_is_refused(tmp_path: Path, name: str, whose: str) -> None:
    before = [*sys.meta_path]

    with pytest.raises(CodeError, match=f"a model brings {name}, which is the name of {whose}"):
        let_find(tmp_path, folder_of(tmp_path, {f"{name}.py": ""}), "a model")

    assert sys.meta_path == before


def test_a_damaged_file_of_it_is_not_imported(tmp_path: Path) -> None:
    saved = stored(SignEstimator())
    rewrite_description(saved, code=folder_of(Path(saved.path) / CODE, FILES))
    assert verify(saved).description.code.keys() == FILES.keys()

    file = Path(saved.path) / CODE / "travelling" / "inner.py"
    file.write_text("WORD = 'forged '")
    with pytest.raises(ModelError, match=r"is damaged: code/travelling/inner\.py is not the file"):
        verify(saved)
    file.unlink()
    with pytest.raises(ModelError, match=r"has no inner\.py"):
        verify(saved)


def test_a_model_finds_its_code_when_it_is_loaded_and_lacks_what_was_not_brought(
    tmp_path: Path,
) -> None:
    source = "from tests.unit.fakes import SignEstimator\nclass Own(SignEstimator): pass"
    digests = folder_of(tmp_path, {"travels.py": source})
    finder = let_find(tmp_path, digests, "training")
    own = importlib.import_module("travels").Own()
    described = description().model_copy(update={"code": digests})
    brought = verify(bentoml.models.get(save(own, described, PAGE, code=tmp_path)))
    bare = verify(bentoml.models.get(save(own, description(), PAGE)))
    forget([finder])

    with pytest.raises(ModelError, match=r"needs the module travels, which is not here: .*--code"):
        load(bare)
    assert load(brought)[0].predict([(-1.0, 0.0)]) == [Prediction("ham")]


def test_a_model_does_not_get_code_that_another_has_brought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "from tests.unit.fakes import SignEstimator\nclass Own(SignEstimator): pass"
    digests = folder_of(tmp_path / "brought", {"travels.py": source, "other.py": ""})
    finder = let_find(tmp_path / "brought", digests, "training")
    own = importlib.import_module("travels").Own()
    described = description().model_copy(update={"code": digests})
    brought = verify(bentoml.models.get(save(own, described, PAGE, code=tmp_path / "brought")))
    bare = verify(bentoml.models.get(save(own, description(), PAGE)))
    forget([finder])
    load(brought)

    with pytest.raises(ModelError, match="needs the module travels, which is not here"):
        load(bare)

    folder_of(tmp_path / "here", {"travels.py": source})
    monkeypatch.syspath_prepend(tmp_path / "here")
    with pytest.raises(ModelError) as caught:
        load(bare)
    assert str(caught.value).startswith(
        f"model {bare.tag} needs a module travels that was not brought with it, and model "
        f"{brought.tag} brings other code of that name: train it again with --code"
    )
    assert sys.modules["travels"].__file__ == str(brought.path / CODE / "travels.py")
    load(brought)


def test_a_model_whose_code_has_a_name_that_is_taken_is_not_loaded() -> None:
    saved = stored(SignEstimator())
    rewrite_description(saved, code=folder_of(Path(saved.path) / CODE, {"tests.py": ""}))

    with pytest.raises(ModelError, match=rf"model {saved.tag} brings tests, which is the name of"):
        load(verify(saved))

"""Modules that travel with a model: copied as they are, and refused where they can't."""

import importlib
import os
import sys
from pathlib import Path

import pytest

from training.errors import TrainingError
from training.loading.code import Code


def write(folder: Path, *files: str) -> None:
    """Write files that say where they lie."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(f"WHERE = {file!r}\n")


def test_what_is_brought_is_imported_from_a_copy_until_it_is_left(tmp_path: Path) -> None:
    write(tmp_path, "own_steps.py", "own_package/__init__.py", "own_package/inner.py")
    write(tmp_path, "own_package/__pycache__/inner.pyc", "own_package/.git/x.py", "other.py")
    before = [*sys.meta_path]
    with Code() as code:
        code.add([tmp_path / "own_steps.py", tmp_path / "own_package"])
        (tmp_path / "own_steps.py").write_text("WHERE = 'edited since'")

        assert importlib.import_module("own_steps").WHERE == "own_steps.py"
        assert importlib.import_module("own_package.inner").WHERE == "own_package/inner.py"
        assert [*code.files] == ["own_steps.py", "own_package/__init__.py", "own_package/inner.py"]
        assert code.folder is not None
        copies = code.folder
        assert {f"{file.relative_to(copies)}" for file in copies.rglob("*.py*")} == {*code.files}

    assert sys.meta_path == before
    assert not copies.exists()
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("own_steps")


def test_a_folder_is_named_as_it_is_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "own_package/inner.py")
    monkeypatch.chdir(tmp_path / "own_package")
    with Code() as code:
        code.add([Path()])
        assert [*code.files] == ["own_package/inner.py"]
        assert importlib.import_module("own_package.inner").WHERE == "own_package/inner.py"


def test_the_same_code_may_come_twice_and_other_code_of_its_name_may_not(tmp_path: Path) -> None:
    write(tmp_path, "one/own_steps.py", "two/own_steps.py")
    with Code() as code:
        code.add([tmp_path / "one" / "own_steps.py", tmp_path / "one" / "own_steps.py"])
        with pytest.raises(TrainingError) as caught:
            code.add([tmp_path / "two" / "own_steps.py"], "an MLflow model")
        assert str(caught.value) == (
            "an MLflow model brings other code under the name own_steps than came before"
        )


def refusal(path: Path) -> str:
    """Tell why something can't travel, without the folder that it is in."""
    with Code() as code, pytest.raises(TrainingError) as caught:
        code.add([path])
    return str(caught.value).replace(f"{path.parent}/", "")


@pytest.mark.parametrize(
    ("file", "path", "message"),
    [
        ("a.py", "gone.py", "there is no file or folder gone.py, as --code says"),
        ("a.txt", "a.txt", "a.txt is no module: --code takes files of Python and folders"),
        ("my-steps.py", "my-steps.py", "my-steps.py can't be imported: 'my-steps' is no name of"),
        ("class.py", "class.py", "class.py can't be imported: 'class' is no name of a module"),
        ("own/a.txt", "own", "own has no file of Python in it"),
        ("own/fast.so", "own", "own/fast.so was compiled for one kind of machine"),
        ("json.py", "json.py", "--code brings json, which is the name of a module of Python"),
        ("training/x.py", "training", "--code brings training, which is the name of a module tha"),
        ("service.py", "service.py", "--code brings service, which is the name of a module of th"),
    ],
)
def test_what_can_not_travel_is_refused(tmp_path: Path, file: str, path: str, message: str) -> None:
    write(tmp_path, file)
    assert refusal(tmp_path / path).startswith(message)


def test_a_name_that_no_text_can_hold_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "own/__init__.py")
    (tmp_path / "own" / os.fsdecode(b"\xff.txt")).write_text("")
    assert refusal(tmp_path / "own") == "own has a file with a name that can't be read: rename it"


def test_what_leads_out_of_a_package_does_not_travel(tmp_path: Path) -> None:
    write(tmp_path, "own/__init__.py", "secret.txt")
    (tmp_path / "own" / "data").symlink_to(tmp_path / "secret.txt")
    assert refusal(tmp_path / "own").startswith("own/data is a symbolic link: put there what it")

    (tmp_path / "own" / "data").unlink()
    os.mkfifo(tmp_path / "own" / "data")
    assert refusal(tmp_path / "own") == "own/data is no file that could be copied"

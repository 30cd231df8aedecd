"""The folders of a process, and what of it garbage collection looks at."""

import atexit
import fcntl
import gc
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.host import process
from serving.host.process import (
    YOUNG_OBJECTS,
    leave_out_of_collection,
    letters_folder,
    make_folder,
    make_letters_folder,
    run_own_program,
)
from serving.settings import METRICS_FOLDER
from tests.server import ROOT

AtExit = list[tuple[Callable[..., object], tuple[object, ...]]]


@pytest.fixture
def at_exit(monkeypatch: pytest.MonkeyPatch) -> AtExit:
    """Give what is to be called when the process ends."""
    calls: AtExit = []
    monkeypatch.setattr(atexit, "register", lambda call, *args: calls.append((call, args)))
    return calls


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Give the descriptors of the locks that a process has until it ends."""
    descriptors: list[int] = []
    really_lock = fcntl.flock

    def noted(descriptor: int, operation: int) -> None:
        really_lock(descriptor, operation)
        if operation == fcntl.LOCK_EX:
            descriptors.append(descriptor)

    monkeypatch.setattr(fcntl, "flock", noted)
    yield descriptors
    for descriptor in descriptors:
        os.close(descriptor)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give a folder that stands for shared memory."""
    monkeypatch.setattr(process, "SHARED_MEMORY", tmp_path)
    return tmp_path


def test_a_folder_is_in_memory_and_gone_when_the_process_ends(
    memory: Path, at_exit: AtExit, held: list[int]
) -> None:
    folder = Path(make_folder("metrics"))
    assert folder.parent == memory
    assert list(folder.iterdir()) == []  # BentoML would take a file for what is to be cleaned
    (folder / "counter_1.db").touch()
    ((call, args),) = at_exit
    call(*args)
    assert list(memory.iterdir()) == []


def test_what_a_killed_server_has_left_is_removed_once_its_workers_have_ended_too(
    memory: Path, at_exit: AtExit, held: list[int]
) -> None:
    left = Path(make_folder("metrics"))
    (left / "counter_1.db").touch()
    assert os.get_inheritable(held[0])  # so that its workers have it too
    second = Path(make_folder("metrics"))
    assert left.exists()
    os.close(held.pop(0))  # as the last of them does
    third = Path(make_folder("metrics"))
    assert {file for file in memory.iterdir() if file.is_dir()} == {second, third}
    assert not left.with_suffix(".held").exists()


def test_what_was_never_held_or_serves_another_purpose_is_left_alone(
    memory: Path, at_exit: AtExit, held: list[int]
) -> None:
    others = [memory / name for name in ("model-api-metrics-a", "model-api-letters-b")]
    for other in others:
        other.mkdir()
    (memory / "model-api-letters-b.held").touch()
    make_folder("metrics")
    assert all(other.exists() for other in others)


def test_without_shared_memory_a_folder_is_where_temporary_files_are(
    monkeypatch: pytest.MonkeyPatch, memory: Path, tmp_path: Path, at_exit: AtExit
) -> None:
    monkeypatch.setattr(process, "SHARED_MEMORY", tmp_path / "nowhere")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert Path(make_folder("metrics")).parent == tmp_path
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit, match=r"No such file or directory.*TMPDIR"):
        make_folder("metrics")


def test_workers_are_told_the_folder_of_the_letters(
    monkeypatch: pytest.MonkeyPatch, memory: Path, at_exit: AtExit, held: list[int]
) -> None:
    monkeypatch.setenv(process.LETTERS, "")
    assert letters_folder() is None
    make_letters_folder()
    folder = letters_folder()
    assert folder is not None
    assert folder.parent == memory


def test_a_program_of_ours_finds_its_code_and_has_no_metrics(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(METRICS_FOLDER, str(tmp_path / "nowhere"))
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(ROOT)])
    done = run_own_program("serving.versions", "compare", "iris")
    assert (done.returncode, done.stderr) == (0, "")


def test_all_that_lives_by_now_is_left_out_of_garbage_collection() -> None:
    thresholds = gc.get_threshold()
    gc.disable()
    try:
        leave_out_of_collection()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[0] == YOUNG_OBJECTS
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        gc.enable()

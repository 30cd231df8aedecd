"""Servers that are found, and what they say of a change."""

import os
from pathlib import Path

import pytest

from serving.host import letters
from serving.host.letters import Letters
from serving.versions.deciding import VersionsError
from serving.versions.servers import Watch, has_switched, running
from tests.unit.versions.machines import status

OLD, NEW = {"mail": "old"}, {"mail": "new"}
FOLDER = Path("letters")


def test_servers_are_found_by_the_state_file_that_they_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, link = tmp_path / "serving.json", tmp_path / "link"
    link.symlink_to(tmp_path)
    folders = [tmp_path / name for name in ("this", "same", "other", "silent", "dead")]
    for folder in folders:
        folder.mkdir()
    monkeypatch.setattr(letters, "folders_in_use", lambda _: iter(folders))
    this, same, other, _, dead = folders
    me = os.getpid()
    for folder, state_file, parent in (
        (this, file, me),
        (same, link / "serving.json", me),
        (other, tmp_path / "other.json", me),
        (dead, file, 2**22 + 1),
    ):
        Letters(folder).write_status(status(state_file, ["mail"], OLD, parent=parent))
    assert running(file).keys() == {this, same}


def test_a_server_has_taken_a_change_when_as_many_new_workers_answer_as_there_were() -> None:
    file = Path("serving.json")
    before = status(file, ["mail"], OLD, workers={"1": OLD, "2": OLD})

    def says(revision: int, phase: str, *workers: dict[str, str]) -> tuple[bool, bool]:
        models = NEW if NEW in workers else OLD
        numbered = {str(number): each for number, each in enumerate(workers)}
        now = before.model_copy(
            update={"revision": revision, "phase": phase, "models": models, "workers": numbered}
        )
        taken, done = (has_switched(5, wholly=wholly) for wholly in (False, True))
        return taken(FOLDER, now, before), done(FOLDER, now, before)

    assert says(4, "done", OLD, OLD) == (False, False)
    assert says(5, "starting", OLD, OLD) == (False, False)
    assert says(5, "draining", NEW, OLD, OLD) == (False, False)
    assert says(5, "draining", NEW, NEW, OLD) == (True, False)
    assert says(5, "done", NEW, NEW) == (True, True)
    assert says(6, "done", NEW, NEW) == (True, True)
    with pytest.raises(VersionsError, match="server 100 has refused it"):
        says(5, "refused", OLD, OLD)


def test_what_a_silent_server_said_last_may_be_why() -> None:
    says = status(Path("serving.json"), ["mail"], OLD, reason="SERVING_THREADS: not a number")
    now_s = [0.0]

    def sleep(period_s: float) -> None:
        now_s[0] += period_s

    watch = Watch(lambda: {FOLDER: says}, lambda: now_s[0], sleep)
    with pytest.raises(VersionsError) as caught:
        watch.until({FOLDER: says}, has_switched(1, wholly=False), 3)
    told = "server 100 did not do it within 3 s (it said: SERVING_THREADS: not a number)"
    assert str(caught.value) == told
    watch.until({}, has_switched(1, wholly=False), 3)

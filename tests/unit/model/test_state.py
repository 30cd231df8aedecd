"""How the desired state is written, and what is none."""

import errno
import fcntl
import json
import os
from pathlib import Path

import pytest

from serving.model.state import State, StateError, one_at_a_time, read_state, write_state


def test_where_the_file_is_a_link_it_stays_one_and_who_changes_it_is_alone(tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    file, link = tmp_path / "serving.json", tmp_path / "links" / "serving.json"
    link.symlink_to(file)
    write_state(link, State(revision=1))
    assert link.is_symlink()
    assert read_state(file) == State(revision=1)
    with (
        one_at_a_time(file),
        pytest.raises(StateError, match="by another command"),
        one_at_a_time(link),
    ):
        pass


def test_whoever_is_interrupted_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_state(tmp_path / "serving.json", State())
    assert not [*tmp_path.iterdir()]


def test_where_nothing_can_be_locked_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StateError, match="No locks available"), one_at_a_time(tmp_path / "x"):
        pass


@pytest.mark.parametrize("version", ["latest", "", "a:b", "../a"])
@pytest.mark.parametrize("of", ["promoted", "alias", "shadow"])
def test_what_is_no_exact_version_is_wanted_of_nobody(
    tmp_path: Path, version: str, of: str
) -> None:
    wanted = {
        "promoted": {"promoted": [version]},
        "alias": {"aliases": {"next": version}},
        "shadow": {"shadow": {"version": version}},
    }
    (tmp_path / "x").write_text(json.dumps({"models": {"mail": wanted[of]}}), "utf-8")
    with pytest.raises(StateError, match=f"{version!r} is no exact version"):
        read_state(tmp_path / "x")

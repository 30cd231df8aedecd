"""What training has saved is promoted, or not."""

import subprocess
from typing import Any

import pytest

from serving.host import following
from serving.host.following import Following
from serving.model.state import BUSY
from serving.settings import Settings
from tests.unit.fakes import recorded

OLD = ("iris:old",)


class Training:
    """Saves versions, and hears what is run to promote them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have saved what is served."""
        self.newest = "old"
        self.runs: list[tuple[str, ...]] = []
        self.stderr = ""
        monkeypatch.setattr(following, "newest", lambda _: self.newest)
        monkeypatch.setattr(following, "run_own_program", self._run)
        monkeypatch.setattr(following, "FOLLOW_S", 0.0)
        self._following = Following()

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        self.runs.append(command)
        return subprocess.CompletedProcess(command, 0, "", self.stderr)

    def look(self, tag: str = "iris", **settings: Any) -> None:  # noqa: ANN401
        """Let the server look for what training has saved."""
        self._following.look(Settings(**settings), [tag], {"iris": "old"})
        if self._following.thread is not None:
            self._following.thread.join(30)


@pytest.mark.parametrize(
    ("refusal", "times"), [("", 1), ("it is worse", 1), (f"serving.json {BUSY}", 2)]
)
def test_what_training_has_saved_is_promoted_once_by_the_command_for_people(
    monkeypatch: pytest.MonkeyPatch, refusal: str, times: int
) -> None:
    lines = recorded(monkeypatch, following).lines
    training = Training(monkeypatch)
    settings: dict[str, Any] = {"follow": "latest", "follow_margin": 0.01}
    training.look(**settings)
    assert training.runs == []
    training.newest, training.stderr = "new", refusal
    for _ in range(2):
        training.look(**settings)
    by = ("--who", "SERVING_FOLLOW", "--margin", "0.01")
    assert training.runs == [("serving.versions", "promote", "iris:new", *by)] * times
    told = (
        {"event": "follow.refused", "reason": refusal} if refusal else {"event": "follow.promoted"}
    )
    for line in lines:
        assert line.items() >= {"model": "iris:new", **told}.items()
    assert len(lines) == (1 if times == 1 else 0)


@pytest.mark.parametrize(
    ("tag", "follow", "runs"),
    [("iris@champion", "latest", 1), ("iris@other", "latest", 0), ("iris", "off", 0)],
)
def test_what_training_has_saved_is_nothing_to_who_does_not_follow(
    monkeypatch: pytest.MonkeyPatch, tag: str, follow: str, runs: int
) -> None:
    training = Training(monkeypatch)
    training.newest = "new"
    training.look(tag, follow=follow)
    assert len(training.runs) == runs

"""A shadow comes and goes as it is wanted; each row that was chosen ends in one result."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.metrics import DIFFERENCES
from serving.model.about import About
from serving.model.outputs import Prediction
from serving.model.state import ModelState, Shadow, ShadowLetter, State, write_state
from serving.prediction import companion as companion_room
from serving.prediction import shadow as room
from serving.prediction.companion import ShadowDeathError, ShadowRefusalError
from serving.prediction.frames import Findings, Part
from serving.prediction.shadow import Shadows, Watch
from serving.settings import Settings
from serving.telemetry import Predicted
from tests.unit.fakes import recorded, sample
from tests.unit.prediction.stories import until
from tests.unit.samples import description

SAME = Findings(0, 0, [0] * (len(DIFFERENCES) + 1), 0.0, [], 1e-6, 0, 0)


class FakeProcess:
    """Finds all rows the same, unless it is told to do otherwise."""

    def __init__(self, surroundings: "Surroundings", tags: tuple[str, str]) -> None:
        """Start."""
        self._surroundings = surroundings
        self.tags = tags
        self.has_ended = False
        self.frames: list[list[Part]] = []

    def begin(self, wait: Callable[[], None]) -> None:
        """Be ready, or not."""
        if self._surroundings.refusal:
            raise ShadowRefusalError(self._surroundings.refusal)
        if self._surroundings.death:
            raise ShadowDeathError(self._surroundings.death)

    def ask(self, frame: list[Part], wait: Callable[[], None]) -> Findings:
        """Answer, die or hang."""
        self.frames.append(frame)
        while not self._surroundings.answers.wait(0.001):
            wait()
        if self._surroundings.failure:
            raise self._surroundings.failure
        return SAME._replace(same=sum(len(rows) for _, _, rows, _ in frame))

    def end(self) -> None:
        """End."""
        self.has_ended = True


class Surroundings:
    """What surrounds the shadows of a worker, and how their processes do."""

    def __init__(self, state_file: Path, name: str) -> None:
        """Let all be well."""
        self.about = About(description(name=name), "v1")
        self.state_file = state_file
        self.revision = 0
        self.is_idle = True
        self.processes: list[FakeProcess] = []
        self.refusal = self.death = ""
        self.failure: Exception | None = None
        self.answers = threading.Event()
        self.answers.set()
        self.letters: list[ShadowLetter | None] = []
        self.shadows = Shadows(Settings(state_file=state_file), self.start, self)
        self.shadows._watches[self.about] = Watch(
            self.about, lambda: self.is_idle, state_file, self.start, self
        )

    def start(self, served: str, shadow: str) -> FakeProcess:
        """Start the process of a shadow."""
        self.processes.append(FakeProcess(self, (served, shadow)))
        return self.processes[-1]

    def tell_shadow(self, letter: ShadowLetter) -> None:
        """Keep a letter."""
        self.letters.append(letter)

    def forget_shadow(self, model: str) -> None:
        """Keep that there is none."""
        assert model == self.about.name
        self.letters.append(None)

    def want(self, version: str | None, share: float = 100) -> None:
        """Decide which shadow is wanted."""
        self.revision += 1
        shadow = Shadow(version=version, share=share) if version else None
        models = {self.about.name: ModelState(shadow=shadow)}
        write_state(self.state_file, State(revision=self.revision, models=models))

    def is_told(self, state: str | None, reason: str = "") -> bool:
        """Tell whether the last letter says this of the last decision; or that there is none."""
        last = self.letters[-1] if self.letters else None
        if last is None:
            return state is None
        return (last.revision, last.state, last.reason) == (self.revision, state, reason)

    def answer(self, rows: int) -> None:
        """Tell that rows were answered."""
        self.shadows.predicted(
            Predicted("id-1", self.about, [(1.0, 2.0)] * rows, [Prediction("ham")] * rows)
        )

    def counted(self, version: str = "v2") -> dict[str, float]:
        """Give the rows by result."""
        owner = {"model_name": self.about.name, "version": "v1", "shadow": version}
        found = {
            name: sample("serving_shadow_rows_total", **owner, result=name)
            for name in ("same", "different", "failed", "dropped")
        }
        return {name: count for name, count in found.items() if count}


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Give the log lines of a shadow."""
    return recorded(monkeypatch, companion_room).lines


@pytest.fixture
def worker(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Surroundings]:
    """Give a worker whose shadows are quick to hear what is wanted, and to start again."""
    monkeypatch.setattr(room, "LOOK_S", 0.001)
    monkeypatch.setattr(companion_room, "GATHER_S", 0.001)
    monkeypatch.setattr(companion_room, "FIRST_PAUSE_S", 0.001)
    surroundings = Surroundings(tmp_path / "state.json", request.node.name)
    yield surroundings
    surroundings.shadows.close()
    assert all(process.has_ended for process in surroundings.processes)


def test_a_shadow_is_asked_from_when_it_is_wanted_until_it_is_no_more(
    worker: Surroundings, lines: list[dict[str, Any]]
) -> None:
    worker.answer(3)
    assert worker.processes == []
    worker.want("v2")
    until(lambda: worker.is_told("running"))
    worker.answer(1)
    worker.answer(250)
    until(lambda: worker.counted() == {"same": 251})
    (process,) = worker.processes
    assert process.tags == (f"{worker.about.name}:v1", f"{worker.about.name}:v2")
    sizes = [sum(len(part[2]) for part in frame) for frame in process.frames]
    assert sizes[0] == 1  # before anybody knows how long a row takes
    assert max(sizes) == 100
    worker.want(None)
    until(lambda: worker.is_told(None) and process.has_ended)
    worker.answer(3)
    assert worker.counted() == {"same": 251}
    assert [line["event"] for line in lines] == ["shadow.started", "shadow.ended"]


def test_another_version_takes_the_place_of_a_shadow_and_the_version_itself_is_none(
    worker: Surroundings, lines: list[dict[str, Any]]
) -> None:
    for version in ("v2", "v3"):
        worker.want(version)
        until(lambda: worker.is_told("running"))
        worker.answer(1)
        until(lambda version=version: worker.counted(version) == {"same": 1})  # type: ignore[misc]
    worker.want("v1")
    until(lambda: worker.is_told(None))
    assert len(worker.processes) == 2


def test_another_share_is_heeded_by_the_same_process(
    worker: Surroundings, lines: list[dict[str, Any]]
) -> None:
    worker.want("v2", 50)
    until(lambda: worker.is_told("running"))
    for _ in range(10):
        worker.answer(1)
    until(lambda: worker.counted() == {"same": 5})
    worker.want("v2")
    until(lambda: worker.is_told("running"))
    for _ in range(10):
        worker.answer(1)
    until(lambda: worker.counted() == {"same": 15})
    assert len(worker.processes) == 1


def test_rows_go_to_a_shadow_only_while_the_model_rests(
    worker: Surroundings, lines: list[dict[str, Any]]
) -> None:
    worker.is_idle = False
    worker.want("v2")
    until(lambda: worker.is_told("running"))
    worker.answer(1200)
    until(lambda: worker.counted() == {"dropped": 200})
    assert worker.processes[0].frames == []
    worker.is_idle = True
    until(lambda: worker.counted() == {"dropped": 200, "same": 1000})


def test_the_frame_with_which_a_shadow_dies_has_failed_and_another_is_started(
    worker: Surroundings, lines: list[dict[str, Any]]
) -> None:
    worker.want("v2")
    until(lambda: worker.is_told("running"))
    worker.failure = ShadowDeathError("it ended with 7")
    worker.answer(1)
    until(lambda: worker.counted() == {"failed": 1})
    worker.failure = None
    until(lambda: worker.is_told("running"))
    worker.answer(2)
    until(lambda: worker.counted() == {"failed": 1, "same": 2})
    assert [process.has_ended for process in worker.processes] == [True, False]
    assert [line["event"] for line in lines] == ["shadow.started", "shadow.died", "shadow.started"]
    assert lines[1]["reason"] == "it ended with 7"


def test_one_that_dies_over_and_over_is_started_more_and_more_seldom(
    worker: Surroundings, lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(companion_room, "LONGEST_PAUSE_S", 0.004)
    worker.death = "it ended with 1"
    worker.want("v2")
    until(lambda: len(lines) >= 5)
    assert worker.is_told("starting", "it ended with 1")
    assert [line["again_in_s"] for line in lines[:5]] == [0.001, 0.002, 0.004, 0.004, 0.004]
    worker.answer(1001)
    until(lambda: worker.counted() == {"dropped": 1})
    worker.want(None)
    until(lambda: worker.counted() == {"dropped": 1001})


def test_one_that_is_refused_is_tried_again_when_somebody_has_decided_anew(
    worker: Surroundings, lines: list[dict[str, Any]]
) -> None:
    worker.refusal = "it is damaged"
    worker.want("v2")
    until(lambda: worker.is_told("refused", "it is damaged"))
    until(lambda: worker.processes[0].has_ended)
    worker.refusal = ""
    worker.want("v2")
    until(lambda: worker.is_told("running"))
    assert [line["event"] for line in lines] == ["shadow.refused", "shadow.started"]


def test_one_that_hangs_ends_with_its_worker_and_its_frame_has_failed(
    worker: Surroundings, lines: list[dict[str, Any]]
) -> None:
    worker.answers.clear()
    worker.want("v2")
    until(lambda: worker.is_told("running"))
    worker.answer(1)
    until(lambda: len(worker.processes[0].frames) == 1)
    worker.answer(3)
    worker.shadows.close()
    assert worker.counted() == {"failed": 1, "dropped": 3}
    assert worker.letters[-1] is None


def test_what_nobody_has_foreseen_is_told_and_ends_nothing(
    worker: Surroundings, lines: list[dict[str, Any]]
) -> None:
    worker.want("v2")
    until(lambda: worker.is_told("running"))
    worker.failure = ValueError("31415926")
    worker.answer(1)
    until(lambda: worker.counted() == {"failed": 1})
    until(lambda: "shadow.died" in {line["event"] for line in lines})
    events = {line["event"]: line for line in lines}
    assert events["shadow.died"]["reason"] == "its worker failed with ValueError"
    assert "31415926" not in str(lines)


def test_a_state_that_can_not_be_read_leaves_shadows_as_they_are(
    worker: Surroundings, lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = recorded(monkeypatch, room).lines
    worker.want("v2")
    until(lambda: worker.is_told("running"))
    damaged = worker.state_file.with_name("damaged")
    damaged.write_text("{")
    damaged.replace(worker.state_file)
    until(lambda: len(told) == 1)
    worker.answer(1)
    until(lambda: worker.counted() == {"same": 1})
    worker.state_file.unlink()  # nobody has decided anything
    until(lambda: worker.is_told(None))
    assert [line["event"] for line in told] == ["shadow.state_unreadable"]


def test_a_process_that_can_not_be_started_counts_as_one_that_died(
    worker: Surroundings, lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: str) -> FakeProcess:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(worker.shadows._watches[worker.about], "_start", start)
    worker.want("v2")
    until(lambda: worker.is_told("starting", "it can't be started: Cannot allocate memory"))

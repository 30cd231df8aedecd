"""A version takes the place of another, and whatever happens meanwhile, what serves goes on."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from serving.host.letters import Status, live_servers
from serving.model.state import ModelState, State, read_state, write_state
from tests.server import PATIENCE_S, ROW, TWO_WORKERS, Server, eventually, serving
from tests.wire.gate import Gate
from tests.wire.versions import Versions

ONE_WORKER: Mapping[str, str] = {}
BOTH = pytest.mark.parametrize("workers", [ONE_WORKER, TWO_WORKERS], ids=["one", "two"])


class Switching:
    """A server that serves the old version, and clients that never cease to ask."""

    def __init__(self, server: Server, versions: Versions) -> None:
        """Begin to ask."""
        self.server = server
        self._file = versions.home / "serving.json"
        self._first = versions.old
        self.statuses: Counter[int | str] = Counter()
        self.answered: Counter[str] = Counter()
        self._ended = threading.Event()
        self._clients = [threading.Thread(target=self._ask) for _ in range(4)]
        for client in self._clients:
            client.start()

    def _ask(self) -> None:
        with httpx.Client(base_url=self.server.url, timeout=PATIENCE_S) as http:
            while not self._ended.is_set():
                try:
                    answer = http.post("/predict", json={"data": ROW})
                except httpx.TransportError as exc:
                    self.statuses[repr(exc)] += 1
                    continue
                self.statuses[answer.status_code] += 1
                self.answered[answer.json()["model"]["version"]] += 1

    def end(self) -> None:
        """Ask no more."""
        self._ended.set()
        for client in self._clients:
            client.join()

    def want(self, version: str) -> int:
        """Let a version be wanted; give the revision by which it is."""
        revision = read_state(self._file).revision + 1
        wanted = {"iris": ModelState(promoted=(self._first, version))}
        write_state(self._file, State(revision=revision, models=wanted))
        return revision

    @property
    def status(self) -> Status | None:
        """What the server tells."""
        parent = self.server.process.pid
        return next((told for _, told in live_servers() if told.parent == parent), None)

    def reaches(self, phase: str, revision: int) -> Status:
        """Wait until the server is so far with a revision."""

        def reached() -> list[Status]:
            told = self.status
            return [told] if told and (told.phase, told.revision) == (phase, revision) else []

        return eventually(phase, reached)[0]

    def newcomer(self) -> int:
        """Wait for the worker that is started beside those that serve, and give its number."""
        known = {int(pid) for pid in (self.status or self.reaches("done", 0)).workers}

        def found() -> set[int]:
            return {c.pid for c in psutil.Process(self.server.process.pid).children()} - known

        return eventually("a new worker", found).pop()

    def serves(self, version: str) -> bool:
        """Tell whether what answers next is a version."""
        answer = self.server.ask_apart(ROW)
        return bool(answer.json()["model"]["version"] == version)


@contextmanager
def switching(
    versions: Versions, tmp_path: Path, gate: Gate, **settings: str
) -> Iterator[Switching]:
    settings = {"SERVING_MODEL": f"iris:{versions.old}", "SERVING_CACHE_TTL_S": "0"} | settings
    output = tmp_path / "output"
    with serving(versions.home, output, **gate.settings | settings) as server:
        story = Switching(server, versions)
        try:
            story.reaches("done", 0)
            yield story
        finally:
            story.end()
        assert set(story.statuses) == {200}


@BOTH
def test_what_is_wanted_is_served_and_every_request_is_answered(
    versions: Versions, tmp_path: Path, gate: Gate, workers: dict[str, str]
) -> None:
    with switching(versions, tmp_path, gate, **workers) as story:
        for version in (versions.new, versions.old):
            status = story.reaches("done", story.want(version))
            assert status.models == {"iris": version}
            assert list(status.workers.values()) == [{"iris": version}] * (1 + bool(workers))
            assert story.serves(version)
        assert story.answered.keys() == {versions.old, versions.new}
        assert not story.server.events("worker.died")


def test_versions_that_can_not_serve_leave_the_old_one_serving(
    versions: Versions, tmp_path: Path, gate: Gate
) -> None:
    reasons = {
        versions.damaged: "iris:{} is damaged: saved_model.pkl is not the file saved",
        versions.unloadable: "iris:{} can't be unpickled: AttributeError('its code has changed')",
        versions.exiting: "a worker ended with 3 before it could serve",
        "gone": "no model iris:gone in the BentoML model store",
    }
    with switching(versions, tmp_path, gate) as story:
        for version, reason in reasons.items():
            status = story.reaches("refused", story.want(version))
            assert reason.format(version) in status.reason
            assert status.models == {"iris": versions.old}
            assert story.serves(versions.old)
            assert story.server.events("switch.refused")[-1]["reason"] == status.reason
        story.reaches("done", story.want(versions.new))
        assert story.serves(versions.new)


def test_a_version_that_hangs_leaves_the_old_one_serving(
    versions: Versions, tmp_path: Path, gate: Gate
) -> None:
    gate.close()
    with switching(versions, tmp_path, gate, SERVING_START_TIMEOUT_S="15") as story:
        revision = story.want(versions.hanging)
        newcomer = story.newcomer()
        status = story.reaches("refused", revision)
        told = "a new worker was not ready within 15 s (SERVING_START_TIMEOUT_S)"
        assert status.reason == told
        assert story.serves(versions.old)
        eventually("its end", lambda: not psutil.pid_exists(newcomer))


def test_a_new_worker_that_is_killed_before_it_is_ready_changes_nothing(
    versions: Versions, tmp_path: Path, gate: Gate
) -> None:
    gate.close()
    with switching(versions, tmp_path, gate) as story:
        revision = story.want(versions.hanging)
        os.kill(story.newcomer(), signal.SIGKILL)
        status = story.reaches("refused", revision)
        assert status.reason == "a worker ended with -9 before it could serve"
        assert story.serves(versions.old)


@pytest.mark.parametrize("succeeds", [True, False])
def test_an_old_worker_that_is_killed_in_mid_switch_is_replaced_by_what_can_serve(
    versions: Versions, tmp_path: Path, gate: Gate, *, succeeds: bool
) -> None:
    gate.close()
    settings = gate.settings | {"SERVING_MODEL": f"iris:{versions.old}"}
    with serving(versions.home, tmp_path / "output", **settings) as server:
        story = Switching(server, versions)
        story.end()  # who asks the one that is killed gets no answer
        status = story.reaches("done", 0)
        revision = story.want(versions.hanging)
        newcomer = story.newcomer()
        (old,) = status.workers
        os.kill(int(old), signal.SIGKILL)
        eventually("its death is seen", lambda: server.events("worker.died"))
        if succeeds:
            gate.open()
            story.reaches("done", revision)
        else:
            assert eventually("an answer", lambda: story.serves(versions.old))
            os.kill(newcomer, signal.SIGKILL)
            story.reaches("refused", revision)
        wanted = versions.hanging if succeeds else versions.old
        eventually("one worker", lambda: len((story.status or status).workers) == 1)
        assert story.serves(wanted)


def test_a_server_that_is_asked_to_end_in_mid_switch_ends_well(
    versions: Versions, tmp_path: Path, gate: Gate
) -> None:
    gate.close()
    with switching(versions, tmp_path, gate) as story:
        story.want(versions.hanging)
        newcomer = story.newcomer()
        story.end()
        story.server.terminate()
        assert story.server.ended() == 0
        assert not psutil.pid_exists(newcomer)


def test_a_state_that_can_not_be_read_changes_nothing_and_is_told(
    versions: Versions, tmp_path: Path, gate: Gate
) -> None:
    file = versions.home / "serving.json"
    with switching(versions, tmp_path, gate) as story:
        file.write_text("{")
        (line,) = eventually("a refusal", lambda: story.server.events("switch.refused"))
        assert f"{file} is no state of models" in line["reason"]
        assert story.serves(versions.old)
        file.unlink()
        story.reaches("done", story.want(versions.new))


def test_while_versions_switch_the_server_is_ready_whatever_the_delay_of_its_end(
    versions: Versions, tmp_path: Path, gate: Gate
) -> None:
    with switching(versions, tmp_path, gate, SERVING_DRAIN_DELAY_S="2") as story:
        ready: Counter[int] = Counter()
        revision = story.want(versions.new)
        while (status := story.status) and (status.phase, status.revision) != ("done", revision):
            ready[httpx.get(f"{story.server.url}/readyz").status_code] += 1
        assert set(ready) == {200}

"""The command that people promote with, beside a server: what it does, and what it takes back."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from serving.model.state import read_state
from serving.model.stored import DESCRIPTION
from serving.versions.servers import running
from tests.server import PATIENCE_S, ROOT, ROW, TWO_WORKERS, Server, environment, eventually
from tests.server import serving as serve
from tests.wire.disks import fill, make_room, small_disk
from tests.wire.gate import Gate
from tests.wire.versions import NAME, Versions

COMMAND = (sys.executable, "-m", "serving.versions")


class Desk:
    """A person with a model store."""

    def __init__(self, versions: Versions, folder: Path, settings: Mapping[str, str]) -> None:
        """Take what the command and the servers have set alike."""
        self.versions = versions
        self.folder = folder
        self.settings = dict(settings)
        self.file = Path(self.settings.get("SERVING_STATE_FILE", versions.home / "serving.json"))

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a command."""
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=ROOT,
            env=environment(self.versions.home, self.settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        """Wait for its end; give the exit code, and what it said."""
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out, err

    def done(self, *arguments: str) -> list[str]:
        """Run a command that has to do what it is asked."""
        code, out, err = self.end(self.begin(*arguments))
        assert (code, err) == (0, "")
        return out.splitlines()

    def refused(self, *arguments: str) -> str:
        """Run a command that has to be refused, with one line."""
        return self.refusal(self.begin(*arguments))

    def refusal(self, process: subprocess.Popen[str]) -> str:
        """Wait for one that has to be refused."""
        code, _, err = self.end(process)
        assert (code, err.count("\n")) == (1, 1), err
        return err.removeprefix("python -m serving.versions: ").strip()

    def promoted(self) -> tuple[str, ...]:
        """Tell what stands on the way back."""
        return read_state(self.file).of(NAME).promoted

    @contextmanager
    def server(self, **settings: str) -> Iterator[Server]:
        """Serve the old version."""
        own = {"SERVING_MODEL": f"{NAME}:{self.versions.old}", "SERVING_CACHE_TTL_S": "0"}
        output = self.folder / "output"
        with serve(self.versions.home, output, **own | self.settings | settings) as server:
            eventually("word of it", lambda: running(self.file))
            yield server


@pytest.fixture
def desk(versions: Versions, tmp_path: Path, gate: Gate) -> Desk:
    """Give a person with a store in which nobody has decided anything."""
    settings = gate.settings | {"SERVING_MODEL": f"{NAME}:{versions.old}"}
    return Desk(versions, tmp_path, settings)


def served(server: Server) -> str:
    """Tell which version answers."""
    return str(server.ask_apart(ROW).json()["model"]["version"])


def newcomer(server: Server) -> int:
    """Wait for the worker that is started beside the one that serves."""

    def found() -> set[int]:
        children = {child.pid for child in psutil.Process(server.process.pid).children()}
        return children - {server.worker()} if len(children) > 1 else set()

    return eventually("a new worker", found).pop()


def test_a_version_is_promoted_and_rolled_back_and_history_tells(desk: Desk) -> None:
    old, new = desk.versions.old, desk.versions.newest
    with desk.server(**TWO_WORKERS) as server:
        parent = server.process.pid
        assert desk.done("promote", f"{NAME}:latest", "--margin", "0", "--why", "trained again")[
            -2:
        ] == [f"{NAME}:{new} is {NAME}@champion", f"server {parent} serves it"]
        assert served(server) == new
        assert desk.done("promote", f"{NAME}:{new}") == [f"{NAME}:{new} is the champion already"]
        desk.done("rollback", NAME, "--wait")
        assert {served(server) for _ in range(8)} == {old}
        assert f"{NAME}:{old} is the first" in desk.refused("rollback", NAME)
        (listed,) = json.loads("\n".join(desk.done("list", NAME, "--json")))
        assert [one["version"] for one in listed["versions"] if one["served_by"] == [parent]] == [
            old
        ]
    told = json.loads("\n".join(desk.done("history", NAME, "--json")))
    assert [(one["action"], one["before"], one["after"], one["why"]) for one in told] == [
        ("promote", old, new, "trained again"),
        ("rollback", new, old, ""),
    ]


def test_what_is_promoted_while_no_server_runs_is_served_by_the_next(desk: Desk) -> None:
    told = desk.done("promote", f"{NAME}:{desk.versions.newest}")
    assert told[-1].startswith("no server is running on this machine")
    with desk.server() as server:
        assert served(server) == desk.versions.newest


def test_what_can_t_serve_is_refused_or_taken_back_and_the_old_one_goes_on(desk: Desk) -> None:
    versions = desk.versions
    with desk.server(SERVING_START_TIMEOUT_S="20") as server:
        reason = (
            f"model {NAME}:{versions.damaged} is damaged: saved_model.pkl is not the file saved"
        )
        assert desk.refused("promote", f"{NAME}:{versions.damaged}") == reason
        assert not desk.file.exists()
        for version, reason in {
            versions.unloadable: "can't be unpickled: AttributeError('its code has changed')",
            versions.exiting: "a worker ended with 3 before it could serve",
        }.items():
            told = desk.refused("promote", f"{NAME}:{version}", "--breaking")
            assert told.startswith(f"{NAME}:{version} does not serve, all is as before: server ")
            assert told.endswith(reason)
            assert desk.promoted() == ()
            assert read_state(desk.file).of(NAME).history[-1].why in told
            assert served(server) == versions.old


def rename_a_feature(versions: Versions, version: str) -> None:
    """Let a version call a feature otherwise."""
    file = versions.home / "models" / NAME / version / DESCRIPTION
    file.write_text(file.read_text("utf-8").replace('"sepal length (cm)"', '"stalk"'), "utf-8")


def test_what_would_break_clients_takes_a_word_more(desk: Desk) -> None:
    version = desk.versions.newest
    rename_a_feature(desk.versions, version)
    with desk.server() as server:
        told = desk.refused("promote", f"{NAME}:{version}")
        assert "would break clients (feature 'sepal length (cm)' is called 'stalk')" in told
        assert not desk.file.exists()
        assert "--breaking" in told
        desk.done("promote", f"{NAME}:{version}", "--breaking")
        assert served(server) == version


def test_while_one_version_is_promoted_another_is_not_and_who_gives_up_takes_it_back(
    desk: Desk, gate: Gate
) -> None:
    versions = desk.versions
    gate.close()
    with desk.server() as server:
        first = desk.begin("promote", f"{NAME}:{versions.hanging}", "--breaking")
        newcomer(server)
        told = desk.refused("promote", f"{NAME}:{versions.newest}")
        assert told.endswith("by another command: try again when that has ended")
        first.send_signal(signal.SIGINT)
        assert desk.end(first)[0] == 130
        assert desk.promoted() == ()
        assert served(server) == versions.old
        gate.open()
        desk.done("promote", f"{NAME}:{versions.newest}", "--wait")
        assert served(server) == versions.newest


def test_a_new_worker_or_a_server_that_ends_in_mid_switch_is_told(desk: Desk, gate: Gate) -> None:
    hanging = f"{NAME}:{desk.versions.hanging}"
    gate.close()
    with desk.server() as server:
        command = desk.begin("promote", hanging, "--breaking")
        os.kill(newcomer(server), signal.SIGKILL)
        assert desk.refusal(command).endswith("a worker ended with -9 before it could serve")
        command = desk.begin("promote", hanging, "--breaking")
        newcomer(server)
        server.terminate()
        assert server.ended() == 0
        assert desk.refusal(command).endswith(f"server {server.process.pid} ended meanwhile")
        assert desk.promoted() == ()


def remount(disk: Path, how: str) -> None:
    """Let a disk be read alone, or written too."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


def test_where_the_state_can_t_be_written_nothing_is_changed(
    versions: Versions, tmp_path: Path
) -> None:
    with small_disk(tmp_path, 65_536) as disk:
        desk = Desk(versions, tmp_path, {"SERVING_STATE_FILE": str(disk / "serving.json")})
        tag = f"{NAME}:{versions.newest}"
        with desk.server() as server:
            fill(disk)
            assert "can't be written (No space left on device): nothing" in desk.refused(
                "promote", tag
            )
            make_room(disk)
            remount(disk, "ro")
            told = desk.refused("promote", tag)
            assert "can't be written (Read-only file system): nothing is changed" in told
            assert served(server) == versions.old
            assert not [*disk.iterdir()]
            remount(disk, "rw")
            desk.done("promote", tag)
            assert served(server) == versions.newest

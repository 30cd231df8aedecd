"""The prediction log: whole lines, bounded, and harmless whatever becomes of its file."""

import errno
import fcntl
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from serving.dialects.ours import AnswerWriter
from serving.model.outputs import Prediction
from serving.prediction import log as prediction_log
from serving.prediction.log import PredictionLog, check
from serving.prediction.sinks import append_whole
from tests.server import eventually
from tests.unit.fakes import RecordingLog, sample
from tests.unit.samples import PROBABILITIES, description

ROOT = Path(__file__).parents[3]
FEATURES = ["length", "a/b ~c"]
MODEL = {"name": "mail", "version": "v1"}
TOTAL = "serving_prediction_log_total"
ANSWERS = AnswerWriter(description(asked=PROBABILITIES), "v1")
HAM = Prediction("ham", probabilities=[0.75, 0.25])


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Give the log lines that the room writes about itself."""
    log = RecordingLog()
    monkeypatch.setattr(prediction_log, "log", log)
    return log.lines


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give the path of a log that is not there yet."""
    return tmp_path / "predictions.jsonl"


@pytest.fixture
def counted() -> Callable[[str], float]:
    """Give what tells how many predictions were written or lost in this test."""
    before = {result: sample(TOTAL, result=result) for result in ("written", "lost")}
    return lambda result: sample(TOTAL, result=result) - before[result]


@contextmanager
def logging_to(target: Path | str, max_rows: int = 100) -> Iterator[PredictionLog]:
    """Log to a target, and close it at the end."""
    log = PredictionLog(
        str(target), max_rows, features=FEATURES, model=MODEL, describe=ANSWERS.document
    )
    try:
        yield log
    finally:
        log.close()


def read(file: Path) -> list[dict[str, Any]]:
    """Read a log; each line has to be whole."""
    text = file.read_text() if file.exists() else ""
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


@contextmanager
def held(file: Path) -> Iterator[None]:
    """Keep everybody from writing to a file."""
    file.touch()
    with file.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def note(log: PredictionLog, request_id: str, count: int = 1) -> None:
    """Note as many rows as given."""
    log.note(request_id, [(1.5, float(index)) for index in range(count)], [HAM] * count)


# Lines


def test_a_prediction_is_a_line_that_tells_what_was_asked_and_answered(file: Path) -> None:
    before = datetime.now(UTC)
    with logging_to(file) as log:
        log.note("r1", [(0.1 + 0.2, None)], [HAM])
    (line,) = read(file)
    assert before <= datetime.fromisoformat(line.pop("timestamp")) <= datetime.now(UTC)
    assert line == {
        "level": "info",
        "event": "prediction",
        "request_id": "r1",
        "row": 0,
        "model": MODEL,
        "features": {"length": 0.1 + 0.2, "a/b ~c": None},
        "prediction": "ham",
        "probabilities": {"ham": 0.75, "spam": 0.25},
    }
    assert file.read_text().startswith('{"timestamp":"')
    assert 'Z","level":"info","event":"prediction"' in file.read_text()


def test_the_rows_of_a_batch_are_lines_with_their_index_and_one_time(file: Path) -> None:
    with logging_to(file) as log:
        note(log, "r1", 3)
        note(log, "r2", 2)
    found = read(file)
    assert [(line["request_id"], line["row"]) for line in found] == [
        ("r1", 0),
        ("r1", 1),
        ("r1", 2),
        ("r2", 0),
        ("r2", 1),
    ]
    assert [line["features"]["a/b ~c"] for line in found] == [0.0, 1.0, 2.0, 0.0, 1.0]
    assert len({line["timestamp"] for line in found if line["request_id"] == "r1"}) == 1


def test_no_rows_are_no_line(file: Path) -> None:
    with logging_to(file) as log:
        log.note("r1", [], [])
    assert read(file) == []


def test_what_is_off_costs_no_thread_and_no_count(
    counted: Callable[[str], float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with logging_to("off") as log:
        assert log._thread is None
        note(log, "r1")
    assert list(tmp_path.iterdir()) == []
    assert counted("written") == counted("lost") == 0


def test_lines_are_written_soon_and_counted(file: Path, counted: Callable[[str], float]) -> None:
    with logging_to(file) as log:
        note(log, "r1", 2)
        eventually("two lines", lambda: len(read(file)) == 2)
        eventually("their count", lambda: counted("written") == 2)
        note(log, "r2")
        eventually("one more", lambda: len(read(file)) == 3)
    assert counted("lost") == 0


_PRINTS = """
from serving.model.outputs import Prediction
from serving.prediction.log import PredictionLog
from serving.host.logs import configure_logging
from serving.telemetry import log
import sys
configure_logging("info", as_json=True)
sys.stdout = None
target = PredictionLog("stdout", 1000, features=["x"], model={}, describe=lambda _: {})
for number in range(10):
    target.note(str(number), [("y" * 20_000,)] * 5, [Prediction(1)] * 5)
    log.info("other")
target.close()
"""


def test_lines_on_stdout_are_whole_among_others() -> None:
    command = [sys.executable, "-c", _PRINTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(line["event"] for line in found) == ["other"] * 10 + ["prediction"] * 50
    for line in found:
        assert list(line)[:3] == ["timestamp", "level", "event"]


# The file


def test_a_new_file_is_for_its_user_alone_and_another_keeps_its_mode(file: Path) -> None:
    with logging_to(file) as log:
        note(log, "r1")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o640)
    with logging_to(file) as log:
        note(log, "r2")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [line["request_id"] for line in read(file)] == ["r1", "r2"]


def test_a_file_that_was_moved_away_is_made_anew(file: Path) -> None:
    moved = file.with_suffix(".1")
    with logging_to(file) as log:
        note(log, "r1")
        eventually("a line", lambda: read(file))
        file.rename(moved)
        note(log, "r2")
        eventually("a line in the new file", lambda: read(file))
        file.unlink()
        note(log, "r3")
    assert [line["request_id"] for line in read(moved)] == ["r1"]
    assert [line["request_id"] for line in read(file)] == ["r3"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


_APPENDS = """
import sys
from serving.model.outputs import Prediction
from serving.prediction.log import PredictionLog
log = PredictionLog(sys.argv[1], 10_000, features=["x"], model={}, describe=lambda _: {})
for number in range(20):
    log.note(str(number), [("y" * 5000,)] * 50, [Prediction(1)] * 50)
log.close()
"""


def test_several_processes_append_whole_batches(file: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", _APPENDS, str(file)], cwd=ROOT) for _ in range(3)
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    found = read(file)
    assert len(found) == 3 * 20 * 50
    assert [line["row"] for line in found] == list(range(50)) * 60


# Too much, and full disks


def test_what_finds_no_room_is_lost_at_once_and_told_once(
    file: Path, lines: list[dict[str, Any]], counted: Callable[[str], float]
) -> None:
    def overflow(log: PredictionLog, phase: int) -> None:
        with held(file):
            note(log, "taken", 3)
            note(log, "taken in part", 4)
            for _ in range(10):
                note(log, "lost", 2)
            assert counted("lost") == phase * 22
            line = {"level": "error", "event": "prediction_log.full", "max_rows": 5}
            assert lines == [line] * phase
        eventually("five lines more", lambda: counted("written") == phase * 5)
        eventually("room", lambda: log._waiting_rows == 0)

    with logging_to(file, max_rows=5) as log:
        overflow(log, 1)
        overflow(log, 2)
    assert [(line["request_id"], line["row"]) for line in read(file)] == [
        ("taken", 0),
        ("taken", 1),
        ("taken", 2),
        ("taken in part", 0),
        ("taken in part", 1),
    ] * 2


def test_a_failing_disk_is_told_once_and_nothing_is_lost_if_it_soon_works_again(
    file: Path,
    lines: list[dict[str, Any]],
    counted: Callable[[str], float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[int] = []

    def fail(descriptor: int, data: bytes) -> None:
        tried.append(descriptor)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def break_down(log: PredictionLog, phase: int) -> None:
        tried.clear()
        monkeypatch.setattr(prediction_log, "append_whole", fail)
        note(log, "r", 2)
        eventually("several tries", lambda: len(tried) > 3)
        told = {"event": "prediction_log.failed", "reason": "No space left on device"}
        assert lines == [{"level": "error"} | told] * phase
        assert len(read(file)) == 2 * (phase - 1)
        monkeypatch.setattr(prediction_log, "append_whole", append_whole)
        eventually("two lines more", lambda: counted("written") == 2 * phase)
        assert len(read(file)) == 2 * phase

    monkeypatch.setattr(prediction_log, "_RETRY_S", 0.01)
    with logging_to(file) as log:
        break_down(log, 1)
        break_down(log, 2)
    assert counted("lost") == 0


def test_a_prediction_that_can_not_be_written_down_is_lost_alone(
    file: Path, lines: list[dict[str, Any]], counted: Callable[[str], float]
) -> None:
    with logging_to(file) as log:
        log.note("r1", [("\ud800", 31415926)], [HAM])
        eventually("its loss", lambda: counted("lost") == 1)
        note(log, "r2")
    assert [line["request_id"] for line in read(file)] == ["r2"]
    (line,) = lines
    assert line["event"] == "prediction_log.failed"
    assert "in _lines" in line["exception"]
    assert "31415926" not in line["exception"]


def test_a_stdout_that_is_closed_loses_lines_alone(
    lines: list[dict[str, Any]],
    counted: Callable[[str], float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "__stdout__", None)
    with logging_to("stdout") as log:
        note(log, "r1", 2)
        eventually("their loss", lambda: counted("lost") == 2)
    assert lines == [
        {"level": "error", "event": "prediction_log.failed", "reason": "stdout is closed"}
    ]


# The end


def test_the_end_waits_for_what_waits(file: Path, counted: Callable[[str], float]) -> None:
    with logging_to(file, max_rows=10_000) as log:
        for number in range(1000):
            note(log, str(number), 3)
    assert len(read(file)) == counted("written") == 3000


def test_the_end_does_not_wait_for_ever(
    file: Path,
    lines: list[dict[str, Any]],
    counted: Callable[[str], float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prediction_log, "_CLOSE_S", 0.01)
    with held(file):
        with logging_to(file) as log:
            note(log, "r1", 2)
        assert lines == [{"level": "error", "event": "prediction_log.unwritten", "rows": 2}]
        assert counted("lost") == 2
        note(log, "too late")
        assert counted("lost") == 3


# The start


@pytest.mark.parametrize("target", ["off", "stdout"])
def test_what_is_no_file_needs_no_check(
    target: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    check(target)
    assert list(tmp_path.iterdir()) == []


def test_the_check_makes_the_file(file: Path) -> None:
    check(str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_bytes() == b""


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nowhere/file", "No such file or directory"),
        ("folder", "Is a directory"),
        ("fifo", "No such device or address"),
        ("read fifo", "it is no regular file"),
        ("nul\0", "embedded null"),
    ],
)
def test_what_can_not_be_written_to_is_refused_by_the_name_of_its_variable(
    tmp_path: Path, name: str, problem: str
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    os.mkfifo(tmp_path / "read fifo")
    reader = os.open(tmp_path / "read fifo", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(SystemExit) as caught:
            check(str(tmp_path / name))
    finally:
        os.close(reader)
    message = str(caught.value)
    assert message.startswith("SERVING_PREDICTION_LOG: can't write to ")
    assert problem in message
    assert "\n" not in message

"""The prediction log: a line for each prediction, bounded, and harmless whatever its sink does."""

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from serving.model.about import About
from serving.model.features import Row
from serving.model.outputs import Prediction
from serving.prediction import log as prediction_log
from serving.prediction.log import PredictionLog
from serving.telemetry import Predicted
from tests.unit.fakes import recorded, sample
from tests.unit.prediction.stories import PATIENCE_S, until
from tests.unit.samples import PROBABILITIES, description

ABOUT = About(description(asked=PROBABILITIES), "v1")
HAM = Prediction("ham", probabilities=[0.75, 0.25])
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
MAX_ROWS = 5

Counted = Callable[[str], float]


class ListSink:
    """Keeps what is written, unless it is held up or fails."""

    def __init__(self) -> None:
        """Take all."""
        self.keeps_nothing_of_a_failure = True
        self.failure: OSError | None = None
        self.tries = 0
        self.lines: list[dict[str, Any]] = []
        self.is_closed = False
        self.gate = threading.Event()
        self.gate.set()
        self.closes_behind = False  # the next one

    def write(self, lines: list[bytes]) -> None:
        """Keep lines; each has to be whole."""
        self.tries += 1
        assert self.gate.wait(PATIENCE_S)
        if self.closes_behind:
            self.gate.clear()
        if self.failure is not None:
            raise self.failure
        assert all(line.endswith(b"}\n") for line in lines)
        self.lines += map(json.loads, lines)

    def close(self) -> None:
        """Take no more."""
        self.is_closed = True


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be waited for for long."""
    for name in ("_GATHER_S", "_RETRY_S"):
        monkeypatch.setattr(prediction_log, name, 0.001)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Give the log lines that the room writes about itself."""
    return recorded(monkeypatch, prediction_log).lines


@pytest.fixture
def counted() -> Counted:
    """Give what tells how many predictions were written or lost in this test."""
    total = "serving_prediction_log_total"
    before = {result: sample(total, result=result) for result in ("written", "lost")}
    return lambda result: sample(total, result=result) - before[result]


@pytest.fixture
def sink() -> ListSink:
    """Give where the lines go."""
    return ListSink()


@pytest.fixture
def log(sink: ListSink) -> Iterator[PredictionLog]:
    """Log, and close it at the end."""
    log = PredictionLog(sink, MAX_ROWS)
    yield log
    sink.gate.set()
    log.close()


def note(log: PredictionLog, request_id: str, count: int = 1) -> None:
    """Tell that a request was answered, about as many rows as given."""
    rows: list[Row] = [(1.5, float(index)) for index in range(count)]
    log.predicted(Predicted(request_id, ABOUT, rows, [HAM] * count))


def test_a_prediction_is_a_line_that_tells_what_was_asked_and_answered(
    log: PredictionLog, sink: ListSink
) -> None:
    before = datetime.now(UTC)
    log.predicted(Predicted("r1", ABOUT, [(0.1 + 0.2, None)], [HAM]))
    log.close()
    (line,) = sink.lines
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert line["timestamp"].endswith("Z")
    assert before <= datetime.fromisoformat(line.pop("timestamp")) <= datetime.now(UTC)
    assert line == {
        "level": "info",
        "event": "prediction",
        "request_id": "r1",
        "row": 0,
        "model": {"name": "mail", "version": "v1"},
        "features": {"length": 0.1 + 0.2, "a/b ~c": None},
        "prediction": "ham",
        "probabilities": {"ham": 0.75, "spam": 0.25},
    }


def test_the_rows_of_a_batch_are_lines_with_their_index_and_one_time(
    log: PredictionLog, sink: ListSink
) -> None:
    note(log, "r1", 3)
    note(log, "none", 0)
    note(log, "r2", 2)
    log.close()
    assert [
        (line["request_id"], line["row"], line["features"]["a/b ~c"]) for line in sink.lines
    ] == [
        ("r1", 0, 0.0),
        ("r1", 1, 1.0),
        ("r1", 2, 2.0),
        ("r2", 0, 0.0),
        ("r2", 1, 1.0),
    ]
    assert len({line["timestamp"] for line in sink.lines if line["request_id"] == "r1"}) == 1


def test_lines_are_written_soon_and_counted(
    log: PredictionLog, sink: ListSink, counted: Counted
) -> None:
    def is_written(request_id: str, lines: int) -> None:
        note(log, request_id, 2)
        until(lambda: len(sink.lines) == counted("written") == lines)

    is_written("r1", 2)
    is_written("r2", 4)
    assert counted("lost") == 0


def test_what_finds_no_room_is_lost_at_once_and_told_once(
    log: PredictionLog, sink: ListSink, told: list[dict[str, Any]], counted: Counted
) -> None:
    def overflow(phase: int) -> None:
        sink.gate.clear()
        note(log, "taken", 3)
        note(log, "taken in part", 4)
        for _ in range(10):
            note(log, "lost", 2)
        assert counted("lost") == phase * 22
        line = {"level": "error", "event": "prediction_log.full", "max_rows": MAX_ROWS}
        assert told == [line] * phase
        sink.gate.set()
        until(lambda: counted("written") == phase * MAX_ROWS)
        until(lambda: log._waiting_rows == 0)

    overflow(1)
    overflow(2)
    assert [(line["request_id"], line["row"]) for line in sink.lines] == [
        ("taken", 0),
        ("taken", 1),
        ("taken", 2),
        ("taken in part", 0),
        ("taken in part", 1),
    ] * 2


def test_a_request_of_more_rows_than_may_wait_is_written_whole_if_none_waits(
    log: PredictionLog, sink: ListSink, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "_ROWS_AT_ONCE", 3)
    sink.gate.clear()
    note(log, "large", MAX_ROWS + 5)
    note(log, "lost", 2)
    sink.gate.set()
    until(lambda: counted("written") == MAX_ROWS + 5)
    until(lambda: log._waiting_rows == 0)
    note(log, "again", 1)
    log.close()
    assert counted("lost") == 2
    rows = [(line["request_id"], line["row"]) for line in sink.lines]
    assert rows == [*(("large", row) for row in range(MAX_ROWS + 5)), ("again", 0)]


def test_rows_that_are_not_all_of_a_request_keep_their_numbers(
    log: PredictionLog, sink: ListSink
) -> None:
    log.predicted(Predicted("r1", ABOUT, [(1.5, 1.0), (1.5, 2.0)], [HAM] * 2, [7, 9]))
    log.close()
    assert [line["row"] for line in sink.lines] == [7, 9]


def test_while_it_is_about_full_that_is_not_told_at_each_loss(
    log: PredictionLog, sink: ListSink, told: list[dict[str, Any]], counted: Counted
) -> None:
    sink.gate.clear()
    sink.closes_behind = True
    note(log, "r1", 1)
    until(lambda: sink.tries == 1)
    note(log, "r2", 5)
    sink.gate.set()
    until(lambda: sink.tries == 2)  # more than half of the room is taken still
    note(log, "r3", 2)
    assert counted("lost") == 1 + 1
    assert len(told) == 1
    sink.closes_behind = False


def test_a_failing_disk_is_told_once_and_nothing_is_lost_if_it_soon_works_again(
    log: PredictionLog, sink: ListSink, told: list[dict[str, Any]], counted: Counted
) -> None:
    def break_down(phase: int) -> None:
        sink.failure, sink.tries = FULL, 0
        note(log, "r", 2)
        until(lambda: sink.tries > 3)
        line = {"event": "prediction_log.failed", "reason": "No space left on device"}
        assert told == [{"level": "error"} | line] * phase
        sink.failure = None
        until(lambda: counted("written") == 2 * phase)

    break_down(1)
    break_down(2)
    assert len(sink.lines) == 4
    assert counted("lost") == 0


def test_what_may_have_been_written_in_part_is_not_written_again(
    log: PredictionLog, sink: ListSink, told: list[dict[str, Any]], counted: Counted
) -> None:
    sink.keeps_nothing_of_a_failure, sink.failure = False, OSError("stdout is closed")
    note(log, "r1", 2)
    until(lambda: counted("lost") == 2)
    assert told == [
        {"level": "error", "event": "prediction_log.failed", "reason": "stdout is closed"}
    ]
    assert sink.tries == 1


def test_a_prediction_that_can_not_be_written_down_is_lost_alone(
    log: PredictionLog, sink: ListSink, told: list[dict[str, Any]], counted: Counted
) -> None:
    log.predicted(Predicted("r1", ABOUT, [("\ud800", 31415926)], [HAM]))
    until(lambda: counted("lost") == 1)
    note(log, "r2")
    log.close()
    assert [line["request_id"] for line in sink.lines] == ["r2"]
    (line,) = told
    assert line["event"] == "prediction_log.failed"
    assert "in _lines" in line["exception"]
    assert "31415926" not in line["exception"]


# The end


def test_the_end_waits_for_what_waits(sink: ListSink, counted: Counted) -> None:
    log = PredictionLog(sink)
    for number in range(1000):
        note(log, str(number), 3)
    log.close()
    assert len(sink.lines) == counted("written") == 3000
    assert sink.is_closed


@pytest.mark.parametrize("hangs", [True, False], ids=["that hangs", "that fails"])
def test_the_end_does_not_wait_for_a_sink(
    sink: ListSink,
    told: list[dict[str, Any]],
    counted: Counted,
    monkeypatch: pytest.MonkeyPatch,
    *,
    hangs: bool,
) -> None:
    monkeypatch.setattr(prediction_log, "_CLOSE_S", 0.01 if hangs else PATIENCE_S)
    log = PredictionLog(sink)
    if hangs:
        sink.gate.clear()
    else:
        sink.failure = FULL
    note(log, "r1", 2)
    log.close()
    unwritten = {"level": "error", "event": "prediction_log.unwritten", "rows": 2}
    assert [line for line in told if line["event"] != "prediction_log.failed"] == [unwritten]
    assert counted("lost") == 2
    note(log, "too late")
    assert counted("lost") == 3
    sink.gate.set()
    until(lambda: sink.is_closed)

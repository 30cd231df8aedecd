"""Drift: counted off the way of answers, soon, and harmless whatever happens."""

import errno
import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.drift.watch import OLD_MODEL, TURNED_OFF, UNKNOWN, Watch
from serving.model.about import About
from serving.model.description import Reference
from serving.model.features import Row
from serving.model.outputs import Prediction
from serving.prediction import drift as room
from serving.prediction.drift import ENOUGH_ROWS, Drift
from serving.prediction.history import History
from serving.prediction.tally import Tally
from serving.problems import NOT_FOUND, Problem
from tests.unit.fakes import recorded
from tests.unit.prediction.stories import PATIENCE_S, until
from tests.unit.prediction.watched import REFERENCES, about, counted, predicted

RED: Row = (1.0, "red")
LONG_S = 600.0
INPUT = "31415926"  # a value that must not be told
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Give the log lines that the room writes."""
    return recorded(monkeypatch, room).lines


@pytest.fixture
def mail(request: pytest.FixtureRequest) -> About:
    """Give a model of this test's own."""
    return about(request.node.name)


@pytest.fixture
def drift(mail: About, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drift]:
    """Watch it, and count soon."""
    monkeypatch.setattr(room, "LATEST_S", 0.001)
    drift = Drift(30)
    drift.watch(mail)
    yield drift
    drift.close()


@pytest.fixture
def late(mail: About, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drift]:
    """Watch it, and count when there is enough."""
    monkeypatch.setattr(room, "LATEST_S", LONG_S)
    drift = Drift(30)
    drift.watch(mail)
    yield drift
    drift.close()


def red(mail: About) -> float:
    """Tell how much red mail was counted."""
    return counted(mail)["colour"].get("red", 0)


def reason(drift: Drift, mail: About) -> str:
    """Tell why a model is not watched."""
    with pytest.raises(Problem) as caught:
        drift.of(mail)
    assert caught.value.kind is NOT_FOUND
    return str(caught.value.detail)


def threads() -> int:
    """Tell how many threads of this kind there are."""
    return sum(thread.name == "drift" for thread in threading.enumerate())


def test_what_was_answered_is_counted_soon_and_then_gone(drift: Drift, mail: About) -> None:
    class Seen(Prediction):
        """A prediction of which it can be seen that it is gone."""

    prediction = Seen("ham", [0.75, 0.25])
    gone = weakref.ref(prediction)
    drift.predicted(predicted(mail, [RED, RED], prediction))
    del prediction
    until(lambda: red(mail) == 2)
    until(lambda: gone() is None)
    drift.predicted(predicted(mail, [RED]))
    until(lambda: red(mail) == 3)
    assert drift.of(mail).report(60)["rows"] == 3


def test_enough_rows_are_counted_without_waiting(late: Drift, mail: About) -> None:
    for _ in range(ENOUGH_ROWS // 2 - 1):
        late.predicted(predicted(mail, [RED, RED]))
    assert red(mail) == 0
    late.predicted(predicted(mail, [RED, RED]))
    until(lambda: red(mail) == ENOUGH_ROWS)


def test_at_the_end_what_waits_is_counted(mail: About, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LATEST_S", LONG_S)
    drift = Drift(30)
    drift.watch(mail)
    drift.predicted(predicted(mail, [RED] * 3))
    drift.close()
    assert red(mail) == 3


def test_what_comes_while_others_are_counted_is_counted_at_the_end_too(
    mail: About, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, may_go_on = threading.Event(), threading.Event()
    note = Tally.note

    def held(tally: Tally, now_s: float) -> None:
        note(tally, now_s)
        if threading.current_thread().name == "drift":
            began.set()
            assert may_go_on.wait(PATIENCE_S)

    monkeypatch.setattr(Tally, "note", held)
    monkeypatch.setattr(room, "LATEST_S", 0.001)
    drift = Drift(30)
    drift.watch(mail)
    assert began.wait(PATIENCE_S)
    drift.predicted(predicted(mail, [RED]))
    closing = threading.Thread(target=drift.close)
    closing.start()
    until(lambda: drift._closing)
    may_go_on.set()
    closing.join()
    assert red(mail) == 1


def test_a_count_that_takes_too_long_does_not_keep_a_worker_from_ending(
    mail: About, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on = threading.Event()
    count = Tally.count

    def held(tally: Tally) -> None:
        assert may_go_on.wait(PATIENCE_S)
        count(tally)

    monkeypatch.setattr(Tally, "count", held)
    monkeypatch.setattr(room, "_CLOSE_S", 0.001)
    drift = Drift(30)
    drift.watch(mail)
    drift.predicted(predicted(mail, [RED]))
    drift.close()
    assert red(mail) == 0
    may_go_on.set()
    drift._thread.join(PATIENCE_S)
    assert red(mail) == 1  # and the minute was noted in a file that is still its own
    drift.close()


def test_a_failure_is_logged_once_without_what_it_was_about_and_counting_goes_on(
    drift: Drift, mail: About, told: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = 0

    def count(*_: object) -> None:
        nonlocal fails
        fails += 1
        raise ArithmeticError(INPUT)

    with monkeypatch.context() as broken:
        broken.setattr(Watch, "count", count)
        for number in range(1, 4):
            drift.predicted(predicted(mail, [(float(INPUT), "red")]))
            until(lambda number=number: fails == number)  # type: ignore[misc]
    drift.predicted(predicted(mail, [RED]))
    until(lambda: red(mail) == 1)
    (line,) = told
    assert (line["level"], line["event"]) == ("error", "drift.failed")
    assert line["exception"].endswith("ArithmeticError")
    assert INPUT not in str(line)


def test_a_disk_that_fills_up_costs_minutes_and_no_counts(
    drift: Drift, mail: About, told: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise FULL

    monkeypatch.setattr(History, "wants", lambda *_: True)
    monkeypatch.setattr(History, "note", full)
    for _ in range(3):
        drift.predicted(predicted(mail, [RED]))
    until(lambda: red(mail) == 3 and bool(told))
    assert [line["event"] for line in told] == ["drift.failed"]


# Not watched


def test_turned_off_there_is_neither_thread_nor_series_nor_a_log_line(
    mail: About, told: list[dict[str, Any]]
) -> None:
    before = threads()
    drift = Drift(0)
    drift.watch(mail)
    drift.predicted(predicted(mail, [RED]))
    assert not any(counted(mail).values())
    assert reason(drift, mail) == f"drift is not watched: {TURNED_OFF}"
    assert (threads(), told) == (before, [])
    drift.close()


@pytest.mark.parametrize(("training", "why"), [({}, OLD_MODEL), ({"training": None}, UNKNOWN)])
def test_a_model_without_what_training_saw_is_served_without_and_that_is_told(
    told: list[dict[str, Any]], request: pytest.FixtureRequest, training: dict[str, None], why: str
) -> None:
    old = about(request.node.name, references=None, **training)
    before = threads()
    drift = Drift(30)
    drift.watch(old)
    drift.predicted(predicted(old, [RED]))
    named = {"name": old.name, "version": "v1"}
    assert told == [{"level": "warning", "event": "drift.off", "model": named, "reason": why}]
    assert reason(drift, old).endswith(why)
    assert threads() == before
    drift.close()


def test_a_model_whose_reference_has_other_bins_is_served_without_and_that_is_told(
    told: list[dict[str, Any]], request: pytest.FixtureRequest
) -> None:
    rows = {"low": 60, "high": 40}
    features = {**REFERENCES.features, "length": Reference(rows=rows)}
    other = about(request.node.name, REFERENCES.model_copy(update={"features": features}))
    drift = Drift(30)
    drift.watch(other)
    (line,) = told
    assert line["event"] == "drift.off"
    assert reason(drift, other).endswith(
        "training counted 'length' in other bins: train the model again"
    )
    drift.close()


def test_of_more_features_than_are_wanted_the_most_important_are_watched_and_that_is_told(
    mail: About, told: list[dict[str, Any]]
) -> None:
    drift = Drift(1)
    drift.watch(mail)
    drift.predicted(predicted(mail, [RED] * 5))
    drift.close()
    assert {name for name, counts in counted(mail).items() if counts} == {
        "colour",
        "prediction",
        "confidence",
    }
    (line,) = told
    assert (line["event"], line["count"]) == ("drift.features_left_out", 1)


def test_where_no_history_can_be_kept_the_model_is_served_without_and_that_is_told(
    mail: About,
    told: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(room, "metrics_folder", lambda: tmp_path / "nowhere")
    drift = Drift(30)
    drift.watch(mail)
    drift.predicted(predicted(mail, [RED]))
    (line,) = told
    assert line["event"] == "drift.off"
    assert line["reason"] == "no history can be kept: No such file or directory"
    assert reason(drift, mail).endswith(line["reason"])
    drift.close()


def test_several_models_are_counted_apart(
    drift: Drift, mail: About, request: pytest.FixtureRequest
) -> None:
    other = about(f"{request.node.name} too")
    drift.watch(other)
    drift.predicted(predicted(mail, [RED]))
    drift.predicted(predicted(other, [RED, RED]))
    until(lambda: red(mail) == 1 and red(other) == 2)
    drift.predicted(predicted(about("not watched"), [RED]))  # and does no harm

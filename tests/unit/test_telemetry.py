"""What happened: told to each listener once, logged as one line, and never with an input value."""

import json
import traceback
from collections.abc import Callable
from types import SimpleNamespace, TracebackType

import pytest

from serving import telemetry
from serving.telemetry import (
    Answered,
    Listener,
    Listeners,
    LogLine,
    Predicted,
    RequestRecord,
    current_record,
    stack_trace,
)
from tests.unit.fakes import Heard, RecordingLog

INPUT = "31415926"  # a value that must not be told
MAIL = SimpleNamespace(name="mail", version="v1")

# Stack traces


def caught(action: Callable[[], object]) -> BaseException:
    """Give the exception that an action raises."""
    try:
        action()
    except BaseException as exc:
        return exc
    raise AssertionError("nothing was raised")


def convert() -> float:
    """Fail with the input in the message."""
    return float(f"x{INPUT}")


def wrap() -> None:
    """Fail because something else failed."""
    try:
        convert()
    except ValueError as exc:
        raise LookupError(INPUT) from exc


def stumble() -> None:
    """Fail while handling a failure."""
    try:
        convert()
    except ValueError:
        raise LookupError(INPUT)  # noqa: B904 (what is tested)


def hide() -> None:
    """Fail without telling why."""
    try:
        convert()
    except ValueError:
        raise LookupError(INPUT) from None


def test_a_stack_trace_tells_the_places_and_the_kind_but_no_message() -> None:
    trace = stack_trace(caught(convert))
    assert "in convert" in trace
    assert trace.endswith("ValueError")
    assert INPUT not in trace


@pytest.mark.parametrize("action", [wrap, stumble], ids=["cause", "context"])
def test_a_stack_trace_tells_the_cause_first(action: Callable[[], None]) -> None:
    trace = stack_trace(caught(action))
    first, second = trace.split("\n\nThe above exception caused the following one:\n\n")
    assert first.endswith("ValueError")
    assert second.endswith("LookupError")
    assert INPUT not in trace


def test_a_stack_trace_leaves_out_a_context_that_was_suppressed() -> None:
    assert "ValueError" not in stack_trace(caught(hide))


def test_a_stack_trace_names_the_module_of_foreign_exceptions() -> None:
    assert stack_trace(json.JSONDecodeError(INPUT, INPUT, 0)) == "json.decoder.JSONDecodeError"


def test_a_stack_trace_of_exceptions_that_cause_each_other_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = 0
    format_tb = traceback.format_tb

    def counted(trace: TracebackType | None) -> list[str]:
        nonlocal calls
        calls += 1
        if calls > 10:
            pytest.fail("stack_trace goes round in circles")
        return format_tb(trace)

    monkeypatch.setattr(traceback, "format_tb", counted)
    one, other = caught(convert), LookupError()
    one.__cause__, other.__cause__ = other, one
    assert "ValueError" in stack_trace(one)


# Records, events and listeners


def test_the_record_of_a_request_is_at_hand_further_in(record: RequestRecord) -> None:
    assert current_record() is record


def test_what_was_noted_on_a_record_is_told_at_its_end(record: RequestRecord) -> None:
    record.api_key, record.rows, record.cache, record.problem = "alice", 2, "miss", "overloaded"
    record.unusual, record.exception = {"length": 1}, KeyError()
    told = record.answered(503, 0.25)._asdict()
    kept = {name: told[name] for name in record.__slots__ if name != "id"}
    assert kept == {name: getattr(record, name) for name in kept}
    assert {name: told[name] for name in told.keys() - kept.keys()} == {
        "request_id": record.id,
        "status": 503,
        "duration_s": 0.25,
    }


@pytest.fixture
def answered(record: RequestRecord) -> Answered:
    """Give the end of a request that nothing was noted of."""
    return record.answered(200, 0.012345678)


def test_each_listener_hears_all_that_it_wants_to(answered: Answered) -> None:
    class Starts(Listener):
        """Wants to hear of the start alone."""

        def __init__(self) -> None:
            """Start with nothing."""
            self.routes: list[str] = []

        def started(self, route: str) -> None:
            """Keep the route."""
            self.routes.append(route)

    heard, starts = Heard(), Starts()
    listeners = Listeners([starts, heard])
    predicted = Predicted("id-1", None, [(1.0,)], ["ham"])
    listeners.started("/predict")
    listeners.predicted(predicted)
    listeners.answered(answered)
    assert (heard.routes, heard.predictions, heard.answers) == (
        ["/predict"],
        [predicted],
        [answered],
    )
    assert starts.routes == ["/predict"]


def test_a_listener_that_raises_is_told_of_once_and_the_others_hear_on(
    answered: Answered, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(Listener):
        """Fails with an input in its message."""

        def answered(self, event: Answered) -> None:
            """Fail."""
            raise LookupError(INPUT)

    recording, heard = RecordingLog(), Heard()
    monkeypatch.setattr(telemetry, "log", recording)
    listeners = Listeners([Failing(), heard])
    for _ in range(3):
        listeners.answered(answered)
    assert heard.answers == [answered] * 3
    (line,) = recording.lines
    assert (line["level"], line["event"]) == ("error", "listener.failed")
    assert "Failing" in line["listener"]
    assert line["exception"].endswith("LookupError")
    assert INPUT not in str(line)


# The line of a request


def test_a_request_is_one_line_that_tells_all_that_is_known(
    answered: Answered, lines: list[dict[str, object]]
) -> None:
    LogLine(MAIL).answered(
        answered._replace(
            api_key="alice",
            rows=2,
            unusual={"length": 3, "colour": 1},
            cache="miss",
            explained=2,
            problem="overloaded",
        )
    )
    assert lines == [
        {
            "level": "info",
            "event": "request.finished",
            "request_id": "id-1",
            "method": "POST",
            "route": "/predict",
            "status": 200,
            "duration_ms": 12.346,
            "client": "192.0.2.7",
            "api_key": "alice",
            "model_name": "mail",
            "model_version": "v1",
            "cache": "miss",
            "rows": 2,
            "unusual": 4,
            "explained": 2,
            "problem": "overloaded",
            "exception": None,
        }
    ]


def test_the_line_of_a_request_for_another_model_names_that(
    answered: Answered, lines: list[dict[str, object]]
) -> None:
    post = SimpleNamespace(name="post", version="v2")
    LogLine(MAIL).answered(answered._replace(model=post))
    assert [(line["model_name"], line["model_version"]) for line in lines] == [("post", "v2")]


def test_the_line_of_a_defect_is_an_error_with_its_place_and_without_its_message(
    answered: Answered, lines: list[dict[str, object]]
) -> None:
    LogLine(MAIL).answered(answered._replace(exception=caught(convert)))
    (line,) = lines
    assert (line["level"], line["unusual"]) == ("error", None)
    assert "in convert" in str(line["exception"])
    assert INPUT not in str(line)

"""What an operator sees: JSON lines from every source, and metrics that cannot explode."""

import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Any

import prometheus_client.values
import pytest
import structlog
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from serving.host.logs import FRAMEWORK_LOGGERS, PrintsAsLog, configure_logging
from serving.metrics import (
    MAX_NAMED_SERIES,
    OTHERS,
    WAITING,
    ServiceMetrics,
    _MetricsFile,
    forget_dead_workers,
    make_metrics_folder,
    tell_lost_metrics,
)
from serving.model.description import Label
from serving.prediction.sinks import append_whole
from serving.telemetry import RequestRecord, current_record, stack_trace
from tests.unit.fakes import restored_logging, sample, service_labels

INPUT = "31415926"  # a value that must not be told
ROOT = Path(__file__).parents[2]

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


# Log lines


@contextmanager
def logging_lines(level: str = "info", *, as_json: bool = True) -> Iterator[list[str]]:
    """Log as the service does; what was written is there when the block is left."""
    written: list[str] = []
    with (
        restored_logging(),
        redirect_stdout(StringIO()) as stdout,
        redirect_stderr(StringIO()) as stderr,
    ):
        configure_logging(level, as_json=as_json)
        yield written
        written += stdout.getvalue().splitlines()
    assert stderr.getvalue() == ""


def parsed(written: list[str]) -> list[dict[str, Any]]:
    """Read JSON lines."""
    return [json.loads(line) for line in written]


def test_a_line_begins_with_when_how_bad_and_what() -> None:
    with logging_lines() as written:
        structlog.get_logger().info("model.loaded", rows=3, nothing=None)
    (line,) = parsed(written)
    assert list(line) == ["timestamp", "level", "event", "rows"]
    assert (line["level"], line["event"], line["rows"]) == ("info", "model.loaded", 3)
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("name", [*FRAMEWORK_LOGGERS, "asyncio", "somebody.else"])
def test_lines_of_all_others_have_the_same_shape(name: str) -> None:
    with logging_lines() as written:
        logging.getLogger(name).warning("%s happened", "it")
    (line,) = parsed(written)
    assert list(line) == ["timestamp", "level", "event", "logger"]
    assert (line["level"], line["event"], line["logger"]) == ("warning", "it happened", name)


def test_handlers_that_frameworks_have_set_up_do_not_double_lines() -> None:
    with restored_logging():
        for name in (*FRAMEWORK_LOGGERS, "uvicorn.access"):
            logging.getLogger(name).addHandler(logging.StreamHandler())
            logging.getLogger(name).propagate = False
            logging.getLogger(name).setLevel(logging.ERROR)
        with logging_lines() as written:
            for name in FRAMEWORK_LOGGERS:
                logging.getLogger(name).info("hello")
    assert [line["logger"] for line in parsed(written)] == list(FRAMEWORK_LOGGERS)


def test_uvicorn_s_access_log_is_silent() -> None:
    with logging_lines() as written:
        logging.getLogger("uvicorn.access").info("GET / 200")
    assert written == []


def test_lines_below_the_level_are_left_out() -> None:
    with logging_lines("warning") as written:
        for event in ("quiet", "loud"):
            level = logging.INFO if event == "quiet" else logging.WARNING
            structlog.get_logger().log(level, event)
            logging.getLogger("bentoml").log(level, event)
    assert [line["event"] for line in parsed(written)] == ["loud", "loud"]


def test_a_stack_trace_stands_in_a_field_of_one_line() -> None:
    with logging_lines() as written:
        logging.getLogger("somebody.else").error("it broke", exc_info=caught(convert))
    (line,) = parsed(written)
    assert line["event"] == "it broke"
    assert "in convert" in line["exception"]


def test_a_stack_trace_logged_as_a_message_is_moved_to_a_field() -> None:
    with logging_lines() as written:
        message = "".join(traceback.format_exception(caught(convert)))
        logging.getLogger("uvicorn.error").error(message)
    (line,) = parsed(written)
    assert line["event"].startswith("ValueError")
    assert line["exception"].startswith("Traceback (most recent call last)")


@pytest.mark.parametrize(
    "odd",
    [Path("a"), {1: 2}, b"bytes", float("nan"), "two\nlines", 2**70, "\udcff"],
    ids=["object", "key", "bytes", "nan", "newline", "large", "surrogate"],
)
def test_nothing_odd_in_a_line_can_lose_or_split_it(odd: object) -> None:
    with logging_lines() as written:
        structlog.get_logger().info("odd", value=odd)
        logging.getLogger("somebody.else").info("odd %s", odd)
    assert [line["event"][:3] for line in parsed(written)] == ["odd", "odd"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("as_json", [True, False])
def test_no_line_is_lost_on_a_terminal_that_can_not_show_it(
    encoding: str, *, as_json: bool
) -> None:
    stream = TextIOWrapper(written := BytesIO(), encoding=encoding, errors="strict")
    with restored_logging(), redirect_stdout(stream):
        configure_logging("info", as_json=as_json)
        structlog.get_logger().info("odd", value="Größe → サクラ")
        logging.getLogger("somebody.else").info("caf\udce9")
    first, second = written.getvalue().splitlines()
    if as_json:  # in UTF-8, always
        assert json.loads(first)["value"] == "Größe → サクラ"
        assert json.loads(second)["event"] == "caf\udce9"
    else:
        assert "Größe → サクラ".encode(encoding, "backslashreplace") in first
        assert b"udce9" in second


def test_people_may_have_lines_without_json() -> None:
    with logging_lines(as_json=False) as written:
        structlog.get_logger().info("model.loaded", rows=3)
        logging.getLogger("bentoml").info("hello")
    first, second = written
    assert "model.loaded" in first
    assert "rows=3" in first
    assert "hello" in second
    assert "\x1b" not in first  # colours are for terminals


def test_an_uncaught_exception_is_a_line() -> None:
    with logging_lines() as written:
        exc = caught(convert)
        sys.excepthook(type(exc), exc, exc.__traceback__)
    (line,) = parsed(written)
    assert (line["level"], line["event"]) == ("critical", "process.crashed")
    assert "in convert" in line["exception"]


def test_an_interrupt_from_the_keyboard_is_no_crash() -> None:
    with logging_lines() as written:
        sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert written == []


_CRASHES = """
import sys, threading, warnings
from serving.host.logs import configure_logging
from serving.telemetry import log
configure_logging("info", as_json=True)
log.info("started")
warnings.warn("worn out")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise LookupError
"""


def test_all_that_a_crashing_process_prints_is_json() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", _CRASHES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == ""
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["level"], line["event"]) for line in lines] == [
        ("info", "started"),
        ("warning", lines[1]["event"]),
        ("critical", "process.crashed"),
        ("critical", "process.crashed"),
    ]
    assert "worn out" in lines[1]["event"]
    assert [line["exception"].splitlines()[-1][:17] for line in lines[2:]] == [
        "ZeroDivisionError",
        "LookupError",
    ]


# Records


def test_the_record_of_a_request_is_at_hand_further_in(record: RequestRecord) -> None:
    assert current_record() is record


# Metrics


def test_a_batch_is_counted_with_its_rows_and_those_that_wait(
    metrics: ServiceMetrics, request: pytest.FixtureRequest
) -> None:
    metrics.batch_started(3, 5)
    metrics.batch_started(1, 0)
    labels = {
        "method_name": "predict",
        "worker_index": "0",
        **service_labels(request.node.name),
    }
    assert sample("bentoml_service_adaptive_batch_size_count", **labels) == 2
    assert sample("bentoml_service_adaptive_batch_size_sum", **labels) == 4
    assert sample("serving_waiting_rows") == 0


def test_that_nothing_is_left_to_do_is_no_batch(
    metrics: ServiceMetrics, request: pytest.FixtureRequest
) -> None:
    metrics.batch_started(0, 0)
    labels = {"method_name": "predict", "worker_index": "0", **service_labels(request.node.name)}
    assert sample("bentoml_service_adaptive_batch_size_count", **labels) == 0


def test_predictions_are_counted_by_class(metrics: ServiceMetrics) -> None:
    metrics.predicted({"counted ham": 2, 7: 1})
    metrics.predicted({"counted ham": 3})
    assert sample("serving_predictions_total", **{"class": "counted ham"}) == 5
    assert sample("serving_predictions_total", **{"class": "7"}) == 1


@pytest.mark.parametrize(
    ("label", "name"),
    [(True, "true"), (1.5, "1.5"), (2**53 + 1, "9007199254740993"), ("True", "True"), ("", "")],
)
def test_a_class_is_named_as_json_writes_it(
    metrics: ServiceMetrics, label: Label, name: str
) -> None:
    before = sample("serving_predictions_total", **{"class": name})
    metrics.predicted({label: 2})
    assert sample("serving_predictions_total", **{"class": name}) == before + 2


def series(metric: str, label: str, start: str) -> set[str]:
    """Give the values of a label that start so."""
    return {
        measured.labels[label]
        for family in REGISTRY.collect()
        for measured in family.samples
        if measured.name == metric and measured.labels[label].startswith(start)
    }


def test_no_more_classes_become_series_than_the_limit(metrics: ServiceMetrics) -> None:
    before = sample("serving_predictions_total", **{"class": OTHERS})
    for number in range(MAX_NAMED_SERIES + 50):
        metrics.predicted({f"many {number}": 2})
    assert len(series("serving_predictions_total", "class", "many ")) == MAX_NAMED_SERIES
    assert sample("serving_predictions_total", **{"class": OTHERS}) == before + 100
    metrics.predicted({"many 0": 1})
    assert sample("serving_predictions_total", **{"class": "many 0"}) == 3


def test_values_unlike_training_are_counted_by_feature(
    metrics: ServiceMetrics, record: RequestRecord
) -> None:
    metrics.request_finished(record, 0.25)
    record.unusual = {"counted length": 3, "counted/ünï ~": 1}
    metrics.request_finished(record, 0.25)
    metrics.request_finished(record, 0.25)
    assert sample("serving_unusual_values_total", feature="counted length") == 6
    assert sample("serving_unusual_values_total", feature="counted/ünï ~") == 2


def test_no_more_features_become_series_than_the_limit(
    metrics: ServiceMetrics, record: RequestRecord
) -> None:
    before = sample("serving_unusual_values_total", feature=OTHERS)
    record.unusual = {f"many {number}": 2 for number in range(MAX_NAMED_SERIES + 50)}
    metrics.request_finished(record, 0.25)
    assert len(series("serving_unusual_values_total", "feature", "many ")) == MAX_NAMED_SERIES
    assert sample("serving_unusual_values_total", feature=OTHERS) == before + 100


# Dead workers


@pytest.fixture
def dead_pid() -> int:
    """Give the id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_the_gauges_of_dead_workers_are_forgotten(tmp_path: Path, dead_pid: int) -> None:
    forgotten = [f"gauge_livesum_{dead_pid}.db", f"gauge_livemax_{dead_pid}.db"]
    kept = [f"counter_{dead_pid}.db", f"gauge_livesum_{os.getpid()}.db", "gauge_livesum_1.db"]
    for name in (*forgotten, *kept):
        (tmp_path / name).touch()
    forget_dead_workers(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == set(kept)


def test_a_worker_of_another_user_is_not_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", kill)
    (tmp_path / "gauge_livesum_5.db").touch()
    forget_dead_workers(tmp_path)
    assert (tmp_path / "gauge_livesum_5.db").exists()


def test_a_folder_that_is_not_there_yet_is_no_error(tmp_path: Path) -> None:
    forget_dead_workers(tmp_path / "nowhere")


class FullDisk(StringIO):
    """Takes nothing."""

    def write(self, text: str) -> int:
        """Fail."""
        raise OSError("no space left on device")

    def flush(self) -> None:
        """Fail."""
        raise OSError("no space left on device")


@pytest.mark.parametrize("closed", [False, True])
def test_a_log_that_cannot_be_written_harms_nobody(closed: bool) -> None:
    stream = FullDisk()
    with restored_logging(), redirect_stdout(stream), redirect_stderr(StringIO()) as stderr:
        configure_logging("info", as_json=True)
        if closed:
            stream.close()
        structlog.get_logger().info("lost")
        logging.getLogger("elsewhere").error("lost as well")
    assert stderr.getvalue() == ""


def test_what_an_estimator_prints_is_a_log_line_for_those_who_ask() -> None:
    for level, texts in (("info", []), ("debug", ["one", "two"])):
        with logging_lines(level) as written:
            print("one\n\ntwo", file=PrintsAsLog())
        assert [line["event"] for line in parsed(written)] == texts


_ENDS = """
from serving.host.logs import configure_logging
from serving.telemetry import end_process
configure_logging("info", as_json=True)
try:
    end_process("model.refused", reason="damaged")
finally:
    print("no more")
"""


def test_a_process_that_ends_itself_has_one_line_to_say() -> None:
    command = [sys.executable, "-c", _ENDS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    (line,) = parsed(done.stdout.splitlines())
    assert (line["level"], line["event"], line["reason"]) == (
        "critical",
        "model.refused",
        "damaged",
    )


# Full disks


@contextmanager
def files_up_to(size_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a size, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def nothing_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what other tests have lost."""
    monkeypatch.setattr(_MetricsFile, "_reason", None)
    monkeypatch.setattr(_MetricsFile, "_told", False)


def key(number: int) -> str:
    """Give the key of a value as prometheus_client does."""
    return json.dumps(["serving_x", "serving_x_total", {"number": str(number)}, "Help."])


def collected(folder: Path) -> dict[str, float]:
    """Read the values that ``/metrics`` would show."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    return {
        measured.labels["number"]: measured.value
        for family in registry.collect()
        for measured in family.samples
    }


def test_what_is_appended_is_whole_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with file.open("ab", buffering=0) as stream:
        append_whole(stream.fileno(), b"one\n")
        with files_up_to(10), pytest.raises(OSError, match="File too large"):
            append_whole(stream.fileno(), b"a longer line\n")
        append_whole(stream.fileno(), b"two\n")
    assert file.read_bytes() == b"one\ntwo\n"


def test_prometheus_client_keeps_values_in_our_files() -> None:
    assert prometheus_client.values.MmapedDict is _MetricsFile  # type: ignore[attr-defined]
    assert type(WAITING._value._file) is _MetricsFile


def test_a_file_of_metrics_is_read_as_prometheus_client_writes_it(tmp_path: Path) -> None:
    name = str(tmp_path / "counter_1.db")
    written = _MetricsFile(name)
    for number in range(2000):  # so that it has to grow, twice
        assert written.read_value(key(number)) == (0, 0)
        written.write_value(key(number), number, 1.0)
    assert collected(tmp_path) == {str(number): number for number in range(2000)}
    with open(name, "rb") as file:
        assert file.seek(0, os.SEEK_HOLE) == os.path.getsize(name) > 2 * 65_536  # and no hole
    again = _MetricsFile(name)  # as a worker does that has the process id of one that has died
    assert again.read_value(key(1999)) == (1999, 1)
    written.close()  # type: ignore[no-untyped-call]
    again.close()  # type: ignore[no-untyped-call]
    assert os.listdir(tmp_path) == ["counter_1.db"]


@pytest.mark.usefixtures("nothing_lost")
def test_metrics_that_find_no_place_on_the_disk_are_kept_and_told_of_once(tmp_path: Path) -> None:
    with logging_lines() as written, files_up_to(30_000):
        for kind in ("counter", "histogram"):
            values = _MetricsFile(str(tmp_path / f"{kind}_1.db"))
            assert values.read_value(key(1)) == (0, 0)
            values.write_value(key(1), 7, 0)
            assert values.read_value(key(1)) == (7, 0)
            values.close()  # type: ignore[no-untyped-call]
    assert os.listdir(tmp_path) == []
    (line,) = parsed(written)
    assert (line["level"], line["event"]) == ("error", "metrics.lost")
    assert line["reason"] == "File too large"


@pytest.mark.usefixtures("nothing_lost")
def test_metrics_lost_before_there_is_a_log_are_told_when_there_is(tmp_path: Path) -> None:
    with files_up_to(30_000):
        _MetricsFile(str(tmp_path / "counter_1.db"))
    with logging_lines() as written:
        tell_lost_metrics()
    assert [line["event"] for line in parsed(written)] == ["metrics.lost"]


@pytest.mark.usefixtures("nothing_lost")
def test_a_file_of_metrics_that_can_not_grow_keeps_what_it_has(tmp_path: Path) -> None:
    values = _MetricsFile(str(tmp_path / "counter_1.db"))
    with logging_lines() as written, files_up_to(100_000):
        for number in range(1000):
            values.read_value(key(number))
            values.write_value(key(number), number, 0)
        for number in range(1000):
            values.write_value(key(number), number + 1, 0)
            assert values.read_value(key(number)) == (number + 1, 0)
    seen = collected(tmp_path)
    assert 100 < len(seen) < 1000
    assert seen == {str(number): number + 1 for number in range(len(seen))}
    assert [line["event"] for line in parsed(written)] == ["metrics.lost"]
    values.read_value(key(1000))  # there is room again
    values.write_value(key(1000), 5, 0)
    assert collected(tmp_path) == seen | {"1000": 5}
    values.close()  # type: ignore[no-untyped-call]


def test_a_server_without_any_place_for_its_metrics_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert Path(make_metrics_folder()).parent == tmp_path
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit, match=r"No such file or directory.*TMPDIR"):
        make_metrics_folder()

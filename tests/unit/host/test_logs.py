"""The log: lines of one shape from every source, of which nothing odd loses or splits one."""

import json
import logging
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
import structlog

from serving.host.logs import FRAMEWORK_LOGGERS, PrintsAsLog, configure_logging
from serving.settings import LogFormat, LogLevel
from tests.unit.fakes import restored_logging

ROOT = Path(__file__).parents[3]
JSON, CONSOLE, AUTO = LogFormat.JSON, LogFormat.CONSOLE, LogFormat.AUTO


class Terminal(StringIO):
    """Where a person reads."""

    def isatty(self) -> bool:
        """Be one."""
        return True


@contextmanager
def logging_lines(
    level: LogLevel = LogLevel.INFO, form: LogFormat = JSON, stdout: StringIO | None = None
) -> Iterator[list[str]]:
    """Log as the service does; what was written is there when the block is left."""
    written: list[str] = []
    stdout = stdout or StringIO()
    with restored_logging(), redirect_stdout(stdout), redirect_stderr(StringIO()) as stderr:
        configure_logging(level, form)
        yield written
        written += stdout.getvalue().splitlines()
    assert stderr.getvalue() == ""


def parsed(written: list[str]) -> list[dict[str, Any]]:
    """Read JSON lines."""
    return [json.loads(line) for line in written]


def fail() -> None:
    """Raise."""
    raise ValueError("what is said of it")


def caught() -> ValueError:
    """Give an exception that has a place."""
    try:
        fail()
    except ValueError as exc:
        return exc
    raise AssertionError("nothing was raised")


# One shape


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


def test_what_frameworks_have_set_up_neither_doubles_lines_nor_takes_their_place() -> None:
    with restored_logging():
        for name in (*FRAMEWORK_LOGGERS, "uvicorn.access"):
            logging.getLogger(name).addHandler(logging.StreamHandler())
            logging.getLogger(name).propagate = False
            logging.getLogger(name).setLevel(logging.ERROR)
        with logging_lines() as written:
            for name in (*FRAMEWORK_LOGGERS, "uvicorn.access"):  # the edge tells of requests
                logging.getLogger(name).info("hello")
    assert [line["logger"] for line in parsed(written)] == list(FRAMEWORK_LOGGERS)


def test_lines_below_the_level_are_left_out() -> None:
    with logging_lines(LogLevel.WARNING) as written:
        for event, level in (("quiet", logging.INFO), ("loud", logging.WARNING)):
            structlog.get_logger().log(level, event)
            logging.getLogger("bentoml").log(level, event)
    assert [line["event"] for line in parsed(written)] == ["loud", "loud"]


def test_a_stack_trace_stands_in_a_field_of_one_line() -> None:
    with logging_lines() as written:
        logging.getLogger("somebody.else").error("it broke", exc_info=caught())
    (line,) = parsed(written)
    assert line["event"] == "it broke"
    assert "in fail" in line["exception"]


def test_a_stack_trace_logged_as_a_message_is_moved_to_a_field() -> None:
    with logging_lines() as written:
        message = "".join(traceback.format_exception(caught()))
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


# For machines and for people


@pytest.mark.parametrize(
    ("form", "at_terminal", "is_json", "is_coloured"),
    [
        (JSON, False, True, False),
        (JSON, True, True, False),
        (CONSOLE, False, False, False),
        (CONSOLE, True, False, True),
        (AUTO, False, True, False),
        (AUTO, True, False, True),
    ],
)
def test_people_read_at_a_terminal_and_machines_elsewhere_unless_it_is_said(
    form: LogFormat, at_terminal: bool, is_json: bool, is_coloured: bool
) -> None:
    stdout = Terminal() if at_terminal else StringIO()
    with logging_lines(LogLevel.INFO, form, stdout) as written:
        structlog.get_logger().info("model.loaded", rows=3)
        logging.getLogger("bentoml").info("hello")
    first, second = written
    assert "model.loaded" in first
    assert "hello" in second
    assert first.startswith("{") == is_json
    assert ("\x1b" in first) == is_coloured


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("form", [JSON, CONSOLE])
def test_no_line_is_lost_on_a_terminal_that_can_not_show_it(encoding: str, form: LogFormat) -> None:
    stream = TextIOWrapper(written := BytesIO(), encoding=encoding, errors="strict")
    with restored_logging(), redirect_stdout(stream):
        configure_logging(LogLevel.INFO, form)
        structlog.get_logger().info("odd", value="Größe → サクラ")
        logging.getLogger("somebody.else").info("caf\udce9")
    first, second = written.getvalue().splitlines()
    if form is JSON:  # in UTF-8, always
        assert json.loads(first)["value"] == "Größe → サクラ"
        assert json.loads(second)["event"] == "caf\udce9"
    else:
        assert "Größe → サクラ".encode(encoding, "backslashreplace") in first
        assert b"udce9" in second


class FullDisk(StringIO):
    """Takes nothing."""

    def write(self, text: str) -> int:
        """Fail."""
        raise OSError("no space left on device")

    def flush(self) -> None:
        """Fail."""
        raise OSError("no space left on device")


@pytest.mark.parametrize("fate", ["full", "closed", "none"])
def test_a_log_that_cannot_be_written_harms_nobody(fate: str) -> None:
    stream = None if fate == "none" else FullDisk()
    with restored_logging(), redirect_stdout(stream), redirect_stderr(StringIO()) as stderr:
        configure_logging(LogLevel.INFO, AUTO)
        if fate == "closed" and stream is not None:
            stream.close()
        structlog.get_logger().info("lost")
        logging.getLogger("elsewhere").error("lost as well")
    assert stderr.getvalue() == ""


# What is no log of its own accord


def test_what_an_estimator_prints_is_a_log_line_for_those_who_ask() -> None:
    for level, texts in ((LogLevel.INFO, []), (LogLevel.DEBUG, ["one", "two"])):
        with logging_lines(level) as written:
            print("one\n\ntwo", file=PrintsAsLog())
        assert [line["event"] for line in parsed(written)] == texts


def test_an_uncaught_exception_is_a_line_and_an_interrupt_from_the_keyboard_is_none() -> None:
    with logging_lines() as written:
        exc = caught()
        sys.excepthook(type(exc), exc, exc.__traceback__)
        sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    (line,) = parsed(written)
    assert (line["level"], line["event"]) == ("critical", "process.crashed")
    assert "in fail" in line["exception"]


_CRASHES = """
import sys, threading, warnings
from serving.host.logs import configure_logging
from serving.settings import LogFormat, LogLevel
from serving.telemetry import log
configure_logging(LogLevel.INFO, LogFormat.AUTO)
log.info("started")
warnings.warn("worn out")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise LookupError
"""


@pytest.mark.slow
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
    lines = parsed(done.stdout.splitlines())
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

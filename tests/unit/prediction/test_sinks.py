"""Sinks: whole lines, in a file that others append to and move away, or on stdout."""

import fcntl
import os
import resource
import stat
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from serving.prediction.sinks import File, Stdout, append_whole, check, sink_to
from tests.unit.prediction.stories import PATIENCE_S


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the path of a log that is not there yet."""
    return tmp_path / "predictions.jsonl"


@pytest.fixture
def file(path: Path) -> Iterator[File]:
    """Give a sink to that path."""
    sink = File(str(path))
    yield sink
    sink.close()


@contextmanager
def files_up_to(size_bytes: int) -> Iterator[None]:
    """Let no file of this process grow further."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def mode(path: Path) -> int:
    """Tell who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_a_setting_names_the_sink(path: Path) -> None:
    assert sink_to("off") is None
    assert isinstance(sink_to("stdout"), Stdout)
    assert isinstance(sink_to(str(path)), File)
    assert not path.exists()


# A file


def test_a_new_file_is_for_its_user_alone_and_another_keeps_its_mode(
    file: File, path: Path
) -> None:
    file.write([b"1\n", b"2\n"])
    assert mode(path) == 0o600
    file.close()
    path.chmod(0o640)
    file.write([b"3\n"])
    assert mode(path) == 0o640
    assert path.read_bytes() == b"1\n2\n3\n"


def test_a_file_that_was_moved_away_is_made_anew(file: File, path: Path) -> None:
    moved = path.with_suffix(".1")
    file.write([b"1\n"])
    path.rename(moved)
    file.write([b"2\n"])
    assert (moved.read_bytes(), path.read_bytes()) == (b"1\n", b"2\n")
    path.unlink()
    file.write([b"3\n"])
    assert path.read_bytes() == b"3\n"
    assert mode(path) == 0o600


def test_several_append_whole_batches(path: Path) -> None:
    """As several processes do: each has opened the file by itself."""

    def append(writer: int) -> None:
        sink = File(str(path))
        for _ in range(50):
            sink.write([b"%d" % writer * 2000 + b"\n"] * 5)
        sink.close()

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(append, range(3)))
    lines = path.read_bytes().splitlines()
    assert len(lines) == 3 * 50 * 5
    batches = [set(lines[start : start + 5]) for start in range(0, len(lines), 5)]
    assert {line for batch in batches for line in batch} == {b"%d" % w * 2000 for w in range(3)}
    assert all(len(batch) == 1 for batch in batches)


def test_a_file_is_written_to_by_one_at_a_time(
    file: File, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock
    asks = threading.Event()

    def noted(descriptor: int, operation: int) -> None:
        asks.set()
        flock(descriptor, operation)

    with path.open("ab", buffering=0) as other:
        flock(other, fcntl.LOCK_EX)
        monkeypatch.setattr(fcntl, "flock", noted)
        writer = threading.Thread(target=file.write, args=([b"2\n"],))
        writer.start()
        assert asks.wait(PATIENCE_S)
        other.write(b"1\n")
        flock(other, fcntl.LOCK_UN)
        writer.join(PATIENCE_S)
    assert path.read_bytes() == b"1\n2\n"


def test_what_is_appended_is_whole_or_not_there(file: File, path: Path) -> None:
    file.write([b"one\n"])
    with files_up_to(10), pytest.raises(OSError, match="File too large"):
        file.write([b"a line, ", b"of which there is room for the start\n"])
    assert path.read_bytes() == b"one\n"
    file.write([b"two\n"])
    assert path.read_bytes() == b"one\ntwo\n"


def test_what_is_written_in_parts_is_appended_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    with path.open("ab", buffering=0) as stream, monkeypatch.context() as slow:
        slow.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
        append_whole(stream.fileno(), b"in parts of three\n")
    assert path.read_bytes() == b"in parts of three\n"


# Stdout


class Buffer:
    """Keeps what is done to it."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.done: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Keep data."""
        self.done.append(data)

    def flush(self) -> None:
        """Keep that it is."""
        self.done.append(b"flush")


def test_a_line_on_stdout_is_written_in_one_piece_whoever_prints_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buffer = Buffer()
    monkeypatch.setattr(sys, "__stdout__", SimpleNamespace(buffer=buffer))
    monkeypatch.setattr(sys, "stdout", None)  # the service has put its log there
    sink = Stdout()
    sink.write([b"one\n", b"two\n"])
    sink.close()
    sink.write([b"three\n"])
    assert buffer.done == [b"one\n", b"flush", b"two\n", b"flush", b"three\n", b"flush"]


def test_a_stdout_that_is_closed_is_an_error_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stdout__", None)
    with pytest.raises(OSError, match="stdout is closed"):
        Stdout().write([b"one\n"])


# The start


@pytest.mark.parametrize("target", ["off", "stdout"])
def test_what_is_no_file_needs_no_check(
    target: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    check(target)
    assert list(tmp_path.iterdir()) == []


def test_the_check_makes_the_file(path: Path) -> None:
    check(str(path))
    assert mode(path) == 0o600
    assert path.read_bytes() == b""


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

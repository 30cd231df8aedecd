"""A terminal that can't show a character is shown its number, and ends no program."""

import io
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout

import pytest

from serving.console import show, take_any_text

NAMES = ("Größe", "サクラ", "🌸", "ColumnTransformer → SVC", "caf\udce9.csv", "a\u2028b")
ENCODINGS = ("ascii", "cp1252", "latin-1", "cp437", "shift_jis", "utf-8")


def at_terminal(encoding: str, program: Callable[[], None]) -> str:
    """Run a program at a terminal, strict as Python opens it; give what stands there then."""
    stream = io.TextIOWrapper(screen := io.BytesIO(), encoding=encoding, errors="strict")
    with redirect_stdout(stream):
        program()
    stream.flush()
    return screen.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", NAMES)
def test_a_character_that_a_terminal_lacks_is_written_by_its_number(
    encoding: str, name: str
) -> None:
    written = name.encode(encoding, "backslashreplace").decode(encoding)
    assert at_terminal(encoding, lambda: show(f"predicts {name}")) == f"predicts {written}\n"


def test_what_estimators_print_is_taken_too() -> None:
    def program() -> None:
        take_any_text()
        print("50 % → 60 %")

    assert at_terminal("cp1252", program) == "50 % \\u2192 60 %\n"


def test_a_closed_stdout_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    show("nobody reads")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_has_gone_ends_no_work(stream: str) -> None:
    program = (
        "import sys; from serving.console import show; sys.stdin.read()\n"
        f"for _ in range(3): show('x' * 100_000, sys.{stream})\n"
        "sys.exit(7)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        gone, other = process.stdout, process.stderr
        if stream == "stderr":
            gone, other = other, gone
        assert process.stdin
        assert gone
        assert other
        gone.close()
        process.stdin.close()
        assert other.read() == b""
    assert process.returncode == 7

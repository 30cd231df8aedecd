"""A terminal that can't show a character is shown its number, and ends no program."""

import io
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from functools import partial

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
def test_a_character_that_a_terminal_lacks_is_written_by_its_number(encoding: str) -> None:
    for name in NAMES:
        written = name.encode(encoding, "backslashreplace").decode(encoding)
        assert at_terminal(encoding, partial(show, name)) == f"{written}\n"


def test_what_estimators_print_is_taken_too() -> None:
    def program() -> None:
        take_any_text()
        print("50 % → 60 %")

    assert at_terminal("cp1252", program) == "50 % \\u2192 60 %\n"


def test_a_closed_stdout_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    show("nobody reads")


@pytest.mark.parametrize("is_named", [False, True])
def test_a_reader_that_has_gone_ends_no_work(*, is_named: bool) -> None:
    """Nor does the end of the program, which closes the stream."""
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "w") as stream, nullcontext() if is_named else redirect_stdout(stream):
        for _ in range(3):
            show("x" * 100_000, stream if is_named else None)

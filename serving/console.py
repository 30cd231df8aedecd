r"""What a person at a terminal is told, whatever characters the terminal has.

Names of columns, classes and files are the user's own, and may hold any. One that stdout can't show
is written by its number (``\u2192``), as Python does on stderr. Who has stopped reading, as
``head -1`` has, ends no work that is under way.
"""

import io
import os
import sys
from collections.abc import Sequence
from typing import TextIO

MAX_NAMED = 30


def take_any_text(encoding: str | None = None) -> None:
    """Make stdout take what it can't show, in its own encoding or in this one."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # it may be closed, or something that takes all
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")


def show(text: str, stream: TextIO | None = None) -> None:
    """Write lines to a stream, at once; to stdout, if none is given."""
    take_any_text()
    stream = stream or sys.stdout
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        # What is left in the stream would fail once more, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def listed(values: Sequence[object]) -> str:
    """List values for a person, not too many of them."""
    shown = ", ".join(map(repr, values[:MAX_NAMED]))
    return shown if len(values) <= MAX_NAMED else f"{shown} and {len(values) - MAX_NAMED} more"

"""What a person at the terminal hears while something long goes on."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from serving.console import show

PROGRESS_S = 10.0


def tell(line: str) -> None:
    """Tell the person at the terminal what goes on."""
    show(line, sys.stderr)


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Tell every few seconds that something long is still going on."""
    over = threading.Event()
    started = time.monotonic()

    def watch() -> None:
        while not over.wait(PROGRESS_S):
            tell(f"{what}: {time.monotonic() - started:.0f} s")

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()

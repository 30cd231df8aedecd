"""A table of whole numbers, and who scores it in a worker: fakes that a worker can import."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.files.source import Part, TableError
from serving.scoring.parts import Done
from serving.scoring.tally import Tally

ROWS = 3  # of a part


@dataclass(frozen=True, slots=True)
class FakeWork:
    """Scores parts of `ROWS` rows, and does as it is told with those of some numbers."""

    acts: dict[int, str]
    folder: Path  # where it is noted what was begun

    def begin(self) -> Callable[[Part], Done]:
        """Fail, or give what scores."""
        if -1 in self.acts:
            _act(self.acts[-1], self.folder)
        return self._done

    def _done(self, part: Part) -> Done:
        if part.data in self.acts:
            _act(self.acts[part.data], self.folder)
        return Done(part.data, b"", (), Tally(rows=ROWS))


def _act(what: str, folder: Path) -> None:
    if what == "damaged":
        raise TableError("the table is damaged")
    if what == "fails":
        raise FloatingPointError("no")
    if what == "dies" or (what == "dies once" and not (folder / "died").exists()):
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hangs":
        (folder / str(os.getpid())).touch()
        signal.pause()


def parts(
    count: int, read: list[int] | None = None, damaged_at: int | None = None
) -> Iterator[Part]:
    """Give parts, and note which were read."""
    for number in range(count):
        if number == damaged_at:
            raise TableError("the file ends early")
        if read is not None:
            read.append(number)
        yield Part(1 + ROWS * number, 0, number)


def numbers(results: Iterator[tuple[Part, Any]]) -> Sequence[int]:
    """Give the numbers of parts that were scored."""
    scored = [(part.data, done.answers) for part, done in results]
    assert all(number == answer for number, answer in scored)
    return [number for number, _ in scored]
